package adf_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// trip is what the flows of these tests read.
type trip struct {
	ID   int64     `adf:"id"`
	City string    `adf:"city"`
	At   time.Time `adf:"at"`
}

// count is what they make of it.
type count struct {
	City  string `adf:"city"`
	Trips int64  `adf:"trips"`
}

// counting counts trips.
type counting struct{}

func (counting) New() int64                 { return 0 }
func (counting) Add(n *int64, _ trip)       { *n++ }
func (counting) Merge(n *int64, more int64) { *n += more }
func (counting) Result(city string, _ operators.Span, n int64) count {
	return count{city, n}
}

// again counts counts.
type again struct{}

func (again) New() int64                                          { return 0 }
func (again) Add(n *int64, c count)                               { *n += c.Trips }
func (again) Merge(n *int64, more int64)                          { *n += more }
func (again) Result(city string, _ operators.Span, n int64) count { return count{city, n} }

// passing is a processor that gives what it gets.
type passing struct {
	operators.Processor[trip, string, trip]
}

func (passing) State() []state.Cell { return nil }

func cityOf(t trip) string    { return t.City }
func cityOfc(c count) string  { return c.City }
func whenOf(t trip) time.Time { return t.At }
func isOdd(t trip) bool       { return t.ID%2 == 1 }

func same(t trip) (trip, error) { return t, nil }

// none is where records of tests go.
func none[T any]() *discard.Sink[T] { return &discard.Sink[T]{} }

func trips() *memory.Source[trip] { return memory.Values[trip]() }

func endless() *memory.Source[trip] {
	return &memory.Source[trip]{Log: &memory.Log[trip]{}, Follow: true}
}

func rows(schema string) *memory.Source[row.Row] {
	s, err := row.ParseSchema(schema)
	if err != nil {
		panic(err)
	}
	return &memory.Source[row.Row]{RecordsCodec: row.RowCodec(s)}
}

// refusing is a sink that can not be made.
type refusing struct{}

func (refusing) Sink(*row.Codec[trip]) (sinks.Any, error) {
	return nil, errors.New("it is closed on Mondays")
}

// channels can not travel.
type channels struct {
	Name  string
	Inner struct{ Done chan bool }
}

type functions struct{ Call func() }

type functionSum struct{}

func (functionSum) New() functions                                 { return functions{} }
func (functionSum) Add(*functions, trip)                           {}
func (functionSum) Merge(*functions, functions)                    {}
func (functionSum) Result(string, operators.Span, functions) count { return count{} }

// wrongFlows are flows with mistakes. The call behind here is the one to blame; without it the mistake is the flow's.
var wrongFlows = []struct {
	name  string
	code  string
	build func(f *adf.Flow, here func())
	want  string // a line for each violation, without the place
}{
	{"a node's name", "flow.name", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		here()
		s.To("1st", none[trip]())
	}, `name: got "1st", want up to 63 letters, digits, '_' and '-', a letter first`},
	{"two nodes of a name", "flow.duplicate", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		s.Filter("odd", isOdd).To("out", none[trip]())
		here()
		s.Filter("odd", isOdd).To("out2", none[trip]())
	}, `odd: got a second node of this name, want names used once; the first is a step at FILE:LINE`},
	{"two sources of a name, of two types", "flow.duplicate", func(f *adf.Flow, here func()) {
		adf.From(f, "in", trips()).To("out", none[trip]())
		here()
		adf.From(f, "in", memory.Values("a")).To("texts", none[string]())
	}, `in: got a second node of this name, want names used once; the first is a source at FILE:LINE
texts.from: got in, whose records are adf_test.trip, want records that are string`},
	{"a broken second node does not hide the first", "flow.node", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		here()
		adf.From(f, "in", memory.Values(channels{}))
		adf.Union(s, s.Filter("odd", isOdd)).To("out", none[trip]())
	}, `in: got adf_test.channels.Inner.Done: a chan bool can not travel between processes, want a node that can be made`},
	{"no input", "flow.input", func(f *adf.Flow, here func()) {
		here()
		f.Errors().To("dead", none[sinks.DeadLetter]())
	}, `dead: got no input, want at least one
sources: got none, want at least one source`},
	{"nobody reads", "flow.unread", func(f *adf.Flow, here func()) {
		here()
		adf.From(f, "in", trips())
		adf.From(f, "other", trips()).To("out", none[trip]())
	}, `in: got an output that nobody reads, want a step or sink that reads from in`},
	{"nobody reads the errors", "flow.errors_unread", func(f *adf.Flow, here func()) {
		src := adf.From(f, "in", trips())
		g := f
		c, _ := g.Codec(adf.Ref{Node: "in"}).(*row.Codec[trip])
		op := operators.Filter(c, func(trip) (bool, error) { return true, nil })
		here()
		f.Add(&adf.Node{Name: "odd", Kind: adf.KindOp, Op: op, Out: c, Emit: true, Inputs: []adf.Edge{{From: adf.Ref{Node: "in"}}}})
		s, err := none[trip]().Sink(c)
		if err != nil {
			panic(err)
		}
		f.Add(&adf.Node{Name: "out", Kind: adf.KindSink, Sink: s, Out: c, Inputs: []adf.Edge{{From: adf.Ref{Node: "odd"}}}})
		src.To("all", none[trip]())
	}, `odd: got on_error: emit, and nobody reads odd.errors, want a sink or step that reads from odd.errors`},
	{"nothing", "flow.sources", func(*adf.Flow, func()) {}, `sources: got none, want at least one source
sinks: got none, want at least one sink`},
	{"no sink", "flow.sinks", func(f *adf.Flow, here func()) {
		adf.From(f, "in", trips())
	}, `in: got an output that nobody reads, want a step or sink that reads from in
sinks: got none, want at least one sink`},
	{"an input that is not there", "flow.from", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		c, _ := f.Codec(adf.Ref{Node: "in"}).(*row.Codec[trip])
		op := operators.Filter(c, func(trip) (bool, error) { return true, nil })
		here()
		f.Add(&adf.Node{Name: "odd", Kind: adf.KindOp, Op: op, Out: c, Inputs: []adf.Edge{{From: adf.Ref{Node: "later", Port: "late"}}}})
		s.To("out", none[trip]())
	}, `odd.from: got later.late, want a node that was added before`},
	{"a sink has no output", "flow.from", func(f *adf.Flow, here func()) {
		adf.From(f, "in", trips()).To("out", none[trip]())
		c, _ := f.Codec(adf.Ref{Node: "in"}).(*row.Codec[trip])
		s, err := none[trip]().Sink(c)
		if err != nil {
			panic(err)
		}
		here()
		f.Add(&adf.Node{Name: "copy", Kind: adf.KindSink, Sink: s, Out: c, Inputs: []adf.Edge{{From: adf.Ref{Node: "out"}}}})
	}, `copy.from: got the sink out, want a source or step: sinks have no output`},
	{"late records of a step without a window", "flow.late", func(f *adf.Flow, here func()) {
		counts := adf.Aggregate(adf.KeyBy(adf.From(f, "in", trips()), cityOf), "counts", counting{})
		counts.To("out", none[count]())
		here()
		counts.Late().To("late", none[trip]())
	}, `late.from: got counts.late, want the late output of a step with a window`},
	{"event time of a step", "flow.time", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips()).Filter("odd", isOdd)
		here()
		s.EventTime(whenOf, 0).To("out", none[trip]())
	}, `odd: got EventTime, want it right behind From: only sources have event time`},
	{"event time of a union", "flow.time", func(f *adf.Flow, here func()) {
		s := adf.Union(adf.From(f, "in", trips()), adf.From(f, "in2", trips()))
		here()
		s.EventTime(whenOf, 0).To("out", none[trip]())
	}, `in, in2: got EventTime, want it right behind From: only sources have event time`},
	{"an order of negative disorder", "flow.time", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		here()
		s.EventTime(whenOf, -time.Hour).To("out", none[trip]())
	}, `in: got records up to -1h0m0s out of order, want 0 or more`},
	{"idle without time", "flow.time", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		here()
		s.IdleAfter(time.Minute).To("out", none[trip]())
	}, `in: got IdleAfter, want it behind EventTime`},
	{"idle after nothing", "flow.time", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips()).EventTime(whenOf, time.Second)
		here()
		s.IdleAfter(0).To("out", none[trip]())
	}, `in: got idle after 0s, want more than 0`},
	{"a window over records without time", "flow.time", func(f *adf.Flow, here func()) {
		s := adf.Union(adf.From(f, "in", trips()).EventTime(whenOf, 0), adf.From(f, "in2", trips()))
		k := adf.KeyBy(s, cityOf).Window(adf.Tumbling(time.Hour))
		here()
		adf.Aggregate(k, "counts", counting{}).To("out", none[count]())
	}, `counts: got a window over records of in2, which have no event time, want sources with event time (time: {field: …} or EventTime)`},
	{"a window over results of the end", "flow.time", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips()).EventTime(whenOf, 0)
		totals := adf.Aggregate(adf.KeyBy(s, cityOf), "totals", counting{}).Filter("some", func(c count) bool { return c.Trips > 1 })
		k := adf.KeyBy(totals, cityOfc).Window(adf.Tumbling(time.Hour))
		here()
		adf.Aggregate(k, "counts", again{}).To("out", none[count]())
	}, `counts: got a window over results of totals, which come at the end and have no event time, want a window for totals`},
	{"no window over endless input", "flow.window", func(f *adf.Flow, here func()) {
		s := adf.Union(adf.From(f, "in", trips()), adf.From(f, "more", endless()))
		here()
		adf.Aggregate(adf.KeyBy(s, cityOf), "counts", counting{}).To("out", none[count]())
	}, `counts.window: got no window over input that does not end, want a window, as {tumbling: 24h}`},
	{"a window that nobody uses", "flow.window", func(f *adf.Flow, here func()) {
		k := adf.KeyBy(adf.From(f, "in", trips()), cityOf).Window(adf.Tumbling(time.Hour))
		here()
		adf.Process(k, "own", 0, func() operators.Processor[trip, string, trip] { return passing{} }).To("out", none[trip]())
	}, `own.window: got a window, want none: Process sets timers of its own`},
	{"a window of no size", "window.size", func(f *adf.Flow, here func()) {
		k := adf.KeyBy(adf.From(f, "in", trips()).EventTime(whenOf, 0), cityOf).Window(adf.Tumbling(0))
		here()
		adf.Aggregate(k, "counts", counting{}).To("out", none[count]())
	}, `counts.window.size: got 0s, want a size of whole milliseconds above zero`},
	{"a window of half milliseconds and a negative lateness", "window.size", func(f *adf.Flow, here func()) {
		k := adf.KeyBy(adf.From(f, "in", trips()).EventTime(whenOf, 0), cityOf).Window(adf.Tumbling(time.Microsecond).AllowedLateness(-1))
		here()
		adf.Aggregate(k, "counts", counting{}).To("out", none[count]())
	}, `counts.window.size: got 1µs, want a size of whole milliseconds above zero
counts.window.allowed_lateness: got -1ns, want whole milliseconds, not below zero`},
	{"streams of two flows", "flow.union", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		other := adf.From(adf.New("other"), "in", trips())
		here()
		adf.Union(s, other).To("out", none[trip]())
		s.To("all", none[trip]())
	}, `in: got a stream of the flow other, want streams of one flow`},
	{"a union of unlike rows", "flow.union", func(f *adf.Flow, here func()) {
		a, b := adf.From(f, "a", rows("id int64 not null")), adf.From(f, "b", rows("id int64, name string"))
		here()
		adf.Union(a, b).To("out", none[row.Row]())
	}, `out.from: got b with (id int64, name string), want the fields of a (id int64 not null)`},
	{"dead letters as rows, read as structs", "flow.type", func(f *adf.Flow, here func()) {
		f.ErrorsAsRows()
		adf.From(f, "in", trips()).To("out", none[trip]())
		here()
		f.Errors().To("dead", none[sinks.DeadLetter]())
	}, `dead.from: got in.errors, whose records are row.Row, want records that are sinks.DeadLetter`},
	{"parallelism of a step", "flow.parallelism", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips()).Filter("odd", isOdd)
		here()
		s.Parallelism(2).To("out", none[trip]())
	}, `odd: got Parallelism, want it right behind a source or a keyed step: other steps run where their input is`},
	{"no parallelism", "flow.parallelism", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		here()
		s.Parallelism(0).To("out", none[trip]())
	}, `in: got parallelism 0, want 1 or more`},
	{"a sink that can not be made", "flow.node", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		here()
		s.To("out", refusing{})
	}, `out: got it is closed on Mondays, want a node that can be made`},
	{"no source and no sink", "flow.node", func(f *adf.Flow, here func()) {
		adf.From(f, "in", trips()).To("out", nil)
		here()
		adf.From[trip, memory.Split](f, "nil", nil).To("other", none[trip]())
	}, `out: got nil, want a sink
nil: got nil, want a source`},
	{"a source of channels", "flow.node", func(f *adf.Flow, here func()) {
		here()
		adf.From(f, "in", memory.Values(channels{})).Filter("all", func(channels) bool { return true }).Errors().To("dead", none[sinks.DeadLetter]())
	}, `in: got adf_test.channels.Inner.Done: a chan bool can not travel between processes, want a node that can be made`},
	{"a step to functions", "flow.node", func(f *adf.Flow, here func()) {
		s := adf.From(f, "in", trips())
		here()
		adf.Map(s, "call", func(trip) (functions, error) { return functions{}, nil }).To("out", none[functions]())
	}, `call: got adf_test.functions.Call: a func() can not travel between processes, want a node that can be made`},
	{"an accumulator of functions", "flow.node", func(f *adf.Flow, here func()) {
		k := adf.KeyBy(adf.From(f, "in", trips()), cityOf)
		here()
		adf.Aggregate(k, "counts", functionSum{}).To("out", none[count]())
	}, `counts: got accumulator: adf_test.functions.Call: a func() can not travel between processes, want a node that can be made`},
	{"a key of channels", "flow.node", func(f *adf.Flow, here func()) {
		k := adf.KeyBy(adf.From(f, "in", trips()), func(trip) channels { return channels{} })
		here()
		adf.Process(k, "own", 0, func() operators.Processor[trip, channels, trip] { return nil }).To("out", none[trip]())
	}, `own: got key: adf_test.channels.Inner.Done: a chan bool can not travel between processes, want a node that can be made`},
	{"a negative TTL", "flow.node", func(f *adf.Flow, here func()) {
		k := adf.KeyBy(adf.From(f, "in", trips()), cityOf)
		here()
		adf.Process(k, "own", -time.Second, func() operators.Processor[trip, string, trip] { return passing{} }).To("out", none[trip]())
	}, `own: got got the TTL -1s, want one of at least zero, want a node that can be made`},
	{"options of connectors", "option.one_of", func(f *adf.Flow, here func()) {
		here()
		adf.From(f, "in", &file.Source[trip]{Path: "x", Format: "xml"}).To("out", none[trip]())
	}, `in.file.format: got xml, want one of csv, jsonl, json`},
}

func TestEveryMistakeOfAFlow(t *testing.T) {
	_, self, _, _ := runtime.Caller(0)
	seen := map[string]bool{}
	for _, c := range wrongFlows {
		f := adf.New("wrong")
		blamed := 0
		c.build(f, func() {
			_, _, line, _ := runtime.Caller(1)
			blamed = line + 1
		})
		_, err := f.Build(t.Context())
		var wrong *fault.ConfigurationError
		if !errors.As(err, &wrong) {
			t.Errorf("%s: got %v, want violations", c.name, err)
			continue
		}
		var lines []string
		atBlamed := blamed == 0
		for _, v := range wrong.Violations {
			seen[v.Code] = true
			if v.File != "" && (filepath.Base(v.File) != "flow_test.go" || v.Line == 0) {
				t.Errorf("%s: the place %s:%d is not where the flow was written", c.name, v.File, v.Line)
			}
			atBlamed = atBlamed || v.Line == blamed
			v.File, v.Line = "", 0
			text := strings.ReplaceAll(v.Error(), self, "FILE")
			if i := strings.Index(text, "FILE:"); i >= 0 {
				text = text[:i] + "FILE:LINE"
			}
			lines = append(lines, text)
		}
		if got := strings.Join(lines, "\n"); got != c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
		if !atBlamed {
			t.Errorf("%s: no violation is at line %d: %v", c.name, blamed, err)
		}
		if !slices.ContainsFunc(wrong.Violations, func(v fault.Violation) bool { return v.Code == c.code }) {
			t.Errorf("%s: no violation has the code %s: %v", c.name, c.code, err)
		}
		if _, again := f.Build(t.Context()); again == nil || again.Error() != err.Error() {
			t.Errorf("%s: built again, got %v, want %v", c.name, again, err)
		}
	}
	for _, code := range codesOf(t, "flow.go", "stream.go") {
		if !seen[code] {
			t.Errorf("no wrong flow has the code %s", code)
		}
	}
}

// codesOf finds the codes of violations in source files.
func codesOf(t *testing.T, files ...string) []string {
	constants, codes := map[string]string{}, map[string]bool{}
	parsed := map[string]*ast.File{}
	for _, name := range append(files, "yaml.go") {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed[name] = f
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && len(spec.Values) == 1 {
				if text, ok := spec.Values[0].(*ast.BasicLit); ok && text.Kind == token.STRING {
					constants[spec.Names[0].Name], _ = strconv.Unquote(text.Value)
				}
			}
			return true
		})
	}
	note := func(e ast.Expr) {
		switch e := e.(type) {
		case *ast.BasicLit:
			code, err := strconv.Unquote(e.Value)
			if err != nil {
				t.Fatal(err)
			}
			codes[code] = true
		case *ast.Ident:
			if code, ok := constants[e.Name]; ok {
				codes[code] = true
			}
		}
	}
	for _, name := range files {
		ast.Inspect(parsed[name], func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if s, ok := n.Fun.(*ast.SelectorExpr); ok && s.Sel.Name == "refuse" {
					note(n.Args[len(n.Args)-1])
				}
			case *ast.KeyValueExpr:
				if k, ok := n.Key.(*ast.Ident); ok && k.Name == "Code" {
					note(n.Value)
				}
			}
			return true
		})
	}
	if len(codes) < 10 {
		t.Fatalf("found only the codes %v", codes)
	}
	return slices.Sorted(maps.Keys(codes))
}

func TestAFlowsName(t *testing.T) {
	for _, name := range []string{"", "1", "a b", "ä", strings.Repeat("a", 64)} {
		_, _, line, _ := runtime.Caller(0)
		f := adf.New(name)
		adf.From(f, "in", trips()).To("out", none[trip]())
		_, err := f.Build(t.Context())
		var wrong *fault.ConfigurationError
		if !errors.As(err, &wrong) || len(wrong.Violations) != 1 || wrong.Violations[0].Code != "flow.name" || wrong.Violations[0].Line != line+1 {
			t.Errorf("%q: got %v", name, err)
		}
	}
	for _, name := range []string{"a", "A-b_9", strings.Repeat("a", 63)} {
		f := adf.New(name)
		adf.From(f, "in", trips()).To("out", none[trip]())
		if _, err := f.Build(t.Context()); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// Everybody who reads Flow.Errors gets the failures of all nodes but those that failed records go through themselves.
func TestErrorsOfAllNodes(t *testing.T) {
	f := adf.New("failing")
	f.Errors().To("first", none[sinks.DeadLetter]()) // before there is anything else
	in := adf.From(f, "in", trips()).EventTime(whenOf, 0)
	counts := adf.Aggregate(adf.KeyBy(adf.Map(in, "same", same), cityOf).Window(adf.Tumbling(time.Hour)), "counts", counting{})
	counts.To("out", none[count]())
	letters := f.Errors().Filter("some", func(sinks.DeadLetter) bool { return true })
	letters.To("second", none[sinks.DeadLetter]())
	byNode := adf.Aggregate(adf.KeyBy(f.Errors(), func(d sinks.DeadLetter) string { return d.Node }).Window(adf.Tumbling(time.Hour)), "per_node", perNode{})
	byNode.To("failures", none[count]())
	counts.Late().To("late", none[trip]())
	g, err := f.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := "in.errors same.errors counts.errors out.errors late.errors"
	for _, reader := range []string{"first", "some", "per_node"} {
		var from []string
		for _, e := range g.Node(reader).Inputs {
			from = append(from, e.From.String())
		}
		if got := strings.Join(from, " "); got != want {
			t.Errorf("%s reads %s, want %s", reader, got, want)
		}
	}
	emitting := map[string]bool{}
	order := map[string]int{}
	for i, n := range g.Nodes {
		order[n.Name] = i
		emitting[n.Name] = n.Emit
		for _, e := range n.Inputs {
			if at, ok := order[e.From.Node]; !ok || at >= i {
				t.Errorf("%s comes before its input %s", n.Name, e.From)
			}
		}
	}
	for name, emit := range emitting {
		if behind := slices.Contains([]string{"first", "some", "second", "per_node", "failures"}, name); emit == behind {
			t.Errorf("%s: got emit %v", name, emit)
		}
	}
	g.Explain() // walks every path, and comes to an end
}

type perNode struct{}

func (perNode) New() int64                       { return 0 }
func (perNode) Add(n *int64, _ sinks.DeadLetter) { *n++ }
func (perNode) Merge(n *int64, more int64)       { *n += more }
func (perNode) Result(node string, _ operators.Span, n int64) count {
	return count{node, n}
}
