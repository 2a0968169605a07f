package expr

import (
	"fmt"

	"github.com/expr-lang/expr/ast"

	"github.com/activedataflow/adf/record/row"
)

// not turns true into false and back; unknown stays unknown.
func not(a node, at int) (node, error) {
	return strict(at, boolType, func(e *Env) row.Value {
		v := a.fn(e)
		if v.IsNull() {
			return v
		}
		return row.Bool(!v.Bool())
	}, a)
}

// logic is and, or in three values: what the known side decides is known. The right side is not computed when the left one decides.
func logic(at int, op string, a, b node) (node, error) {
	if !a.is(row.KindBool) || !b.is(row.KindBool) {
		return refuse(at, fmt.Sprintf("%s %s %s", describe(a), op, describe(b)), "a bool on both sides")
	}
	decides := op == "or" || op == "||" // the value that decides alone
	return strict(at, boolType, func(e *Env) row.Value {
		v := a.fn(e)
		if !v.IsNull() && v.Bool() == decides {
			return v
		}
		w := b.fn(e)
		if w.IsNull() || w.Bool() == decides {
			return w
		}
		return v // true and x is x; unknown and true is unknown
	}, a, b)
}

// Masks of the outcomes that make a comparison true: a bit for less, equal, greater.
const (
	less    = 1 << 0
	equal   = 1 << 1
	greater = 1 << 2
)

var masks = map[string]uint8{"==": equal, "!=": less | greater, "<": less, "<=": less | equal, ">": greater, ">=": greater | equal}

// mirror is the mask with the sides swapped.
func mirror(mask uint8) uint8 { return mask&equal | mask&less<<2 | mask&greater>>2 }

// outcome is the place of the bit of what a is to b.
func outcome[V int64 | string](a, b V) uint8 {
	if a < b {
		return 0
	}
	if a > b {
		return 2
	}
	return 1
}

// outcomeOfFloats is row.Compare's order: NaN equals itself and is beyond all others.
func outcomeOfFloats(a, b float64) uint8 {
	switch {
	case a < b:
		return 0
	case a > b:
		return 2
	case a == b:
		return 1
	}
	return uint8(row.Compare(row.Float(a), row.Float(b)) + 1)
}

func holds(mask, outcome uint8) row.Value { return row.Bool(mask>>outcome&1 != 0) }

// compare is == != < <= > >=. Beside a written null, == and != are the null test.
func compare(at int, op string, a, b node) (node, error) {
	ordered := op != "==" && op != "!="
	if a.isNull() || b.isNull() {
		if ordered {
			return refuse(at, fmt.Sprintf("%s %s %s", describe(a), op, describe(b)), "a value on both sides: only == and != test for null")
		}
		if a.isNull() {
			a = b
		}
		return nullTest(at, op == "==", a)
	}
	a, b, err := align(a, b)
	if err != nil {
		return node{}, err
	}
	mask := masks[op]
	if a.konst && !b.konst {
		a, b, mask = b, a, mirror(mask)
	}
	switch {
	case a.number() && b.number() && !a.typ.Equal(b.typ) || a.is(row.KindDecimal) && b.is(row.KindDecimal):
		return strict(at, boolType, func(e *Env) row.Value {
			v, w := a.fn(e), b.fn(e)
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			return holds(mask, uint8(row.Compare(v, w)+1))
		}, a, b)
	case a.typ.Kind != b.typ.Kind:
	case a.is(row.KindBool) && !ordered, a.is(row.KindInt64), a.is(row.KindTimestamp), a.is(row.KindDate), a.is(row.KindDuration):
		return strict(at, boolType, compareInts(mask, a, b), a, b)
	case a.is(row.KindFloat64):
		return strict(at, boolType, compareFloats(mask, a, b), a, b)
	case a.is(row.KindString), a.is(row.KindBytes):
		return strict(at, boolType, compareStrings(mask, a, b), a, b)
	}
	want := "two values that can be compared: numbers, strings, bytes, or times of one kind"
	if !ordered {
		want = "two values that can be compared: numbers, strings, bytes, bools, or times of one kind"
	}
	return refuse(at, fmt.Sprintf("%s %s %s", describe(a), op, describe(b)), want)
}

func nullTest(at int, isNull bool, a node) (node, error) {
	return compute(at, boolType, false, func(e *Env) row.Value { return row.Bool(a.fn(e).IsNull() == isNull) }, a)
}

// compareInts compares what is held as a whole number.
func compareInts(mask uint8, a, b node) fn {
	switch i, j := a.col, b.col; {
	case a.isColumn() && b.konst:
		y := b.val.Int()
		return func(e *Env) row.Value {
			v := e.vs[i]
			if v.IsNull() {
				return v
			}
			return holds(mask, outcome(v.Int(), y))
		}
	case a.isColumn() && b.isColumn():
		return func(e *Env) row.Value {
			v, w := e.vs[i], e.vs[j]
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			return holds(mask, outcome(v.Int(), w.Int()))
		}
	}
	return func(e *Env) row.Value {
		v, w := a.fn(e), b.fn(e)
		if v.IsNull() || w.IsNull() {
			return row.Null()
		}
		return holds(mask, outcome(v.Int(), w.Int()))
	}
}

func compareFloats(mask uint8, a, b node) fn {
	switch i, j := a.col, b.col; {
	case a.isColumn() && b.konst:
		y := b.val.Float()
		return func(e *Env) row.Value {
			v := e.vs[i]
			if v.IsNull() {
				return v
			}
			return holds(mask, outcomeOfFloats(v.Float(), y))
		}
	case a.isColumn() && b.isColumn():
		return func(e *Env) row.Value {
			v, w := e.vs[i], e.vs[j]
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			return holds(mask, outcomeOfFloats(v.Float(), w.Float()))
		}
	}
	return func(e *Env) row.Value {
		v, w := a.fn(e), b.fn(e)
		if v.IsNull() || w.IsNull() {
			return row.Null()
		}
		return holds(mask, outcomeOfFloats(v.Float(), w.Float()))
	}
}

func compareStrings(mask uint8, a, b node) fn {
	y := b.val.Str()
	switch i, j := a.col, b.col; {
	case a.isColumn() && b.konst && (mask == equal || mask == less|greater):
		same := mask == equal
		return func(e *Env) row.Value {
			v := e.vs[i]
			if v.IsNull() {
				return v
			}
			return row.Bool((v.Str() == y) == same)
		}
	case a.isColumn() && b.isColumn():
		return func(e *Env) row.Value {
			v, w := e.vs[i], e.vs[j]
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			return holds(mask, outcome(v.Str(), w.Str()))
		}
	}
	return func(e *Env) row.Value {
		v, w := a.fn(e), b.fn(e)
		if v.IsNull() || w.IsNull() {
			return row.Null()
		}
		return holds(mask, outcome(v.Str(), w.Str()))
	}
}

// in is x in [a, b], x in a list, or key in a map. As in SQL it is unknown when x is null, and when x was not found beside a null.
func (c *compiler) in(a node, n *ast.BinaryNode) (node, error) {
	if a.isNull() {
		return refuse(at(n), "null in …", "a value: x == null tests for null")
	}
	if written, ok := n.Right.(*ast.ArrayNode); ok {
		return c.inWritten(a, written, at(n))
	}
	b, err := c.compile(n.Right)
	if err != nil {
		return b, err
	}
	switch {
	case b.is(row.KindMap) && a.is(row.KindString):
		return binary(at(n), boolType, a, b, func(_ *Env, v, w row.Value) row.Value {
			_, ok := lookup(w.Map(), v.Str())
			return row.Bool(ok)
		})
	case b.is(row.KindList):
		elem := node{typ: *b.typ.Elem, col: -1, at: b.at, fn: func(*Env) row.Value { return row.Null() }}
		x, _, err := align(a, elem)
		if err != nil {
			return node{}, err
		}
		if x.typ.Kind != elem.typ.Kind && !(x.number() && elem.number()) || x.typ.Kind >= row.KindList {
			break
		}
		return compute(at(n), boolType, a.null || b.null || b.typ.ElemNullable, func(e *Env) row.Value {
			v, w := x.fn(e), b.fn(e)
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			unknown := false
			for _, m := range w.List() {
				if m.IsNull() {
					unknown = true
				} else if row.Compare(v, m) == 0 {
					return row.Bool(true)
				}
			}
			if unknown {
				return row.Null()
			}
			return row.Bool(false)
		}, a, b)
	}
	return refuse(at(n), fmt.Sprintf("%s in %s", describe(a), describe(b)), "a value in a list of such values, or a string in a map")
}

// inWritten is x in [a, b], which is x == a or x == b.
func (c *compiler) inWritten(a node, list *ast.ArrayNode, at int) (node, error) {
	kids, err := c.all(list.Nodes)
	if err != nil {
		return node{}, err
	}
	constants := true
	tests := make([]node, len(kids))
	for i, k := range kids {
		if k.isNull() {
			return refuse(k.at, "null in the list of in", "values: x == null tests for null")
		}
		x, y, err := align(a, k)
		if err != nil {
			return node{}, err
		}
		if tests[i], err = compare(at, "==", x, y); err != nil {
			return refuse(k.at, fmt.Sprintf("%s in the list of %s in", describe(y), describe(x)), "values that can be compared")
		}
		kids[i] = y
		constants = constants && y.konst && y.typ.Kind == a.typ.Kind
	}
	kids = append(kids, a)
	f := anyOf(tests)
	switch {
	case !constants || len(tests) < 4:
	case a.is(row.KindString):
		f = member(a, kids[:len(tests)], row.Value.Str)
	case a.is(row.KindInt64), a.is(row.KindTimestamp), a.is(row.KindDate), a.is(row.KindDuration):
		f = member(a, kids[:len(tests)], row.Value.Int)
	}
	null := a.null
	for _, k := range kids {
		null = null || k.null
	}
	return compute(at, boolType, null, f, kids...)
}

func anyOf(tests []node) fn {
	return func(e *Env) row.Value {
		result := row.Bool(false)
		for _, t := range tests {
			if v := t.fn(e); v.IsNull() {
				result = v
			} else if v.Bool() {
				return v
			}
		}
		return result
	}
}

// member looks a value up in a set.
func member[V comparable](a node, of []node, get func(row.Value) V) fn {
	set := make(map[V]struct{}, len(of))
	for _, k := range of {
		set[get(k.val)] = struct{}{}
	}
	return func(e *Env) row.Value {
		v := a.fn(e)
		if v.IsNull() {
			return v
		}
		_, ok := set[get(v)]
		return row.Bool(ok)
	}
}

// coalesce is the first value that is not null.
func coalesce(at int, kids []node) (node, error) {
	kids, err := unify(kids)
	if err != nil {
		return node{}, err
	}
	null := true
	for _, k := range kids {
		null = null && k.null
	}
	return compute(at, kids[0].typ, null, func(e *Env) row.Value {
		for _, k := range kids {
			if v := k.fn(e); !v.IsNull() {
				return v
			}
		}
		return row.Null()
	}, kids...)
}
