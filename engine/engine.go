package engine

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
)

// Until says when a run ends by itself; empty is Drained.
type Until string

const (
	// Drained ends when bounded input is read to its end: the watermark goes to its maximum and every window closes. Unbounded input never ends.
	Drained Until = "drained"
	// Idle ends when there is nothing to read for the moment. State and windows stay open for the next run.
	Idle Until = "idle"
	// Signal ends when Options.Stop says so, and not before.
	Signal Until = "signal"
)

// Options say how a flow is run. The zero value is ready: state in memory, one lane per CPU.
type Options struct {
	// Store keeps the checkpoints; nil keeps them in memory, so that a run survives its own failures and no crash.
	Store checkpoint.Store
	// Interval is the length of an epoch; 0 means 10 s.
	Interval time.Duration
	// Retain is how many checkpoints are kept; 0 means 3.
	Retain int
	// Parallelism is the number of lanes of a source and of workers of a keyed step that do not say it themselves; 0 means GOMAXPROCS.
	Parallelism int
	Until       Until
	// Stop, when closed, ends the run in order: a last checkpoint is saved and its output committed.
	Stop <-chan struct{}
	// Retries is how often in a row something is tried again that a retry can help: saving, committing, or the whole run from its last checkpoint.
	// The count starts anew with each saved checkpoint. 0 means 10, less none at all. The first wait is 100 ms and doubles up to 30 s.
	Retries int
	// Fresh ignores the saved state and starts over.
	Fresh bool
	// Rewind allows to go on from a checkpoint that is behind what sinks have committed already: output since then is repeated.
	Rewind bool
	// AllowDropped allows to go on when the checkpoint has state of nodes that the flow does not have any more; it is dropped.
	AllowDropped bool
	// Log takes what happens; nil is silent.
	Log *slog.Logger
	// Metrics, when set, gets a collector with what every node does, for as long as the run lasts.
	Metrics prometheus.Registerer
	// Progress, when set, is called several times a second from one goroutine.
	Progress func(Progress)
}

// Fields declares what can be said of a run in words; what a run is handed (Store, Stop, Log, Metrics, Progress) is for programs.
func (o *Options) Fields(b *connectors.Binder) {
	connectors.Value(b, "interval", &o.Interval).Default(10 * time.Second).Doc("How far checkpoints are apart.")
	connectors.Value(b, "retain", &o.Retain).Default(3).Doc("How many checkpoints are kept.").Check(positive)
	connectors.Value(b, "parallelism", &o.Parallelism).Check(notNegative).
		Doc("Lanes of each source and workers of each keyed step that do not say it themselves; without it one for each CPU.")
	connectors.Value(b, "retries", &o.Retries).Default(10).Doc("How often in a row a failure is tried again that a retry can help against; below 0 never.")
	connectors.Value(b, "until", &o.Until).Default(Drained).OneOf(Drained, Idle, Signal).
		Doc("When the run ends by itself: at the end of the input, when there is nothing to read for a second, or never.")
	connectors.Value(b, "fresh", &o.Fresh).Doc("Ignore the saved state and start over.")
	connectors.Value(b, "rewind", &o.Rewind).Doc("Go on from a checkpoint that is behind what sinks have committed: output since then is repeated.")
	connectors.Value(b, "allow_dropped", &o.AllowDropped).Doc("Drop saved state of nodes that the flow does not have any more.")
}

func positive(n int) error {
	if n < 1 {
		return errors.New("1 or more")
	}
	return nil
}

func notNegative(n int) error {
	if n < 0 {
		return errors.New("a number that is not negative")
	}
	return nil
}

// Register registers the engine as a runtime.
func Register(r *connectors.Registry) error {
	return r.Runtime(connectors.Descriptor{
		Name: "engine", Doc: "Runs a flow in this process.", Version: adf.Version, Core: ">=0.1.0-0, <1.0.0",
	}, func() connectors.Config { return &Options{} })
}

// Result is what a run came to.
type Result struct {
	Flow string `json:"flow"`
	Run  string `json:"run"`
	// RestoredEpoch is the checkpoint that the run went on from, 0 when it started empty; Epoch the last one that it saved.
	RestoredEpoch int64 `json:"restored_epoch"`
	Epoch         int64 `json:"epoch"`
	// Finished says that the input came to its end. FinishedBefore is set when it had done so in an earlier run, and there was nothing new.
	Finished       bool      `json:"finished"`
	FinishedBefore time.Time `json:"finished_before,omitzero"`
	// Restarts is how often the run went back to its last checkpoint.
	Restarts int           `json:"restarts"`
	Nodes    []NodeStats   `json:"nodes"`
	Took     time.Duration `json:"took_ns"`
}

// NodeStats are the counts of one node in one run. After a restart, what is read again is counted again.
type NodeStats struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	In     int64  `json:"records_in"`
	Out    int64  `json:"records_out"`
	Late   int64  `json:"late"`
	Errors int64  `json:"errors"`
	Splits int64  `json:"splits"`
	// Parts is how many parts an exactly-once sink has committed.
	Parts int64 `json:"parts"`
	// LateUnread says that nobody reads the node's late output.
	LateUnread bool `json:"late_unread,omitempty"`
}

// Node finds the stats of a node.
func (r Result) Node(name string) NodeStats {
	for _, n := range r.Nodes {
		if n.Name == name {
			return n
		}
	}
	return NodeStats{Name: name}
}

// Progress is where a run stands.
type Progress struct {
	Epoch int64
	Nodes []NodeStats
	Took  time.Duration
}

// Run runs a flow until it ends. The error is one of package fault's; the result is filled in then, too. When ctx ends the run stops at once and goes on from its last
// checkpoint next time; Options.Stop is the way to end it in order.
func Run(ctx context.Context, f *adf.Flow, o Options) (Result, error) {
	g, err := f.Build(ctx)
	if err != nil {
		return Result{Flow: f.Name()}, err
	}
	return RunGraph(ctx, g, o)
}

// RunGraph is Run for a flow that has been built already.
func RunGraph(ctx context.Context, g *adf.Graph, o Options) (Result, error) {
	if wrong := connectors.Check(&o, "options"); len(wrong) > 0 {
		return Result{Flow: g.Plan.Flow()}, fault.Config(wrong...)
	}
	if o.Store == nil {
		o.Store = &checkpoint.Memory{}
	}
	if o.Parallelism == 0 {
		o.Parallelism = runtime.GOMAXPROCS(0)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	r := newRun(g, o)
	err := r.run(ctx)
	return r.result(), err
}
