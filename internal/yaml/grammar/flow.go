package grammar

import (
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/record/row"
)

// Flow is what a flow file says. Lists are in the order of the file.
type Flow struct {
	// Name is the flow's name, At its place.
	Name    string
	At      *connectors.Tree
	Sources []*Source
	Steps   []*Step
	Sinks   []*Sink
	// Order are all of them (*Source, *Step and *Sink), producers before consumers.
	Order []any
}

// Node is what sources, steps and sinks have in common.
type Node struct {
	Name string
	// Path is "steps.NAME"; Line and Col are the place of the name.
	Path      string
	File      string
	Line, Col int
	// Parallelism is 0 when the file does not say.
	Parallelism int
	// Emit is on_error: emit.
	Emit bool
	// Broken says that something about the node has been refused.
	Broken bool
}

// Source is a source.
type Source struct {
	Node
	Type string
	// Config is decoded; nil when it is wrong. Options is where it stands.
	Config  connectors.SourceConfig
	Options *connectors.Tree
	// Schema is the declared one, nil with Infer or when the file does not say. SchemaAt is where it stands.
	Schema   *row.Schema
	Infer    bool
	SchemaAt *connectors.Tree
	Time     *Time
}

// Time is where a source's event time comes from.
type Time struct {
	Field          string
	FieldAt        *connectors.Tree
	OutOfOrderness time.Duration
	IdleAfter      time.Duration
}

// Step is a step.
type Step struct {
	Node
	From []Ref
	// Do are its stateless verbs, in order; empty for aggregate and use.
	Do []Verb
	// Aggregate are the results of an aggregate.
	Aggregate []Assign
	By        []Assign
	HasBy     bool
	// Window is nil without one.
	Window *Window
	// Use is the name of a Go function, "" without one.
	Use   string
	UseAt *connectors.Tree
	TTL   time.Duration
}

// Type is the verb that the step is shown with.
func (s *Step) Type() string {
	switch {
	case s.Use != "":
		return "use"
	case len(s.Aggregate) > 0:
		return "aggregate"
	case len(s.Do) == 1:
		return s.Do[0].Name
	}
	return "do"
}

// Verb is one stateless verb.
type Verb struct {
	// Name is filter, set, select, rename, cast or drop.
	Name string
	// Filter is the condition of a filter.
	Filter Expr
	// Assign are the columns of set and select.
	Assign []Assign
	// Columns are those of rename (old and new), cast (with its type) and drop.
	Columns []Column
}

// Expr is an expression: a scalar with its place and path.
type Expr struct {
	*connectors.Tree
	Path string
}

// Assign gives an expression a name.
type Assign struct {
	Name string
	Expr Expr
}

// Column is a column that rename, cast or drop names.
type Column struct {
	Name string
	// New is the new name.
	New string
	// Type is the new type.
	Type row.Field
	// At is where it stands; Path is its path.
	At   *connectors.Tree
	Path string
}

// Window says how event time is cut. Size zero is one window over everything.
type Window struct {
	Size, Lateness, Offset time.Duration
}

// Ref is a reference to an output. Port is "", "late" or "errors".
type Ref struct {
	Node, Port string
	At         *connectors.Tree
}

func (r Ref) String() string {
	if r.Port == "" {
		return r.Node
	}
	return r.Node + "." + r.Port
}

// Sink is a sink.
type Sink struct {
	Node
	From []Ref
	Type string
	// Config is decoded; nil when it is wrong. Options is where it stands.
	Config  connectors.SinkConfig
	Options *connectors.Tree
}
