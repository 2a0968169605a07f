package flinkbridge

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/examples/lines"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// example is a flow that gives the same answers wherever it runs. It reads files below root or makes its input up, and its sinks write files below out: so a worker on
// another machine could make it again.
type example struct {
	name string
	flow func(ctx context.Context, root, out string) (*adf.Flow, error)
}

// examples are all of them; TestSameAnswers and TestSameAnswersOnFlink run each.
var examples = []example{
	{"flights", inFile("examples/flights/flow.yaml", nil)},
	{"flights with late ones", inFile("internal/itest/testdata/flights.yaml", map[string]string{"bound": "1h"})},
	{"flights in Go", flights},
	{"days of the tour", inFile("examples/tour/days.yaml", map[string]string{"bound": "1h"})},
	{"delays of the tour", inFile("examples/tour/delays.yaml", nil)},
	{"lenient of the tour", inFile("examples/tour/lenient.yaml", nil)},
	{"strict of the tour", inFile("examples/tour/strict.yaml", nil)},
	{"numbers", inFile("internal/itest/testdata/numbers-errors.yaml", map[string]string{"records": "20000"})},
	{"lines", inText("lines", "{flow: lines, version: 1, sources: {in: {lines: {dir: examples/flights/tables}}}, sinks: {out: {from: in, lines: {dir: out/lines}}}}", nil)},
	{"closures", closures},
	{"totals", totals},
	{"process", processing},
	{"two sources", union},
	{"record that fails", failing},
	{"panic", panicking},
	{"refused by the sink", refusing},
}

// The parameters of the builder that makes an example in a worker.
const (
	exampleBuilder = "example"
	nameParam      = "name"
	rootParam      = "root"
	outParam       = "out"
)

func init() {
	Register(exampleBuilder, func(ctx context.Context, p map[string]string) (*adf.Flow, error) {
		i := slices.IndexFunc(examples, func(x example) bool { return x.name == p[nameParam] })
		return examples[i].flow(ctx, p[rootParam], p[outParam])
	})
}

// answer is what a run came to: the lines of every output, in an order of their own, and what was counted.
type answer struct {
	outputs map[string][]string
	result  engine.Result
	err     error
}

// TestSameAnswers runs every example on the engine, on the direct runner and on prism.
func TestSameAnswers(t *testing.T) {
	for _, x := range examples {
		t.Run(x.name, func(t *testing.T) {
			want := x.want(t)
			if want.err != nil { // a cluster makes a text of it
				d, final := rest.FaultOf("java.lang.RuntimeException: Error received from SDK harness for instruction 5: " + marked(want.err).Error() + "\n\tat org.apache.beam.x")
				if !final || d.Code != code(want.err) || d.Node != nodeOf(want.err) {
					t.Errorf("got %+v of what a cluster shows of %v", d, want.err)
				}
			}
			for _, runner := range []Runner{Direct, Prism} {
				t.Run(string(runner), func(t *testing.T) {
					got := x.run(t, limited, func(ctx context.Context, f *adf.Flow, _ map[string]string) (engine.Result, error) {
						return Run(ctx, graphOf(t, f), RunOptions{Runner: runner, Parallelism: 3, Buckets: 16})
					})
					compare(t, want, got)
				})
			}
		})
	}
}

// want is what the engine answers.
func (x example) want(t *testing.T) answer {
	t.Helper()
	want := x.run(t, limited, func(ctx context.Context, f *adf.Flow, _ map[string]string) (engine.Result, error) {
		return engine.Run(ctx, f, engine.Options{Parallelism: 3, Retries: -1})
	})
	if want.err == nil && len(want.outputs) == 0 {
		t.Fatal("the example has no output to compare")
	}
	return want
}

// run runs an example; params are those of its builder.
func (x example) run(t *testing.T, most time.Duration, run func(ctx context.Context, f *adf.Flow, params map[string]string) (engine.Result, error)) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	params := map[string]string{nameParam: x.name, rootParam: root, outParam: t.TempDir()}
	f, err := x.flow(ctx, root, params[outParam])
	if err != nil {
		t.Fatal(err)
	}
	var a answer
	a.result, a.err = run(ctx, f, params)
	if a.err == nil {
		a.outputs = outputs(t, params[outParam])
	}
	return a
}

func graphOf(t *testing.T, f *adf.Flow) *adf.Graph {
	g, err := f.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// outputs are the lines of all files, by the folder that they are in.
func outputs(t *testing.T, out string) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	if err := filepath.WalkDir(out, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), ".") || !strings.HasSuffix(path, ".jsonl") && !strings.HasSuffix(path, ".txt") {
			return err
		}
		content, err := os.ReadFile(path)
		name := filepath.Base(filepath.Dir(path))
		for line := range strings.Lines(string(content)) {
			all[name] = append(all[name], line)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, lines := range all {
		slices.Sort(lines)
	}
	return all
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
	if d, ok := fault.DetailOf(err); ok {
		return d.Node
	}
	return ""
}

// inFile is a flow in a file of the repository: paths below out are those of the run, and below examples absolute; of the flights only a part is read.
func inFile(path string, params map[string]string) func(ctx context.Context, root, out string) (*adf.Flow, error) {
	return func(ctx context.Context, root, out string) (*adf.Flow, error) {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			return nil, err
		}
		return inText(path, string(text), params)(ctx, root, out)
	}
}

func inText(name, text string, params map[string]string) func(ctx context.Context, root, out string) (*adf.Flow, error) {
	return func(ctx context.Context, root, out string) (*adf.Flow, error) {
		r := connectors.NewRegistry(adf.Version)
		for _, register := range []func(*connectors.Registry) error{discard.Register, file.Register, generate.Register, lines.Register} {
			if err := register(r); err != nil {
				return nil, err
			}
		}
		text := regexp.MustCompile(`\bout/`).ReplaceAllLiteralString(text, out+"/")
		text = strings.ReplaceAll(text, "flights/*.csv.gz", "flights/2013-1*.csv.gz") // three months are enough
		text = regexp.MustCompile(`\bexamples/`).ReplaceAllLiteralString(text, root+"/examples/")
		return adf.Parse(ctx, name, []byte(text), adf.LoadOptions{Registry: r, Params: params})
	}
}

// reading is what the flows in Go read.
type reading struct {
	Sensor string
	Time   int64 // ms
	Value  int64
}

// readingOf is reading i of 7 sensors: out of order by up to 40 ms, and some late.
func readingOf(i int64) reading {
	at := i*10 - i*7919%40
	if i%97 == 0 {
		at -= 500
	}
	return reading{fmt.Sprintf("s%d", i%7), at, i * 31 % 100}
}

// sensors is a source of n readings with event time.
func sensors(f *adf.Flow, name string, n int64, splits int, bound time.Duration) adf.Stream[reading] {
	return adf.From(f, name, &generate.Source[reading]{Records: n, Splits: splits, Make: readingOf}).
		EventTime(func(r reading) time.Time { return time.UnixMilli(r.Time) }, bound)
}

// toFile is a sink of lines, exactly once.
func toFile[T any](out, name string) sinks.Sink[T] {
	return &file.Sink[T]{Path: out + "/" + name, Format: "jsonl"}
}

// appended is a sink of lines that are there when they are written.
type appended[T any] struct{ dir string }

func (s *appended[T]) Sink(c *row.Codec[T]) (sinks.Any, error) {
	return sinks.EraseDirect[T](&appending[T]{s, c}), nil
}

type appending[T any] struct {
	*appended[T]
	codec *row.Codec[T]
}

func (s *appending[T]) Guarantee() sinks.Guarantee { return sinks.AtLeastOnce }

func (s *appending[T]) Writer(context.Context, sinks.WriterContext) (sinks.DirectWriter[T], error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.dir, "*.jsonl")
	return &appender[T]{s.codec, f}, err
}

type appender[T any] struct {
	codec *row.Codec[T]
	file  *os.File
}

func (a *appender[T]) Write(_ context.Context, b *record.Batch[T], _ func(int, error)) error {
	var text []byte
	for i := range b.Len() {
		text = append(a.codec.AppendJSON(text, b, i), '\n')
	}
	_, err := a.file.Write(text)
	return err
}

func (a *appender[T]) Flush(context.Context) error { return a.file.Sync() }
func (a *appender[T]) Close() error                { return a.file.Close() }

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

// sums adds values up.
func sums() extent[int64] {
	return extent[int64]{
		fresh: func() int64 { return 0 }, add: func(a *int64, r reading) { *a += r.Value }, merge: func(a *int64, o int64) { *a += o },
	}
}

type least struct{ Least, Records int64 }

// flight is what the flow in Go reads of a flight.
type flight struct {
	Carrier  string    `adf:"carrier"`
	DepDelay *int64    `adf:"dep_delay"`
	TimeHour time.Time `adf:"time_hour"`
}

// flights counts delayed flights by carrier and day.
func flights(_ context.Context, root, out string) (*adf.Flow, error) {
	f := adf.New("flights-in-go")
	limit := int64(60)
	all := adf.From(f, "flights", &file.Source[flight]{Path: root + "/examples/flights/2013-1*.csv.gz", Format: "csv", NullText: []string{"NA"}}).
		EventTime(func(x flight) time.Time { return x.TimeHour }, 24*time.Hour)
	delayed := adf.Map(all.Filter("delayed", func(x flight) bool { return x.DepDelay != nil && *x.DepDelay >= limit }), "reading",
		func(x flight) (reading, error) { return reading{x.Carrier, x.TimeHour.UnixMilli(), 1}, nil })
	adf.Aggregate(adf.KeyBy(delayed, func(r reading) string { return r.Sensor }).Window(adf.Tumbling(24*time.Hour)), "per_day", sums()).
		To("out", toFile[window[int64]](out, "days"))
	return f, nil
}

// closures is a Go flow of closures that capture and of generic operators: a window over windows, late records, and a direct sink.
func closures(_ context.Context, _, out string) (*adf.Flow, error) {
	offset := int64(len(out) % 3)
	f := adf.New("closures")
	shifted := adf.Map(sensors(f, "sensors", 5000, 4, 100*time.Millisecond), "shift", func(r reading) (reading, error) {
		r.Value += offset
		return r, nil
	})
	back := adf.Map(shifted, "back", func(r reading) (reading, error) {
		r.Value -= offset
		return r, nil
	})
	back.Filter("small", func(r reading) bool { return r.Value+offset < 50+offset }).To("direct", &appended[reading]{out + "/direct"})
	bySensor := adf.KeyBy(back, func(r reading) string { return r.Sensor })
	w := adf.Aggregate(bySensor.Window(adf.Tumbling(time.Second)), "least", extent[least]{
		fresh: func() least { return least{Least: 1 << 40} },
		add:   func(a *least, r reading) { a.Least, a.Records = min(a.Least, r.Value), a.Records+1 },
		merge: func(a *least, o least) { a.Least, a.Records = min(a.Least, o.Least), a.Records+o.Records },
	})
	w.Late().To("late", toFile[reading](out, "late"))
	counted := adf.Map(w.Stream, "count", func(x window[least]) (reading, error) { return reading{x.Key, x.Start, x.Got.Records}, nil })
	counted.To("windows", toFile[reading](out, "windows"))
	adf.Aggregate(adf.KeyBy(counted, func(r reading) string { return r.Sensor[:1] }).Window(adf.Tumbling(10*time.Second)), "sums", sums()).
		To("totals", toFile[window[int64]](out, "totals"))
	return f, nil
}

// totals is a step without a window behind one that has windows: its result comes at the end of the input.
func totals(_ context.Context, _, out string) (*adf.Flow, error) {
	f := adf.New("totals")
	w := adf.Aggregate(adf.KeyBy(sensors(f, "sensors", 2000, 3, time.Second), func(r reading) string { return r.Sensor }).Window(adf.Tumbling(time.Second)), "windows", sums())
	again := adf.Map(w.Stream, "again", func(x window[int64]) (reading, error) { return reading{x.Key, x.Start, x.Got}, nil })
	adf.Aggregate(adf.KeyBy(again, func(r reading) string { return r.Sensor }), "all", sums()).To("out", toFile[window[int64]](out, "totals"))
	return f, nil
}

// alarm is what a processor tells.
type alarm struct{ Text string }

// alarmFn tells how long a sensor's value was above a limit: the result depends on the order of the readings. With the first of each it asks the clock for a call.
type alarmFn struct {
	since, seen *state.Value[int64]
	limit       int64
}

func (p *alarmFn) State() []state.Cell                             { return []state.Cell{p.since, p.seen} }
func (p *alarmFn) Open(context.Context, operators.OpContext) error { return nil }
func (p *alarmFn) Close() error                                    { return nil }
func (p *alarmFn) Process(_ context.Context, key string, r reading, m record.Meta, c *operators.Ctx[alarm]) error {
	if _, seen := p.seen.Get(c); !seen {
		p.seen.Set(c, m.Time)
		c.SetProcessingTimer(c.Now(), "seen")
	}
	since, on := p.since.Get(c)
	switch {
	case r.Value > p.limit && !on:
		p.since.Set(c, m.Time)
		c.SetEventTimer(m.Time+200, "long")
	case r.Value <= p.limit && on:
		c.Emit(alarm{fmt.Sprintf("%s from %d to %d", key, since, m.Time)})
		c.DeleteTimer(operators.Timer{Time: since + 200, Tag: "long"})
		p.since.Clear(c)
	}
	return nil
}

func (p *alarmFn) OnTimer(_ context.Context, key string, t operators.Timer, c *operators.Ctx[alarm]) error {
	if t.Processing {
		c.Emit(alarm{key + " is " + t.Tag})
		return nil
	}
	c.Emit(alarm{fmt.Sprintf("%s still at %d", key, t.Time)})
	return nil
}

func processing(_ context.Context, _, out string) (*adf.Flow, error) {
	limit := int64(35)
	f := adf.New("processing")
	keyed := adf.KeyBy(sensors(f, "sensors", 600, 3, time.Second), func(r reading) string { return r.Sensor })
	adf.Process(keyed, "alarms", 0, func() operators.Processor[reading, string, alarm] {
		return &alarmFn{state.NewValue[int64]("since", 0), state.NewValue[int64]("seen", 0), limit}
	}).To("out", toFile[alarm](out, "alarms"))
	return f, nil
}

// union reads two sources into one step, and takes what fails.
func union(_ context.Context, _, out string) (*adf.Flow, error) {
	f := adf.New("union")
	both := adf.Union(sensors(f, "north", 1000, 2, 100*time.Millisecond), sensors(f, "south", 700, 1, 100*time.Millisecond))
	odd := adf.Map(both, "odd", func(r reading) (reading, error) {
		if r.Value == 42 {
			return r, errors.New("not this one")
		}
		return r, nil
	})
	adf.Aggregate(adf.KeyBy(odd, func(r reading) string { return r.Sensor }).Window(adf.Tumbling(time.Second)), "sums", sums()).
		To("out", toFile[window[int64]](out, "sums"))
	f.Errors().To("dead", toFile[sinks.DeadLetter](out, "dead"))
	return f, nil
}

func failing(_ context.Context, _, out string) (*adf.Flow, error) {
	return mapped(out, "failing", func(r reading) (reading, error) {
		if r.Value == 42 {
			return r, errors.New("not this one")
		}
		return r, nil
	})
}

func panicking(_ context.Context, _, out string) (*adf.Flow, error) {
	return mapped(out, "panicking", func(r reading) (reading, error) {
		if r.Value == 42 {
			panic("at the disco")
		}
		return r, nil
	})
}

func mapped(out, name string, fn func(reading) (reading, error)) (*adf.Flow, error) {
	f := adf.New(name)
	adf.Map(adf.From(f, "in", &generate.Source[reading]{Records: 100, Splits: 2, Make: readingOf}), "step", fn).To("out", toFile[reading](out, "out"))
	return f, nil
}

// ratio is what a sink of JSON lines does not take when it is not finite.
type ratio struct{ Value float64 }

func refusing(_ context.Context, _, out string) (*adf.Flow, error) {
	f := adf.New("refusing")
	adf.Map(adf.From(f, "in", &generate.Source[reading]{Records: 100, Splits: 2, Make: readingOf}), "ratio", func(r reading) (ratio, error) {
		if r.Value == 42 {
			return ratio{math.Inf(1)}, nil
		}
		return ratio{1 / float64(r.Value+1)}, nil
	}).To("out", toFile[ratio](out, "out"))
	return f, nil
}
