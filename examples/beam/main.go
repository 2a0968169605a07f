// Command beam is a program of somebody who uses Beam: a flow becomes a pipeline, and Beam's own flags say what runs it.
//
//	go run ./examples/beam --runner=direct
//	go run ./examples/beam --runner=prism --out=out/beam
package main

import (
	"context"
	"flag"
	"log"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"

	"github.com/activedataflow/adf/flinkbridge"
)

var (
	in    = flag.String("in", "examples/flights/*.csv.gz", "the flights")
	out   = flag.String("out", "out/beam", "where results go")
	least = flag.Int64("least", 60, "from how many minutes on a flight is delayed")
)

func main() {
	// Workers make the flow again, by the name of its builder; so it is registered before Beam begins.
	flinkbridge.Register("delayed", build)
	flag.Parse()
	beam.Init()
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	f := flow(*in, *out, *least)
	p, err := flinkbridge.Pipeline(ctx, f, flinkbridge.Options{
		Builder: "delayed",
		Params:  map[string]string{"in": *in, "out": *out, "least": flag.Lookup("least").Value.String()},
	})
	if err != nil {
		return err
	}
	return beamx.Run(ctx, p)
}
