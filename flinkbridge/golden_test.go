package flinkbridge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/sinks"
)

// answer is what a run came to: the records of every output, in an order of their own, and what was counted.
type answer struct {
	outputs map[string][]string
	result  engine.Result
	err     error
}

// example makes a flow whose outputs go to a place of its own, and gives what to call for its outputs.
type example struct {
	name string
	make func(t *testing.T, out string) (f *adf.Flow, outputs func() map[string][]string)
}

// TestSameAnswers runs every example on the engine, on the direct runner and on prism.
func TestSameAnswers(t *testing.T) {
	for _, x := range examples {
		t.Run(x.name, func(t *testing.T) {
			want := x.run(t, func(ctx context.Context, g *adf.Graph) (engine.Result, error) {
				return engine.RunGraph(ctx, g, engine.Options{Parallelism: 3, Retries: -1})
			})
			if want.err == nil && len(want.outputs) == 0 {
				t.Fatal("the example has no output to compare")
			}
			for _, runner := range []Runner{Direct, Prism} {
				t.Run(string(runner), func(t *testing.T) {
					got := x.run(t, func(ctx context.Context, g *adf.Graph) (engine.Result, error) {
						return Run(ctx, g, RunOptions{Runner: runner, Parallelism: 3, Buckets: 16})
					})
					compare(t, want, got)
				})
			}
		})
	}
}

func (x example) run(t *testing.T, run func(ctx context.Context, g *adf.Graph) (engine.Result, error)) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limited)
	defer cancel()
	f, outputs := x.make(t, t.TempDir())
	g, err := f.Build(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	a.result, a.err = run(ctx, g)
	if a.err == nil {
		a.outputs = outputs()
	}
	return a
}

func compare(t *testing.T, want, got answer) {
	t.Helper()
	if code(want.err) != code(got.err) || want.err != nil && nodeOf(want.err) != nodeOf(got.err) {
		t.Fatalf("got the error %v, want %v", got.err, want.err)
	}
	if want.err != nil {
		return
	}
	for name, lines := range want.outputs {
		if !slices.Equal(got.outputs[name], lines) {
			t.Errorf("%s: got %d records, want %d; the first that differ: %s", name, len(got.outputs[name]), len(lines), firstDifference(got.outputs[name], lines))
		}
	}
	if len(got.outputs) != len(want.outputs) {
		t.Errorf("got %d outputs, want %d", len(got.outputs), len(want.outputs))
	}
	if !got.result.Finished {
		t.Error("the run is not finished")
	}
	for _, n := range want.result.Nodes {
		g := got.result.Node(n.Name)
		n.Parts, g.Parts = 0, 0 // they are cut differently
		if n != g {
			t.Errorf("got %+v, want %+v", g, n)
		}
	}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			return "nothing, want " + want[i]
		case i >= len(want):
			return got[i] + ", want nothing"
		case got[i] != want[i]:
			return got[i] + ", want " + want[i]
		}
	}
	return "none"
}

func code(err error) string {
	if d, ok := fault.DetailOf(err); ok {
		return d.Code
	}
	return fmt.Sprint(err)
}

func nodeOf(err error) string {
	d, _ := fault.DetailOf(err)
	return d.Node
}

var examples = []example{
	{"flights", func(t *testing.T, out string) (*adf.Flow, func() map[string][]string) {
		return fromFile(t, "internal/itest/testdata/flights.yaml", out, map[string]string{"bound": "1h"})
	}},
	{"numbers", func(t *testing.T, out string) (*adf.Flow, func() map[string][]string) {
		return fromFile(t, "internal/itest/testdata/numbers-errors.yaml", out, map[string]string{"records": "20000"})
	}},
	{"closures", closures},
	{"process", processing},
	{"two sources", union},
	{"record that fails", failing},
	{"panic", panicking},
	{"refused by the sink", refusing},
}

// fromFile reads a flow whose parameter out is where its files go.
func fromFile(t *testing.T, path, out string, params map[string]string) (*adf.Flow, func() map[string][]string) {
	t.Helper()
	r := connectors.NewRegistry(adf.Version)
	for _, register := range []func(*connectors.Registry) error{discard.Register, file.Register, generate.Register} {
		if err := register(r); err != nil {
			t.Fatal(err)
		}
	}
	params["out"] = out
	f, err := adf.Load(t.Context(), path, adf.LoadOptions{Registry: r, Params: params})
	if err != nil {
		t.Fatal(err)
	}
	return f, func() map[string][]string {
		all := map[string][]string{}
		err := filepath.WalkDir(out, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".jsonl") {
				return err
			}
			content, err := os.ReadFile(path)
			name := filepath.Base(filepath.Dir(path))
			all[name] = append(all[name], strings.Split(strings.TrimSpace(string(content)), "\n")...)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, lines := range all {
			slices.Sort(lines)
		}
		return all
	}
}

// reading is what the flows in Go read.
type reading struct {
	Sensor string
	Time   int64 // ms
	Value  int64
}

// readings are n readings of 7 sensors in some splits, each split with times of its own, and out of order by up to 40 ms.
func readings(n, splits int) [][]reading {
	all := make([][]reading, splits)
	for i := range n {
		at := int64(i)*10 - int64(i*7919%40)
		if i%97 == 0 {
			at -= 500 // late
		}
		all[i%splits] = append(all[i%splits], reading{fmt.Sprintf("s%d", i%7), at, int64(i * 31 % 100)})
	}
	return all
}

func texts[T any](s *memory.Store[T]) []string {
	var lines []string
	for _, r := range s.Records() {
		lines = append(lines, fmt.Sprintf("%+v", r))
	}
	slices.Sort(lines)
	return lines
}

// sensors is a source of readings with event time.
func sensors(f *adf.Flow, name string, n, splits int) adf.Stream[reading] {
	return adf.From(f, name, &memory.Source[reading]{Splits: readings(n, splits)}).
		EventTime(func(r reading) time.Time { return time.UnixMilli(r.Time) }, 100*time.Millisecond)
}

// window is the result of a window, of any accumulator.
type window[A any] struct {
	Key   string
	Start int64
	Got   A
}

// extent aggregates with functions that capture what the flow was made with.
type extent[A any] struct {
	fresh func() A
	add   func(*A, reading)
	merge func(*A, A)
}

func (e extent[A]) New() A              { return e.fresh() }
func (e extent[A]) Add(a *A, r reading) { e.add(a, r) }
func (e extent[A]) Merge(a *A, o A)     { e.merge(a, o) }
func (e extent[A]) Result(k string, w operators.Span, a A) window[A] {
	return window[A]{k, w.Start, a}
}

type least struct{ Least, Records int64 }

// closures is a Go flow of closures that capture and of generic operators: a window over windows, late records, and a direct sink.
func closures(t *testing.T, _ string) (*adf.Flow, func() map[string][]string) {
	offset, seen := int64(len(t.Name())%3), memory.Store[reading]{}
	var windows memory.Store[window[least]]
	var late memory.Store[reading]
	var totals memory.Store[window[int64]]
	f := adf.New("closures")
	shifted := adf.Map(sensors(f, "sensors", 5000, 4), "shift", func(r reading) (reading, error) {
		r.Value += offset - int64(len(t.Name())%3)
		return r, nil
	})
	shifted.Filter("small", func(r reading) bool { return r.Value < 50+offset-offset }).To("direct", &memory.Sink[reading]{Store: &seen, AtLeastOnce: true})
	bySensor := adf.KeyBy(shifted, func(r reading) string { return r.Sensor })
	w := adf.Aggregate(bySensor.Window(adf.Tumbling(time.Second)), "least", extent[least]{
		fresh: func() least { return least{Least: 1 << 40} },
		add:   func(a *least, r reading) { a.Least, a.Records = min(a.Least, r.Value), a.Records+1 },
		merge: func(a *least, o least) { a.Least, a.Records = min(a.Least, o.Least), a.Records+o.Records },
	})
	w.To("windows", memory.To(&windows))
	w.Late().To("late", memory.To(&late))
	counted := adf.Map(w.Stream, "count", func(x window[least]) (reading, error) { return reading{x.Key, x.Start, x.Got.Records}, nil })
	adf.Aggregate(adf.KeyBy(counted, func(r reading) string { return r.Sensor[:1] }).Window(adf.Tumbling(10*time.Second)), "sums", extent[int64]{
		fresh: func() int64 { return 0 },
		add:   func(a *int64, r reading) { *a += r.Value },
		merge: func(a *int64, o int64) { *a += o },
	}).To("totals", memory.To(&totals))
	return f, func() map[string][]string {
		return map[string][]string{"direct": texts(&seen), "windows": texts(&windows), "late": texts(&late), "totals": texts(&totals)}
	}
}

// alarmFn tells how long a sensor's value was above a limit: the result depends on the order of the readings.
type alarmFn struct {
	since *state.Value[int64]
	limit int64
}

func (p *alarmFn) State() []state.Cell                             { return []state.Cell{p.since} }
func (p *alarmFn) Open(context.Context, operators.OpContext) error { return nil }
func (p *alarmFn) Close() error                                    { return nil }
func (p *alarmFn) Process(_ context.Context, key string, r reading, m record.Meta, c *operators.Ctx[string]) error {
	since, on := p.since.Get(c)
	switch {
	case r.Value > p.limit && !on:
		p.since.Set(c, m.Time)
		c.SetEventTimer(m.Time+200, "long")
	case r.Value <= p.limit && on:
		c.Emit(fmt.Sprintf("%s from %d to %d", key, since, m.Time))
		c.DeleteTimer(operators.Timer{Time: since + 200, Tag: "long"})
		p.since.Clear(c)
	}
	return nil
}

func (p *alarmFn) OnTimer(_ context.Context, key string, t operators.Timer, c *operators.Ctx[string]) error {
	c.Emit(fmt.Sprintf("%s still at %d", key, t.Time))
	return nil
}

func processing(*testing.T, string) (*adf.Flow, func() map[string][]string) {
	var alarms memory.Store[string]
	limit := int64(35)
	f := adf.New("processing")
	keyed := adf.KeyBy(sensors(f, "sensors", 3000, 3), func(r reading) string { return r.Sensor })
	adf.Process(keyed, "alarms", 0, func() operators.Processor[reading, string, string] {
		return &alarmFn{state.NewValue[int64]("since", 0), limit}
	}).To("out", memory.To(&alarms))
	return f, func() map[string][]string { return map[string][]string{"alarms": texts(&alarms)} }
}

// union reads two sources into one step, and takes what fails.
func union(*testing.T, string) (*adf.Flow, func() map[string][]string) {
	var windows memory.Store[window[int64]]
	var dead memory.Store[sinks.DeadLetter]
	f := adf.New("union")
	both := adf.Union(sensors(f, "north", 1000, 2), sensors(f, "south", 700, 1))
	odd := adf.Map(both, "odd", func(r reading) (reading, error) {
		if r.Value == 42 {
			return r, errors.New("not this one")
		}
		return r, nil
	})
	adf.Aggregate(adf.KeyBy(odd, func(r reading) string { return r.Sensor }).Window(adf.Tumbling(time.Second)), "sums", extent[int64]{
		fresh: func() int64 { return 0 }, add: func(a *int64, r reading) { *a += r.Value }, merge: func(a *int64, o int64) { *a += o },
	}).To("out", memory.To(&windows))
	f.Errors().To("dead", memory.To(&dead))
	return f, func() map[string][]string {
		var letters []string
		for _, l := range dead.Records() {
			letters = append(letters, fmt.Sprintf("%s %s %d %s %s", l.Node, l.Split, l.Position, l.Error, l.Record))
		}
		slices.Sort(letters)
		return map[string][]string{"out": texts(&windows), "dead": letters}
	}
}

func failing(*testing.T, string) (*adf.Flow, func() map[string][]string) {
	return mapped("failing", func(r reading) (reading, error) {
		if r.Time == 1000 {
			return r, errors.New("not this one")
		}
		return r, nil
	})
}

func panicking(*testing.T, string) (*adf.Flow, func() map[string][]string) {
	return mapped("panicking", func(r reading) (reading, error) {
		if r.Time == 1000 {
			panic("at the disco")
		}
		return r, nil
	})
}

func mapped(name string, fn func(reading) (reading, error)) (*adf.Flow, func() map[string][]string) {
	var out memory.Store[reading]
	f := adf.New(name)
	adf.Map(adf.From(f, "in", &memory.Source[reading]{Splits: [][]reading{{{"a", 0, 1}, {"b", 1000, 2}, {"c", 2000, 3}}}}), "step", fn).To("out", memory.To(&out))
	return f, func() map[string][]string { return map[string][]string{"out": texts(&out)} }
}

func refusing(*testing.T, string) (*adf.Flow, func() map[string][]string) {
	var out memory.Store[reading]
	f := adf.New("refusing")
	adf.From(f, "in", &memory.Source[reading]{Splits: readings(100, 2)}).To("out", &memory.Sink[reading]{Store: &out, Refuse: func(r reading) error {
		if r.Time > 500 {
			return errors.New("too new")
		}
		return nil
	}})
	return f, func() map[string][]string { return map[string][]string{"out": texts(&out)} }
}
