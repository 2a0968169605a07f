package row

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
)

// Cast converts a value to a type. What it says is kept, or the cast is an error; null stays null.
//
//	anything scalar → string    the text that AppendText gives; string → anything scalar: as ParseText reads it
//	int64 ↔ float64 ↔ decimal   when the number is exactly the same; float64 → decimal takes the digits that AppendText shows
//	bool ↔ int64                false is 0, true is 1
//	date → timestamp            midnight UTC
//	list, map, row              element by element, rows by place
//
// Two casts cut by their nature: timestamp → date gives the day in UTC, decimal → float64 the nearest number.
func Cast(v Value, to Type) (Value, error) {
	switch {
	case v.kind == KindNull:
		return v, nil
	case v.kind == to.Kind && v.kind != KindDecimal && v.kind < KindList:
		return v, nil
	case to.Kind == KindString && v.kind < KindList:
		return String(share(AppendText(nil, v))), nil
	case v.kind == KindString && to.Kind < KindList:
		return ParseText(v.Bytes(), to)
	}
	if w, ok := castTo(v, to); ok {
		return w, nil
	}
	if v.kind == to.Kind && v.kind >= KindList {
		return castNested(v, to)
	}
	if casts[v.kind]&(1<<to.Kind) == 0 {
		return Value{}, fmt.Errorf("a %s can not become a %s", v.kind, to)
	}
	return Value{}, fmt.Errorf("got %s, which does not fit %s", AppendText(nil, v), to)
}

// casts are the kinds that some values of a kind become, besides string.
var casts = [...]uint16{
	KindBool: 1 << KindInt64, KindInt64: 1<<KindBool | 1<<KindFloat64 | 1<<KindDecimal, KindFloat64: 1<<KindInt64 | 1<<KindDecimal,
	KindDecimal: 1<<KindInt64 | 1<<KindFloat64 | 1<<KindDecimal, KindDate: 1 << KindTimestamp, KindTimestamp: 1 << KindDate, KindRow: 0,
}

// Castable says whether any value of one type can become another, for a plan that is checked before it runs.
func Castable(from, to Type) bool {
	if from.Kind == to.Kind {
		switch from.Kind {
		case KindList, KindMap:
			return Castable(*from.Elem, *to.Elem)
		case KindRow:
			if len(from.Row.Fields) != len(to.Row.Fields) {
				return false
			}
			for i := range from.Row.Fields {
				if !Castable(from.Row.Fields[i].Type, to.Row.Fields[i].Type) {
					return false
				}
			}
		}
		return true
	}
	if from.Kind >= KindList || to.Kind >= KindList {
		return false
	}
	return from.Kind == KindNull || from.Kind == KindString || to.Kind == KindString || casts[from.Kind]&(1<<to.Kind) != 0
}

// castTo makes the casts between scalars that are no strings; ok is false when there is none, or the value does not fit.
func castTo(v Value, to Type) (w Value, ok bool) {
	switch to.Kind {
	case KindBool:
		if v.kind == KindInt64 && v.num <= 1 {
			return Bool(v.num == 1), true
		}
	case KindInt64:
		switch v.kind {
		case KindBool:
			return Int(int64(v.num)), true
		case KindFloat64:
			f := v.Float()
			return Int(int64(f)), f == math.Trunc(f) && f >= -1<<63 && f < 1<<63
		case KindDecimal:
			n, scale, small := trimDecimal(v).SmallDecimal()
			return Int(n), small && scale == 0
		}
	case KindFloat64:
		switch v.kind {
		case KindInt64:
			n := v.Int()
			f := float64(n)
			return Float(f), f < 1<<63 && int64(f) == n
		case KindDecimal:
			f, err := strconv.ParseFloat(share(appendDecimal(nil, v)), 64)
			return Float(f), err == nil
		}
	case KindDecimal:
		switch v.kind {
		case KindDecimal:
			return rescale(v, to)
		case KindInt64:
			return rescale(Decimal(v.Int(), 0), to)
		case KindFloat64:
			if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
				w, err := parseDecimal(AppendText(nil, v), to)
				return w, err == nil
			}
		}
	case KindTimestamp:
		if d := v.Int(); v.kind == KindDate && d <= math.MaxInt64/microsPerDay && d >= math.MinInt64/microsPerDay {
			return Timestamp(d * microsPerDay), true
		}
	case KindDate:
		if v.kind == KindTimestamp {
			days := v.Int() / microsPerDay
			if v.Int()%microsPerDay < 0 {
				days--
			}
			return Date(days), true
		}
	}
	return Value{}, false
}

func castNested(v Value, to Type) (Value, error) {
	if v.kind == KindMap {
		es := make([]Entry, len(v.Map()))
		for i, e := range v.Map() {
			w, err := Cast(e.Value, *to.Elem)
			if err != nil {
				return Value{}, fmt.Errorf("key %q: %w", e.Key, err)
			}
			es[i] = Entry{e.Key, w}
		}
		return Map(es), nil
	}
	vs := make([]Value, len(v.List()))
	if v.kind == KindRow && len(vs) != len(to.Row.Fields) {
		return Value{}, fmt.Errorf("got a row of %d fields, want %d", len(vs), len(to.Row.Fields))
	}
	for i, e := range v.List() {
		t, where := to.Elem, "element "+strconv.Itoa(i)
		if v.kind == KindRow {
			t, where = &to.Row.Fields[i].Type, "field "+to.Row.Fields[i].Name
		}
		w, err := Cast(e, *t)
		if err != nil {
			return Value{}, fmt.Errorf("%s: %w", where, err)
		}
		vs[i] = w
	}
	w := List(vs)
	w.kind = v.kind
	return w, nil
}

// Compare orders two values: -1, 0 or 1. Numbers of different kinds compare exactly, by what they are worth; other kinds that differ by the
// kind's number. Null comes first; NaN equals itself and comes last; -0 equals 0; strings and bytes compare by their bytes, lists, maps and
// rows element by element.
func Compare(a, b Value) int {
	if a.kind != b.kind {
		if isNumber(a.kind) && isNumber(b.kind) {
			return compareNumbers(a, b)
		}
		return order(a.kind, b.kind)
	}
	switch a.kind {
	case KindBool, KindInt64, KindTimestamp, KindDate, KindDuration:
		return order(a.Int(), b.Int())
	case KindFloat64:
		return compareFloats(a.Float(), b.Float())
	case KindDecimal:
		return compareNumbers(a, b)
	case KindString, KindBytes:
		return order(a.Str(), b.Str())
	case KindList, KindRow:
		as, bs := a.List(), b.List()
		for i := range min(len(as), len(bs)) {
			if c := Compare(as[i], bs[i]); c != 0 {
				return c
			}
		}
		return order(len(as), len(bs))
	case KindMap:
		as, bs := a.Map(), b.Map()
		for i := range min(len(as), len(bs)) {
			if c := order(as[i].Key, bs[i].Key); c != 0 {
				return c
			}
			if c := Compare(as[i].Value, bs[i].Value); c != 0 {
				return c
			}
		}
		return order(len(as), len(bs))
	}
	return 0
}

func isNumber(k Kind) bool { return k == KindInt64 || k == KindFloat64 || k == KindDecimal }

func order[V Kind | int | int64 | float64 | string](a, b V) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func compareFloats(a, b float64) int {
	switch {
	case a == b || a != a && b != b:
		return 0
	case a < b || b != b:
		return -1
	}
	return 1
}

func compareNumbers(a, b Value) int {
	if x, xs, ok := small(a); ok {
		if y, ys, ok := small(b); ok && xs == ys {
			return order(x, y)
		}
	}
	const most = 1 << 53 // up to here a float64 holds every whole number
	if n := a.Int(); a.kind == KindInt64 && b.kind == KindFloat64 && n <= most && n >= -most {
		return compareFloats(float64(n), b.Float())
	}
	if n := b.Int(); b.kind == KindInt64 && a.kind == KindFloat64 && n <= most && n >= -most {
		return compareFloats(a.Float(), float64(n))
	}
	for _, side := range []struct {
		v    Value
		sign int
	}{{a, 1}, {b, -1}} {
		if side.v.kind != KindFloat64 {
			continue
		}
		switch f := side.v.Float(); {
		case f != f || math.IsInf(f, 1): // the other one is finite: it is no float
			return side.sign
		case math.IsInf(f, -1):
			return -side.sign
		}
	}
	return exact(a).Cmp(exact(b))
}

// small gives an int64 or a small decimal as unscaled number and scale.
func small(v Value) (n int64, scale uint8, ok bool) {
	switch v.kind {
	case KindInt64:
		return v.Int(), 0, true
	case KindDecimal:
		return v.SmallDecimal()
	}
	return 0, 0, false
}

// exact gives a finite number as a fraction.
func exact(v Value) *big.Rat {
	switch v.kind {
	case KindInt64:
		return new(big.Rat).SetInt64(v.Int())
	case KindFloat64:
		return new(big.Rat).SetFloat64(v.Float())
	}
	n, scale := v.Decimal()
	return new(big.Rat).SetFrac(n, power(int(scale)))
}
