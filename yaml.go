package adf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/yaml"
	"github.com/activedataflow/adf/internal/yaml/grammar"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// LoadOptions are what a flow file is loaded with.
type LoadOptions struct {
	// Registry has the connectors that the file may use.
	Registry *connectors.Registry
	// Params are values for the parameters that the file declares.
	Params map[string]string
	// Getenv finds the variables that the file refers to; nil: those of the environment.
	Getenv func(name string) (value string, ok bool)
	// Funcs are the Go functions that `use` may call.
	Funcs Funcs
}

// Funcs are Go functions by the names that files use them by.
type Funcs map[string]Func

// Func makes the operator of a `use` step. Exactly one of its fields is set.
type Func struct {
	// Step makes a stateless operator for rows of a schema; its output is rows too.
	Step func(in *row.Schema) (operators.Any, error)
	// Keyed makes the operator of a step with by. The key is the canonical encoding of the columns, which row.DecodeKey reads; ttl is zero when
	// the file gives none.
	Keyed func(in *row.Schema, key func(row.Row) string, ttl time.Duration) (operators.AnyKeyed, error)
}

// Load reads a flow from a YAML or JSON file. Sources may be looked at, to infer their schemas. The error is a fault.ConfigurationError with
// everything that is wrong, in the order of its place.
func Load(ctx context.Context, path string, o LoadOptions) (*Flow, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cannotRead(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, yaml.MaxBytes+1)) // one more than what is allowed, so that a longer file is refused and not cut
	if err != nil {
		return nil, cannotRead(err)
	}
	return Parse(ctx, path, data, o)
}

func cannotRead(err error) error {
	return &fault.ConfigurationError{Detail: fault.Detail{Code: "flow.file", Doing: "read flow", Retry: fault.RetryNever, Err: err}}
}

// Parse makes a flow of a file's content, as [Load] does. The file's name is for messages.
func Parse(ctx context.Context, file string, data []byte, o LoadOptions) (*Flow, error) {
	if o.Registry == nil {
		o.Registry = connectors.NewRegistry(Version)
	}
	if o.Getenv == nil {
		o.Getenv = os.LookupEnv
	}
	said, wrong := grammar.Read(file, data, grammar.Options{
		Registry: o.Registry, Params: o.Params, Getenv: o.Getenv, Funcs: slices.Sorted(maps.Keys(o.Funcs)),
	})
	if said == nil {
		return nil, fault.Config(wrong...)
	}
	l := &loader{ctx: ctx, funcs: o.Funcs, flow: New(said.Name), wrong: wrong, parts: map[string][]string{}, bounded: map[string]bool{}}
	l.flow.ErrorsAsRows()
	l.flow.wrong = nil // a name that is none has been told with its place
	for _, part := range said.Order {
		switch part := part.(type) {
		case *grammar.Source:
			l.source(part)
		case *grammar.Step:
			l.step(part)
		case *grammar.Sink:
			l.sink(part)
		}
	}
	if len(l.wrong) > 0 {
		grammar.Sort(l.wrong)
		return nil, fault.Config(l.wrong...)
	}
	return l.flow, ctx.Err()
}

// JSONSchema gives the JSON Schema (2020-12) of flow files with the connectors of a registry, for editors.
func JSONSchema(r *connectors.Registry) map[string]any { return grammar.JSONSchema(r) }

// The rules of a file that take schemas or connectors to check; the others are those of the grammar. Each is the code of the violations that
// it finds, stable between releases.
const (
	ruleConnector  = "flow.connector"  // a source or sink that can not be made
	ruleRows       = "flow.rows"       // records that are no rows
	ruleSchema     = "flow.schema"     // a schema that is missing, or not the source's own
	ruleTime       = "flow.time"       // an event time that is no column, or of the wrong type
	ruleUnion      = "flow.union"      // inputs with different columns
	ruleExpression = "flow.expression" // an expression that does not fit its input
	ruleColumn     = "flow.column"     // a column that is not there
	ruleWindow     = "flow.window"     // no window over input that does not end
	ruleUse        = "flow.use"        // a Go function for another kind of step
)

// loader turns what a file says into nodes. A node that is wrong is left out, and whatever reads from it is passed over, so that each mistake is
// told once.
type loader struct {
	ctx   context.Context
	funcs Funcs
	flow  *Flow
	wrong []fault.Violation
	// parts are the nodes that a step consists of, the last with its own name.
	parts map[string][]string
	// bounded says of each node whether its input ends.
	bounded map[string]bool
}

// refuse notes a violation. What came from a reference is shown as that.
func (l *loader) refuse(at *connectors.Tree, path, got, want, code string) *fault.Violation {
	if at.Raw != "" {
		got = at.Show()
	}
	l.wrong = append(l.wrong, fault.Violation{File: at.File, Line: at.Line, Col: at.Col, Path: path, Got: got, Want: want, Code: code})
	return &l.wrong[len(l.wrong)-1]
}

// node makes what all nodes have in common.
func node(n grammar.Node, kind Kind, verb string) *Node {
	return &Node{
		Name: n.Name, Kind: kind, Type: verb, Place: Place{n.File, n.Line, n.Col}, Parallelism: n.Parallelism, Emit: n.Emit,
	}
}

func treeAt(n grammar.Node) *connectors.Tree {
	return &connectors.Tree{File: n.File, Line: n.Line, Col: n.Col}
}

func (l *loader) add(n *Node, bounded bool) {
	l.flow.Add(n)
	l.wrong = append(l.wrong, l.flow.wrong...)
	l.flow.wrong = nil
	l.bounded[n.Name] = bounded
}

func (l *loader) source(s *grammar.Source) {
	if s.Broken || s.Config == nil {
		return
	}
	if n, ok := s.Config.(connectors.Schemaless); ok && n.Schemaless() && s.SchemaAt == nil {
		l.refuse(treeAt(s.Node), s.Path+".schema", "nothing", "infer, or columns as {id: int64 not null, name: string}: records of "+s.Type+" have no schema of their own",
			ruleSchema)
		return
	}
	n := node(s.Node, KindSource, s.Type)
	n.Config = shown(s.Config, s.Options)
	src, err := s.Config.Source(l.ctx, connectors.SourceEnv{Flow: l.flow.name, Node: s.Name, Schema: s.Schema})
	if err != nil {
		at := map[string]*connectors.Tree{"schema": s.SchemaAt}
		l.connector(err, s.Options, at, s.Node, s.Type)
		return
	}
	codec, ok := src.Codec().(*row.Codec[row.Row])
	if !ok {
		l.refuse(treeAt(s.Node), s.Path, fmt.Sprintf("records of %s that are no rows", s.Type), "a source of rows", ruleRows)
		return
	}
	if s.Schema != nil && !s.Schema.Equal(codec.Schema()) {
		l.refuse(s.SchemaAt, s.Path+".schema", s.Schema.String(), codec.Schema().String()+", which is the source's own schema", ruleSchema)
		return
	}
	n.Source, n.Out = src, codec
	if s.Time != nil {
		if n.Time = l.time(s, codec.Schema()); n.Time == nil {
			return
		}
	}
	l.add(n, src.Boundedness() == splits.Bounded)
}

func (l *loader) sink(s *grammar.Sink) {
	in, edges, _ := l.inputs(s.Node, s.From)
	if in == nil || s.Broken || s.Config == nil {
		return
	}
	n := node(s.Node, KindSink, s.Type)
	n.Inputs, n.Out, n.Config = edges, in, shown(s.Config, s.Options)
	var err error
	if n.Sink, err = s.Config.Sink(in); err != nil {
		l.connector(err, s.Options, nil, s.Node, s.Type)
		return
	}
	l.add(n, true)
}

// inputs are what a node reads; the codec is nil when one of them is missing, because it is wrong itself.
func (l *loader) inputs(n grammar.Node, from []grammar.Ref) (codec *row.Codec[row.Row], edges []Edge, bounded bool) {
	bounded = true
	missing := len(from) == 0
	for _, ref := range from {
		c, ok := l.flow.Codec(Ref{ref.Node, ref.Port}).(*row.Codec[row.Row])
		switch {
		case !ok:
			missing = true
			continue
		case codec == nil:
			codec = c
		case !codec.Schema().Equal(c.Schema()):
			l.refuse(ref.At, n.Path+".from", fmt.Sprintf("%s with (%s)", ref, c.Schema()), fmt.Sprintf("the columns of %s (%s)", from[0], codec.Schema()), ruleUnion)
			missing = true
		}
		names := []string{ref.Node}
		if ref.Port == PortErrors && l.parts[ref.Node] != nil {
			names = l.parts[ref.Node]
		}
		for _, name := range names {
			edges = append(edges, Edge{From: Ref{name, ref.Port}})
		}
		bounded = bounded && l.bounded[ref.Node]
	}
	if missing {
		codec = nil
	}
	return codec, edges, bounded
}

// connector tells what a connector found wrong with its options, or what else kept it from being made. Keys are those beside its type.
func (l *loader) connector(err error, options *connectors.Tree, keys map[string]*connectors.Tree, n grammar.Node, kind string) {
	var c *fault.ConfigurationError
	if errors.As(err, &c) && len(c.Violations) > 0 {
		for _, v := range c.Violations {
			at, path := options.Field(v.Path), n.Path+"."+kind
			if key, beside := keys[v.Path]; beside {
				at, path = key, n.Path
			}
			if v.Path != "" {
				path += "." + v.Path
			}
			if at == nil {
				at = treeAt(n)
			}
			l.refuse(at, path, v.Got, v.Want, v.Code).Fix = v.Fix
		}
		return
	}
	v := l.refuse(treeAt(n), n.Path, err.Error(), "a "+kind+" that can be opened", ruleConnector)
	d, ok := fault.DetailOf(err)
	if !ok || d.Err == nil {
		return
	}
	v.Got, v.Fix = strings.TrimLeft(d.Doing+": "+d.Err.Error(), ": "), d.Fix
	if d.At != "" {
		v.Got += " (" + d.At + ")"
	}
	if d.Code != "" {
		v.Code = d.Code
	}
}

// shown is a connector's configuration as plans and explain show it: without secrets, and with references instead of what they stand for.
func shown(c connectors.Config, options *connectors.Tree) map[string]any {
	m := connectors.Redact(c)
	unexpand(m, options)
	return m
}

func unexpand(m map[string]any, t *connectors.Tree) {
	for _, f := range t.Fields {
		switch v := m[f.Key].(type) {
		case map[string]any:
			unexpand(v, f.Value)
		case []any: // a list of maps
			for i, e := range v {
				if e, ok := e.(map[string]any); ok && i < len(f.Value.Items) {
					unexpand(e, f.Value.Items[i])
				}
			}
		case []string:
			for i, item := range f.Value.Items {
				if item.Raw != "" && i < len(v) {
					v[i] = item.Raw
				}
			}
		case nil:
		default:
			if f.Value.Raw != "" && v != "***" {
				m[f.Key] = f.Value.Raw
			}
		}
	}
}

// written is an expression as plans and explain show it.
func written(e grammar.Expr) string {
	if e.Raw != "" {
		return e.Raw
	}
	return strings.TrimSpace(e.Text)
}
