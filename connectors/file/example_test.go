package file_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/engine"
)

// Measurements in csv, where missing values are the text NA, become one jsonl file for each sensor.
func Example() {
	dir, err := os.MkdirTemp("", "file")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const text = "sensor,value\nroof,21.5\ncellar,NA\ncellar,12\n"
	if err := os.WriteFile(filepath.Join(dir, "monday.csv"), []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}

	type measurement struct {
		Sensor string   `adf:"sensor"`
		Value  *float64 `adf:"value"`
	}
	f := adf.New("measurements")
	adf.From(f, "in", &file.Source[measurement]{Path: filepath.Join(dir, "*.csv"), Format: "csv", NullText: []string{"NA"}}).
		Filter("known", func(m measurement) bool { return m.Value != nil }).
		To("out", &file.Sink[measurement]{Path: filepath.Join(dir, "out"), Format: "jsonl", PartitionBy: []string{"sensor"}})
	if _, err := engine.Run(context.Background(), f, engine.Options{}); err != nil {
		log.Fatal(err)
	}

	written, err := filepath.Glob(filepath.Join(dir, "out", "sensor=*", "*.jsonl"))
	if err != nil {
		log.Fatal(err)
	}
	for _, path := range written {
		content, err := os.ReadFile(path)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(filepath.Base(filepath.Dir(path)), " ", string(content))
	}
	// Output:
	// sensor=cellar {"sensor":"cellar","value":12}
	// sensor=roof {"sensor":"roof","value":21.5}
}
