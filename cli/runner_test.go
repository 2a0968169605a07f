package cli_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/engine"
)

// TestRunner: another runner gets the flow and what the flags say, and ends at once when a signal comes.
func TestRunner(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "endless.yaml", endless)
	var got cli.RunnerOptions
	waiting := make(chan struct{})
	app := files
	app.Runners = []cli.Runner{{Name: "other", Run: func(ctx context.Context, g *adf.Graph, o cli.RunnerOptions) (engine.Result, error) {
		got = o
		r := engine.Result{Flow: g.Plan.Flow(), Finished: true, Took: time.Second}
		switch o.Until {
		case "1h":
			close(waiting)
			<-ctx.Done()
			return r, context.Cause(ctx)
		case "2h":
			return r, errors.New("it went wrong")
		}
		return r, nil
	}}}
	code, out := execute(t, app, "", "run", "endless.yaml", "--runner", "other", "--until", "records=5", "--parallelism", "3", "--buckets", "300")
	if code != 0 || got.Until != "records=5" || got.Parallelism != 3 || got.Buckets != 300 || got.Log == nil || !strings.Contains(out, "endless finished in 1s: 0 records read") {
		t.Errorf("got %d, %+v and %s", code, got, out)
	}
	if code, out := execute(t, app, "", "run", "endless.yaml", "--runner", "other", "--json"); code != 0 || got.Until != "" || !strings.Contains(out, `"finished": true`) {
		t.Errorf("got %d, %+v and %s", code, got, out)
	}
	for want, args := range map[string]string{
		`--fresh: got a flag that only the engine knows, want none with --runner other`:       "--runner other --fresh",
		`--checkpoints: got a flag that only the engine knows, want none with --runner other`: "--runner other --checkpoints x",
		`--until: got signal, want idle, a duration as 30s, or records=N with --runner other`: "--runner other --until signal",
		`--until: got "5s", want one of drained, idle, signal`:                                "--until 5s",
		`--buckets: got a flag that only other runners know, want none with --runner engine`:  "--buckets 300",
		`--runner: got "flink", want one of engine, other`:                                    "--runner flink",
	} {
		if code, out := execute(t, app, "", append([]string{"run", "endless.yaml"}, strings.Fields(args)...)...); code != 2 || !strings.Contains(out, want) {
			t.Errorf("%s: got %d and %s, want %s", args, code, out, want)
		}
	}
	if code, out := execute(t, app, "", "run", "endless.yaml", "--runner", "other", "--until", "2h"); code != 1 || !strings.Contains(out, "it went wrong") {
		t.Errorf("got %d and %s", code, out)
	}
	r := start(t, t.Context(), app, "run", "endless.yaml", "--runner", "other", "--until", "1h")
	<-waiting
	interrupt(t)
	r.ends(130)
	r.says("a signal has ended it")
}
