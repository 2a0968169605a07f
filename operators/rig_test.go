package operators

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// rig runs a keyed step as a runtime would: some halves before the shuffle, buckets behind it, snapshots and restarts in between.
type rig struct {
	t         testing.TB
	step      AnyKeyed
	oc        OpContext
	buckets   int
	shuffles  []Shuffle
	task      KeyedTask
	state     map[int]*state.Bucket
	logs      map[int][][]byte
	watermark int64
	full      int // results after which the output is full

	results  []string
	late     []string
	failed   []string
	dropped  int64
	payloads [][]byte
}

func newRig(t testing.TB, step AnyKeyed, lanes, buckets int, bounded bool) *rig {
	t.Helper()
	r := &rig{t: t, step: step, buckets: buckets, state: map[int]*state.Bucket{}, logs: map[int][][]byte{}, watermark: record.NoTime, full: 1 << 30,
		oc: OpContext{Flow: "f", Node: "n", Run: "r", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Bounded: bounded}}
	for range lanes {
		s, err := step.Shuffle(0, r.oc, buckets)
		if err != nil {
			t.Fatal(err)
		}
		r.shuffles = append(r.shuffles, s)
	}
	r.newTask()
	return r
}

func (r *rig) newTask() {
	r.t.Helper()
	var err error
	if r.task, err = r.step.Task(r.oc); err != nil {
		r.t.Fatal(err)
	}
}

// add gives a batch to a lane, and resets it.
func (r *rig) add(lane int, b record.Any) {
	r.t.Helper()
	in := r.step.Inputs()[0]
	err := r.shuffles[lane].Add(b, func(i int) {
		r.late = append(r.late, string(in.AppendJSON(nil, b, i)))
	}, func(i int, err error) {
		r.failed = append(r.failed, fmt.Sprintf("%s: %v", in.AppendJSON(nil, b, i), err))
	})
	if err != nil {
		r.t.Fatal(err)
	}
	b.Reset()
}

// flush takes what a lane has to the buckets.
func (r *rig) flush(lane int) {
	r.t.Helper()
	last := -1
	if err := r.shuffles[lane].Flush(func(bucket int, payload []byte) {
		if bucket <= last || bucket >= r.buckets {
			r.t.Fatalf("bucket %d of %d comes after %d", bucket, r.buckets, last)
		}
		last = bucket
		r.payloads = append(r.payloads, payload)
		r.output(func(out Output) error {
			return r.task.Process(context.Background(), r.bucket(bucket), 0, payload, out)
		})
	}); err != nil {
		r.t.Fatal(err)
	}
	if n := r.shuffles[lane].Buffered(); n != 0 {
		r.t.Fatalf("%d bytes are buffered after a flush", n)
	}
}

func (r *rig) bucket(n int) *state.Bucket {
	b := r.state[n]
	if b == nil {
		b = state.NewBucket(r.step.Cells())
		r.state[n] = b
	}
	return b
}

// output collects what comes out of one call.
func (r *rig) output(do func(Output) error) {
	r.t.Helper()
	codec := r.step.Out()
	out := Output{
		Out: codec.NewBatch(), Late: r.step.Inputs()[0].NewBatch(), LateDropped: func(n int64) { r.dropped += n },
		Fail: func(json []byte, m record.Meta, split string, err error) {
			r.failed = append(r.failed, fmt.Sprintf("%s %d %q: %v", json, m.Time, split, err))
		},
	}
	out.Full = func() bool { return out.Out.Len() >= r.full }
	if err := do(out); err != nil {
		r.t.Fatal(err)
	}
	for i, m := range out.Out.Meta() {
		line := string(codec.AppendJSON(nil, out.Out, i))
		if m.Time != record.NoTime {
			line = fmt.Sprintf("%d %s", m.Time, line)
		}
		r.results = append(r.results, line)
	}
	out.Out.Reset()
}

// advance tells the buckets how far the input has come.
func (r *rig) advance(watermark, now int64) {
	r.t.Helper()
	r.watermark = max(r.watermark, watermark)
	for _, n := range slices.Sorted(maps.Keys(r.state)) {
		for more := true; more; {
			before := len(r.results)
			r.output(func(out Output) (err error) {
				more, err = r.task.Advance(context.Background(), r.state[n], r.watermark, now, out)
				return err
			})
			if more && len(r.results) == before {
				r.t.Fatal("a bucket says that more is due, and gives nothing")
			}
		}
		if event, processing := r.state[n].NextTimer(); event <= r.watermark && event != record.MaxTime || processing <= now {
			r.t.Fatalf("timers at %d and %d are still there at %d and %d", event, processing, r.watermark, now)
		}
	}
}

// snapshot appends what changed to the logs.
func (r *rig) snapshot() {
	for n, b := range r.state {
		delta, whole := b.Delta()
		if whole {
			r.logs[n] = nil
		}
		if delta != nil {
			r.logs[n] = append(r.logs[n], delta)
		}
	}
}

// restart takes a snapshot and goes on with what it holds.
func (r *rig) restart() {
	r.t.Helper()
	r.snapshot()
	if err := r.task.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.newTask()
	clear(r.state)
	for n, log := range r.logs {
		if err := r.bucket(n).Load(log); err != nil {
			r.t.Fatal(err)
		}
	}
}

// finish flushes all lanes and ends the input.
func (r *rig) finish() {
	r.t.Helper()
	for lane := range r.shuffles {
		r.flush(lane)
	}
	r.advance(record.MaxTime, 0)
	for _, b := range r.state {
		if delta, whole := b.Delta(); b.Size() != 0 || whole && len(delta) > 2 {
			r.t.Errorf("a bucket has %d bytes of state at the end", b.Size())
		}
	}
}

// want compares results in any order.
func (r *rig) want(lines ...string) {
	r.t.Helper()
	same(r.t, "results", r.results, lines)
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: got\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// rows makes a batch of JSON objects, each with "t" as its event time and "w" as its watermark, in milliseconds.
func rows(t testing.TB, s *row.Schema, split string, lines ...string) *record.Batch[row.Row] {
	t.Helper()
	b := &record.Batch[row.Row]{Split: split}
	for i, line := range lines {
		var m map[string]any
		d := json.NewDecoder(strings.NewReader(line))
		d.UseNumber()
		if err := d.Decode(&m); err != nil {
			t.Fatal(err)
		}
		vs := make([]row.Value, len(s.Fields))
		for j, f := range s.Fields {
			if m[f.Name] == nil {
				continue
			}
			v, err := row.ParseText(fmt.Append(nil, m[f.Name]), f.Type)
			if err != nil {
				t.Fatal(err)
			}
			vs[j] = v
		}
		meta := record.Meta{Time: record.NoTime, Watermark: record.NoTime, Position: int64(i)}
		for name, p := range map[string]*int64{"t": &meta.Time, "w": &meta.Watermark} {
			if n, ok := m[name].(json.Number); ok {
				*p, _ = n.Int64()
			}
		}
		b.Append(row.Row{Schema: s, Values: vs}, meta)
	}
	return b
}

func schema(t testing.TB, text string) *row.Schema {
	t.Helper()
	s, err := row.ParseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
