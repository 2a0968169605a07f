//go:build integration

package flinkbridge

import (
	"context"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// TestSameAnswersOnFlink runs every example as a batch job and as a streaming job of a cluster: the answers are the engine's, and so is what the nodes have counted.
func TestSameAnswersOnFlink(t *testing.T) {
	client, _, o := up(t)
	o.Builder, o.Interval = exampleBuilder, 500*time.Millisecond
	running := make(chan struct{}, 2) // as many jobs as there are slots for
	for _, x := range examples {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			running <- struct{}{}
			defer func() { <-running }()
			want := x.want(t)
			for _, mode := range []Mode{Batch, Streaming} {
				t.Run(string(mode), func(t *testing.T) {
					o := o
					o.Mode, o.Staging = mode, t.TempDir()
					began := time.Now()
					got := x.run(t, 4*time.Minute, func(ctx context.Context, f *adf.Flow, params map[string]string) (engine.Result, error) {
						o.Params = params
						sub, err := Submit(ctx, client, f, o)
						runs := time.Since(began)
						if err == nil {
							err = Await(ctx, client, sub)
						}
						t.Logf("%s: runs after %s, over after %s: %v", sub.Job, runs, time.Since(began), err)
						if err != nil {
							return engine.Result{}, err
						}
						j, err := client.Job(ctx, sub.Job)
						if err != nil {
							return engine.Result{}, err
						}
						nodes, err := Stats(ctx, client, graphOf(t, f), j)
						return engine.Result{Finished: j.Status == rest.Finished, Nodes: nodes}, err
					})
					compare(t, want, got)
				})
			}
		})
	}
}
