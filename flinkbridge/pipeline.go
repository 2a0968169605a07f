package flinkbridge

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"runtime"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// Pipeline makes a Beam pipeline of a flow whose input ends. Any runner can run it: in this process as it is, in others when they run the same program, and
// [Options] say how they find the flow and where output is staged.
//
// A pipeline is one run: exactly-once sinks take its output once, however often runners repeat parts of it. Make a new one to run the flow again.
func Pipeline(ctx context.Context, f *adf.Flow, o Options) (*beam.Pipeline, error) {
	g, err := f.Build(ctx)
	if err != nil {
		return nil, err
	}
	var staging checkpoint.Store = &checkpoint.Memory{}
	if o.Staging != "" {
		if staging, err = checkpoint.OpenDirectory(o.Staging); err != nil {
			return nil, err
		}
	}
	s, err := specOf(ctx, g, o)
	if err != nil {
		return nil, err
	}
	// The pipeline is the caller's, and nobody says when it is done with: so this process keeps the flow.
	keep(newJob(context.Background(), s, g, staging, slog.Default()))
	return bounded(s, g)
}

// runBytes is the length of a run's id.
const runBytes = 8

func newRunID() string {
	id := make([]byte, runBytes)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// specOf makes a new run of a flow.
func specOf(ctx context.Context, g *adf.Graph, o Options) (spec, error) {
	if err := o.check(ctx, g); err != nil {
		return spec{}, err
	}
	s := spec{
		Form: form, Run: newRunID(), Flow: g.Plan.Flow(), Digest: g.Plan.Digest(), Builder: o.Builder, Params: o.Params, Staging: o.Staging,
		Lanes: o.Parallelism, Buckets: o.Buckets, Until: o.Until,
	}
	if s.Lanes == 0 {
		s.Lanes = runtime.GOMAXPROCS(0)
	}
	if s.Buckets == 0 {
		var err error
		if s.Buckets, err = bucketsFor(ctx, g); err != nil {
			return spec{}, fault.Within(err, s.Flow, "", "")
		}
	}
	return s, nil
}

// bucketBytes is how much of the input one bucket is to get. A runner may hold all of it in memory at once, as one list; and Flink's gives a worker a hundred such lists for
// each subtask before it looks whether the worker takes them, in direct memory.
const bucketBytes = 1 << 20

// bucketsFor is how many buckets a flow whose input ends has: those of the plan, and more for much input, as far as sources say their size. All sources together are
// an upper bound for each keyed step. Filters make it less, and aggregates, which are combined in front of the shuffle, much less when there are few keys; nobody knows
// that before. A bucket too many costs little, one too few the run.
func bucketsFor(ctx context.Context, g *adf.Graph) (int, error) {
	all := int64(0)
	for _, n := range g.Nodes {
		s, ok := n.Source.(splits.Sizer)
		if !ok || n.Source.Boundedness() != splits.Bounded {
			continue
		}
		if err := task.Guard(n.Name, func() error {
			if bytes, known := s.Size(ctx); known {
				all += bytes
			}
			return nil
		}); err != nil {
			return 0, err
		}
	}
	return int(max(int64(g.Plan.Buckets()), min(MaxBuckets, (all+bucketBytes-1)/bucketBytes))), nil
}

// bounded is the plan for input that ends: find the splits, read each with what is behind its source, group by bucket, take each bucket to the end of time, and
// commit at last.
//
//	impulse → enumerate → reshuffle → read + chain → route → group by bucket → keyed + chain → route → … → commit
func bounded(s spec, g *adf.Graph) (p *beam.Pipeline, err error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	defer recovered(s, &err)
	p, root := beam.NewPipelineWithRoot()
	start := beam.Impulse(root.Scope(startStep))
	outputs := map[string]beam.PCollection{}
	for _, n := range g.Nodes {
		scope := root.Scope(n.Name)
		switch n.Kind {
		case adf.KindSource:
			found := beam.ParDo(scope.Scope("enumerate"), &enumerateFn{Job: data, Node: n.Name}, start)
			outputs[n.Name] = beam.ParDo(scope.Scope("read"), &readFn{Job: data, Node: n.Name}, beam.Reshuffle(scope, found))
		case adf.KindKeyed:
			grouped := beam.GroupByKey(scope.Scope("group"), route(scope, g, n.Name, outputs))
			outputs[n.Name] = beam.ParDo(scope.Scope("process"), &keyedFn{Job: data, Node: n.Name}, grouped)
		}
	}
	if len(exactSinks(g)) > 0 || s.Staging != "" && slices.ContainsFunc(g.Nodes, func(n *adf.Node) bool { return n.Kind == adf.KindKeyed }) {
		scope := root.Scope(commitStep)
		beam.ParDo0(scope.Scope(commitStep), &commitFn{Job: data}, beam.GroupByKey(scope.Scope("group"), route(scope, g, commitName, outputs)))
	}
	return p, nil
}

// recovered makes an error of a panic, which is Beam's way to say that a pipeline is wrong. These are made here, so the mistake is ours.
func recovered(s spec, err *error) {
	if x := recover(); x != nil {
		*err = &fault.RuntimeError{Detail: fault.Detail{Code: "bridge.pipeline", Doing: "make a pipeline", Flow: s.Flow, Retry: fault.RetryNever, Err: asError(x)}}
	}
}

// route gives what the outputs of all chains have for one consumer, and what else there is for it. The commit of all output waits for all of them: it removes what waits in
// staging, for keyed steps too.
func route(scope beam.Scope, g *adf.Graph, to string, outputs map[string]beam.PCollection, more ...beam.PCollection) beam.PCollection {
	all := more
	for _, n := range g.Nodes {
		if out, ok := outputs[n.Name]; ok && (to == commitName || reaches(g, n, to)) {
			all = append(all, beam.ParDo(scope.Scope("from "+n.Name), &routeFn{To: to}, out))
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return beam.Flatten(scope.Scope("all"), all...)
}

// reaches says whether the chain behind a source or a keyed step comes to a consumer: a keyed step or an exactly-once sink.
func reaches(g *adf.Graph, from *adf.Node, to string) bool {
	return slices.ContainsFunc([]string{adf.PortMain, adf.PortLate, adf.PortErrors}, func(port string) bool {
		return slices.ContainsFunc(g.Consumers(adf.Ref{Node: from.Name, Port: port}), func(c adf.Consumer) bool { return arrives(g, c.Node, to) })
	})
}

func arrives(g *adf.Graph, n *adf.Node, to string) bool {
	switch n.Kind {
	case adf.KindSink:
		_, ok := n.Sink.(sinks.AnyExact)
		return ok && to == n.Name
	case adf.KindKeyed:
		if n.Name == to {
			return true
		}
		// What is late and what fails comes out in front of the shuffle; the results come behind it.
		return slices.ContainsFunc([]string{adf.PortLate, adf.PortErrors}, func(port string) bool {
			return slices.ContainsFunc(g.Consumers(adf.Ref{Node: n.Name, Port: port}), func(c adf.Consumer) bool { return arrives(g, c.Node, to) })
		})
	}
	return reaches(g, n, to)
}

// exactSinks are a flow's exactly-once sinks.
func exactSinks(g *adf.Graph) []*adf.Node {
	return slices.DeleteFunc(slices.Clone(g.Nodes), func(n *adf.Node) bool {
		_, ok := n.Sink.(sinks.AnyExact)
		return !ok
	})
}
