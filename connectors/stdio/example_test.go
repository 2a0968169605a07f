package stdio_test

import (
	"context"
	"log"

	"github.com/activedataflow/adf/connectors/stdio"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

func Example() {
	type reading struct {
		Sensor  string  `adf:"sensor"`
		Celsius float64 `adf:"celsius"`
	}
	codec, err := row.CodecOf[reading]()
	if err != nil {
		log.Fatal(err)
	}
	sink, err := (&stdio.Sink[reading]{Format: "csv", Delimiter: ";"}).Sink(codec)
	if err != nil {
		log.Fatal(err)
	}
	// What follows is what a runtime does.
	ctx := context.Background()
	w, err := sink.(sinks.AnyDirect).NewWriter(ctx, sinks.WriterContext{Flow: "weather", Node: "out"})
	if err != nil {
		log.Fatal(err)
	}
	b := &record.Batch[reading]{}
	b.Append(reading{"roof", 21.5}, record.Meta{})
	b.Append(reading{"cellar", 12}, record.Meta{})
	if err := w.Write(ctx, b, func(i int, err error) { log.Print(i, err) }); err != nil {
		log.Fatal(err)
	}
	if err := w.Flush(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// sensor;celsius
	// roof;21.5
	// cellar;12
}
