package expr

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/activedataflow/adf/record/row"
)

// text gives the string of the same memory.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// written is how a time is written out in an expression.
var written = map[row.Kind]string{
	row.KindTimestamp: `a timestamp as "2006-01-02T15:04:05Z" or "2006-01-02"`,
	row.KindDate:      `a date as "2006-01-02"`,
	row.KindDuration:  `a duration as "1h30m"`,
}

// timeOf turns a text that is written out into a time of the type.
func timeOf(n node, t row.Type) (node, error) {
	v, err := parseTime(n.val, t)
	if err != nil {
		return refuse(n.at, show(n.val), written[t.Kind])
	}
	return constant(t, v, n.at), nil
}

// parseTime reads a time; a timestamp may be a day, which is midnight UTC.
func parseTime(v row.Value, t row.Type) (row.Value, error) {
	w, err := row.ParseText(v.Bytes(), t)
	if err != nil && t.Kind == row.KindTimestamp {
		if day, err := row.ParseText(v.Bytes(), dateType); err == nil {
			return row.Cast(day, t)
		}
	}
	return w, err
}

// align brings the two sides of a comparison closer: a written text becomes a time beside a time, a date a timestamp beside a timestamp, a written
// number one of the other side's type when nothing is lost. Numbers that still differ in type compare exactly by row.Compare.
func align(a, b node) (node, node, error) {
	x, err := toward(a, b.typ)
	if err != nil {
		return a, b, err
	}
	y, err := toward(b, x.typ)
	return x, y, err
}

func toward(n node, t row.Type) (node, error) {
	switch {
	case n.isText() && written[t.Kind] != "":
		return timeOf(n, t)
	case n.is(row.KindDate) && t.Kind == row.KindTimestamp:
		return convert(n, t)
	case n.konst && n.is(row.KindInt64) && t.Kind == row.KindFloat64, n.konst && n.is(row.KindFloat64) && t.Kind == row.KindInt64:
		if v, err := row.Cast(n.val, t); err == nil {
			return constant(t, v, n.at), nil
		}
	case n.konst && n.is(row.KindFloat64) && t.Kind == row.KindDecimal:
		if d, ok := decimalOf(n); ok {
			return d, nil
		}
	}
	return n, nil
}

// decimalOf turns a number that is written out into the decimal of the same digits.
func decimalOf(n node) (node, bool) {
	v, err := row.Cast(n.val, row.Type{Kind: row.KindDecimal, Precision: 38, Scale: 18})
	if err != nil {
		return n, false
	}
	// The fewest digits that hold it.
	for scale := uint8(0); scale <= 18; scale++ {
		if w, err := row.Cast(v, row.Type{Kind: row.KindDecimal, Precision: 38, Scale: scale}); err == nil {
			unscaled, _ := w.Decimal()
			digits := uint8(len(unscaled.Abs(unscaled).String()))
			return constant(row.Type{Kind: row.KindDecimal, Precision: max(digits, scale), Scale: scale}, w, n.at), true
		}
	}
	return n, false
}

// unify gives values that come out of one place one type: that of a, b in cond ? a : b.
func unify(kids []node) ([]node, error) {
	kids = slices.Clone(kids)
	if slices.ContainsFunc(kids, func(k node) bool { return k.is(row.KindDecimal) }) {
		for i, k := range kids { // a float that is written out beside a decimal means its digits
			if k.konst && k.is(row.KindFloat64) {
				kids[i], _ = decimalOf(k)
			}
		}
	}
	var t row.Type
	first := node{}
	for _, k := range kids { // texts that are written out follow the others
		if k.isNull() || k.isText() {
			continue
		}
		var ok bool
		if t, ok = common(t, k); !ok {
			return nil, &Error{Col: k.at, Got: fmt.Sprintf("%s beside %s", describe(k), describe(first)), Want: "values of one type"}
		}
		if first.fn == nil {
			first = k
		}
	}
	if first.fn == nil {
		for _, k := range kids {
			if k.isText() {
				t, first = stringType, k
			}
		}
	}
	for i, k := range kids {
		var err error
		switch {
		case k.isNull():
			kids[i].typ = t
		case k.isText() && t.Kind != row.KindString:
			if written[t.Kind] == "" {
				return nil, &Error{Col: k.at, Got: fmt.Sprintf("%s beside %s", describe(k), describe(first)), Want: "values of one type"}
			}
			kids[i], err = timeOf(k, t)
		default:
			kids[i], err = convert(k, t)
		}
		if err != nil {
			return nil, err
		}
	}
	return kids, nil
}

// common is the type that holds values of t and of k; a zero t holds none yet.
func common(t row.Type, k node) (row.Type, bool) {
	a, b := t.Kind, k.typ.Kind
	number := func(k row.Kind) bool { return k == row.KindInt64 || k == row.KindFloat64 || k == row.KindDecimal }
	switch {
	case a == row.KindNull:
		return k.typ, true
	case number(a) && number(b) && (a == row.KindFloat64 || b == row.KindFloat64):
		return floatType, true
	case number(a) && number(b) && (a == row.KindDecimal || b == row.KindDecimal):
		return wider(decimalType(t), decimalType(k.typ)), true
	case a == row.KindDate && b == row.KindTimestamp, a == row.KindTimestamp && b == row.KindDate:
		return timestampType, true
	case a == b && (a == row.KindList || a == row.KindMap):
		if t.Elem.Equal(*k.typ.Elem) {
			t.ElemNullable = t.ElemNullable || k.typ.ElemNullable
			return t, true
		}
	}
	return t, t.Equal(k.typ)
}

// convert makes n of type t, which common gave.
func convert(n node, t row.Type) (node, error) {
	switch {
	case n.typ.Kind == t.Kind && (t.Kind != row.KindDecimal || n.typ.Equal(t)):
		n.typ = t
		return n, nil
	case t.Kind == row.KindFloat64:
		return toFloat(n)
	case t.Kind == row.KindDecimal:
		return unary(n.at, t, n, func(e *Env, v row.Value) row.Value { return rescale(e, n.at, v, t) })
	}
	return unary(n.at, t, n, func(e *Env, v row.Value) row.Value { // a date becomes a timestamp
		w, err := row.Cast(v, t)
		if err != nil {
			return e.fail(n.at, "expression.overflow", show(v), "a day that fits "+t.String())
		}
		return w
	})
}

// toFloat is a number as float64.
func toFloat(n node) (node, error) {
	if n.is(row.KindFloat64) {
		return n, nil
	}
	return unary(n.at, floatType, n, func(_ *Env, v row.Value) row.Value { return row.Float(float(v)) })
}

// float is a number as the nearest float64.
func float(v row.Value) float64 {
	switch v.Kind() {
	case row.KindInt64:
		return float64(v.Int())
	case row.KindFloat64:
		return v.Float()
	}
	if n, scale, ok := v.SmallDecimal(); ok && scale < 19 && n < 1<<53 && n > -1<<53 {
		return float64(n) / float64(tens[scale])
	}
	w, err := row.Cast(v, floatType)
	if err != nil {
		return math.NaN() // can not be: a decimal has at most 38 digits
	}
	return w.Float()
}
