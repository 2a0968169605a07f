package operators

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"unsafe"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// AggregateRows gives one row per key and window: the columns by, then window_start and window_end (timestamps) when there is a window, then
// the aggregates. Without by there is one group. Nulls are one key; aggregates skip them, as in SQL:
//
//	count()   the number of records · count(x) of those whose x is not null
//	sum(x)    of int64 (does it not fit int64, the group fails), float64, decimal (38 digits) or duration
//	mean(x)   of int64, float64 and decimal as float64, of duration as duration
//	min(x)    max(x)  of anything scalar; NaN is greater than every number
//
// Without a value all but the counts are null. Sums and means are computed exactly and rounded once, so they do not depend on the order of records.
//
// Mistakes come together: a *FieldError for each field, mostly around an *expr.Error, and a fault.ConfigurationError for the window.
func AggregateRows(in *row.Schema, by []Assign, w Window, aggs []Assign) (AnyKeyed, error) {
	windows, err := w.windows()
	wrong := []error{err}
	p := &rowPlan{in: in, windowed: !windows.all(), sum: accumulators{at: map[string]int{}}}
	var fields []row.Field
	field := func(name string, f row.Field, err error) {
		f.Name = name
		switch {
		case name == "":
			err = errors.New("an expression has no name")
		case err == nil && slices.ContainsFunc(fields, func(o row.Field) bool { return o.Name == name }):
			err = errors.New("the field is given twice")
			if p.windowed && (name == windowStart || name == windowEnd) {
				err = errors.New("the window has a field of this name")
			}
		}
		if err != nil {
			wrong = append(wrong, &FieldError{name, err})
		}
		fields = append(fields, f)
	}
	for _, a := range by {
		x, err := expr.Compile(a.Expr, in)
		if err != nil {
			field(a.Name, row.Field{}, err)
			continue
		}
		if k := x.Type().Kind; k == row.KindNull || k >= row.KindList {
			err = &expr.Error{Col: 1, Got: "a key of type " + x.Type().String(), Want: "a scalar"}
		}
		p.by = append(p.by, newInput(x))
		field(a.Name, x.Field(a.Name), err)
	}
	if p.windowed {
		field(windowStart, row.Field{Type: row.Type{Kind: row.KindTimestamp}}, nil)
		field(windowEnd, row.Field{Type: row.Type{Kind: row.KindTimestamp}}, nil)
	}
	p.group = len(fields)
	for _, a := range aggs {
		at, f, err := p.sum.add(a, in)
		p.results = append(p.results, at)
		field(a.Name, f, err)
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, err
	}
	out, err := row.NewSchema(fields...)
	if err != nil {
		return nil, err
	}
	if p.groups, err = row.NewSchema(fields[:p.group]...); err != nil {
		return nil, err
	}
	p.out = row.RowCodec(out)
	return newWindowed[[]acc](row.RowCodec(in), p.out, windows, &p.sum, func() folding[[]acc] { return &rowFold{rowPlan: p} }), nil
}

const windowStart, windowEnd = "window_start", "window_end"

// rowPlan is what AggregateRows has found out; it is shared.
type rowPlan struct {
	in       *row.Schema
	by       []input
	windowed bool
	sum      accumulators
	results  []int       // which accumulator each aggregate shows
	group    int         // how many columns of the result tell the group
	groups   *row.Schema // those columns
	out      *row.Codec[row.Row]
}

// input is an expression, with its column when it is only that.
type input struct {
	x      *expr.Expr
	column int // or -1
}

func newInput(x *expr.Expr) input {
	if i, ok := x.ColumnIndex(); ok {
		return input{x, i}
	}
	return input{x, -1}
}

// rowFold is folding by the aggregates of rows.
type rowFold struct {
	*rowPlan
	rows *record.Batch[row.Row]
	env  expr.Env
	args []row.Value
	vs   []row.Value
}

func (f *rowFold) begin(b record.Any) {
	f.rows = b.(*record.Batch[row.Row])
	f.env.Split = f.rows.Split
}

func (f *rowFold) read(dst []byte, i int) ([]byte, error) {
	vs := f.rows.Values[i].Values
	f.env.Meta = &f.rows.Metas[i]
	for _, in := range f.by {
		v, err := in.value(vs, &f.env)
		if err != nil {
			return nil, err
		}
		dst = row.AppendKey(dst, v)
	}
	if f.args == nil {
		f.args = make([]row.Value, len(f.sum.list))
	}
	for j := range f.sum.list {
		a := &f.sum.list[j]
		if a.kind == countAll {
			continue
		}
		var err error
		if f.args[j], err = a.arg.value(vs, &f.env); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

func (in *input) value(vs []row.Value, env *expr.Env) (row.Value, error) {
	if in.column >= 0 {
		return vs[in.column], nil
	}
	return in.x.Eval(vs, env)
}

func (f *rowFold) fresh(a *[]acc) {
	if *a == nil {
		*a = make([]acc, len(f.sum.list))
		return
	}
	for i := range *a {
		(*a)[i].reset()
	}
}

func (f *rowFold) add(a *[]acc) {
	for j := range f.sum.list {
		f.sum.list[j].add(&(*a)[j], f.args[j])
	}
}

func (f *rowFold) merge(into, from *[]acc) {
	for j := range f.sum.list {
		f.sum.list[j].merge(&(*into)[j], &(*from)[j])
	}
}

func (f *rowFold) result(out Output, key string, w Span, a *[]acc, m record.Meta) error {
	vs, err := row.DecodeKey(bytesOf(key), len(f.by))
	if err != nil {
		return fmt.Errorf("the key %x: %w", key, err)
	}
	for i, v := range vs { // the canonical form of a decimal is short
		if vs[i], err = row.Cast(v, f.groups.Fields[i].Type); err != nil {
			return fmt.Errorf("the key %x: %w", key, err)
		}
	}
	if f.vs = append(f.vs[:0], vs...); f.windowed {
		f.vs = append(f.vs, row.Timestamp(w.Start*1000), row.Timestamp(w.End*1000))
	}
	for _, j := range f.results {
		v, err := f.sum.list[j].result(&(*a)[j])
		if err != nil {
			out.Fail(row.AppendJSONRow(nil, f.groups, f.vs[:f.group]), m, "", err)
			return nil
		}
		f.vs = append(f.vs, v)
	}
	return f.out.AppendRecord(out.Out, f.vs, m)
}

// accumulators are the different aggregates of a step; it is the format of their state.
type accumulators struct {
	list []aggregate
	at   map[string]int
	text string
}

// aggregate is one aggregate of rows.
type aggregate struct {
	call string // as "sum(dep_delay)"
	kind aggregateKind
	arg  input
	in   row.Type // of the argument
	out  row.Type
}

type aggregateKind uint8

const (
	countAll aggregateKind = iota
	countValues
	sumInts // also of durations
	sumFloats
	sumDecimals
	meanInts
	meanFloats
	meanDecimals
	least
	greatest
)

// kinds are the aggregates of a function by the kind of its argument.
var kinds = map[string]map[row.Kind]aggregateKind{
	"sum":  {row.KindInt64: sumInts, row.KindDuration: sumInts, row.KindFloat64: sumFloats, row.KindDecimal: sumDecimals},
	"mean": {row.KindInt64: meanInts, row.KindDuration: meanInts, row.KindFloat64: meanFloats, row.KindDecimal: meanDecimals},
	"min":  scalars(least),
	"max":  scalars(greatest),
}

func scalars(k aggregateKind) map[row.Kind]aggregateKind {
	m := map[row.Kind]aggregateKind{}
	for kind := row.KindBool; kind < row.KindList; kind++ {
		m[kind] = k
	}
	return m
}

// add plans an aggregate; the same call is computed once. It gives the accumulator's place and the column of the result.
func (s *accumulators) add(a Assign, in *row.Schema) (at int, f row.Field, err error) {
	fn, args, err := expr.CompileCall(a.Expr, in)
	if err != nil {
		return 0, f, err
	}
	g := aggregate{out: row.Type{Kind: row.KindInt64}}
	f = row.Field{Name: a.Name}
	switch {
	case fn == "count" && len(args) == 0:
		g.kind, g.call = countAll, "count()"
		g.in = g.out
	case fn != "count" && kinds[fn] == nil:
		fix := ""
		if n := fault.Nearest(fn, aggregateNames); n != "" {
			fix = fmt.Sprintf("did you mean %q?", n)
		} else if fn == "avg" {
			fix = `did you mean "mean"?`
		}
		return 0, f, &expr.Error{Col: 1, Got: fmt.Sprintf("the function %q", fn), Want: "an aggregate: count, sum, mean, min or max", Fix: fix}
	case len(args) != 1:
		return 0, f, &expr.Error{Col: 1, Got: fmt.Sprintf("%d arguments", len(args)), Want: "one argument"}
	default:
		x := args[0]
		if x.Type().Kind == row.KindNull {
			return 0, f, &expr.Error{Col: len(fn) + 2, Got: "null, which has no type", Want: "a value, or a null with a type as int(null)"}
		}
		g.arg, g.in, f.Nullable = newInput(x), x.Type(), x.Nullable()
		g.call = fn + "(" + strings.TrimSpace(x.String()) + ")"
		if fn == "count" {
			g.kind, f.Nullable = countValues, false
			break
		}
		kind, ok := kinds[fn][g.in.Kind]
		if !ok {
			return 0, f, &expr.Error{Col: len(fn) + 2, Got: fmt.Sprintf("a value of type %s", g.in), Want: wants[fn]}
		}
		g.kind, g.out = kind, g.in
		switch {
		case kind == sumDecimals:
			g.out.Precision = 38
		case fn == "mean" && g.in.Kind != row.KindDuration:
			g.out = row.Type{Kind: row.KindFloat64}
		}
	}
	f.Type = g.out
	at, ok := s.at[g.call]
	if !ok {
		at = len(s.list)
		s.at[g.call] = at
		s.list = append(s.list, g)
		field := row.Field{Name: g.call, Type: g.in, Nullable: true}
		if s.text != "" {
			s.text += ", "
		}
		s.text += (&row.Schema{Fields: []row.Field{field}}).String()
	}
	return at, f, nil
}

var (
	aggregateNames = []string{"count", "sum", "mean", "min", "max"}
	wants          = map[string]string{
		"sum": "int64, float64, decimal or duration", "mean": "int64, float64, decimal or duration", "min": "a scalar", "max": "a scalar",
	}
)

// add adds a value.
func (g *aggregate) add(s *acc, v row.Value) {
	if g.kind == countAll {
		s.n++
		return
	}
	if v.IsNull() {
		return
	}
	switch g.kind {
	case countValues:
	case sumInts, meanInts:
		s.addInt(v.Int())
	case sumFloats, meanFloats:
		s.addFloat(v.Float())
	case sumDecimals, meanDecimals:
		s.addDecimal(v)
	default:
		if s.n == 0 || g.better(s, v) {
			g.keep(s, v)
		}
	}
	s.n++
}

// better says whether v takes the place of the least or greatest so far.
func (g *aggregate) better(s *acc, v row.Value) bool {
	c := 0
	switch g.in.Kind {
	case row.KindString, row.KindBytes:
		c = strings.Compare(v.Str(), textOf(s.p.text))
	case row.KindFloat64, row.KindDecimal:
		c = row.Compare(v, g.kept(s))
	default:
		if a, b := v.Int(), int64(s.a); a < b {
			c = -1
		} else if a > b {
			c = 1
		}
	}
	return g.kind == least && c < 0 || g.kind == greatest && c > 0
}

// keep makes v the least or greatest. Strings are copied.
func (g *aggregate) keep(s *acc, v row.Value) {
	switch g.in.Kind {
	case row.KindString, row.KindBytes:
		w := s.wide()
		w.text = append(w.text[:0], v.Bytes()...)
	case row.KindFloat64:
		f := v.Float()
		switch {
		case f == 0:
			f = 0 // -0 too
		case f != f:
			f = math.NaN()
		}
		s.a = math.Float64bits(f)
	case row.KindDecimal:
		s.setDecimal(v)
	default:
		s.a = uint64(v.Int())
	}
}

// kept gives the least or greatest.
func (g *aggregate) kept(s *acc) row.Value {
	n := int64(s.a)
	switch g.in.Kind {
	case row.KindBool:
		return row.Bool(n != 0)
	case row.KindFloat64:
		return row.Float(math.Float64frombits(s.a))
	case row.KindDecimal:
		return s.decimal()
	case row.KindString:
		return row.String(textOf(s.p.text))
	case row.KindBytes:
		return row.Bytes(s.p.text)
	case row.KindTimestamp:
		return row.Timestamp(n)
	case row.KindDate:
		return row.Date(n)
	case row.KindDuration:
		return row.Duration(n)
	}
	return row.Int(n)
}

// merge adds what is in o.
func (g *aggregate) merge(s, o *acc) {
	if o.n == 0 {
		return
	}
	switch g.kind {
	case countAll, countValues:
	case sumInts, meanInts:
		s.mergeInt(o)
	case sumFloats, meanFloats:
		s.mergeFloat(o)
	case sumDecimals, meanDecimals:
		s.addDecimal(o.decimal())
	default:
		if v := g.kept(o); s.n == 0 || g.better(s, v) {
			g.keep(s, v)
		}
	}
	s.n += o.n
}

// result gives the aggregate's value. An error is about the group.
func (g *aggregate) result(s *acc) (row.Value, error) {
	switch {
	case g.kind <= countValues:
		return row.Int(s.n), nil
	case s.n == 0:
		return row.Null(), nil
	}
	switch g.kind {
	case sumInts:
		n, ok := s.int64()
		if !ok {
			return row.Null(), g.overflow(s.int().String(), "convert the argument: sum(float(x)) or a decimal")
		}
		if g.out.Kind == row.KindDuration {
			return row.Duration(n), nil
		}
		return row.Int(n), nil
	case meanInts:
		if g.out.Kind == row.KindDuration {
			return row.Duration(rounded(s.int(), s.n)), nil
		}
		mean, _ := new(big.Float).SetPrec(53).Quo(exactly(s.int()), exactly(big.NewInt(s.n))).Float64()
		return row.Float(mean), nil
	case sumFloats:
		return row.Float(s.float64(1)), nil
	case meanFloats:
		return row.Float(s.float64(s.n)), nil
	case sumDecimals:
		v, err := row.Cast(s.decimal(), g.out)
		if err != nil {
			return v, g.overflow(string(row.AppendText(nil, s.decimal())), "")
		}
		return v, nil
	case meanDecimals:
		sum, scale := s.decimal().Decimal()
		over := new(big.Int).Exp(ten, big.NewInt(int64(scale)), nil)
		mean, _ := new(big.Rat).SetFrac(sum, over.Mul(over, big.NewInt(s.n))).Float64()
		return row.Float(mean), nil
	}
	return row.Cast(g.kept(s), g.out)
}

func exactly(n *big.Int) *big.Float { return new(big.Float).SetInt(n) }

// rounded is sum/n as the nearest whole number, halves away from zero.
func rounded(sum *big.Int, n int64) int64 {
	half := big.NewInt(n)
	sum.Lsh(sum, 1)
	if sum.Sign() < 0 {
		half.Neg(half)
	}
	return sum.Quo(sum.Add(sum, half), big.NewInt(2*n)).Int64()
}

func (g *aggregate) overflow(sum, fix string) error {
	return &fault.RuntimeError{Detail: fault.Detail{
		Code: "aggregate.overflow", Doing: g.call, Retry: fault.RetryNever, Err: fmt.Errorf("the sum %s does not fit %s", sum, g.out), Fix: fix,
	}}
}

// append appends an accumulator: the number of values and, when there are any, what they come to.
func (g *aggregate) append(dst []byte, s *acc) []byte {
	dst = binary.AppendUvarint(dst, uint64(s.n))
	if s.n == 0 {
		return dst
	}
	switch g.kind {
	case countAll, countValues:
		return dst
	case sumInts, meanInts:
		return s.appendInt128(dst)
	case sumFloats, meanFloats:
		return s.appendFloat(dst)
	case sumDecimals, meanDecimals:
		return row.AppendValue(dst, s.decimal())
	}
	return row.AppendValue(dst, g.kept(s))
}

func (g *aggregate) read(s *acc, data []byte) (rest []byte, err error) {
	n, width := binary.Uvarint(data)
	if width <= 0 || n > math.MaxInt64 {
		return nil, errTruncated
	}
	data = data[width:]
	if n == 0 {
		return data, nil
	}
	switch g.kind {
	case countAll, countValues:
	case sumInts, meanInts:
		data, err = s.readInt128(data)
	case sumFloats, meanFloats:
		data, err = s.readFloat(data)
	default:
		var v row.Value
		if v, data, err = row.DecodeValue(data); err != nil {
			return nil, err
		}
		if v.Kind() != g.in.Kind {
			return nil, fmt.Errorf("%s: got %s, want %s", g.call, v.Kind(), g.in)
		}
		g.keep(s, v)
	}
	s.n = int64(n)
	return data, err
}

// Schema names each accumulator with the type of its argument.
func (s *accumulators) Schema() string { return s.text }

// Writer appends the accumulators of a group, one after another.
func (s *accumulators) Writer() func(dst []byte, v *[]acc) []byte {
	return func(dst []byte, v *[]acc) []byte {
		for j := range s.list {
			dst = s.list[j].append(dst, &(*v)[j])
		}
		return dst
	}
}

// Reader reads accumulators of this or another list. Those that are not wanted any more are left out; one that is new is refused, because it
// has not seen the records that the others have.
func (s *accumulators) Reader(schema string) (func(v *[]acc, data []byte) error, error) {
	old, to := s.list, make([]int, len(s.list))
	for j := range to {
		to[j] = j
	}
	if schema != s.text {
		var err error
		if old, to, err = s.from(schema); err != nil {
			return nil, err
		}
	}
	var unused acc
	return func(v *[]acc, data []byte) (err error) {
		if *v == nil {
			*v = make([]acc, len(s.list))
		}
		for i := range *v {
			(*v)[i].reset()
		}
		for i := range old {
			a := &unused
			if to[i] >= 0 {
				a = &(*v)[to[i]]
			} else {
				a.reset()
			}
			if data, err = old[i].read(a, data); err != nil {
				return err
			}
		}
		if len(data) > 0 {
			return errors.New("there is data behind the last aggregate")
		}
		return nil
	}, nil
}

// from finds the accumulators of a schema, and where each of them is in s, or -1.
func (s *accumulators) from(schema string) (old []aggregate, to []int, err error) {
	fields, err := row.ParseSchema(schema)
	if err != nil {
		return nil, nil, err
	}
	there := 0
	for _, f := range fields.Fields {
		fn, _, _ := strings.Cut(f.Name, "(")
		g := aggregate{call: f.Name, kind: kinds[fn][f.Type.Kind], in: f.Type}
		if fn == "count" && f.Name != "count()" {
			g.kind = countValues
		} else if g.kind == countAll && fn != "count" {
			return nil, nil, fmt.Errorf("got the aggregate %s of %s", f.Name, f.Type)
		}
		at, ok := s.at[f.Name]
		switch {
		case !ok:
			at = -1
		case !s.list[at].in.Equal(f.Type):
			return nil, nil, fmt.Errorf("the argument of %s was %s and is now %s", f.Name, f.Type, s.list[at].in)
		default:
			there++
		}
		old, to = append(old, g), append(to, at)
	}
	if there < len(s.list) {
		for _, g := range s.list {
			if _, ok := fields.Index(g.call); !ok {
				return nil, nil, fmt.Errorf("%s is new: in windows that are open it would miss the records so far", g.call)
			}
		}
	}
	return old, to, nil
}

// textOf gives bytes as a string without copying them; they must not be changed while it is used.
func textOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
