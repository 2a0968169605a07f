package flinkcli

import (
	"context"
	"strings"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/flinkbridge"
)

// Main is [cli.App.Main] for a program with Beam in it: with the runners and commands of this package, and able to be the worker of its own jobs.
func Main(app cli.App) {
	flinkbridge.Register(builderName, func(ctx context.Context, params map[string]string) (*adf.Flow, error) {
		return app.Make(ctx, sourceOf(params))
	})
	flinkbridge.Start()
	app.Runners = append(app.Runners, Runners()...)
	app.Commands = append(app.Commands, Commands)
	app.Main()
}

// builderName is the name under which workers find the program's flows.
const builderName = "adf.flow"

// The parameters that carry what a flow is made of.
const (
	nameParam = "name"
	textParam = "text"
	setParam  = "set."
)

// paramsOf makes parameters of what a flow is made of, and sourceOf the other way round.
func paramsOf(src cli.Source) map[string]string {
	params := map[string]string{nameParam: src.Name, textParam: src.Text}
	for name, value := range src.Params {
		params[setParam+name] = value
	}
	return params
}

func sourceOf(params map[string]string) cli.Source {
	src := cli.Source{Name: params[nameParam], Text: params[textParam], Params: map[string]string{}}
	for name, value := range params {
		if name, ok := strings.CutPrefix(name, setParam); ok {
			src.Params[name] = value
		}
	}
	return src
}
