package adf

import (
	"errors"
	"fmt"
	"maps"
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
	wrong := false
	for i, v := range s.Do {
		part := *n
		part.Type = v.Name
		if i > 0 && !wrong {
			part.Inputs = []Edge{{From: Ref{Node: parts[i-1]}}}
		}
		if i < len(s.Do)-1 {
			part.Name = fmt.Sprintf("%s-%d", n.Name, i+1)
		}
		var ok bool
		if part.Op, part.Config, ok = l.verb(v, in.Schema(), s); !ok && v.Name == "filter" {
			wrong = true // and what follows sees the same columns all the same
			continue
		} else if !ok {
			return
		}
		if part.Out, in = l.rows(s, part.Op.Out()); in == nil {
			return
		}
		if !wrong {
			l.add(&part, bounded)
			parts = append(parts, part.Name)
		}
	}
	l.parts[n.Name] = parts
}

// rows refuses an output that is no rows.
func (l *loader) rows(s *grammar.Step, c row.AnyCodec) (row.AnyCodec, *row.Codec[row.Row]) {
	rows, ok := c.(*row.Codec[row.Row])
	if !ok {
		l.refuse(treeAt(s.Node), s.Path, "an output that is no rows", "rows", ruleRows)
	}
	return c, rows
}

// verb makes one stateless operator.
func (l *loader) verb(v grammar.Verb, in *row.Schema, s *grammar.Step) (op operators.Any, config map[string]any, ok bool) {
	whole := grammar.Expr{Tree: treeAt(s.Node), Path: s.Path + "." + v.Name}
	parts, shown := map[string]grammar.Expr{}, map[string]any{}
	for _, c := range v.Columns {
		parts[c.Name] = grammar.Expr{Tree: c.At, Path: c.Path}
	}
	var err error
	switch v.Name {
	case "filter":
		whole = v.Filter
		config = map[string]any{"filter": written(v.Filter)}
		op, err = operators.FilterRows(in, v.Filter.Text)
	case "set":
		parts, config = named(v.Assign), map[string]any{"set": columns(v.Assign)}
		op, err = operators.SetRows(in, assigns(v.Assign))
	case "select":
		parts, config = named(v.Assign), map[string]any{"select": columns(v.Assign)}
		op, err = operators.SelectRows(in, assigns(v.Assign))
	case "rename":
		var pairs [][2]string
		for _, c := range v.Columns {
			pairs, shown[c.Name] = append(pairs, [2]string{c.Name, c.New}), c.New
		}
		config = map[string]any{"rename": shown}
		op, err = operators.RenameRows(in, pairs)
	case "cast":
		var fields []row.Field
		for _, c := range v.Columns {
			fields, shown[c.Name] = append(fields, c.Type), c.Type.Type.String()
		}
		config = map[string]any{"cast": shown}
		op, err = operators.CastRows(in, fields)
	case "drop":
		var names []string
		for _, c := range v.Columns {
			names = append(names, c.Name)
		}
		config = map[string]any{"drop": names}
		op, err = operators.DropRows(in, names)
	}
	if err != nil {
		l.mistakes(err, whole, parts)
	}
	return op, config, err == nil
}

// mistakes tells what an operator found wrong, each at the place of its part, or of the whole when it names none.
func (l *loader) mistakes(err error, whole grammar.Expr, parts map[string]grammar.Expr) {
	part := func(name string) grammar.Expr {
		if e, ok := parts[name]; ok {
			return e
		}
		return whole
	}
	switch e := err.(type) {
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			l.mistakes(one, whole, parts)
		}
	case *operators.FieldError:
		l.expression(e.Err, part(e.Name))
	case *fault.ConfigurationError:
		for _, v := range e.Violations {
			at := part(v.Path)
			l.refuse(at.Tree, at.Path, v.Got, v.Want, v.Code).Fix = v.Fix
		}
	default:
		l.expression(err, whole)
	}
}

// gotWant is the form of errors all over the house.
var gotWant = regexp.MustCompile(`^got (.*), want (.*)$`)

var word = regexp.MustCompile(`^[\pL_][\pL\pN _-]*$`)

// expression tells what is wrong with an expression, at the column where it is wrong.
func (l *loader) expression(err error, e grammar.Expr) {
	at := *e.Tree
	var x *expr.Error
	if !errors.As(err, &x) {
		got, want := err.Error(), "what fits the step's input"
		if m := gotWant.FindStringSubmatch(got); m != nil {
			got, want = m[1], m[2]
		}
		l.refuse(&at, e.Path, got, want, ruleExpression)
		return
	}
	at.Line, at.Col = e.At(x.Col)
	v := l.refuse(&at, e.Path, x.Got, x.Want, ruleExpression)
	if v.Fix = x.Fix; e.Quoted && word.MatchString(e.Text) {
		v.Fix = fmt.Sprintf(`a text needs quotes of its own: '"%s"'`, e.Text)
	}
}

func (l *loader) aggregate(s *grammar.Step, n *Node, in *row.Codec[row.Row], bounded bool) {
	var w operators.Window
	if s.Window != nil {
		w = operators.Window{Size: s.Window.Size, Lateness: s.Window.Lateness, Offset: s.Window.Offset}
	}
	if w.Size == 0 && !bounded {
		l.refuse(treeAt(s.Node), s.Path+".window", noWindow, wantWindow, ruleWindow)
	}
	var err error
	if n.Keyed, err = operators.AggregateRows(in.Schema(), assigns(s.By), w, assigns(s.Aggregate)); err != nil {
		parts := named(s.By)
		maps.Copy(parts, named(s.Aggregate))
		l.mistakes(err, grammar.Expr{Tree: treeAt(s.Node), Path: s.Path + ".aggregate"}, parts)
		return
	}
	n.Config = map[string]any{"by": keys(s.By), "aggregate": columns(s.Aggregate)}
	if w.Size > 0 {
		n.Config["window"] = windowConfig(w)
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
		l.refuse(s.UseAt, path, fmt.Sprintf("%s with by", s.Use), "a function for steps with a key; this one is for steps without", ruleUse)
		return
	case !s.HasBy && fn.Step == nil:
		l.refuse(s.UseAt, path, fmt.Sprintf("%s without by", s.Use), "by: this function is for steps with a key", ruleUse)
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
		at := *s.UseAt
		at.Text = ""
		l.mistakes(err, grammar.Expr{Tree: &at, Path: path}, nil)
	}
}

// key makes the key of a use step, which is columns only: its function gets no errors of expressions.
func (l *loader) key(s *grammar.Step, in *row.Schema) (func(row.Row) string, bool) {
	before := len(l.wrong)
	var places []int
	for _, a := range s.By {
		i, known := in.Index(a.Expr.Text)
		if !known {
			l.refuse(a.Expr.Tree, a.Expr.Path, a.Expr.Show(), "one of the columns "+list(in.Names())+"; a set step before can compute one", ruleColumn).Fix =
				fault.DidYouMean(a.Expr.Text, in.Names())
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

// named finds expressions by their names.
func named(as []grammar.Assign) map[string]grammar.Expr {
	m := map[string]grammar.Expr{}
	for _, a := range as {
		m[a.Name] = a.Expr
	}
	return m
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
