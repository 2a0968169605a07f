package task_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/operators"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// note is what the flows of these tests read.
type note struct {
	N    int64
	Key  string
	Time int64
}

func when(n note) time.Time { return time.UnixMilli(n.Time) }
func key(n note) string     { return n.Key }

// tally is what their windows give.
type tally struct {
	Key   string
	Start int64
	N     int64
}

type tallying struct{}

func (tallying) New() int64                 { return 0 }
func (tallying) Add(a *int64, n note)       { *a += n.N }
func (tallying) Merge(a *int64, more int64) { *a += more }
func (tallying) Result(k string, w operators.Span, a int64) tally {
	return tally{k, w.Start, a}
}

// script is a source whose one reader gives what a test says, poll by poll.
type script struct {
	splits.Source[note, memory.Split]
	endless bool
	reader  scriptReader
}

// poll is what one poll gives.
type poll struct {
	split    int
	notes    []note
	given    int64 // the watermark that the source itself promises; 0: none
	rejected []record.Rejection
	done     bool
	status   splits.Status
}

type scriptReader struct {
	splits.Reader[note, memory.Split]
	at       map[int]int64
	next     poll
	noMore   bool
	finished []string
}

func (s *script) Boundedness() splits.Boundedness {
	if s.endless {
		return splits.Unbounded
	}
	return splits.Bounded
}
func (s *script) Codec() splits.Codec[memory.Split] { return splits.JSON[memory.Split]() }
func (s *script) Reader(context.Context, splits.ReaderContext) (splits.Reader[note, memory.Split], error) {
	s.reader = scriptReader{at: map[int]int64{}}
	return &s.reader, nil
}

func (r *scriptReader) Start(context.Context) error { return nil }
func (r *scriptReader) Poll(dst *record.Batch[note]) (splits.Status, error) {
	p := r.next
	r.next = poll{status: splits.Nothing}
	dst.Split = memory.Split{N: p.split}.SplitID()
	given := record.NoTime
	if p.given != 0 {
		given = p.given
	}
	for _, n := range p.notes {
		dst.Append(n, record.Meta{Time: record.NoTime, Watermark: given, Position: r.at[p.split]})
		r.at[p.split]++
	}
	dst.Rejected = append(dst.Rejected, p.rejected...)
	r.at[p.split] += int64(len(p.rejected))
	if p.done {
		delete(r.at, p.split)
		r.finished = append(r.finished, dst.Split)
	}
	if r.noMore && len(r.at) == 0 {
		return splits.End, nil
	}
	return p.status, nil
}
func (r *scriptReader) Ready() <-chan struct{} { return nil }
func (r *scriptReader) AddSplits(added []memory.Split) error {
	for _, s := range added {
		r.at[s.N] = s.Next
	}
	return nil
}
func (r *scriptReader) NoMoreSplits() { r.noMore = true }
func (r *scriptReader) Finished() []string {
	f := r.finished
	r.finished = nil
	return f
}
func (r *scriptReader) Snapshot() ([]memory.Split, error) {
	var all []memory.Split
	for n, next := range r.at {
		all = append(all, memory.Split{N: n, Next: next})
	}
	slices.SortFunc(all, func(a, b memory.Split) int { return a.N - b.N })
	return all, nil
}
func (r *scriptReader) CheckpointComplete(context.Context, []memory.Split) error { return nil }
func (r *scriptReader) Close() error                                             { return nil }

// collect is a direct sink that keeps what comes, with its meta.
type collect[T any] struct {
	values []T
	metas  []record.Meta
	splits []string
	opened int
	refuse func(T) error
}

func (c *collect[T]) Sink(*row.Codec[T]) (sinks.Any, error) { return sinks.EraseDirect[T](c), nil }
func (c *collect[T]) Guarantee() sinks.Guarantee            { return sinks.AtLeastOnce }
func (c *collect[T]) Writer(context.Context, sinks.WriterContext) (sinks.DirectWriter[T], error) {
	c.opened++
	return c, nil
}
func (c *collect[T]) Write(_ context.Context, b *record.Batch[T], fail func(int, error)) error {
	for i, v := range b.Values {
		if c.refuse != nil {
			if err := c.refuse(v); err != nil {
				fail(i, err)
				continue
			}
		}
		c.values, c.metas, c.splits = append(c.values, v), append(c.metas, b.Metas[i]), append(c.splits, b.Split)
	}
	return nil
}
func (c *collect[T]) Flush(context.Context) error { return nil }
func (c *collect[T]) Close() error                { return nil }

// rig drives the tasks of a flow by hand, as a runtime does.
type rig struct {
	t        testing.TB
	graph    *adf.Graph
	counters map[string]*task.Counters
	writes   map[string]*task.Write
}

func newRig(t testing.TB, f *adf.Flow) *rig {
	t.Helper()
	g, err := f.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t, g, map[string]*task.Counters{}, map[string]*task.Write{}}
	for _, n := range g.Nodes {
		r.counters[n.Name] = &task.Counters{}
		if exact, ok := n.Sink.(sinks.AnyExact); ok {
			r.writes[n.Name] = task.NewWrite(exact, func(context.Context, []byte) (*adfv1.BlobRange, error) { return &adfv1.BlobRange{}, nil })
		}
	}
	return r
}

func (r *rig) env() task.Env {
	return task.Env{
		Graph: r.graph, Run: "run", Log: slog.New(slog.DiscardHandler),
		Counters: func(node string) *task.Counters { return r.counters[node] },
		Write:    func(node string) *task.Write { return r.writes[node] },
	}
}

type lane struct{}

func (lane) Index() int    { return 0 }
func (lane) RequestSplit() {}

func (r *rig) read(node string, open bool) *task.Read {
	r.t.Helper()
	read, err := task.NewRead(r.t.Context(), r.env(), r.graph.Node(node), lane{}, open)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := read.Close(); err != nil {
			r.t.Error(err)
		}
	})
	return read
}

func (r *rig) keyed(node string) *task.Keyed {
	r.t.Helper()
	k, err := task.NewKeyed(r.t.Context(), r.env(), r.graph.Node(node))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := k.Close(); err != nil {
			r.t.Error(err)
		}
	})
	return k
}

// exchange carries what waits in the shuffles of a chain to a keyed step.
func (r *rig) exchange(from *task.Chain, to *task.Keyed) {
	r.t.Helper()
	type item struct {
		bucket  int
		payload []byte
	}
	var items []item
	for _, s := range from.Shuffles() {
		if err := s.Flush(func(bucket int, payload []byte) { items = append(items, item{bucket, payload}) }); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, i := range items {
		if err := to.Process(r.t.Context(), i.bucket, 0, i.payload); err != nil {
			r.t.Fatal(err)
		}
	}
}

// add gives a lane splits.
func add(t testing.TB, r *task.Read, splits ...memory.Split) {
	t.Helper()
	var states []*adfv1.ReadState
	for _, s := range splits {
		data, err := (&script{}).Codec().Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, &adfv1.ReadState{Id: s.SplitID(), Version: 1, Data: data})
	}
	if err := r.Add(states...); err != nil {
		t.Fatal(err)
	}
}

func texts[T any](vs []T) string {
	all := make([]string, len(vs))
	for i, v := range vs {
		all[i] = fmt.Sprint(v)
	}
	return strings.Join(all, " ")
}
