package adftest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// Option is a piece of a test's script, or says how the flow is run. Input is read in the order of the options.
type Option func(*setup)

// Run runs a flow on scripted input and gives what came out. Every source must be given something, an empty split at least; sources and sinks
// themselves are not touched. A mistake in the script, and an error of the flow, end the test.
func Run(t testing.TB, f *adf.Flow, options ...Option) *Result {
	t.Helper()
	s := prepare(t, f, options)
	r, err := s.run(s.cuts)
	if err != nil {
		t.Fatalf("flow %s: %v", f.Name(), err)
	}
	if s.anywhere {
		s.crashAnywhere(r)
	}
	return r
}

// Failure runs a flow that has to fail, and gives its error; see package fault for what is in it.
func Failure(t testing.TB, f *adf.Flow, options ...Option) error {
	t.Helper()
	s := prepare(t, f, options)
	_, err := s.run(s.cuts)
	if err == nil {
		t.Fatalf("flow %s: it came to its end, want an error", f.Name())
	}
	return err
}

// Load reads a flow from a YAML or JSON file, as adf.Load does. Without a registry in o, one with the given connectors is made:
//
//	f := adftest.Load(t, "flow.yaml", adf.LoadOptions{}, file.Register)
func Load(t testing.TB, path string, o adf.LoadOptions, with ...func(*connectors.Registry) error) *adf.Flow {
	t.Helper()
	if o.Registry == nil {
		o.Registry = connectors.NewRegistry(adf.Version)
	}
	for _, register := range with {
		if err := register(o.Registry); err != nil {
			t.Fatal(err)
		}
	}
	f, err := adf.Load(t.Context(), path, o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// CrashAt cuts the run off hard when the sources have read n records (and handed them on), and goes on in a new one from the last checkpoint. That is one saved
// half way there, unless [CheckpointAt] says otherwise. Several may be given.
func CrashAt(n int) Option { return func(s *setup) { s.cuts = append(s.cuts, cut{n, true}) } }

// CheckpointAt saves a checkpoint when the sources have read n records.
func CheckpointAt(n int) Option { return func(s *setup) { s.cuts = append(s.cuts, cut{n, false}) } }

// CrashAnywhere runs the flow once more for each record, cut off there, and wants the same output each time. All of these runs happen one after the other,
// with one lane and with three in turn.
func CrashAnywhere() Option { return func(s *setup) { s.anywhere = true } }

// Parallelism is how many lanes a source and workers a keyed step have that do not say it themselves; 1 when it is not given. Output does not depend on it.
func Parallelism(n int) Option { return func(s *setup) { s.parallelism = n } }

// StayOpen ends the run at the end of the script as if more were to come: windows that wait for more give no result. Without it the end of the
// script is the end of the input, also of sources that never end.
func StayOpen() Option { return func(s *setup) { s.script.open = true } }

// cut is where a run ends and the next one goes on: hard, or in order with a checkpoint.
type cut struct {
	at    int
	crash bool
}

// setup is a test being put together.
type setup struct {
	testing.TB
	graph       *adf.Graph
	script      *script
	parallelism int
	cuts        []cut
	anywhere    bool
}

func prepare(t testing.TB, f *adf.Flow, options []Option) *setup {
	t.Helper()
	g, err := f.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &setup{TB: t, graph: g, script: &script{}, parallelism: 1}
	for _, o := range options {
		o(s)
	}
	for _, name := range s.sources() {
		if !slices.ContainsFunc(s.script.splits, func(sp *split) bool { return sp.source == name }) {
			t.Fatalf("adftest: the source %s is given nothing, want adftest.In(%q, …), or adftest.JSON(%[1]q) for an empty one", name, name)
		}
	}
	for _, sp := range s.script.splits {
		if sp.promised {
			t.Fatalf("adftest.Watermark(%q): no record of the split comes behind it, and it is the next one that carries it", sp.id)
		}
	}
	for i, c := range s.cuts {
		if c.at < 1 || c.at > s.script.total {
			t.Fatalf("adftest.%s(%d): want 1 to %d, the number of records in the script", c, c.at, s.script.total)
		}
		if slices.Contains(s.cuts[:i], c) {
			t.Fatalf("adftest.%s(%d) is given twice", c, c.at)
		}
	}
	if s.parallelism < 1 {
		t.Fatalf("adftest.Parallelism(%d): want 1 or more", s.parallelism)
	}
	s.cuts = planned(s.cuts)
	return s
}

func (c cut) String() string {
	if c.crash {
		return "CrashAt"
	}
	return "CheckpointAt"
}

// planned puts the cuts in order, and a checkpoint before each crash that has none.
func planned(cuts []cut) []cut {
	cuts = slices.Clone(cuts)
	slices.SortFunc(cuts, func(a, b cut) int {
		if a.at == b.at && a.crash != b.crash { // first the checkpoint
			if b.crash {
				return -1
			}
			return 1
		}
		return cmp.Compare(a.at, b.at)
	})
	var all []cut
	before := 0
	for i, c := range cuts {
		if half := before + (c.at-before)/2; c.crash && half > before && (i == 0 || cuts[i-1].crash) {
			all = append(all, cut{half, false})
		}
		all = append(all, c)
		before = c.at
	}
	return all
}

// errCut is why a run was cut off.
var errCut = errors.New("the test cuts the run off")

// run runs the flow from the beginning to the end of the script, with the cuts given.
func (s *setup) run(cuts []cut) (*Result, error) {
	r := &Result{t: s.TB, flow: s.graph, script: s.script, collectors: map[string]*collector{}, dropped: map[string]int64{}}
	g, err := s.replace(r)
	if err != nil {
		return r, err
	}
	o := engine.Options{
		Store: &checkpoint.Memory{}, Parallelism: s.parallelism, Log: slog.New(slog.NewTextHandler(s.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	if s.script.open {
		o.Until = engine.Signal
	}
	for i := range len(cuts) + 1 {
		ctx, cancel := context.WithCancelCause(s.Context())
		stop := make(chan struct{})
		o.Stop = stop
		switch {
		case i == len(cuts):
			s.script.segment(-1, func() { close(stop) }) // when it stays open
		case cuts[i].crash:
			s.script.segment(cuts[i].at, func() { cancel(errCut) })
		default:
			s.script.segment(cuts[i].at, func() { close(stop) })
		}
		result, err := engine.RunGraph(ctx, g, o)
		crashed := context.Cause(ctx) == errCut
		cancel(nil)
		for _, n := range result.Nodes {
			r.dropped[n.Name] += n.Late
		}
		if err != nil && !crashed {
			return r, err
		}
	}
	for name := range r.dropped {
		if c := r.collectors[name+"."+adf.PortLate]; c != nil {
			r.dropped[name] -= c.seen.Load()
		}
	}
	return r, nil
}

// replace gives the flow with the script as its sources and collectors at all of its outputs.
func (s *setup) replace(r *Result) (*adf.Graph, error) {
	f := adf.New(s.graph.Plan.Flow())
	if _, rows := s.graph.Errors.(*row.Codec[row.Row]); rows {
		f.ErrorsAsRows()
	}
	at := &clock{began: time.Now()}
	collect := func(name string, codec row.AnyCodec) *collector {
		c := &collector{codec: codec, clock: at, progress: map[sinks.Shard]int64{}}
		r.collectors[name] = c
		return c
	}
	for _, n := range s.graph.Nodes {
		c := *n
		switch n.Kind {
		case adf.KindSource:
			c.Source = &source{s.script, n.Name, n.Source.Boundedness(), n.Out}
		case adf.KindSink:
			to := collect(n.Name, n.Out)
			to.refuses, _ = n.Sink.(sinks.AnyExact)
			c.Sink = to
		}
		f.Add(&c)
	}
	for i, of := range s.outputs() {
		codec := s.graph.Node(of.Node).Codec(of.Port, s.graph.Errors)
		f.Add(&adf.Node{
			Name: fmt.Sprintf("adftest-%d", i), Kind: adf.KindSink, Inputs: []adf.Edge{{From: of}}, Out: codec, Sink: collect(of.String(), codec),
		})
	}
	return f.Build(s.Context())
}

// outputs are all outputs of the flow that records can come out of.
func (s *setup) outputs() (all []adf.Ref) {
	for _, n := range s.graph.Nodes {
		if n.Kind != adf.KindSink {
			all = append(all, adf.Ref{Node: n.Name})
		}
		if n.Kind == adf.KindKeyed && n.Keyed.EventTime() {
			all = append(all, adf.Ref{Node: n.Name, Port: adf.PortLate})
		}
		if n.Emit {
			all = append(all, adf.Ref{Node: n.Name, Port: adf.PortErrors})
		}
	}
	return all
}

// crashAnywhere compares runs that are cut off with one that is not.
func (s *setup) crashAnywhere(want *Result) {
	s.Helper()
	for n := 1; n <= s.script.total; n++ {
		s.parallelism = 1 + n%2*2
		got, err := s.run(planned([]cut{{n, true}}))
		if err != nil {
			s.Fatalf("cut off after record %d of %d: flow %s: %v", n, s.script.total, s.graph.Plan.Flow(), err)
		}
		for _, sink := range s.graph.Nodes {
			if sink.Kind != adf.KindSink {
				continue
			}
			if w, g := want.lines(sink.Name), got.lines(sink.Name); !slices.Equal(w, g) {
				s.Fatalf("cut off after record %d of %d, the sink %s has\n%s\nwant\n%s", n, s.script.total, sink.Name, indent(g), indent(w))
			}
		}
	}
}

func indent(lines []string) string { return "\t" + strings.Join(lines, "\n\t") }

// unknown ends the test over a name that is none of those there are.
func (s *setup) unknown(call, what, name string, known []string) {
	unknown(s.TB, call, what, name, known)
}

func unknown(t testing.TB, call, what, name string, known []string) {
	t.Helper()
	text := fmt.Sprintf("%s: got the unknown %s %q, want one of %s", call, what, name, strings.Join(known, ", "))
	if near := fault.DidYouMean(name, known); near != "" {
		text += ": " + near
	}
	t.Fatal(text)
}
