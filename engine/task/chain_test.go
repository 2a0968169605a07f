package task_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// counted is an operator that counts its instances.
type counted struct{ opened, closed *int }

func (c counted) Open(context.Context, operators.OpContext) error { *c.opened++; return nil }
func (c counted) Process(_ context.Context, in, out *record.Batch[note], fail func(int, error)) error {
	for i, n := range in.Values {
		if n.N == 13 {
			fail(i, &fault.RuntimeError{Detail: fault.Detail{Code: "test.thirteen", Err: errors.New("bad luck")}})
			continue
		}
		out.Append(n, in.Metas[i])
	}
	return nil
}
func (c counted) Close() error { *c.closed++; return nil }

// A step that several branches of one lane lead to is opened once, and what fails in it or in a sink is a dead letter with its place.
func TestBranchesIntoOneStep(t *testing.T) {
	src := &script{}
	opened, closed := 0, 0
	a, b, dead := &collect[note]{}, &collect[note]{}, &collect[sinks.DeadLetter]{}
	b.refuse = func(n note) error {
		if n.N == 4 {
			return errors.New("no fours")
		}
		return nil
	}
	f := adf.New("branches")
	in := adf.From(f, "in", src).EventTime(when, 0)
	odd := in.Filter("odd", func(n note) bool { return n.N%2 == 1 })
	even := in.Filter("even", func(n note) bool { return n.N%2 == 0 })
	both := adf.Through(adf.Union(odd, even), "both", func() operators.Operator[note, note] { return counted{&opened, &closed} })
	both.To("a", a)
	both.To("b", b) // two sinks on one output
	f.Errors().To("dead", dead)
	r := newRig(t, f)
	read, err := task.NewRead(t.Context(), r.env(), r.graph.Node("in"), lane{}, false)
	if err != nil {
		t.Fatal(err)
	}
	add(t, read, memory.Split{N: 2})
	src.reader.next = poll{split: 2, notes: []note{{1, "a", 10}, {4, "b", 20}, {13, "c", 30}}}
	if _, err := read.Poll(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(read.Chain.FlushSinks(t.Context()), read.Close()); err != nil {
		t.Fatal(err)
	}
	if opened != 1 || closed != 1 || a.opened != 1 || b.opened != 1 || dead.opened != 1 {
		t.Errorf("opened the step %d times and closed it %d times, the sinks %d, %d and %d times", opened, closed, a.opened, b.opened, dead.opened)
	}
	if texts(a.values) != "{1 a 10} {4 b 20}" || texts(b.values) != "{1 a 10}" || a.splits[0] != "2" {
		t.Errorf("got %v of the splits %v, and %v", a.values, a.splits, b.values)
	}
	var got []string
	for _, d := range dead.values {
		got = append(got, fmt.Sprintf("%s|%s|%d|%d|%s|%s|%s", d.Node, d.Split, d.Position, d.Time.UnixMilli(), d.Code, d.Error, d.Record))
	}
	want := `both|2|2|30|test.thirteen|runtime: bad luck [test.thirteen]|{"N":13,"Key":"c","Time":30}
b|2|1|20||no fours|{"N":4,"Key":"b","Time":20}`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
	if c := r.counters["both"]; c.In.Load() != 3 || c.Out.Load() != 2 || c.Errors.Load() != 1 {
		t.Errorf("counted %d in, %d out, %d failed", c.In.Load(), c.Out.Load(), c.Errors.Load())
	}
}

// Late records leave in front of the shuffle, into the lane's own chain.
func TestLateInFrontOfTheShuffle(t *testing.T) {
	src := &script{}
	out, late := &collect[tally]{}, &collect[string]{}
	f := adf.New("late")
	in := adf.From(f, "in", src).EventTime(when, time.Second)
	totals := adf.Aggregate(adf.KeyBy(in, key).Window(adf.Tumbling(10*time.Second).AllowedLateness(2*time.Second)), "totals", tallying{})
	totals.To("out", out)
	adf.Map(totals.Late(), "keys", func(n note) (string, error) { return fmt.Sprint(n.Key, n.N), nil }).To("late", late)
	r := newRig(t, f)
	read, keyed := r.read("in", false), r.keyed("totals")
	add(t, read, memory.Split{N: 0})
	src.reader.next = poll{notes: []note{{1, "a", 1_000}, {2, "a", 12_900}, {3, "a", 2_000}, {4, "a", 13_000}, {5, "b", 3_000}, {6, "b", 13_500}}}
	if _, err := read.Poll(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if texts(late.values) != "b5" || late.splits[0] != "0" || late.metas[0].Position != 4 {
		t.Errorf("got the late records %v of %v, %+v", late.values, late.splits, late.metas)
	}
	if n := r.counters["totals"].Late.Load(); n != 1 {
		t.Errorf("counted %d late records", n)
	}
	if read.Chain.Buffered() == 0 {
		t.Error("nothing waits in front of the shuffle")
	}
	r.exchange(read.Chain, keyed)
	if err := keyed.Advance(t.Context(), 11_999, 1); err != nil || len(out.values) != 0 {
		t.Errorf("a window closed early: %v, %v", out.values, err)
	}
	if got := keyed.OutputWatermark(12_000); got != 10_000 {
		t.Errorf("the output's watermark is %d, want 10000: it trails by the allowed lateness", got)
	}
	if err := keyed.Advance(t.Context(), 12_000, 1); err != nil || texts(out.values) != "{a 0 4}" {
		t.Errorf("got %v, %v", out.values, err)
	}
	if m := out.metas[0]; m.Time != 9_999 || m.Watermark != 9_999 {
		t.Errorf("the result has %+v", m)
	}
}

// jsonl is a source of rows that reads the same text again and again.
type jsonl struct {
	splits.Source[row.Row, memory.Split]
	codec  *row.Codec[row.Row]
	text   []byte
	reader jsonlReader
}

type jsonlReader struct {
	splits.Reader[row.Row, memory.Split]
	*jsonl
	text *format.Reader[row.Row]
	from repeated
}

// repeated is a text without an end.
type repeated struct {
	text []byte
	at   int
}

func (r *repeated) Read(p []byte) (int, error) {
	n := copy(p, r.text[r.at:])
	r.at = (r.at + n) % len(r.text)
	return n, nil
}

func (s *jsonl) Boundedness() splits.Boundedness           { return splits.Unbounded }
func (s *jsonl) Codec() splits.Codec[memory.Split]         { return splits.JSON[memory.Split]() }
func (s *jsonl) RecordCodec() (*row.Codec[row.Row], error) { return s.codec, nil }
func (s *jsonl) Reader(context.Context, splits.ReaderContext) (splits.Reader[row.Row, memory.Split], error) {
	s.reader = jsonlReader{jsonl: s, from: repeated{text: s.text}}
	var err error
	s.reader.text, err = format.NewReader(&s.reader.from, format.Options{Format: "jsonl"}, s.codec, format.Start{Name: "text"})
	return &s.reader, err
}
func (r *jsonlReader) Start(context.Context) error { return nil }
func (r *jsonlReader) Poll(dst *record.Batch[row.Row]) (splits.Status, error) {
	dst.Split = "0"
	if err := r.text.Read(dst, splits.BatchRecords, splits.BatchBytes); err != nil && err != io.EOF {
		return splits.Nothing, err
	}
	return splits.More, nil
}
func (r *jsonlReader) Finished() []string                   { return nil }
func (r *jsonlReader) AddSplits(added []memory.Split) error { return nil }
func (r *jsonlReader) Close() error                         { return nil }

// Decode, filter, set and encode allocate next to nothing per record.
func TestAllocationsOfRows(t *testing.T) {
	var text bytes.Buffer
	for i := range 5_000 {
		fmt.Fprintf(&text, `{"id":%d,"carrier":"UA","origin":"EWR","delay":%d,"at":"2013-01-01T10:00:00Z","fare":12.5}`+"\n", i, i%100-10)
	}
	schema, err := row.ParseSchema("id int64 not null, carrier string, origin string, delay int64, at timestamp, fare float64")
	if err != nil {
		t.Fatal(err)
	}
	src := &jsonl{codec: row.RowCodec(schema), text: text.Bytes()}
	f := adf.New("rows")
	in := adf.From(f, "in", src)
	step := func(name string, from string, op operators.Any, err error) *row.Codec[row.Row] {
		if err != nil {
			t.Fatal(err)
		}
		f.Add(&adf.Node{Name: name, Kind: adf.KindOp, Op: op, Out: op.Out(), Inputs: []adf.Edge{{From: adf.Ref{Node: from}}}})
		return op.Out().(*row.Codec[row.Row])
	}
	filter, err := operators.FilterRows(schema, "delay > 0 && carrier == 'UA'")
	kept := step("kept", "in", filter, err)
	set, err := operators.SetRows(kept.Schema(), []operators.Assign{{Name: "hours", Expr: "delay / 60.0"}, {Name: "place", Expr: "origin"}})
	out := step("set", "kept", set, err)
	sink, err := (&file.Sink[row.Row]{Path: t.TempDir(), Format: "jsonl"}).Sink(out)
	if err != nil {
		t.Fatal(err)
	}
	f.Add(&adf.Node{Name: "out", Kind: adf.KindSink, Sink: sink, Out: out, Inputs: []adf.Edge{{From: adf.Ref{Node: "set"}}}})
	_ = in
	r := newRig(t, f)
	read := r.read("in", false)
	add(t, read, memory.Split{})
	ctx := t.Context()
	poll := func() {
		if _, err := read.Poll(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 {
		poll()
	}
	before := r.counters["in"].Out.Load()
	const polls = 200
	allocs := testing.AllocsPerRun(polls, poll)
	records := float64(r.counters["in"].Out.Load()-before) / (polls + 1)
	if records < 900 || r.counters["out"].In.Load() == 0 {
		t.Fatalf("%g records a batch, %d in the sink", records, r.counters["out"].In.Load())
	}
	if per := allocs / records; per >= 0.01 {
		t.Errorf("%g allocations per record (%g for a batch of %g)", per, allocs, records)
	}
}
