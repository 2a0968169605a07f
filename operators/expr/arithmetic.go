package expr

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/activedataflow/adf/record/row"
)

// negate is -a.
func negate(a node, at int) (node, error) {
	switch a.typ.Kind {
	case row.KindInt64, row.KindDuration:
		t := a.typ
		return unary(at, t, a, func(e *Env, v row.Value) row.Value {
			if v.Int() == math.MinInt64 {
				return e.fail(at, "expression.overflow", "-("+show(v)+")", "a result that fits "+t.String())
			}
			return whole(t.Kind, -v.Int())
		})
	case row.KindFloat64:
		return unary(at, floatType, a, func(_ *Env, v row.Value) row.Value { return row.Float(-v.Float()) })
	case row.KindDecimal:
		return unary(at, a.typ, a, func(_ *Env, v row.Value) row.Value { return negateDecimal(v) })
	}
	return refuse(at, "-"+describe(a), "a number or a duration behind it")
}

// whole makes a value of a kind that is held as a whole number.
func whole(k row.Kind, n int64) row.Value {
	switch k {
	case row.KindTimestamp:
		return row.Timestamp(n)
	case row.KindDate:
		return row.Date(n)
	case row.KindDuration:
		return row.Duration(n)
	}
	return row.Int(n)
}

// arithmetic is + - * / % ** ^.
func arithmetic(at int, op string, a, b node) (node, error) {
	if op == "^" {
		op = "**"
	}
	switch {
	case a.number() && b.number():
		return numbers(at, op, a, b)
	case op == "+" && a.is(row.KindString) && b.is(row.KindString):
		return concat(at, []node{a, b})
	case op == "+" && (a.is(row.KindString) && !a.isText() || b.is(row.KindString) && !b.isText()):
		return node{}, &Error{Col: at, Got: fmt.Sprintf("%s + %s", describe(a), describe(b)), Want: "two strings or two numbers", Fix: "string(x) makes a string of a value"}
	}
	if n, err, ok := times(at, op, a, b); ok {
		return n, err
	}
	want := "two numbers"
	switch op {
	case "+":
		want = "two numbers, two strings, or a time and a duration"
	case "-":
		want = "two numbers, two times, or a time and a duration"
	case "*", "/":
		want = "two numbers, or a duration and a number"
	case "%":
		want = "two int64"
	}
	e := &Error{Col: at, Got: fmt.Sprintf("%s %s %s", describe(a), op, describe(b)), Want: want}
	if op == "+" && (a.isText() || b.isText()) {
		e.Fix = "string(x) makes a string of a value"
	}
	return node{}, e
}

func numbers(at int, op string, a, b node) (node, error) {
	ints := a.is(row.KindInt64) && b.is(row.KindInt64)
	switch {
	case op == "%":
		if !ints {
			return refuse(at, fmt.Sprintf("%s %% %s", describe(a), describe(b)), "two int64")
		}
		return binary(at, intType, a, b, func(e *Env, v, w row.Value) row.Value {
			switch w.Int() {
			case 0:
				return byZero(e, at, v, "%")
			case -1:
				return row.Int(0)
			}
			return row.Int(v.Int() % w.Int())
		})
	case op == "**":
		return binary(at, floatType, a, b, func(_ *Env, v, w row.Value) row.Value { return row.Float(math.Pow(float(v), float(w))) })
	case ints && op != "/":
		return strict(at, intType, ofInts(at, op, a, b), a, b)
	case a.is(row.KindDecimal) || b.is(row.KindDecimal):
		// A float that is written out beside a decimal means its digits.
		if a.konst && a.is(row.KindFloat64) {
			a, _ = decimalOf(a)
		}
		if b.konst && b.is(row.KindFloat64) {
			b, _ = decimalOf(b)
		}
		if !a.is(row.KindFloat64) && !b.is(row.KindFloat64) {
			return decimals(at, op, a, b)
		}
		var err error
		if a, err = toFloat(a); err != nil {
			return a, err
		}
		if b, err = toFloat(b); err != nil {
			return b, err
		}
	}
	return strict(at, floatType, ofFloats(at, op, a, b), a, b)
}

func byZero(e *Env, at int, v row.Value, op string) row.Value {
	return e.fail(at, "expression.division", show(v)+" "+op+" 0", "a divisor that is not 0")
}

func overflow(e *Env, at int, a, b row.Value, op string, t string) row.Value {
	return e.fail(at, "expression.overflow", show(a)+" "+op+" "+show(b), "a result that fits "+t)
}

func addInts(a, b int64) (sum int64, ok bool) {
	sum = a + b
	return sum, (a^sum)&(b^sum) >= 0
}

func subtractInts(a, b int64) (difference int64, ok bool) {
	difference = a - b
	return difference, (a^b)&(a^difference) >= 0
}

func multiplyInts(a, b int64) (product int64, ok bool) {
	high, low := bits.Mul64(uint64(a), uint64(b))
	// The signed high word, which must be all sign.
	signed := int64(high) - a>>63&b - b>>63&a
	return int64(low), signed == int64(low)>>63
}

// ofInts is + - * of two int64. It is written out for columns and constants: that is most of what flows compute.
func ofInts(at int, op string, a, b node) fn {
	of := addInts
	switch i, j, y := a.col, b.col, b.val.Int(); {
	case op == "+" && a.isColumn() && b.isColumn():
		return func(e *Env) row.Value {
			v, w := e.vs[i], e.vs[j]
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			if n, ok := addInts(v.Int(), w.Int()); ok {
				return row.Int(n)
			}
			return overflow(e, at, v, w, op, "int64")
		}
	case op == "-" && a.isColumn() && b.isColumn():
		return func(e *Env) row.Value {
			v, w := e.vs[i], e.vs[j]
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			if n, ok := subtractInts(v.Int(), w.Int()); ok {
				return row.Int(n)
			}
			return overflow(e, at, v, w, op, "int64")
		}
	case op == "*" && a.isColumn() && b.isColumn():
		return func(e *Env) row.Value {
			v, w := e.vs[i], e.vs[j]
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			if n, ok := multiplyInts(v.Int(), w.Int()); ok {
				return row.Int(n)
			}
			return overflow(e, at, v, w, op, "int64")
		}
	case op == "+" && a.isColumn() && b.konst:
		return func(e *Env) row.Value {
			v := e.vs[i]
			if v.IsNull() {
				return v
			}
			if n, ok := addInts(v.Int(), y); ok {
				return row.Int(n)
			}
			return overflow(e, at, v, b.val, op, "int64")
		}
	case op == "*" && a.isColumn() && b.konst:
		return func(e *Env) row.Value {
			v := e.vs[i]
			if v.IsNull() {
				return v
			}
			if n, ok := multiplyInts(v.Int(), y); ok {
				return row.Int(n)
			}
			return overflow(e, at, v, b.val, op, "int64")
		}
	case op == "-":
		of = subtractInts
	case op == "*":
		of = multiplyInts
	}
	return func(e *Env) row.Value {
		v, w := a.fn(e), b.fn(e)
		if v.IsNull() || w.IsNull() {
			return row.Null()
		}
		if n, ok := of(v.Int(), w.Int()); ok {
			return row.Int(n)
		}
		return overflow(e, at, v, w, op, "int64")
	}
}

// native is an int64 or a float64 as float64.
func native(v row.Value) float64 {
	if v.Kind() == row.KindInt64 {
		return float64(v.Int())
	}
	return v.Float()
}

// ofFloats is + - * / of two numbers, int64 or float64, as float64; written out as ofInts is. Beyond all numbers is Inf, as IEEE 754 has it.
func ofFloats(at int, op string, a, b node) fn {
	switch i, j, y := a.col, b.col, native(b.val); {
	case op == "*" && a.isColumn() && b.isColumn():
		return func(e *Env) row.Value {
			v, w := e.vs[i], e.vs[j]
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			return row.Float(native(v) * native(w))
		}
	case op == "*" && a.isColumn() && b.konst:
		return func(e *Env) row.Value {
			v := e.vs[i]
			if v.IsNull() {
				return v
			}
			return row.Float(native(v) * y)
		}
	case op == "/" && a.isColumn() && b.konst && y != 0:
		return func(e *Env) row.Value {
			v := e.vs[i]
			if v.IsNull() {
				return v
			}
			return row.Float(native(v) / y)
		}
	case op == "/":
		return func(e *Env) row.Value {
			v, w := a.fn(e), b.fn(e)
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			if y := native(w); y != 0 {
				return row.Float(native(v) / y)
			}
			return byZero(e, at, v, "/")
		}
	case (op == "+" || op == "-") && a.isColumn() && b.konst:
		if op == "-" {
			y = -y
		}
		return func(e *Env) row.Value {
			v := e.vs[i]
			if v.IsNull() {
				return v
			}
			return row.Float(native(v) + y)
		}
	case op == "+" && a.isColumn() && b.isColumn():
		return func(e *Env) row.Value {
			v, w := e.vs[i], e.vs[j]
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			return row.Float(native(v) + native(w))
		}
	case op == "-" && a.isColumn() && b.isColumn():
		return func(e *Env) row.Value {
			v, w := e.vs[i], e.vs[j]
			if v.IsNull() || w.IsNull() {
				return row.Null()
			}
			return row.Float(native(v) - native(w))
		}
	}
	return func(e *Env) row.Value {
		v, w := a.fn(e), b.fn(e)
		if v.IsNull() || w.IsNull() {
			return row.Null()
		}
		switch op {
		case "+":
			return row.Float(native(v) + native(w))
		case "-":
			return row.Float(native(v) - native(w))
		}
		return row.Float(native(v) * native(w))
	}
}

// times is + - * / with times; ok is false when these are no sides for it.
func times(at int, op string, a, b node) (n node, err error, ok bool) {
	point := func(n node) bool { return n.is(row.KindTimestamp) || n.is(row.KindDate) }
	length := func(n node) bool { return n.is(row.KindDuration) }
	if op == "+" || op == "-" { // a written text beside a time is a duration
		if b.isText() && (point(a) || length(a)) {
			b, err = timeOf(b, durationType)
		} else if a.isText() && (length(b) || op == "+" && point(b)) {
			a, err = timeOf(a, durationType)
		}
		if err != nil {
			return n, err, true
		}
	}
	for _, side := range []*node{&a, &b} { // beside another time, a date is its midnight
		if side.is(row.KindDate) && (point(a) && point(b) || length(a) || length(b)) {
			if *side, err = convert(*side, timestampType); err != nil {
				return n, err, true
			}
		}
	}
	of := subtractInts
	if op == "+" {
		of = addInts
	}
	count := func(t row.Type) (node, error, bool) {
		n, err = binary(at, t, a, b, func(e *Env, v, w row.Value) row.Value {
			if m, ok := of(v.Int(), w.Int()); ok {
				return whole(t.Kind, m)
			}
			return overflow(e, at, v, w, op, t.String())
		})
		return n, err, true
	}
	switch {
	case op == "+" && point(a) && length(b), op == "-" && point(a) && length(b), op == "+" && length(a) && point(b):
		return count(timestampType)
	case op == "-" && point(a) && point(b), (op == "+" || op == "-") && length(a) && length(b):
		return count(durationType)
	case op == "/" && length(a) && length(b):
		n, err = binary(at, floatType, a, b, func(e *Env, v, w row.Value) row.Value {
			if w.Int() == 0 {
				return byZero(e, at, v, op)
			}
			return row.Float(float64(v.Int()) / float64(w.Int()))
		})
		return n, err, true
	case op == "*" && length(b) && a.number():
		a, b = b, a
		fallthrough
	case (op == "*" || op == "/") && length(a) && b.number():
		n, err = binary(at, durationType, a, b, func(e *Env, v, w row.Value) row.Value {
			m, ok := scale(op, v.Int(), w)
			if ok {
				return row.Duration(m)
			}
			if float(w) == 0 {
				return byZero(e, at, v, op)
			}
			return overflow(e, at, v, w, op, "duration")
		})
		return n, err, true
	}
	return n, nil, false
}

// scale is n * by or n / by, exact for an int64; what is less than one is cut off.
func scale(op string, n int64, by row.Value) (int64, bool) {
	if m := by.Int(); by.Kind() == row.KindInt64 {
		switch {
		case op == "*":
			return multiplyInts(n, m)
		case m == 0:
			return 0, false
		case m == -1:
			return subtractInts(0, n)
		}
		return n / m, true
	}
	f := float64(n)
	if op == "*" {
		f *= float(by)
	} else {
		f /= float(by)
	}
	return int64(f), f >= -1<<63 && f < 1<<63
}
