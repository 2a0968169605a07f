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
}

// Node is one live node of a Graph. Exactly one of Source, Op, Keyed and Sink is set, as Kind says.
type Node struct {
	Name   string
	Kind   Kind
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

// Edge is one input of a node: the output Port of the node From.
type Edge struct {
	From string
	Port string
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

// EventTime says where a source's records have their event time and what its splits promise.
type EventTime struct {
	// Set sets Meta.Time of every record of b, in milliseconds; fail reports a record without one.
	Set func(b record.Any, fail func(i int, err error)) error
	// OutOfOrderness bounds how far behind the newest time of its split a record may come.
	OutOfOrderness time.Duration
	// IdleAfter, when set, lets the clock move the watermark of a split without records; zero: never.
	IdleAfter time.Duration
}
