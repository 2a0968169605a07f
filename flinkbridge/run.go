package flinkbridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 prism has taken its place; it is here for those who know it, and needs nothing but this process
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
)

// Runner is one of Beam's runners that work in this process.
type Runner string

const (
	// Direct is the Go SDK's direct runner: one goroutine, one bundle.
	Direct Runner = "direct"
	// Prism is the Go SDK's portable runner: bundles side by side, and records through gRPC as on a cluster.
	Prism Runner = "prism"
)

// RunOptions say how a flow is run in this process.
type RunOptions struct {
	// Runner is Direct when it is empty.
	Runner      Runner
	Parallelism int
	Buckets     int
	// Until ends sources that do not end by themselves.
	Until Until
	// Log takes what happens; nil is silent.
	Log *slog.Logger
	// Progress, when set, is called several times a second from one goroutine.
	Progress func(engine.Progress)
}

// Run runs a flow on one of Beam's local runners, from its beginning to its end; there are no checkpoints. The flow's own errors come back as they are, package
// fault's. When ctx ends, the run is given up and nothing that waits for its commit is committed.
func Run(ctx context.Context, g *adf.Graph, o RunOptions) (r engine.Result, err error) {
	began := time.Now()
	r = engine.Result{Flow: g.Plan.Flow()}
	if o.Runner == "" {
		o.Runner = Direct
	}
	if o.Runner != Direct && o.Runner != Prism {
		return r, fault.Config(fault.Violation{Path: "runner", Got: fmt.Sprintf("%q", o.Runner), Want: "direct or prism", Code: "bridge.runner"})
	}
	s, err := specOf(ctx, g, Options{Parallelism: o.Parallelism, Buckets: o.Buckets, Until: o.Until})
	if err != nil {
		return r, err
	}
	initBeam()
	r.Run = s.Run
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	dir, err := os.MkdirTemp("", "adf-staging-")
	if err != nil {
		return r, &fault.RuntimeError{Detail: fault.Detail{Code: "bridge.staging", Doing: "make a directory for output that waits to be committed", Retry: fault.RetryNever, Err: err}}
	}
	defer func() {
		if rerr := os.RemoveAll(dir); rerr != nil {
			o.Log.Warn("the staging directory stays", "directory", dir, "error", rerr)
		}
	}()
	staging, err := checkpoint.OpenDirectory(dir)
	if err != nil {
		return r, err
	}
	p, err := bounded(s, g)
	if err != nil {
		return r, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	j := newJob(ctx, s, g, staging, o.Log)
	defer keep(j)()
	defer j.report(ctx, o.Progress, began)()
	j.log.Info("started", "runner", o.Runner)
	if o.Runner == Direct {
		err = runDirect(ctx, p)
	} else {
		err = runPrism(ctx, j, p)
	}
	cause := context.Cause(ctx)
	cancel(context.Canceled) // whatever is still at it
	r.Nodes, r.Took = j.stats(), time.Since(began)
	switch first := j.failed.Load(); {
	case err == nil:
		r.Finished = true
		j.warnLate(r)
		return r, nil
	case cause != nil:
		return r, j.within(cause, "")
	case first != nil:
		return r, *first
	}
	return r, &fault.RuntimeError{Detail: fault.Detail{
		Code: "bridge.runner", Doing: "run on Beam's " + string(o.Runner) + " runner", Flow: s.Flow, Run: s.Run, Retry: fault.RetryNever, Err: err,
	}}
}

// runDirect runs a pipeline on the direct runner, which makes errors of panics in most places, and not in all.
func runDirect(ctx context.Context, p *beam.Pipeline) (err error) {
	defer func() {
		if x := recover(); x != nil {
			err = asError(x)
		}
	}()
	_, err = direct.Execute(ctx, p)
	return err
}

func asError(x any) error {
	if err, ok := x.(error); ok {
		return err
	}
	return fmt.Errorf("panic: %v", x)
}

func (j *job) stats() []engine.NodeStats {
	of := map[string]NodeMetrics{}
	for node, c := range j.counters {
		m := NodeMetrics{Node: node}
		for _, x := range nodeCounters {
			*x.shown(&m) = x.of(c).Load()
		}
		of[node] = m
	}
	return statsOf(j.graph, of)
}

// warnLate tells of records that were counted and went nowhere.
func (j *job) warnLate(r engine.Result) {
	for _, n := range r.Nodes {
		if n.LateUnread {
			j.log.Warn("late records were counted and are nowhere: nobody reads this output", "node", n.Name, "output", n.Name+".late", "records", n.Late)
		}
	}
}

// report calls progress until the returned function is called. What a bundle did counts when it ends.
func (j *job) report(ctx context.Context, progress func(engine.Progress), began time.Time) (stop func()) {
	if progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for more := true; more; {
			select {
			case <-tick.C:
			case <-ctx.Done():
				more = false
			}
			progress(engine.Progress{Nodes: j.stats(), Took: time.Since(began)})
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

var errStopped = errors.New("the runner has stopped the job")
