package cli

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

func (c *command) previewCommand() *cobra.Command {
	f := &flowFlags{}
	rows := 10
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Show the first records at a node",
		Long: `Show the first records at a node: what a source or step gives out, or what comes to a sink. NODE.late and NODE.errors show those outputs.

What is above the node runs, with one lane and without checkpoints; nothing is written to the flow's sinks. A table is shown, with --json a
JSON object for each record in a line of its own. Unbounded input is read until there is nothing new for a second.`,
	}
	c.takesFlow(cmd, "NODE")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		file, node := "", args[len(args)-1]
		if len(args) > 1 {
			file = args[0]
		}
		g, err := c.graph(cmd.Context(), file, f)
		if err != nil {
			return err
		}
		return c.preview(cmd.Context(), g, node, rows)
	}
	files := cmd.ValidArgsFunction
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) == 0 && c.Build == nil {
			return files(cmd, args, begun)
		}
		g, err := c.graph(cmd.Context(), first(args), f)
		if err != nil || len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return nodeNames(g), cobra.ShellCompDirectiveNoFileComp
	}
	f.add(cmd)
	cmd.Flags().Var(number{&rows, 1}, "rows", "how many records are shown")
	return cmd
}

func nodeNames(g *adf.Graph) []string {
	names := make([]string, len(g.Nodes))
	for i, n := range g.Nodes {
		names[i] = n.Name
	}
	return names
}

func (c *command) preview(ctx context.Context, g *adf.Graph, node string, rows int) error {
	refs, codec, err := outputs(g, node)
	if err != nil {
		return err
	}
	enough := make(chan struct{})
	into := &capture{codec: codec, rows: rows, enough: sync.OnceFunc(func() { close(enough) })}
	f, err := above(g, refs, codec, into)
	if err != nil {
		return err
	}
	built, err := f.Build(ctx)
	if err != nil {
		return err
	}
	s := c.listen(ctx, true)
	defer s.close()
	go func() {
		select {
		case <-enough:
		case <-s.stop:
		case <-s.ctx.Done():
		}
		s.cancel(context.Canceled)
	}()
	// No checkpoint before the end: sources that acknowledge what was read are not told that it was.
	o := engine.Options{Interval: math.MaxInt64 / 4, Parallelism: 1, Retries: -1, Until: engine.Drained}
	if !bounded(built) {
		o.Until = engine.Idle
	}
	_, err = s.run(built, o)
	got := into.take()
	switch {
	case s.stopped():
		c.code = exitStopped
	case ctx.Err() != nil:
		return errAtOnce
	case err != nil && len(got) < rows:
		if len(got) == 0 {
			return err
		}
		return errors.Join(c.records(codec.Schema(), got), err)
	}
	return c.records(codec.Schema(), got)
}

func bounded(g *adf.Graph) bool {
	return !slices.ContainsFunc(g.Nodes, func(n *adf.Node) bool { return !g.Bounded(n) })
}

// outputs are the outputs that NODE, NODE.late or NODE.errors stands for: of a sink, those that it reads.
func outputs(g *adf.Graph, arg string) ([]adf.Ref, row.AnyCodec, error) {
	name, port, _ := strings.Cut(arg, ".")
	n := g.Node(name)
	if n == nil {
		known := nodeNames(g)
		return nil, nil, fault.Config(misuse("NODE", fmt.Sprintf("%q", name), "one of "+strings.Join(known, ", "), fault.DidYouMean(name, known)))
	}
	switch late := n.Kind == adf.KindKeyed && n.Keyed.EventTime(); {
	case n.Kind == adf.KindSink && port == adf.PortMain:
		var refs []adf.Ref
		for _, e := range n.Inputs {
			refs = append(refs, e.From)
		}
		return refs, n.Out, nil
	case n.Kind == adf.KindSink && port == adf.PortErrors:
		return nil, nil, fault.Config(misuse("NODE", arg, "a node that is not a sink: what it refuses shows only when it is written to", ""))
	case port == adf.PortMain, port == adf.PortErrors, port == adf.PortLate && late:
	case port == adf.PortLate:
		return nil, nil, fault.Config(misuse("NODE", arg, "the late output of a step with a window", ""))
	default:
		return nil, nil, fault.Config(misuse("NODE", arg, fmt.Sprintf("%[1]s, %[1]s.late or %[1]s.errors", name), ""))
	}
	return []adf.Ref{{Node: name, Port: port}}, n.Codec(port, g.Errors), nil
}

// above makes a flow of what is above some outputs, with one sink that captures them. Whatever else nobody reads any more is dropped.
func above(g *adf.Graph, refs []adf.Ref, codec row.AnyCodec, into sinks.Any) (*adf.Flow, error) {
	f := adf.New(g.Plan.Flow())
	if _, rows := g.Errors.(*row.Codec[row.Row]); rows {
		f.ErrorsAsRows()
	}
	fromSink := func(e adf.Edge) bool { return g.Node(e.From.Node).Kind == adf.KindSink }
	needed := map[string]bool{}
	var need func(name string) error
	need = func(name string) error {
		n := g.Node(name)
		if needed[name] {
			return nil
		}
		needed[name] = true
		inputs := 0
		for _, e := range n.Inputs {
			if fromSink(e) {
				continue
			}
			inputs++
			if err := need(e.From.Node); err != nil {
				return err
			}
		}
		if n.Kind != adf.KindSource && inputs == 0 {
			return fault.Config(misuse("NODE", name, "a node that reads from other nodes than sinks: what those refuse shows only when they are written to", ""))
		}
		return nil
	}
	edges := make([]adf.Edge, 0, len(refs))
	for _, r := range refs {
		if e := (adf.Edge{From: r}); !fromSink(e) {
			edges = append(edges, e)
			if err := need(r.Node); err != nil {
				return nil, err
			}
		}
	}
	if len(edges) == 0 {
		return nil, fault.Config(misuse("NODE", "a sink that reads from sinks only", "one that reads from other nodes: what sinks refuse shows only when they are written to", ""))
	}
	read := map[adf.Ref]bool{}
	for _, n := range g.Nodes {
		if !needed[n.Name] {
			continue
		}
		n := *n
		n.Inputs = slices.DeleteFunc(slices.Clone(n.Inputs), fromSink)
		for _, e := range n.Inputs {
			read[e.From] = true
		}
		n.Parallelism = 0
		f.Add(&n)
	}
	for _, e := range edges {
		read[e.From] = true
	}
	unused := 0
	add := func(inputs []adf.Edge, codec row.AnyCodec, sink sinks.Any) {
		name := "preview"
		for ; f.Codec(adf.Ref{Node: name}) != nil; unused++ {
			name = fmt.Sprintf("preview-%d", unused)
		}
		f.Add(&adf.Node{Name: name, Kind: adf.KindSink, Inputs: inputs, Out: codec, Sink: sink})
	}
	add(edges, codec, into)
	for _, n := range g.Nodes {
		for _, port := range []string{adf.PortMain, adf.PortErrors} {
			ref := adf.Ref{Node: n.Name, Port: port}
			if needed[n.Name] && !read[ref] && (port == adf.PortMain || n.Emit) {
				add([]adf.Edge{{From: ref}}, n.Codec(port, g.Errors), &capture{})
			}
		}
	}
	return f, nil
}

// capture is a sink that keeps the first rows that come, and drops the others.
type capture struct {
	codec  row.AnyCodec
	rows   int
	enough func()

	mu   sync.Mutex
	slab row.Slab
	got  [][]row.Value
}

func (c *capture) Guarantee() sinks.Guarantee { return sinks.AtLeastOnce }

func (c *capture) NewWriter(context.Context, sinks.WriterContext) (sinks.AnyDirectWriter, error) {
	return capturing{c}, nil
}

func (c *capture) take() [][]row.Value {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.got
}

type capturing struct{ *capture }

func (c capturing) Write(_ context.Context, b record.Any, _ func(int, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := 0; i < b.Len() && len(c.got) < c.rows; i++ {
		vs := c.codec.Values(nil, b, i)
		for j := range vs {
			vs[j] = c.slab.Copy(vs[j])
		}
		c.got = append(c.got, vs)
	}
	if c.rows > 0 && len(c.got) == c.rows {
		c.enough()
	}
	return nil
}

func (c capturing) Flush(context.Context) error { return nil }
func (c capturing) Close() error                { return nil }

// records prints records as a table, or as JSON lines.
func (c *command) records(s *row.Schema, all [][]row.Value) error {
	if c.json {
		var out []byte
		for _, vs := range all {
			out = append(row.AppendJSONRow(out, s, vs), '\n')
		}
		_, err := c.stdout.Write(out)
		return err
	}
	if len(all) == 0 {
		fmt.Fprintln(c.stderr, "no records")
		return nil
	}
	t := &table{right: map[int]bool{}}
	t.row(s.Names()...)
	for i, f := range s.Fields {
		switch f.Type.Kind {
		case row.KindInt64, row.KindFloat64, row.KindDecimal, row.KindDuration:
			t.right[i] = true
		}
	}
	for _, vs := range all {
		cells := make([]string, len(vs))
		for i, v := range vs {
			cells[i] = cell(&s.Fields[i].Type, v)
		}
		t.row(cells...)
	}
	return t.write(c.stdout, "")
}

// cell is a value as a table shows it: in one line, and cut to a sensible length.
func cell(t *row.Type, v row.Value) string {
	const most = 48
	var text string
	switch v.Kind() {
	case row.KindNull:
		return "null"
	case row.KindList, row.KindMap, row.KindRow:
		text = string(row.AppendJSONValue(nil, t, v))
	default:
		text = string(row.AppendText(nil, v))
	}
	text = strings.Map(func(r rune) rune {
		if r < ' ' {
			return '␣'
		}
		return r
	}, text)
	if short := []rune(text); len(short) > most {
		return string(short[:most-1]) + "…"
	}
	return text
}
