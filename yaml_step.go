package adf

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/yaml/grammar"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record/row"
)

func (l *loader) step(s *grammar.Step) {
	in, edges, bounded := l.inputs(s.Node, s.From)
	if in == nil || s.Broken {
		return
	}
	n := node(s.Node, KindOp, s.Type())
	n.Inputs = edges
	switch {
	case s.Use != "":
		l.use(s, n, in, bounded)
	case len(s.Aggregate) > 0:
		l.aggregate(s, n, in, bounded)
	default:
		l.stateless(s, n, in, bounded)
	}
}

// stateless adds a node for each verb of a step: the last has the step's name, those before it "NAME-1" and so on.
func (l *loader) stateless(s *grammar.Step, n *Node, in *row.Codec[row.Row], bounded bool) {
	var parts []string
	for i, v := range s.Do {
		part := *n
		part.Type = v.Name
		if i > 0 {
			part.Inputs = []Edge{{From: Ref{Node: parts[i-1]}}}
		}
		if i < len(s.Do)-1 {
			part.Name = fmt.Sprintf("%s-%d", n.Name, i+1)
		}
		var ok bool
		if part.Op, part.Config, ok = l.verb(v, in.Schema(), s); !ok {
			return
		}
		if part.Out, in = l.rows(s, part.Op.Out()); in == nil {
			return
		}
		l.add(&part, bounded)
		parts = append(parts, part.Name)
	}
	l.parts[n.Name] = parts
}

// rows refuses an output that is no rows.
func (l *loader) rows(s *grammar.Step, c row.AnyCodec) (row.AnyCodec, *row.Codec[row.Row]) {
	rows, ok := c.(*row.Codec[row.Row])
	if !ok {
		l.refuse(treeAt(s.Node), s.Path, "an output that is no rows", "rows", "flow.rows")
	}
	return c, rows
}

// verb makes one stateless operator. Every expression and column is tried alone first, so that each mistake has its own place.
func (l *loader) verb(v grammar.Verb, in *row.Schema, s *grammar.Step) (op operators.Any, config map[string]any, ok bool) {
	before := len(l.wrong)
	var err error
	whole := treeAt(s.Node)
	switch v.Name {
	case "filter":
		op, err = operators.FilterRows(in, v.Filter.Text)
		if err != nil {
			l.expression(err, v.Filter)
		}
		return op, map[string]any{"filter": written(v.Filter)}, err == nil
	case "set", "select":
		make := operators.SetRows
		if v.Name == "select" {
			make = operators.SelectRows
		}
		l.each(v.Assign, func(one []operators.Assign) error { _, err := make(in, one); return err })
		if len(l.wrong) == before {
			op, err = make(in, assigns(v.Assign))
		}
		config = map[string]any{v.Name: columns(v.Assign)}
	case "rename":
		names, pairs := map[string]any{}, [][2]string{}
		for _, c := range v.Columns {
			if _, known := in.Index(c.Name); !known {
				l.column(in, c)
			}
			names[c.Name], pairs = c.New, append(pairs, [2]string{c.Name, c.New})
		}
		if len(l.wrong) == before {
			op, err = operators.RenameRows(in, pairs)
		}
		config = map[string]any{"rename": names}
	case "cast":
		types, fields := map[string]any{}, []row.Field{}
		for _, c := range v.Columns {
			if _, known := in.Index(c.Name); !known {
				l.column(in, c)
			} else if _, err := operators.CastRows(in, []row.Field{c.Type}); err != nil {
				l.expression(err, grammar.Expr{Tree: c.At, Path: c.Path})
			}
			types[c.Name], fields = c.Type.Type.String(), append(fields, c.Type)
		}
		if len(l.wrong) == before {
			op, err = operators.CastRows(in, fields)
		}
		config = map[string]any{"cast": types}
	case "drop":
		var names []string
		for _, c := range v.Columns {
			if _, known := in.Index(c.Name); !known {
				l.column(in, c)
			}
			names = append(names, c.Name)
		}
		if len(l.wrong) == before {
			op, err = operators.DropRows(in, names)
		}
		config = map[string]any{"drop": names}
	}
	if err != nil { // each part is right, and together they are not
		at := whole
		if len(v.Columns) > 0 {
			at = v.Columns[0].At
		} else if len(v.Assign) > 0 {
			at = v.Assign[0].Expr.Tree
		}
		l.expression(err, grammar.Expr{Tree: &connectors.Tree{File: at.File, Line: at.Line, Col: at.Col}, Path: s.Path + "." + v.Name})
	}
	return op, config, len(l.wrong) == before
}

// column refuses a column that is not there.
func (l *loader) column(in *row.Schema, c grammar.Column) {
	l.refuse(c.At, c.Path, fmt.Sprintf("the unknown column %q", c.Name), "one of "+list(in.Names()), "flow.column").Fix = connectors.DidYouMean(c.Name, in.Names())
}

// each tries every expression alone.
func (l *loader) each(as []grammar.Assign, try func(one []operators.Assign) error) {
	for _, a := range as {
		if err := try([]operators.Assign{{Name: a.Name, Expr: a.Expr.Text}}); err != nil {
			l.expression(err, a.Expr)
		}
	}
}

var word = regexp.MustCompile(`^[\pL_][\pL\pN _-]*$`)

// expression tells what is wrong with an expression, at the column where it is wrong.
func (l *loader) expression(err error, e grammar.Expr) {
	at := *e.Tree
	var x *expr.Error
	var c *fault.ConfigurationError
	switch {
	case errors.As(err, &x):
		at.Line, at.Col = e.At(x.Col)
		v := l.refuse(&at, e.Path, x.Got, x.Want, "flow.expression")
		if v.Fix = x.Fix; e.Quoted && word.MatchString(e.Text) {
			v.Fix = fmt.Sprintf(`a text needs quotes of its own: '"%s"'`, e.Text)
		}
	case errors.As(err, &c) && len(c.Violations) > 0:
		for _, v := range c.Violations {
			l.refuse(&at, e.Path, v.Got, v.Want, v.Code).Fix = v.Fix
		}
	default:
		l.refuse(&at, e.Path, err.Error(), "an expression that fits the input's schema", "flow.expression")
	}
}

func (l *loader) aggregate(s *grammar.Step, n *Node, in *row.Codec[row.Row], bounded bool) {
	before := len(l.wrong)
	w, schema := operators.Window{}, in.Schema()
	if s.Window != nil {
		w = operators.Window{Size: s.Window.Size, Lateness: s.Window.Lateness, Offset: s.Window.Offset}
	}
	if w.Size == 0 && !bounded {
		l.refuse(treeAt(s.Node), s.Path+".window", "no window over input that does not end", "a window, as {tumbling: 24h}", "flow.window")
	}
	count := []operators.Assign{{Name: "count", Expr: "count()"}}
	l.each(s.By, func(one []operators.Assign) error {
		_, err := operators.AggregateRows(schema, one, w, count)
		return err
	})
	l.each(s.Aggregate, func(one []operators.Assign) error { _, err := operators.AggregateRows(schema, nil, w, one); return err })
	if len(l.wrong) > before {
		return
	}
	var err error
	if n.Keyed, err = operators.AggregateRows(schema, assigns(s.By), w, assigns(s.Aggregate)); err != nil {
		l.expression(err, grammar.Expr{Tree: treeAt(s.Node), Path: s.Path + ".aggregate"})
		return
	}
	n.Config = map[string]any{"by": keys(s.By), "aggregate": columns(s.Aggregate)}
	if w.Size > 0 {
		window := map[string]any{"tumbling": connectors.FormatDuration(w.Size), "allowed_lateness": connectors.FormatDuration(w.Lateness)}
		if w.Offset > 0 {
			window["offset"] = connectors.FormatDuration(w.Offset)
		}
		n.Config["window"] = window
	}
	l.keyed(s, n, bounded)
}

func (l *loader) keyed(s *grammar.Step, n *Node, bounded bool) {
	n.Kind = KindKeyed
	if n.Out, _ = l.rows(s, n.Keyed.Out()); n.Out != nil {
		l.add(n, bounded)
	}
}

func (l *loader) use(s *grammar.Step, n *Node, in *row.Codec[row.Row], bounded bool) {
	fn, path := l.funcs[s.Use], s.Path+".use"
	n.Config = map[string]any{"use": s.Use}
	var err error
	switch {
	case s.HasBy && fn.Keyed == nil:
		l.refuse(s.UseAt, path, fmt.Sprintf("%s with by", s.Use), "a function for steps with a key; this one is for steps without", "flow.use")
		return
	case !s.HasBy && fn.Step == nil:
		l.refuse(s.UseAt, path, fmt.Sprintf("%s without by", s.Use), "by: this function is for steps with a key", "flow.use")
		return
	case !s.HasBy:
		if n.Op, err = fn.Step(in.Schema()); err == nil {
			if n.Out, _ = l.rows(s, n.Op.Out()); n.Out != nil {
				l.add(n, bounded)
			}
		}
	default:
		key, ok := l.key(s, in.Schema())
		if !ok {
			return
		}
		n.Config["by"] = keys(s.By)
		if s.TTL > 0 {
			n.Config["ttl"] = connectors.FormatDuration(s.TTL)
		}
		if n.Keyed, err = fn.Keyed(in.Schema(), key, s.TTL); err == nil {
			l.keyed(s, n, bounded)
		}
	}
	if err != nil {
		l.expression(err, grammar.Expr{Tree: &connectors.Tree{File: s.UseAt.File, Line: s.UseAt.Line, Col: s.UseAt.Col}, Path: path})
	}
}

// key makes the key of a use step, which is columns only: its function gets no errors of expressions.
func (l *loader) key(s *grammar.Step, in *row.Schema) (func(row.Row) string, bool) {
	before := len(l.wrong)
	var places []int
	for _, a := range s.By {
		i, known := in.Index(a.Expr.Text)
		if !known {
			l.refuse(a.Expr.Tree, a.Expr.Path, a.Expr.Show(), "one of the columns "+list(in.Names())+"; a set step before can compute one", "flow.column").Fix =
				connectors.DidYouMean(a.Expr.Text, in.Names())
		}
		places = append(places, i)
	}
	return func(r row.Row) string {
		var b []byte
		for _, i := range places {
			b = row.AppendKey(b, r.Values[i])
		}
		return string(b)
	}, len(l.wrong) == before
}

func assigns(as []grammar.Assign) []operators.Assign {
	all := make([]operators.Assign, len(as))
	for i, a := range as {
		all[i] = operators.Assign{Name: a.Name, Expr: a.Expr.Text}
	}
	return all
}

// columns are named expressions as plans and explain show them.
func columns(as []grammar.Assign) map[string]any {
	m := map[string]any{}
	for _, a := range as {
		m[a.Name] = written(a.Expr)
	}
	return m
}

// keys are the columns of a key as plans and explain show them.
func keys(as []grammar.Assign) []string {
	all := make([]string, len(as))
	for i, a := range as {
		if all[i] = a.Name; a.Expr.Text != a.Name {
			all[i] += ": " + written(a.Expr)
		}
	}
	return all
}
