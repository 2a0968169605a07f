package expr

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// fn computes a value. A failure is noted in the Env and gives null, so whoever is above need not look.
type fn func(e *Env) row.Value

// node is a compiled part of an expression.
type node struct {
	typ  row.Type
	null bool // the value may be null
	fn   fn
	// col is the column that the node is; negative when it is more.
	col int
	// val is the value when konst says that it is always the same.
	val   row.Value
	konst bool
	// at is where the node is, in characters from 1.
	at int
}

func (n node) isColumn() bool     { return n.col >= 0 }
func (n node) isNull() bool       { return n.typ.Kind == row.KindNull }
func (n node) is(k row.Kind) bool { return n.typ.Kind == k }

// isText says whether the node is a text that is written out, which becomes a time where one is needed.
func (n node) isText() bool { return n.konst && n.is(row.KindString) }

func (n node) number() bool {
	return n.is(row.KindInt64) || n.is(row.KindFloat64) || n.is(row.KindDecimal)
}

// The types without parameters.
var (
	boolType      = row.Type{Kind: row.KindBool}
	intType       = row.Type{Kind: row.KindInt64}
	floatType     = row.Type{Kind: row.KindFloat64}
	stringType    = row.Type{Kind: row.KindString}
	bytesType     = row.Type{Kind: row.KindBytes}
	timestampType = row.Type{Kind: row.KindTimestamp}
	dateType      = row.Type{Kind: row.KindDate}
	durationType  = row.Type{Kind: row.KindDuration}
)

// constant is a value that is written out.
func constant(t row.Type, v row.Value, at int) node {
	return node{typ: t, null: v.IsNull(), fn: func(*Env) row.Value { return v }, col: -1, val: v, konst: true, at: at}
}

// compute makes the node of a computation on the values of kids. When all of them are constant, so is the result, which is computed here.
func compute(at int, t row.Type, null bool, f fn, kids ...node) (node, error) {
	n := node{typ: t, null: null, fn: f, col: -1, at: at}
	for _, k := range kids {
		if !k.konst {
			return n, nil
		}
	}
	var e Env
	v := f(&e)
	if e.err != nil {
		return n, &e.err.Error
	}
	return constant(t, v, at), nil
}

// strict is compute for what is null when one of kids is: it may be null only when one of them may.
func strict(at int, t row.Type, f fn, kids ...node) (node, error) {
	null := false
	for _, k := range kids {
		null = null || k.null
	}
	return compute(at, t, null, f, kids...)
}

// unary is a computation on one value that is not null.
func unary(at int, t row.Type, a node, f func(e *Env, v row.Value) row.Value) (node, error) {
	return strict(at, t, func(e *Env) row.Value {
		v := a.fn(e)
		if v.IsNull() {
			return v
		}
		return f(e, v)
	}, a)
}

// binary is a computation on two values that are not null.
func binary(at int, t row.Type, a, b node, f func(e *Env, v, w row.Value) row.Value) (node, error) {
	return strict(at, t, func(e *Env) row.Value {
		v, w := a.fn(e), b.fn(e)
		if v.IsNull() || w.IsNull() {
			return row.Null()
		}
		return f(e, v, w)
	}, a, b)
}

// compiler turns a tree into closures.
type compiler struct{ schema *row.Schema }

func at(n ast.Node) int { return n.Location().From + 1 }

func refuse(at int, got, want string) (node, error) {
	return node{}, &Error{Col: at, Got: got, Want: want}
}

// compile compiles a tree. The error is an *Error.
func (c *compiler) compile(n ast.Node) (node, error) {
	switch n := n.(type) {
	case *ast.NilNode:
		return constant(row.Type{}, row.Null(), at(n)), nil
	case *ast.BoolNode:
		return constant(boolType, row.Bool(n.Value), at(n)), nil
	case *ast.IntegerNode:
		return constant(intType, row.Int(int64(n.Value)), at(n)), nil
	case *ast.FloatNode:
		return constant(floatType, row.Float(n.Value), at(n)), nil
	case *ast.StringNode:
		return constant(stringType, row.String(n.Value), at(n)), nil
	case *ast.BytesNode:
		return constant(bytesType, row.Bytes(n.Value), at(n)), nil
	case *ast.IdentifierNode:
		return c.identifier(n)
	case *ast.UnaryNode:
		return c.unary(n)
	case *ast.BinaryNode:
		return c.binary(n)
	case *ast.ConditionalNode:
		return c.conditional(n)
	case *ast.ChainNode: // a?.b: what is reached through null is null anyway
		return c.compile(n.Node)
	case *ast.MemberNode:
		return c.member(n)
	case *ast.ArrayNode:
		return c.array(n)
	case *ast.CallNode:
		return c.call(n)
	case *ast.SliceNode:
		return refuse(at(n), "a slice", "substring(text, start, length) or an index")
	case *ast.MapNode:
		return refuse(at(n), "a map written out", "a value")
	}
	return refuse(at(n), fmt.Sprintf("%q", n), "a value") // nothing that the parser makes of our syntax
}

// all compiles several trees.
func (c *compiler) all(ns []ast.Node) ([]node, error) {
	nodes := make([]node, len(ns))
	for i, n := range ns {
		var err error
		if nodes[i], err = c.compile(n); err != nil {
			return nil, err
		}
	}
	return nodes, nil
}

// columns is the name that stands for all columns, for those whose name is no word: $env["dep delay"].
const columns = "$env"

func (c *compiler) identifier(n *ast.IdentifierNode) (node, error) {
	if _, ok := c.schema.Index(n.Value); ok {
		return c.column(n.Value, at(n))
	}
	switch n.Value {
	case "null":
		return constant(row.Type{}, row.Null(), at(n)), nil
	case "meta":
		return refuse(at(n), "meta", "one of meta.time, meta.split, meta.position")
	case columns:
		return refuse(at(n), columns, columns+`["name of a column"]`)
	}
	return c.column(n.Value, at(n))
}

func (c *compiler) column(name string, at int) (node, error) {
	i, ok := c.schema.Index(name)
	if !ok {
		names := c.schema.Names()
		want := "one of " + list(names)
		if len(names) == 0 {
			want = "no column: there are none"
		}
		return node{}, &Error{Col: at, Got: fmt.Sprintf("unknown column %q", name), Want: want, Fix: fault.DidYouMean(name, names)}
	}
	f := c.schema.Fields[i]
	return node{typ: f.Type, null: f.Nullable, fn: func(e *Env) row.Value { return e.vs[i] }, col: i, at: at}, nil
}

func (c *compiler) unary(n *ast.UnaryNode) (node, error) {
	a, err := c.compile(n.Node)
	if err != nil {
		return a, err
	}
	switch n.Operator {
	case "not", "!":
		if !a.is(row.KindBool) {
			return node{}, &Error{Col: at(n), Got: n.Operator + " " + describe(a), Want: "a bool behind it", Fix: n.Operator + " binds more than ==: write not (a == b)"}
		}
		return not(a, at(n))
	case "-":
		return negate(a, at(n))
	}
	if !a.number() && !a.is(row.KindDuration) {
		return refuse(at(n), n.Operator+" "+describe(a), "a number behind it")
	}
	a.at = at(n)
	return a, nil
}

func (c *compiler) binary(n *ast.BinaryNode) (node, error) {
	a, err := c.compile(n.Left)
	if err != nil {
		return a, err
	}
	if n.Operator == "in" {
		return c.in(a, n)
	}
	b, err := c.compile(n.Right)
	if err != nil {
		return b, err
	}
	switch n.Operator {
	case "and", "&&", "or", "||":
		return logic(at(n), n.Operator, a, b)
	case "==", "!=", "<", "<=", ">", ">=":
		return compare(at(n), n.Operator, a, b)
	case "??":
		return coalesce(at(n), []node{a, b})
	case "matches", "contains", "startsWith", "endsWith":
		return search(at(n), n.Operator, a, b)
	}
	return arithmetic(at(n), n.Operator, a, b)
}

// conditional is cond ? a : b; an unknown cond counts as false.
func (c *compiler) conditional(n *ast.ConditionalNode) (node, error) {
	kids, err := c.all([]ast.Node{n.Cond, n.Exp1, n.Exp2})
	if err != nil {
		return node{}, err
	}
	cond := kids[0]
	if !cond.is(row.KindBool) {
		return refuse(cond.at, describe(cond)+" before ?", "a bool")
	}
	if kids, err = unify(kids[1:]); err != nil {
		return node{}, err
	}
	a, b := kids[0], kids[1]
	if cond.konst {
		if cond.val.Bool() {
			return a, nil
		}
		return b, nil
	}
	return compute(cond.at, a.typ, a.null || b.null, func(e *Env) row.Value {
		if cond.fn(e).Bool() { // null is no true
			return a.fn(e)
		}
		return b.fn(e)
	}, cond, a, b)
}

// array is a list that is written out.
func (c *compiler) array(n *ast.ArrayNode) (node, error) {
	kids, err := c.all(n.Nodes)
	if err != nil {
		return node{}, err
	}
	if len(kids) == 0 {
		return refuse(at(n), "a list of nothing", "at least one element")
	}
	if kids, err = unify(kids); err != nil {
		return node{}, err
	}
	t, null := kids[0].typ, false
	for _, k := range kids {
		null = null || k.null
	}
	if t.Kind == row.KindNull {
		return refuse(at(n), "a list of nulls", "a value, for its type")
	}
	return compute(at(n), row.Type{Kind: row.KindList, Elem: &t, ElemNullable: null}, false, func(e *Env) row.Value {
		vs := e.values(len(kids))
		for i, k := range kids {
			vs[i] = k.fn(e)
		}
		return row.List(vs)
	}, kids...)
}

// member is a.b, a["b"] or a[0].
func (c *compiler) member(n *ast.MemberNode) (node, error) {
	if id, ok := n.Node.(*ast.IdentifierNode); ok {
		property, word := n.Property.(*ast.StringNode)
		switch {
		case id.Value == "meta" && word:
			return meta(property.Value, at(id))
		case id.Value == columns && word:
			return c.column(property.Value, at(id))
		case id.Value == columns:
			return refuse(at(id), columns+" with a computed name", columns+`["name of a column"]`)
		}
	}
	a, err := c.compile(n.Node)
	if err != nil {
		return a, err
	}
	b, err := c.compile(n.Property)
	if err != nil {
		return b, err
	}
	switch {
	case a.is(row.KindRow) && b.isText():
		name := b.val.Str()
		i, ok := a.typ.Row.Index(name)
		if !ok {
			names := a.typ.Row.Names()
			return node{}, &Error{Col: b.at, Got: fmt.Sprintf("unknown field %q", name), Want: "one of " + list(names), Fix: fault.DidYouMean(name, names)}
		}
		f := a.typ.Row.Fields[i]
		return compute(a.at, f.Type, a.null || f.Nullable, func(e *Env) row.Value {
			v := a.fn(e)
			if v.IsNull() {
				return v
			}
			return v.List()[i]
		}, a)
	case a.is(row.KindMap) && b.is(row.KindString):
		return compute(a.at, *a.typ.Elem, true, func(e *Env) row.Value {
			v, key := a.fn(e), b.fn(e)
			if v.IsNull() || key.IsNull() {
				return row.Null()
			}
			w, _ := lookup(v.Map(), key.Str())
			return w
		}, a, b)
	case a.is(row.KindList) && b.is(row.KindInt64):
		return compute(a.at, *a.typ.Elem, true, func(e *Env) row.Value {
			v, at := a.fn(e), b.fn(e)
			if v.IsNull() || at.IsNull() {
				return row.Null()
			}
			vs, i := v.List(), at.Int()
			if i < 0 {
				i += int64(len(vs))
			}
			if i < 0 || i >= int64(len(vs)) {
				return row.Null()
			}
			return vs[i]
		}, a, b)
	}
	want := "a list with an int64 index, a map with a key, or a row with a field"
	switch {
	case a.is(row.KindRow):
		want = "a field of the row: " + list(a.typ.Row.Names())
	case a.is(row.KindMap):
		want = "a string as key"
	case a.is(row.KindList):
		want = "an int64 as index"
	}
	if b.isText() {
		return refuse(b.at, fmt.Sprintf("%s of %s", show(b.val), describe(a)), want)
	}
	return refuse(b.at, fmt.Sprintf("%s of %s", describe(b), describe(a)), want)
}

// lookup finds a key in a map's entries, which are sorted.
func lookup(es []row.Entry, key string) (v row.Value, ok bool) {
	low, high := 0, len(es)
	for low < high {
		if mid := (low + high) / 2; es[mid].Key < key {
			low = mid + 1
		} else {
			high = mid
		}
	}
	if low < len(es) && es[low].Key == key {
		return es[low].Value, true
	}
	return row.Null(), false
}

// meta is what a record carries besides its values.
func meta(name string, at int) (node, error) {
	switch name {
	case "time":
		return node{typ: timestampType, null: true, col: -1, at: at, fn: func(e *Env) row.Value {
			if e.Meta == nil || e.Meta.Time == record.NoTime {
				return row.Null()
			}
			micros := e.Meta.Time * 1000
			if micros/1000 != e.Meta.Time {
				return e.fail(at, "expression.overflow", "meta.time "+strconv.FormatInt(e.Meta.Time, 10)+" ms", "a time that fits timestamp")
			}
			return row.Timestamp(micros)
		}}, nil
	case "split":
		return node{typ: stringType, col: -1, at: at, fn: func(e *Env) row.Value { return row.String(e.Split) }}, nil
	case "position":
		return node{typ: intType, col: -1, at: at, fn: func(e *Env) row.Value {
			if e.Meta == nil {
				return row.Int(0)
			}
			return row.Int(e.Meta.Position)
		}}, nil
	case "key":
		return refuse(at, "meta.key", "one of meta.time, meta.split, meta.position: records have a key only inside a keyed step")
	}
	known := []string{"time", "split", "position"}
	return node{}, &Error{Col: at, Got: "meta." + name, Want: "one of meta.time, meta.split, meta.position", Fix: fault.DidYouMean(name, known)}
}

// call is a call of one of our functions.
func (c *compiler) call(n *ast.CallNode) (node, error) {
	id, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return refuse(at(n), "a method", "a function as upper(name)")
	}
	if why, ok := elsewhere[id.Value]; ok {
		return node{}, &Error{Col: at(id), Got: id.Value + "(…)", Want: why[0], Fix: why[1]}
	}
	f, ok := functions[id.Value]
	if !ok {
		return node{}, &Error{Col: at(id), Got: fmt.Sprintf("unknown function %q", id.Value), Want: "one of the functions of the language", Fix: fault.DidYouMean(id.Value, functionNames)}
	}
	kids, err := c.all(n.Arguments)
	if err != nil {
		return node{}, err
	}
	if len(kids) >= f.least && (f.most < 0 || len(kids) <= f.most) {
		made, err := f.make(at(id), kids)
		if err != errSignature {
			made.at = at(id)
			return made, err
		}
	}
	types := make([]string, len(kids))
	for i, k := range kids {
		types[i] = describe(k)
	}
	return refuse(at(id), id.Value+"("+strings.Join(types, ", ")+")", f.signature)
}

// describe is a node's type as messages show it.
func describe(n node) string {
	if n.isNull() {
		return "null"
	}
	return n.typ.String()
}

func stringOf(b []byte) row.Value { return row.String(text(b)) }
