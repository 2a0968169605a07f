package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf"
)

func (c *command) graphCommand() *cobra.Command {
	f := &flowFlags{}
	var format string
	cmd := &cobra.Command{
		Use:   "graph",
		Short: "Draw a flow, as Mermaid or DOT",
		Long:  "Draw a flow: as Mermaid, which many documents show as a picture, or as DOT for Graphviz. With --json: its nodes and edges.",
	}
	c.takesFlow(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		g, err := c.graph(cmd.Context(), first(args), f)
		switch {
		case err != nil:
			return err
		case c.json:
			return c.answer(graphOf(g))
		case format == "dot":
			fmt.Fprint(c.stdout, graphOf(g).dot())
		default:
			fmt.Fprint(c.stdout, graphOf(g).mermaid())
		}
		return nil
	}
	f.add(cmd)
	addChoice(cmd, &format, "format", "how it is drawn", "mermaid", "dot")
	return cmd
}

// drawing is a flow's graph as data.
type drawing struct {
	Flow  string      `json:"flow"`
	Nodes []drawnNode `json:"nodes"`
	Edges []drawnEdge `json:"edges"`
}

type drawnNode struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
	Type string `json:"type"`
}

type drawnEdge struct {
	From string `json:"from"`
	Port string `json:"port,omitempty"`
	To   string `json:"to"`
}

func graphOf(g *adf.Graph) drawing {
	d := drawing{Flow: g.Plan.Flow()}
	for _, n := range g.Nodes {
		d.Nodes = append(d.Nodes, drawnNode{n.Name, n.Kind.String(), n.Type})
		for _, e := range n.Inputs {
			d.Edges = append(d.Edges, drawnEdge{e.From.Node, e.From.Port, n.Name})
		}
	}
	return d
}

// shapes are what stands around the names of nodes, in Mermaid and in DOT.
var shapes = map[string]struct{ open, close, dot string }{
	"source":     {"([", "])", "cds"},
	"step":       {"[", "]", "box"},
	"keyed step": {"[[", "]]", "box3d"},
	"sink":       {"[(", ")]", "cylinder"},
}

func (d drawing) mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for i, n := range d.Nodes {
		s := shapes[n.Kind]
		fmt.Fprintf(&b, "  n%d%s\"%s<br/>%s\"%s\n", i, s.open, n.Name, n.Type, s.close)
	}
	for _, e := range d.Edges {
		label := ""
		if e.Port != "" {
			label = "|" + e.Port + "|"
		}
		fmt.Fprintf(&b, "  n%d -->%s n%d\n", d.index(e.From), label, d.index(e.To))
	}
	return b.String()
}

// index numbers the nodes: a node may have a name that is a word of the language.
func (d drawing) index(name string) int {
	for i, n := range d.Nodes {
		if n.Name == name {
			return i
		}
	}
	return -1
}

func (d drawing) dot() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph %q {\n  rankdir=LR\n", d.Flow)
	for _, n := range d.Nodes {
		fmt.Fprintf(&b, "  %q [shape=%s label=\"%s\\n%s\"]\n", n.Name, shapes[n.Kind].dot, n.Name, n.Type)
	}
	for _, e := range d.Edges {
		label := ""
		if e.Port != "" {
			label = fmt.Sprintf(" [label=%q]", e.Port)
		}
		fmt.Fprintf(&b, "  %q -> %q%s\n", e.From, e.To, label)
	}
	b.WriteString("}\n")
	return b.String()
}
