package adf

import (
	"context"
	"fmt"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// Flow is a data flow being put together: in Go by [From] and the methods of [Stream], from a file by [Load]. What is wrong with it is
// collected and told all at once by Build. A Flow is used from one goroutine.
type Flow struct {
	name   string
	nodes  []*Node
	byName map[string]*Node
	errors row.AnyCodec
	wrong  []fault.Violation
	// partial says that a node could not be made, which has been told; what is unread or missing because of it is not told too.
	partial bool
}

// New starts a flow. The name is its identity: checkpoints and committed output belong to it.
func New(name string) *Flow {
	f := &Flow{name: name, byName: map[string]*Node{}, errors: sinks.DeadLetters()}
	if !nameRule.MatchString(name) {
		f.refuse(caller(), "flow", fmt.Sprintf("%q", name), wantName, "flow.name")
	}
	return f
}

// Name is the flow's name.
func (f *Flow) Name() string { return f.name }

// ErrorsAsRows makes the errors outputs streams of rows instead of sinks.DeadLetter, for flows whose sinks take rows.
func (f *Flow) ErrorsAsRows() { f.errors = row.RowCodec(f.errors.Schema()) }

// Errors are the failed records of all nodes, each with where and why it failed. Whoever takes them lets every node go on
// after a record that fails, those aside that failed records themselves go through.
func (f *Flow) Errors() Stream[sinks.DeadLetter] {
	return Stream[sinks.DeadLetter]{f: f, from: []Ref{allErrors}, codec: sinks.DeadLetters()}
}

// allErrors stands for the errors outputs of all nodes but those that come after it.
var allErrors = Ref{"*", PortErrors}

var nameRule = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)

const wantName = "up to 63 letters, digits, '_' and '-', a letter first"

// Add adds a node whose live part is already made. It is the way in for whatever builds flows other than by hand; a node's inputs
// must have been added before.
func (f *Flow) Add(n *Node) {
	if n.Place == (Place{}) {
		n.Place = caller()
	}
	missing := slices.IndexFunc(n.Inputs, func(e Edge) bool { return e.From != allErrors && f.byName[e.From.Node] == nil })
	switch before, twice := f.byName[n.Name]; {
	case !nameRule.MatchString(n.Name):
		f.refuse(n.Place, "name", fmt.Sprintf("%q", n.Name), wantName, "flow.name")
	case twice:
		f.refuse(n.Place, n.Name, "a second node of this name", "names used once; the first is a "+before.Kind.String()+at(before.Place), "flow.duplicate")
	case missing >= 0:
		f.refuse(n.Place, n.Name+".from", n.Inputs[missing].From.String(), "a node that was added before", "flow.from")
	default:
		f.byName[n.Name] = n
		f.nodes = append(f.nodes, n)
		return
	}
	f.partial = true
}

// Codec is that of an output; nil when there is none.
func (f *Flow) Codec(of Ref) row.AnyCodec {
	if n := f.byName[of.Node]; n != nil && (of.Port != PortLate || n.Keyed != nil) {
		return n.Codec(of.Port, f.errors)
	}
	return nil
}

// Refuse notes something wrong, to be told by Build.
func (f *Flow) Refuse(v fault.Violation) { f.wrong = append(f.wrong, v) }

func (f *Flow) refuse(p Place, path, got, want, code string) {
	f.Refuse(fault.Violation{File: p.File, Line: p.Line, Col: p.Col, Path: path, Got: got, Want: want, Code: code})
}

func at(p Place) string {
	if p.File == "" {
		return ""
	}
	return fmt.Sprintf(" at %s:%d", p.File, p.Line)
}

// caller is the first place on the stack outside this module's root package: where the user wrote the call.
func caller() Place {
	pcs := make([]uintptr, 16)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "github.com/activedataflow/adf.") || strings.HasSuffix(frame.File, "_test.go") {
			return Place{File: frame.File, Line: frame.Line}
		}
		if !more {
			return Place{}
		}
	}
}

// Build checks the flow as a whole and makes it ready to run. The error is a fault.ConfigurationError with everything that is wrong.
func (f *Flow) Build(ctx context.Context) (*Graph, error) {
	g := &Graph{Errors: f.errors, byName: f.byName, reads: map[Ref][]Consumer{}}
	wrong := len(f.wrong)
	f.connect(g)
	f.check(g)
	all := f.wrong
	f.wrong = f.wrong[:wrong] // Build may be called again
	if err := fault.Config(slices.Clone(all)...); err != nil {
		return nil, err
	}
	g.Plan = planOf(f.name, g)
	return g, ctx.Err()
}

// connect resolves allErrors, orders the nodes, and notes who reads what.
func (f *Flow) connect(g *Graph) {
	inputs := map[*Node][]Edge{}
	for _, n := range f.nodes {
		for _, e := range n.Inputs {
			if e.From != allErrors {
				inputs[n] = append(inputs[n], e)
				continue
			}
			for _, from := range f.nodes {
				if !f.afterErrors(from) {
					inputs[n] = append(inputs[n], Edge{From: Ref{from.Name, PortErrors}})
				}
			}
		}
	}
	live := map[*Node]*Node{} // what Build changes is a copy
	var visit func(n *Node)
	visit = func(n *Node) {
		if live[n] != nil {
			return
		}
		c := *n
		c.Inputs = inputs[n]
		live[n] = &c
		for _, e := range c.Inputs {
			if from := f.byName[e.From.Node]; from != nil {
				visit(from)
				live[from].Emit = live[from].Emit || e.From.Port == PortErrors
			}
		}
		g.Nodes = append(g.Nodes, &c)
	}
	for _, n := range f.nodes {
		visit(n)
	}
	g.byName = map[string]*Node{}
	for _, n := range g.Nodes {
		g.byName[n.Name] = n
		for _, e := range n.Inputs {
			g.reads[e.From] = append(g.reads[e.From], Consumer{n, e.Input})
		}
	}
}

// afterErrors says whether a node reads allErrors, directly or not. It has no part in them: two that did would feed each other.
func (f *Flow) afterErrors(n *Node) bool {
	return slices.ContainsFunc(n.Inputs, func(e Edge) bool {
		return e.From == allErrors || f.afterErrors(f.byName[e.From.Node])
	})
}

// check finds what is wrong with the flow as a whole.
func (f *Flow) check(g *Graph) {
	sources, sinks := 0, 0
	for _, n := range g.Nodes {
		switch n.Kind {
		case KindSource:
			sources++
		case KindSink:
			sinks++
		}
		if n.Kind != KindSource && len(n.Inputs) == 0 {
			f.refuse(n.Place, n.Name, "no input", "at least one", "flow.input")
		}
		for i, e := range n.Inputs {
			f.checkEdge(g, n, i, e)
		}
		if n.Kind == KindKeyed {
			f.checkKeyed(g, n)
		}
		if f.partial {
			continue
		}
		if n.Kind != KindSink && len(g.reads[Ref{n.Name, PortMain}]) == 0 {
			f.refuse(n.Place, n.Name, "an output that nobody reads", "a step or sink that reads from "+n.Name, "flow.unread")
		}
		if n.Emit && len(g.reads[Ref{n.Name, PortErrors}]) == 0 {
			f.refuse(n.Place, n.Name, "on_error: emit, and nobody reads "+n.Name+".errors", "a sink or step that reads from "+n.Name+".errors", "flow.errors_unread")
		}
	}
	if sources == 0 && !f.partial {
		f.refuse(Place{}, "sources", "none", "at least one source", "flow.sources")
	}
	if sinks == 0 && !f.partial {
		f.refuse(Place{}, "sinks", "none", "at least one sink", "flow.sinks")
	}
}

// checkKeyed finds what is wrong with the event time of a keyed step.
func (f *Flow) checkKeyed(g *Graph, n *Node) {
	if atEnd(n) && !g.Bounded(n) {
		f.refuse(n.Place, n.Name+".window", noWindow, wantWindow, ruleWindow)
	}
	if !n.Keyed.EventTime() {
		return
	}
	for _, s := range g.sourcesOf(n) {
		if s.Time == nil {
			f.refuse(n.Place, n.Name, fmt.Sprintf("a window over records of %s, which have no event time", s.Name),
				"sources with event time (time: {field: …} or EventTime)", ruleTime)
		}
	}
	for _, s := range g.timeless(n) {
		f.refuse(n.Place, n.Name, fmt.Sprintf("a window over results of %s, which come at the end and have no event time", s.Name), "a window for "+s.Name, ruleTime)
	}
}

// What an aggregate without a window can not be over.
const (
	noWindow   = "no window over input that does not end"
	wantWindow = "a window, as {tumbling: 24h}"
)

// atEnd says whether a step gives its results at the end of its input and not before.
func atEnd(n *Node) bool {
	k, ok := n.Keyed.(interface{ AtEnd() bool })
	return ok && k.AtEnd()
}

// timeless are the steps above a node whose results reach it without event time.
func (g *Graph) timeless(n *Node) []*Node {
	var all []*Node
	for _, e := range n.Inputs {
		switch from := g.byName[e.From.Node]; {
		case e.From.Port == PortMain && from.Kind == KindKeyed && atEnd(from):
			all = append(all, from)
		case e.From.Port == PortMain && from.Kind == KindKeyed && from.Keyed.EventTime():
		default:
			all = append(all, g.timeless(from)...)
		}
	}
	return all
}

func (f *Flow) checkEdge(g *Graph, n *Node, i int, e Edge) {
	from := g.byName[e.From.Node]
	if from.Kind == KindSink && e.From.Port != PortErrors {
		f.refuse(n.Place, n.Name+".from", "the sink "+from.Name, "a source or step: sinks have no output", "flow.from")
		return
	}
	if e.From.Port == PortLate && (from.Keyed == nil || !from.Keyed.EventTime()) {
		f.refuse(n.Place, n.Name+".from", e.From.String(), "the late output of a step with a window", "flow.late")
		return
	}
	codec, first := from.Codec(e.From.Port, g.Errors), n.Inputs[0]
	if i == 0 || e.Input != first.Input {
		if got, want := recordType(codec), recordType(n.in(e.Input)); got != want {
			f.refuse(n.Place, n.Name+".from", fmt.Sprintf("%s, whose records are %s", e.From, got), "records that are "+want.String(), "flow.type")
		}
		return
	}
	if before := g.byName[first.From.Node].Codec(first.From.Port, g.Errors); !before.Schema().Equal(codec.Schema()) || recordType(before) != recordType(codec) {
		f.refuse(n.Place, n.Name+".from", fmt.Sprintf("%s with (%s)", e.From, codec.Schema()), fmt.Sprintf("the fields of %s (%s)", first.From, before.Schema()), ruleUnion)
	}
}

// recordType is the Go type of a codec's records.
func recordType(c row.AnyCodec) reflect.Type {
	values, _ := reflect.TypeOf(c.NewBatch()).Elem().FieldByName("Values")
	return values.Type.Elem()
}

// sourcesOf are the sources above a node, those behind errors outputs too: dead letters keep the time of their record.
func (g *Graph) sourcesOf(n *Node) []*Node {
	if n.Kind == KindSource {
		return []*Node{n}
	}
	var all []*Node
	for _, e := range n.Inputs {
		if from := g.byName[e.From.Node]; from != nil {
			for _, s := range g.sourcesOf(from) {
				if !slices.Contains(all, s) {
					all = append(all, s)
				}
			}
		}
	}
	return all
}
