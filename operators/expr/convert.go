package expr

import (
	"fmt"
	"math/big"

	"github.com/activedataflow/adf/record/row"
)

// conversions are the functions named as types. They convert as the step cast does, by row.Cast, with one difference: int cuts off a number's fraction.
var conversions = map[string]function{
	"int":    conversion("int", intType),
	"float":  conversion("float", floatType),
	"bool":   conversion("bool", boolType),
	"string": conversion("string", stringType),
	"bytes": {"bytes(string)", 1, 1, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindString) {
			return node{}, errSignature
		}
		return unary(at, bytesType, args[0], func(_ *Env, v row.Value) row.Value { return row.Bytes(v.Bytes()) })
	}},
	"timestamp": conversion("timestamp", timestampType),
	"date":      conversion("date", dateType),
	"duration":  conversion("duration", durationType),
	"decimal": {"decimal(value, precision, scale)", 3, 3, func(at int, args []node) (node, error) {
		for _, a := range args[1:] {
			if !a.konst || !a.is(row.KindInt64) {
				return node{}, errSignature
			}
		}
		p, s := args[1].val.Int(), args[2].val.Int()
		if p < 1 || p > mostDigits || s < 0 || s > p {
			return refuse(at, fmt.Sprintf("decimal(%d, %d)", p, s), "a precision from 1 to 38 and a scale from 0 to the precision")
		}
		return convertTo(at, args[0], row.Type{Kind: row.KindDecimal, Precision: uint8(p), Scale: uint8(s)})
	}},
}

func conversion(name string, t row.Type) function {
	return function{name + "(value)", 1, 1, func(at int, args []node) (node, error) { return convertTo(at, args[0], t) }}
}

func convertTo(at int, a node, t row.Type) (node, error) {
	if a.isNull() { // a null with a type
		return constant(t, row.Null(), at), nil
	}
	if !row.Castable(a.typ, t) {
		return refuse(at, fmt.Sprintf("%s as %s", describe(a), t), "a value that can become "+t.String())
	}
	switch {
	case a.typ.Kind == t.Kind && t.Kind != row.KindDecimal:
		a.at = at
		return a, nil
	case t.Kind == row.KindString:
		return unary(at, t, a, func(e *Env, v row.Value) row.Value {
			const room = 64 // for every scalar but bytes
			return e.keep(row.AppendText(e.tail(room), v), room)
		})
	case t.Kind == row.KindInt64 && a.is(row.KindFloat64):
		return unary(at, t, a, func(e *Env, v row.Value) row.Value {
			if f := v.Float(); f >= -1<<63 && f < 1<<63 {
				return row.Int(int64(f))
			}
			return e.fail(at, "expression.conversion", show(v), "a number that fits int64")
		})
	case t.Kind == row.KindInt64 && a.is(row.KindDecimal):
		return unary(at, t, a, func(e *Env, v row.Value) row.Value {
			n, scale := v.Decimal()
			if n.Quo(n, power(int(scale))); n.IsInt64() {
				return row.Int(n.Int64())
			}
			return e.fail(at, "expression.conversion", show(v), "a number that fits int64")
		})
	case t.Kind == row.KindFloat64 && a.number():
		return unary(at, t, a, func(_ *Env, v row.Value) row.Value { return row.Float(float(v)) })
	case t.Kind == row.KindDecimal && a.is(row.KindDecimal), t.Kind == row.KindDecimal && a.is(row.KindInt64):
		return unary(at, t, a, func(e *Env, v row.Value) row.Value { return rescale(e, at, v, t) })
	}
	return unary(at, t, a, func(e *Env, v row.Value) row.Value {
		var w row.Value
		var err error
		if v.Kind() == row.KindString {
			w, err = parseTime(v, t)
		} else {
			w, err = row.Cast(v, t)
		}
		if err != nil {
			want := written[t.Kind]
			if want == "" {
				want = "what can become " + t.String()
			}
			return e.fail(at, "expression.conversion", show(v), want)
		}
		return w
	})
}

// wholeDecimal is the whole number at or beyond a decimal, in the direction of sign.
func wholeDecimal(e *Env, at int, v row.Value, t row.Type, sign int) row.Value {
	n, scale := v.Decimal()
	r := new(big.Int)
	n.QuoRem(n, power(int(scale)), r)
	if r.Sign() == sign {
		n.Add(n, big.NewInt(int64(sign)))
	}
	if w, ok := fit(n, 0, t); ok {
		return w
	}
	return e.fail(at, "expression.overflow", show(v), "a number that fits "+t.String())
}
