package cli_test

import (
	"context"
	"os"
	"strings"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
)

// A program's main function: with it, the program has all the commands for the flow that it builds, and for flows in files.
func ExampleMain() {
	type departure struct {
		Carrier string `adf:"carrier"`
		Delay   *int64 `adf:"dep_delay"`
	}
	cli.Main(func(f *adf.Flow, p cli.Params) error {
		least := p.Int("least", 15)
		adf.From(f, "flights", &file.Source[departure]{Path: p.String("path", "flights/*.csv"), Format: "csv", NullText: []string{"NA"}}).
			Filter("delayed", func(d departure) bool { return d.Delay != nil && *d.Delay >= least }).
			To("out", &file.Sink[departure]{Path: p.String("to", "out"), Format: "jsonl"})
		return nil
	}, file.Register, generate.Register)
}

// The commands of a program in a test of it, or wherever else they are wanted.
func ExampleRun() {
	type number struct {
		N int64 `adf:"n"`
	}
	app := cli.App{Name: "squares", Flow: "squares", Build: func(f *adf.Flow, p cli.Params) error {
		numbers := adf.From(f, "numbers", &generate.Source[number]{Records: p.Int("count", 100), Splits: 1, Make: func(n int64) number { return number{n} }})
		adf.Map(numbers, "squares", func(x number) (number, error) { return number{x.N * x.N}, nil }).To("nowhere", &discard.Sink[number]{})
		return nil
	}}
	cli.Run(context.Background(), []string{"preview", "squares", "--rows", "4"}, strings.NewReader(""), os.Stdout, os.Stderr, app)
	// Output:
	// n
	// 0
	// 1
	// 4
	// 9
}
