package memory_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
)

// A flow from values to values, as in a test.
func Example() {
	heard := &memory.Store[string]{}
	f := adf.New("loud")
	words := adf.From(f, "words", memory.Values("to", "be", "or", "not"))
	adf.Map(words, "upper", func(w string) (string, error) { return strings.ToUpper(w), nil }).To("out", memory.To(heard))
	if _, err := engine.Run(context.Background(), f, engine.Options{Parallelism: 1}); err != nil {
		fmt.Println(err)
	}
	all := heard.Records()
	slices.Sort(all) // the shards of a sink have no common order
	fmt.Println(all)
	// Output: [BE NOT OR TO]
}
