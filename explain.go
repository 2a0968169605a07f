package adf

import (
	"fmt"
	"strings"

	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

func versionError(got uint32) error {
	return fmt.Errorf("got version %d of the plan's form, want 1 to %d", got, planVersion)
}

// Explanation tells how a flow will run: each node, and for every path from a source to a sink the guarantee and the reason for it.
type Explanation struct {
	Flow    string          `json:"flow"`
	Digest  string          `json:"digest"`
	Buckets int             `json:"buckets"`
	Nodes   []ExplainedNode `json:"nodes"`
	Paths   []ExplainedPath `json:"paths"`
	// Warnings are things that are allowed and often a mistake.
	Warnings []string `json:"warnings,omitempty"`
}

// ExplainedNode is one node.
type ExplainedNode struct {
	Name        string         `json:"name"`
	Kind        string         `json:"kind"`
	Type        string         `json:"type"`
	From        []string       `json:"from,omitempty"`
	Schema      string         `json:"schema"`
	Config      map[string]any `json:"config,omitempty"`
	Parallelism int            `json:"parallelism,omitempty"`
	Notes       []string       `json:"notes,omitempty"`
}

// ExplainedPath is one path from a source to a sink.
type ExplainedPath struct {
	Nodes     []string `json:"nodes"` // outputs other than the main one as "node.port"
	Guarantee string   `json:"guarantee"`
	Why       string   `json:"why"`
}

// Explain tells how the flow will run.
func (g *Graph) Explain() Explanation {
	x := Explanation{Flow: g.Plan.Flow(), Digest: g.Plan.Digest(), Buckets: g.Plan.Buckets()}
	for _, n := range g.Nodes {
		en := ExplainedNode{Name: n.Name, Kind: n.Kind.String(), Type: n.Type, Schema: n.Out.Schema().String(), Config: n.Config, Parallelism: n.Parallelism}
		for _, e := range n.Inputs {
			en.From = append(en.From, e.From.String())
		}
		switch n.Kind {
		case KindSource:
			en.Notes = append(en.Notes, [...]string{splits.Bounded: "bounded", splits.Unbounded: "unbounded"}[n.Source.Boundedness()])
			if n.Time != nil {
				en.Notes = append(en.Notes, fmt.Sprintf("event time, records up to %s out of order", n.Time.OutOfOrderness))
				if n.Source.Boundedness() == splits.Unbounded && n.Time.IdleAfter == 0 {
					x.Warnings = append(x.Warnings, fmt.Sprintf(
						"%s never ends and has no idle_after: a split without records, or a lane without splits, keeps every window open", n.Name))
				}
			}
			if why := n.NotReplayable(); why != "" {
				en.Notes = append(en.Notes, "can not be read again: "+why)
			}
		case KindKeyed:
			if n.Keyed.OrderDependent() {
				en.Notes = append(en.Notes, "its result depends on the order in which records arrive; bounded input is sorted by (event time, split, position)")
			}
			if n.Keyed.EventTime() && len(g.reads[Ref{n.Name, PortLate}]) == 0 {
				x.Warnings = append(x.Warnings, fmt.Sprintf("nobody reads %s.late: late records will only be counted", n.Name))
			}
		case KindSink:
			en.Notes = append(en.Notes, n.Sink.Guarantee().String())
		}
		x.Nodes = append(x.Nodes, en)
		if n.Kind == KindSource {
			g.paths(n, nil, func(path []string, sink *Node) {
				guarantee, why := pathGuarantee(n, sink)
				x.Paths = append(x.Paths, ExplainedPath{path, guarantee, why})
			})
		}
	}
	return x
}

// paths walks every path from a node to a sink.
func (g *Graph) paths(n *Node, path []string, found func([]string, *Node)) {
	if n.Kind == KindSink {
		found(append(append([]string{}, path...), n.Name), n)
	}
	for _, port := range []string{PortMain, PortLate, PortErrors} {
		ref := Ref{n.Name, port}
		for _, c := range g.reads[ref] {
			g.paths(c.Node, append(path[:len(path):len(path)], ref.String()), found)
		}
	}
}

// NotReplayable says why a source can not be read again from where a checkpoint stood; "" when it can.
func (n *Node) NotReplayable() string {
	if s, ok := n.Source.(interface{ NotReplayable() string }); ok {
		return s.NotReplayable()
	}
	return ""
}

func pathGuarantee(source, sink *Node) (guarantee, why string) {
	if lost := source.NotReplayable(); lost != "" {
		return "none after a crash", fmt.Sprintf("%s can not be read again: %s", source.Name, lost)
	}
	switch sink.Sink.Guarantee() {
	case sinks.ExactlyOnce:
		return sinks.ExactlyOnce.String(), fmt.Sprintf(
			"%s is read again from its checkpointed position, and %s commits the output of a checkpoint together with its progress, once", source.Name, sink.Name)
	case sinks.Idempotent:
		return "effectively once", fmt.Sprintf("%s may write a record again after a crash, which changes nothing", sink.Name)
	default:
		return sinks.AtLeastOnce.String(), fmt.Sprintf("%s writes as records come: those since the last checkpoint are written again after a crash", sink.Name)
	}
}

// String is the explanation as text for a terminal.
func (x Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "flow %s  (digest %s, %d buckets)\n\n", x.Flow, x.Digest, x.Buckets)
	for _, n := range x.Nodes {
		fmt.Fprintf(&b, "%-11s %s", n.Kind, n.Name)
		if n.Type != "" {
			fmt.Fprintf(&b, " [%s]", n.Type)
		}
		if len(n.From) > 0 {
			fmt.Fprintf(&b, " ← %s", strings.Join(n.From, ", "))
		}
		fmt.Fprintf(&b, "\n            (%s)\n", n.Schema)
		for _, note := range n.Notes {
			fmt.Fprintf(&b, "            %s\n", note)
		}
	}
	b.WriteString("\nGuarantees\n")
	for _, p := range x.Paths {
		fmt.Fprintf(&b, "  %s\n      %s: %s\n", strings.Join(p.Nodes, " → "), p.Guarantee, p.Why)
	}
	for _, w := range x.Warnings {
		fmt.Fprintf(&b, "warning: %s\n", w)
	}
	return b.String()
}
