package flinkcli

import (
	"context"
	"io"
	"log/slog"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/flinkbridge"
)

// Runners are Beam's local runners and the Flink cluster, for cli.App's Runners. The program calls flinkbridge.Start first in main.
func Runners() []cli.Runner {
	var all []cli.Runner
	for _, name := range []flinkbridge.Runner{flinkbridge.Direct, flinkbridge.Prism} {
		all = append(all, cli.Runner{Name: string(name), Run: func(ctx context.Context, g *adf.Graph, o cli.RunnerOptions) (engine.Result, error) {
			return run(ctx, name, g, o)
		}})
	}
	return append(all, cli.Runner{Name: "flink", Run: runOnFlink})
}

func run(ctx context.Context, name flinkbridge.Runner, g *adf.Graph, o cli.RunnerOptions) (engine.Result, error) {
	until, err := untilOf(o.Until)
	if err != nil {
		return engine.Result{Flow: g.Plan.Flow()}, err
	}
	// Beam and prism write to the default log, at every level what is nobody's concern but theirs.
	before := slog.Default()
	if o.Log.Enabled(ctx, slog.LevelDebug) {
		slog.SetDefault(o.Log.With("by", "beam"))
	} else {
		slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	}
	defer slog.SetDefault(before)
	return flinkbridge.Run(ctx, g, flinkbridge.RunOptions{Runner: name, Parallelism: o.Parallelism, Buckets: o.Buckets, Until: until, Log: o.Log, Progress: o.Progress})
}

// untilOf reads --until where it may be left out.
func untilOf(text string) (flinkbridge.Until, error) {
	if text == "" {
		return flinkbridge.Until{}, nil
	}
	return flinkbridge.ParseUntil(text)
}
