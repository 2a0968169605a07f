package expr

import (
	"math"
	"math/big"

	"github.com/activedataflow/adf/record/row"
)

var tens = [...]int64{1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// power is 10^n.
func power(n int) *big.Int {
	if n < len(tens) {
		return big.NewInt(tens[n])
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// decimalType is the decimal type that holds every value of a whole or decimal type.
func decimalType(t row.Type) row.Type {
	if t.Kind == row.KindInt64 {
		return row.Type{Kind: row.KindDecimal, Precision: 19}
	}
	return t
}

// mostDigits is the precision of the widest decimal.
const mostDigits = 38

// digits is a decimal type; where it would be too wide, digits after the point give way, down to six (as in Spark and SQL Server).
func digits(precision, scale int) row.Type {
	if precision > mostDigits {
		scale = max(mostDigits-(precision-scale), min(scale, 6))
		precision = mostDigits
	}
	return row.Type{Kind: row.KindDecimal, Precision: uint8(precision), Scale: uint8(scale)}
}

// wider is the decimal type that holds both.
func wider(a, b row.Type) row.Type {
	scale := max(a.Scale, b.Scale)
	return digits(int(max(a.Precision-a.Scale, b.Precision-b.Scale)+scale), int(scale))
}

// decimals is + - * / of two numbers, decimal or int64.
func decimals(at int, op string, a, b node) (node, error) {
	x, y := decimalType(a.typ), decimalType(b.typ)
	if a.konst && a.is(row.KindInt64) { // a written number is as wide as it is
		d, _ := decimalOf(a)
		x = d.typ
	}
	if b.konst && b.is(row.KindInt64) {
		d, _ := decimalOf(b)
		y = d.typ
	}
	var t row.Type
	switch op {
	case "+", "-":
		scale := int(max(x.Scale, y.Scale))
		t = digits(int(max(x.Precision-x.Scale, y.Precision-y.Scale))+scale+1, scale)
	case "*":
		t = digits(int(x.Precision)+int(y.Precision), int(x.Scale)+int(y.Scale))
	default:
		scale := max(6, int(x.Scale)+int(y.Precision)+1)
		t = digits(int(x.Precision)-int(x.Scale)+int(y.Scale)+scale, scale)
	}
	return binary(at, t, a, b, func(e *Env, v, w row.Value) row.Value {
		if r, ok := small(op, v, w, t); ok {
			return r
		}
		m, ms := unscaled(v)
		n, ns := unscaled(w)
		var scale int
		switch op {
		case "*":
			m.Mul(m, n)
			scale = ms + ns
		case "/":
			if n.Sign() == 0 {
				return byZero(e, at, v, op)
			}
			// One digit more than needed would not round right: scale first, so that the quotient has just t's digits.
			if shift := int(t.Scale) - ms + ns; shift >= 0 {
				m.Mul(m, power(shift))
			} else {
				n.Mul(n, power(-shift))
			}
			quotient(m, n)
			scale = int(t.Scale)
		default:
			scale = max(ms, ns)
			m.Mul(m, power(scale-ms))
			n.Mul(n, power(scale-ns))
			if op == "-" {
				n.Neg(n)
			}
			m.Add(m, n)
		}
		if r, ok := fit(m, scale, t); ok {
			return r
		}
		return overflow(e, at, v, w, op, t.String())
	})
}

// small computes + - * without big numbers, where the result's scale comes out by itself.
func small(op string, v, w row.Value, t row.Type) (row.Value, bool) {
	m, ms, ok := smallDecimal(v)
	n, ns, ok2 := smallDecimal(w)
	if !ok || !ok2 {
		return row.Null(), false
	}
	switch op {
	case "*":
		m, ok = multiplyInts(m, n)
		ms += ns
	case "+", "-":
		if ms < ns && int(ns-ms) < len(tens) {
			m, ok = multiplyInts(m, tens[ns-ms])
			ms = ns
		} else if ns < ms && int(ms-ns) < len(tens) {
			n, ok = multiplyInts(n, tens[ms-ns])
			ns = ms
		}
		if !ok || ms != ns {
			return row.Null(), false
		}
		if op == "+" {
			m, ok = addInts(m, n)
		} else {
			m, ok = subtractInts(m, n)
		}
	default:
		return row.Null(), false
	}
	// What has not the scale of its type yet is left to the big numbers.
	return row.Decimal(m, t.Scale), ok && ms == t.Scale && within(m, t)
}

// within says whether an unscaled number has no more digits than a decimal type.
func within(n int64, t row.Type) bool {
	return int(t.Precision) >= len(tens) || n < tens[t.Precision] && n > -tens[t.Precision]
}

// smallDecimal is a whole number or decimal as int64 and scale.
func smallDecimal(v row.Value) (n int64, scale uint8, ok bool) {
	if v.Kind() == row.KindInt64 {
		return v.Int(), 0, true
	}
	return v.SmallDecimal()
}

// unscaled is a whole number or decimal as a big number and scale.
func unscaled(v row.Value) (n *big.Int, scale int) {
	if v.Kind() == row.KindInt64 {
		return big.NewInt(v.Int()), 0
	}
	n, s := v.Decimal()
	return n, int(s)
}

// quotient makes m the rounded quotient of m and n; halves go away from zero.
func quotient(m, n *big.Int) {
	negative := m.Sign()*n.Sign() < 0
	r := new(big.Int)
	m.QuoRem(m, n, r)
	if r.Lsh(r, 1).CmpAbs(n) >= 0 {
		if negative {
			m.Sub(m, big.NewInt(1))
		} else {
			m.Add(m, big.NewInt(1))
		}
	}
}

// fit makes a decimal of the type; digits that it has not are rounded. ok is false when it is too large.
func fit(n *big.Int, scale int, t row.Type) (row.Value, bool) {
	if shift := int(t.Scale) - scale; shift >= 0 {
		n.Mul(n, power(shift))
	} else {
		quotient(n, power(-shift))
	}
	return row.BigDecimal(n, t.Scale), n.CmpAbs(power(int(t.Precision))) < 0
}

// rescale gives a whole number or decimal the type, rounded.
func rescale(e *Env, at int, v row.Value, t row.Type) row.Value {
	if n, scale, ok := smallDecimal(v); ok {
		switch shift := int(t.Scale) - int(scale); {
		case shift >= 0 && shift < len(tens):
			n, ok = multiplyInts(n, tens[shift])
		case shift < 0 && -shift < len(tens):
			unit := tens[-shift]
			r := n % unit
			n /= unit
			if r >= unit-unit/2 {
				n++
			} else if -r >= unit-unit/2 {
				n--
			}
		default:
			ok = false
		}
		if ok && within(n, t) {
			return row.Decimal(n, t.Scale)
		}
	}
	n, scale := unscaled(v)
	if w, ok := fit(n, scale, t); ok {
		return w
	}
	return e.fail(at, "expression.overflow", show(v), "a number that fits "+t.String())
}

func negateDecimal(v row.Value) row.Value {
	if n, scale, ok := v.SmallDecimal(); ok && n != math.MinInt64 {
		return row.Decimal(-n, scale)
	}
	n, scale := v.Decimal()
	return row.BigDecimal(n.Neg(n), scale)
}
