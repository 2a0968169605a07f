package adf

import (
	"time"

	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// Graph is a flow that has been checked and is ready to run: the plan, and for every node of it the live part that
// the plan's bytes can not carry. Runtimes read it; nobody changes it.
type Graph struct {
	Plan  *Plan
	Nodes []*Node // producers before consumers
	// Errors is the codec of every errors output: a record for each that failed (see sinks.DeadLetter).
	Errors row.AnyCodec

	byName map[string]*Node
	reads  map[Ref][]Consumer
}

// Node finds a node by its name; nil when there is none.
func (g *Graph) Node(name string) *Node { return g.byName[name] }

// Consumers are the nodes that read an output, in the order of Nodes.
func (g *Graph) Consumers(of Ref) []Consumer { return g.reads[of] }

// Consumer is a node that reads an output, with the number of its input.
type Consumer struct {
	Node  *Node
	Input int
}

// Bounded says whether the input of a node ends: that of all sources above it.
func (g *Graph) Bounded(n *Node) bool {
	if n.Kind == KindSource {
		return n.Source.Boundedness() == splits.Bounded
	}
	for _, e := range n.Inputs {
		if !g.Bounded(g.byName[e.From.Node]) {
			return false
		}
	}
	return true
}

// Node is one live node of a Graph. Exactly one of Source, Op, Keyed and Sink is set, as Kind says.
type Node struct {
	// Name is unique in the flow and stable: state and output belong to it.
	Name string
	Kind Kind
	// Type is the connector or the verb, as "file" or "aggregate"; Config what it was configured with, without secrets.
	Type   string
	Config map[string]any
	// Place is where the node was written: "flow.yaml:12:3" or "main.go:40".
	Place  Place
	Inputs []Edge // in order; several edges with the same Input number are a union
	// Parallelism is the number of lanes or workers that the flow asks for, 0 for the runtime's default.
	Parallelism int
	// Emit says that failing records go to the errors output instead of ending the run.
	Emit bool
	// Out is the codec of the main output (of the input, for sinks).
	Out row.AnyCodec

	Source splits.Any
	Time   *EventTime // sources with event time
	Op     operators.Any
	Keyed  operators.AnyKeyed
	Sink   sinks.Any
}

// Codec is that of one of the node's outputs: of the late output it is that of the input.
func (n *Node) Codec(port string, errors row.AnyCodec) row.AnyCodec {
	switch port {
	case PortErrors:
		return errors
	case PortLate:
		return n.Keyed.Inputs()[0]
	}
	return n.Out
}

// in is the codec of one of the node's inputs.
func (n *Node) in(input int) row.AnyCodec {
	switch n.Kind {
	case KindOp:
		return n.Op.In()
	case KindKeyed:
		return n.Keyed.Inputs()[input]
	}
	return n.Out
}

// Place is where in a file a node was written; Col is 0 when it is unknown.
type Place struct {
	File      string
	Line, Col int
}

// Ref names an output: a node and one of its ports.
type Ref struct{ Node, Port string }

func (r Ref) String() string {
	if r.Port == PortMain {
		return r.Node
	}
	return r.Node + "." + r.Port
}

// Edge is one input of a node: the output that it reads.
type Edge struct {
	From Ref
	// Input numbers the inputs of a keyed step, from 0; other nodes have only 0.
	Input int
}

// The ports of a node. A route's cases are ports of their own.
const (
	PortMain   = ""
	PortLate   = "late"
	PortErrors = "errors"
)

// Kind is what a node is.
type Kind uint8

// The kinds of nodes.
const (
	KindSource Kind = iota
	KindOp
	KindKeyed
	KindSink
)

func (k Kind) String() string { return [...]string{"source", "step", "keyed step", "sink"}[k] }

// EventTime says where a source's records have their event time and what its splits promise.
type EventTime struct {
	// Set sets Meta.Time of every record of b, in milliseconds; fail reports a record without one.
	Set func(b record.Any, fail func(i int, err error)) error
	// OutOfOrderness bounds how far behind the newest time of its split a record may come.
	OutOfOrderness time.Duration
	// IdleAfter, when set, lets the clock move the watermark of a split without records; zero: never.
	IdleAfter time.Duration
}
