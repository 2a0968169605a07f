package operators

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// FieldError is a mistake in the expression of one field.
type FieldError struct {
	// Name is the field's.
	Name string
	// Err is the mistake, mostly an *expr.Error.
	Err error
}

func (e *FieldError) Error() string { return e.Name + ": " + e.Err.Error() }

// Unwrap gives the mistake.
func (e *FieldError) Unwrap() error { return e.Err }

// FilterRows keeps the rows for which an expression is true; those for which it is false or unknown go. The rows that stay share their
// values with the input. A mistake in the expression is an *expr.Error.
func FilterRows(in *row.Schema, text string) (Any, error) {
	x, err := expr.Compile(text, in)
	if err != nil {
		return nil, err
	}
	if x.Type().Kind != row.KindBool {
		return nil, &expr.Error{Col: 1 + len(text) - len(strings.TrimLeft(text, " \t\n")), Got: typeOf(x), Want: "a bool, as x > 0"}
	}
	c := row.RowCodec(in)
	return Through(c, c, func() Operator[row.Row, row.Row] { return &filterRows{x: x} }), nil
}

func typeOf(x *expr.Expr) string {
	if x.Type().Kind == row.KindNull {
		return "null"
	}
	return x.Type().String()
}

type filterRows struct {
	x   *expr.Expr
	env expr.Env
}

func (*filterRows) Open(context.Context, OpContext) error { return nil }
func (*filterRows) Close() error                          { return nil }

func (f *filterRows) Process(_ context.Context, in, out *record.Batch[row.Row], fail func(i int, err error)) error {
	f.env.Split, f.env.Slab = in.Split, row.SlabOf(out)
	for i := range in.Values {
		f.env.Meta = &in.Metas[i]
		switch v, err := f.x.Eval(in.Values[i].Values, &f.env); {
		case err != nil:
			fail(i, err)
		case v.Bool(): // null is not
			out.Append(in.Values[i], in.Metas[i])
		}
	}
	f.env.Meta = nil
	return nil
}

// SetRows sets fields to the values of expressions: fields that are there keep their place, new ones come behind, in the order given. Every expression
// sees the row as it came in, so the order does not matter. A mistake in an expression is a *FieldError around an *expr.Error.
func SetRows(in *row.Schema, set []Assign) (Any, error) {
	p := plan{in: in, prefix: true}
	fields := slices.Clone(in.Fields)
	err := p.compile(set, func(f row.Field) int {
		if i, ok := in.Index(f.Name); ok {
			fields[i] = f
			return i
		}
		fields = append(fields, f)
		return len(fields) - 1
	})
	return p.operator(fields, err)
}

// SelectRows makes rows of just the fields given, in that order. A mistake in an expression is a *FieldError around an *expr.Error.
func SelectRows(in *row.Schema, fields []Assign) (Any, error) {
	p := plan{in: in}
	var out []row.Field
	err := p.compile(fields, func(f row.Field) int {
		out = append(out, f)
		return len(out) - 1
	})
	p.from = make([]int, len(out))
	for i := range p.from {
		p.from[i] = -1
	}
	p.sets = slices.DeleteFunc(p.sets, func(s set) bool { // what is only a column is only copied
		i, ok := s.x.ColumnIndex()
		if ok {
			p.from[s.to] = i
		}
		return ok
	})
	return p.operator(out, err)
}

// RenameRows gives fields new names, as pairs of old and new. All change at once, so two can swap.
func RenameRows(in *row.Schema, names [][2]string) (Any, error) {
	p := plan{in: in, prefix: true}
	fields := slices.Clone(in.Fields)
	var wrong violations
	var seen []string
	for _, n := range names {
		i, ok := in.Index(n[0])
		switch {
		case !ok:
			wrong.unknown(in, n[0])
			continue
		case slices.Contains(seen, n[0]):
			wrong.add(n[0], "the column twice", "each column once", "flow.duplicate", "")
		case n[1] == "":
			wrong.add(n[0], "an empty name", "a new name", "flow.name", "")
		}
		seen = append(seen, n[0])
		fields[i].Name = n[1]
	}
	if len(wrong) == 0 {
		wrong.duplicates(fields)
	}
	return p.operator(fields, fault.Config(wrong...))
}

// DropRows leaves fields out.
func DropRows(in *row.Schema, names []string) (Any, error) {
	p := plan{in: in}
	var wrong violations
	for _, n := range names {
		if _, ok := in.Index(n); !ok {
			wrong.unknown(in, n)
		}
	}
	var fields []row.Field
	for i, f := range in.Fields {
		if !slices.Contains(names, f.Name) {
			fields, p.from = append(fields, f), append(p.from, i)
		}
	}
	if len(fields) == 0 && len(wrong) == 0 {
		wrong.add("", "a drop of every column", "at least one that stays", "flow.empty", "")
	}
	return p.operator(fields, fault.Config(wrong...))
}

// CastRows gives fields other types, by the rules of row.Cast; a value that does not fit fails its row. A field that is not nullable fails rows where it
// is null; one that is nullable stays what it was in that respect.
func CastRows(in *row.Schema, to []row.Field) (Any, error) {
	p := plan{in: in, prefix: true}
	fields := slices.Clone(in.Fields)
	var wrong violations
	var seen []string
	for _, f := range to {
		i, ok := in.Index(f.Name)
		if !ok {
			wrong.unknown(in, f.Name)
			continue
		}
		was := in.Fields[i]
		switch {
		case slices.Contains(seen, f.Name):
			wrong.add(f.Name, "the column twice", "each column once", "flow.duplicate", "")
		case !row.Castable(was.Type, f.Type):
			wrong.add(f.Name, fmt.Sprintf("%s to %s", was.Type, f.Type), "a type that a "+was.Type.Kind.String()+" can become", "flow.cast", "")
		}
		seen = append(seen, f.Name)
		fields[i].Type, fields[i].Nullable = f.Type, was.Nullable && f.Nullable
		if same := was.Type.Equal(f.Type); !same || was.Nullable && !f.Nullable {
			p.casts = append(p.casts, cast{i, fields[i], same})
		}
	}
	return p.operator(fields, fault.Config(wrong...))
}

// violations are mistakes about columns; their path is the column.
type violations []fault.Violation

func (vs *violations) add(path, got, want, code, fix string) {
	*vs = append(*vs, fault.Violation{Path: path, Got: got, Want: want, Code: code, Fix: fix})
}

func (vs *violations) unknown(in *row.Schema, name string) {
	names := in.Names()
	fix := ""
	if near := fault.Nearest(name, names); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	vs.add(name, fmt.Sprintf("the unknown column %q", name), "one of "+strings.Join(names, ", "), "flow.column", fix)
}

// duplicates finds names that two fields have.
func (vs *violations) duplicates(fields []row.Field) {
	seen := map[string]bool{}
	for _, f := range fields {
		if seen[f.Name] {
			vs.add(f.Name, "a second field of this name", "names used once", "flow.duplicate", "")
		}
		seen[f.Name] = true
	}
}

// plan says how a row is made of another one.
type plan struct {
	in, out *row.Schema
	// prefix says that the new row begins with all values of the old one; otherwise from says which value each field is, -1 for none.
	prefix bool
	from   []int
	sets   []set
	casts  []cast
}

// set is a field that is the value of an expression, cast one that changes its type.
type (
	set struct {
		to   int
		name string
		x    *expr.Expr
	}
	cast struct {
		at   int
		to   row.Field
		same bool // only null is looked for
	}
)

// compile compiles assignments; place says where a field goes.
func (p *plan) compile(as []Assign, place func(row.Field) int) error {
	var wrong []error
	seen := map[string]bool{}
	for _, a := range as {
		x, err := expr.Compile(a.Expr, p.in)
		switch {
		case a.Name == "":
			err = errors.New("an expression has no name")
		case seen[a.Name]:
			err = errors.New("the field is given twice")
		case err == nil && x.Type().Kind == row.KindNull:
			err = &expr.Error{Col: 1, Got: "null, which has no type", Want: "a value, or a null with a type as int(null)"}
		}
		if err != nil {
			wrong = append(wrong, &FieldError{a.Name, err})
			continue
		}
		seen[a.Name] = true
		p.sets = append(p.sets, set{place(x.Field(a.Name)), a.Name, x})
	}
	if len(as) == 0 {
		wrong = append(wrong, errors.New("no field is given"))
	}
	return errors.Join(wrong...)
}

// operator makes the operator, whose rows have the fields; an error that was found before comes back.
func (p *plan) operator(fields []row.Field, err error) (Any, error) {
	if err != nil {
		return nil, err
	}
	if p.out, err = row.NewSchema(fields...); err != nil {
		return nil, err
	}
	return Through(row.RowCodec(p.in), row.RowCodec(p.out), func() Operator[row.Row, row.Row] { return &planned{plan: p} }), nil
}

// planned makes rows by a plan.
type planned struct {
	*plan
	env expr.Env
}

func (*planned) Open(context.Context, OpContext) error { return nil }
func (*planned) Close() error                          { return nil }

func (p *planned) Process(_ context.Context, in, out *record.Batch[row.Row], fail func(i int, err error)) error {
	if p.prefix && len(p.sets) == 0 && len(p.casts) == 0 { // other names for the same values
		for i, r := range in.Values {
			out.Append(row.Row{Schema: p.out, Values: r.Values}, in.Metas[i])
		}
		return nil
	}
	slab := row.SlabOf(out)
	p.env.Split, p.env.Slab = in.Split, slab
	for i := range in.Values {
		p.env.Meta = &in.Metas[i]
		vs := slab.Values(len(p.out.Fields))
		if err := p.fill(vs, in.Values[i].Values); err != nil {
			fail(i, err)
			continue
		}
		out.Append(row.Row{Schema: p.out, Values: vs}, in.Metas[i])
	}
	p.env.Meta = nil
	return nil
}

// fill makes one row's values.
func (p *planned) fill(vs, old []row.Value) (err error) {
	if p.prefix {
		copy(vs, old)
	}
	for to, from := range p.from {
		if from >= 0 {
			vs[to] = old[from]
		}
	}
	for i := range p.sets {
		s := &p.sets[i]
		if vs[s.to], err = s.x.Eval(old, &p.env); err != nil {
			return within(s.name, err)
		}
	}
	for _, c := range p.casts {
		if !c.same {
			vs[c.at], err = row.Cast(vs[c.at], c.to.Type)
		}
		if err == nil && vs[c.at].IsNull() && !c.to.Nullable {
			err = errors.New("got null, want a value")
		}
		if err != nil {
			doing := fmt.Sprintf("cast %s to %s", c.to.Name, c.to.Type)
			return &fault.RuntimeError{Detail: fault.Detail{Code: "cast.value", Doing: doing, Retry: fault.RetryNever, Err: err}}
		}
	}
	return nil
}

// within tells which field it was that failed.
func within(name string, err error) error {
	var f *fault.RuntimeError
	if errors.As(err, &f) {
		f.Doing = "set " + name + ": " + f.Doing // the error was made for this record: nobody else has it
	}
	return err
}
