package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

// run is one start of a flow: a claim on it, and as many attempts as it takes.
type run struct {
	Options
	graph    *adf.Graph
	id       string
	log      *slog.Logger
	began    time.Time
	counters map[string]*task.Counters
	session  *checkpoint.Session
	saved    *adfv1.Checkpoint // the last one; what an attempt starts from
	epoch    atomic.Int64      // of saved, for whoever looks from outside
	restored int64
	finished bool
	before   time.Time // when an earlier run had finished
	restarts atomic.Int64
	failures int // in a row, since the last saved checkpoint
}

func newRun(g *adf.Graph, o Options) *run {
	id := make([]byte, 8)
	rand.Read(id) // never fails
	r := &run{Options: o, graph: g, id: hex.EncodeToString(id), began: time.Now(), counters: map[string]*task.Counters{}}
	r.log = o.Log.With("flow", g.Plan.Flow(), "run", r.id)
	for _, n := range g.Nodes {
		r.counters[n.Name] = &task.Counters{}
	}
	return r
}

func (r *run) flow() string { return r.graph.Plan.Flow() }

func (r *run) within(err error) error { return fault.Within(err, r.flow(), r.id, "") }

func (r *run) run(ctx context.Context) error {
	if r.Metrics != nil {
		c := newCollector(r)
		if err := r.Metrics.Register(c); err != nil {
			return r.within(err)
		}
		defer r.Metrics.Unregister(c)
	}
	defer r.reportProgress(ctx)()
	if err := r.claim(ctx); err != nil {
		return r.within(err)
	}
	for {
		err := newAttempt(r).try(ctx)
		var g *gaveUp
		over := errors.As(err, &g)
		if over {
			err = g.err
		}
		switch {
		case err == nil:
			r.noteEnd()
			return nil
		case ctx.Err() != nil:
			return r.within(context.Cause(ctx))
		case over || !fault.Retryable(err):
			r.logFailure("the run has ended", err)
			return r.within(err)
		case r.failures >= r.Retries:
			r.logFailure("the run has ended: too many failures in a row", err)
			return r.within(err)
		}
		r.failures++
		r.restarts.Add(1)
		wait := backoff(r.failures)
		r.logFailure("going back to the last checkpoint", err, "epoch", r.saved.GetEpoch(), "wait", wait)
		select {
		case <-time.After(wait):
		case <-r.Stop:
			return r.within(err)
		case <-ctx.Done():
			return r.within(context.Cause(ctx))
		}
	}
}

func (r *run) logFailure(msg string, err error, more ...any) {
	args := append([]any{"error", err}, more...)
	if d, ok := fault.DetailOf(err); ok {
		for _, a := range [][2]string{{"node", d.Node}, {"split", d.Split}, {"code", d.Code}, {"stack", d.Stack}} {
			if a[1] != "" {
				args = append(args, a[0], a[1])
			}
		}
	}
	r.log.Error(msg, args...)
}

// noteEnd warns about what was counted and went nowhere, and finds out whether there was anything to do.
func (r *run) noteEnd() {
	read := int64(0)
	for _, n := range r.graph.Nodes {
		c := r.counters[n.Name]
		if n.Kind == adf.KindSource {
			read += c.Out.Load() + c.Errors.Load()
		}
		if late := c.Late.Load(); late > 0 && r.lateUnread(n) {
			r.log.Warn("late records were counted and are nowhere: nobody reads this output", "node", n.Name, "output", n.Name+".late", "records", late)
		}
	}
	if read > 0 {
		r.before = time.Time{}
	}
}

func (r *run) lateUnread(n *adf.Node) bool {
	return n.Kind == adf.KindKeyed && len(r.graph.Consumers(adf.Ref{Node: n.Name, Port: adf.PortLate})) == 0
}

func (r *run) stats() []NodeStats {
	stats := make([]NodeStats, len(r.graph.Nodes))
	for i, n := range r.graph.Nodes {
		c := r.counters[n.Name]
		stats[i] = NodeStats{
			Name: n.Name, Kind: n.Kind.String(), In: c.In.Load(), Out: c.Out.Load(), Late: c.Late.Load(), Errors: c.Errors.Load(),
			Splits: c.Splits.Load(), Parts: c.Parts.Load(), LateUnread: c.Late.Load() > 0 && r.lateUnread(n),
		}
	}
	return stats
}

func (r *run) result() Result {
	return Result{
		Flow: r.flow(), Run: r.id, RestoredEpoch: r.restored, Epoch: r.epoch.Load(), Finished: r.finished, FinishedBefore: r.before,
		Restarts: int(r.restarts.Load()), Nodes: r.stats(), Took: time.Since(r.began),
	}
}

// reportProgress calls Progress until the returned function is called.
func (r *run) reportProgress(ctx context.Context) (stop func()) {
	if r.Progress == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	report := func() { r.Progress(Progress{Epoch: r.epoch.Load(), Nodes: r.stats(), Took: time.Since(r.began)}) }
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				report()
			case <-ctx.Done():
				report()
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// backoff is the wait before the nth try again, from 1: 100 ms, doubled up to 30 s.
func backoff(n int) time.Duration {
	return min(100*time.Millisecond<<min(n-1, 16), 30*time.Second)
}

// gaveUp is an error that was tried again in place as often as allowed; the run does not start over for it.
type gaveUp struct{ err error }

func (g *gaveUp) Error() string { return g.err.Error() }
func (g *gaveUp) Unwrap() error { return g.err }

// patiently does something until it succeeds, no retry can help, or it was tried often enough.
func (r *run) patiently(ctx context.Context, doing string, do func() error) error {
	for n := 1; ; n++ {
		err := do()
		if err == nil || ctx.Err() != nil || !fault.Retryable(err) {
			return err
		}
		if n > r.Retries {
			return &gaveUp{err}
		}
		wait := backoff(n)
		r.log.Warn("trying again", "doing", doing, "error", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}
