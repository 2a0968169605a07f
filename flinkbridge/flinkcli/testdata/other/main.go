// Command other is a worker that makes another flow than the one it is sent with.
package main

import (
	"context"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/flinkbridge"
)

type number struct {
	N int64 `adf:"n"`
}

func main() {
	flinkbridge.Register("adf.flow", func(context.Context, map[string]string) (*adf.Flow, error) {
		f := adf.New("other")
		adf.From(f, "numbers", &generate.Source[number]{Make: func(n int64) number { return number{n} }}).To("out", &discard.Sink[number]{})
		return f, nil
	})
	flinkbridge.Start()
}
