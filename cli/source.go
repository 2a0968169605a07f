package cli

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/fault"
)

// Source is what a flow is made of: with it the same program makes the same flow in another process.
type Source struct {
	// Name and Text are those of the flow's file; without a name it is the program's own flow.
	Name, Text string
	// Params are those of --set.
	Params map[string]string
}

// Source makes cmd a command about a flow, as [Shell.Flow] does; the result reads what the flow is made of.
func (s *Shell) Source(cmd *cobra.Command, more ...string) func(args []string) (Source, error) {
	f := &flowFlags{}
	s.takesFlow(cmd, more...)
	f.add(cmd)
	return func(args []string) (src Source, err error) {
		file := ""
		if len(args) > len(more) {
			file = args[0]
		}
		return s.source(file, f)
	}
}

// source reads what a flow is made of; without a file it is the program's own.
func (c *command) source(file string, flags *flowFlags) (src Source, err error) {
	if src.Params, err = flags.params(); err != nil || file == "" {
		return src, err
	}
	var text []byte
	if src.Name = file; file == "-" {
		src.Name = "standard input"
		text, err = io.ReadAll(c.stdin)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return src, &fault.ConfigurationError{Detail: fault.Detail{Code: "flow.file", Doing: "read flow", Retry: fault.RetryNever, Err: err}}
	}
	src.Text = string(text)
	return src, nil
}

// Make makes a flow of its source, with the connectors and functions that the program brings along.
func (a App) Make(ctx context.Context, src Source) (f *adf.Flow, err error) {
	registry, err := a.registry()
	if err != nil {
		return nil, err
	}
	c := &command{App: a}
	err = guarded("put the flow together", func() error {
		if src.Name == "" {
			f, err = c.build(src.Params)
		} else {
			f, err = adf.Parse(ctx, src.Name, []byte(src.Text), adf.LoadOptions{Registry: registry, Params: src.Params, Funcs: a.Funcs})
		}
		return err
	})
	return f, err
}

// registry has what files can use.
func (a App) registry() (*connectors.Registry, error) {
	r := connectors.NewRegistry(adf.Version)
	for _, register := range append([]Connector{engine.Register}, a.Connectors...) {
		if err := register(r); err != nil {
			return nil, err
		}
	}
	return r, nil
}
