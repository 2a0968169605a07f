package row

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestCast(t *testing.T) {
	for _, c := range []struct {
		v        Value
		to, want string // the text, or the error
	}{
		{Null(), "int64", ""},
		{Int(7), "string", "7"}, {Timestamp(0), "string", "1970-01-01T00:00:00Z"}, {Bytes([]byte("hi")), "string", "aGk="}, {String("aGk="), "bytes", "aGk="},
		{String("12.5"), "float64", "12.5"}, {String("x"), "int64", `got "x", want an int64`}, {String(""), "date", `got "", want a date as 2006-01-02`},
		{Int(1 << 53), "float64", "9007199254740992"}, {Int(1<<53 + 1), "float64", "got 9007199254740993, which does not fit float64"}, {Int(math.MaxInt64), "float64", "got 9223372036854775807, which does not fit float64"},
		{Float(3), "int64", "3"}, {Float(3.5), "int64", "got 3.5, which does not fit int64"}, {Float(1e19), "int64", "got 10000000000000000000, which does not fit int64"}, {Float(math.NaN()), "int64", "got NaN, which does not fit int64"},
		{Float(0.1), "decimal(4,2)", "0.10"}, {Float(0.125), "decimal(4,2)", "got 0.125, which does not fit decimal(4,2)"}, {Float(math.Inf(1)), "decimal(4,2)", "got +Inf, which does not fit decimal(4,2)"},
		{Int(12), "decimal(4,2)", "12.00"}, {Int(100), "decimal(4,2)", "got 100, which does not fit decimal(4,2)"}, {Int(math.MaxInt64), "decimal(38,18)", "9223372036854775807.000000000000000000"},
		{Decimal(1250, 2), "decimal(3,1)", "12.5"}, {Decimal(1255, 2), "decimal(3,1)", "got 12.55, which does not fit decimal(3,1)"}, {Decimal(1200, 2), "int64", "12"}, {Decimal(1250, 2), "int64", "got 12.50, which does not fit int64"},
		{Decimal(1, 1), "float64", "0.1"}, {Bool(true), "int64", "1"}, {Int(0), "bool", "false"}, {Int(2), "bool", "got 2, which does not fit bool"}, {Bool(true), "float64", "a bool can not become a float64"},
		{Date(1), "timestamp", "1970-01-02T00:00:00Z"}, {Timestamp(-1), "date", "1969-12-31"}, {Timestamp(0), "int64", "a timestamp can not become a int64"}, {Date(math.MaxInt64), "timestamp", ""},
		{List([]Value{Int(1), Null()}), "list<string>", `["1",null]`}, {List([]Value{String("x")}), "list<int64>", `element 0: got "x", want an int64`},
		{Map([]Entry{{"k", Int(1)}}), "map<float64>", `{"k":1}`}, {Nested([]Value{Int(1), String("2")}), "row<a float64, b int64>", "[1,2]"},
		{Nested([]Value{Int(1)}), "row<a float64, b int64>", "got a row of 1 fields, want 2"}, {Nested([]Value{Float(0.5)}), "row<a int64>", "field a: got 0.5, which does not fit int64"},
		{List(nil), "string", "a list can not become a string"}, {Int(1), "list<int64>", "a int64 can not become a list<int64>"},
	} {
		to := typ(c.to)
		got, err := Cast(c.v, to)
		text := string(AppendText(nil, got))
		if err != nil {
			text = err.Error()
		}
		if c.v.kind == KindDate && c.v.Int() == math.MaxInt64 {
			if err == nil {
				t.Errorf("a date beyond all timestamps: got %s", text)
			}
			continue
		}
		if text != c.want {
			t.Errorf("%s as %s: got %s, want %s", AppendText(nil, c.v), c.to, text, c.want)
		}
		if err == nil && !got.IsNull() && got.Kind() != to.Kind {
			t.Errorf("%s as %s: got a %s", AppendText(nil, c.v), c.to, got.Kind())
		}
	}
}

// What Castable refuses, Cast refuses for every value; what it allows works for some.
func TestCastableAgreesWithCast(t *testing.T) {
	samples := map[string][]Value{
		"bool": {Bool(true)}, "int64": {Int(1)}, "float64": {Float(1)}, "decimal(5,2)": {Decimal(100, 2)}, "bytes": {Bytes([]byte("1"))}, "timestamp": {Timestamp(0)}, "date": {Date(0)}, "duration": {Duration(0)},
		"string":      {String("1"), String("true"), String("1970-01-01"), String("1970-01-01T00:00:00Z"), String("1s"), String("aGk=")},
		"list<int64>": {List([]Value{Int(1)})}, "map<int64>": {Map([]Entry{{"a", Int(1)}})}, "row<a int64>": {Nested([]Value{Int(1)})},
	}
	for from, vs := range samples {
		for to := range samples {
			worked := slices.ContainsFunc(vs, func(v Value) bool { _, err := Cast(v, typ(to)); return err == nil })
			if can := Castable(typ(from), typ(to)); can != worked {
				t.Errorf("%s as %s: Castable says %v, Cast %v", from, to, can, worked)
			}
		}
	}
}

func TestCompare(t *testing.T) {
	huge := new(big.Int).Lsh(big.NewInt(1), 100)
	ordered := [][]Value{ // equal ones together
		{Null()},
		{Bool(false)}, {Bool(true)},
		{Float(math.Inf(-1))}, {BigDecimal(new(big.Int).Neg(huge), 0)}, {Int(math.MinInt64), Float(-1 << 63)}, {Int(-1), Float(-1), Decimal(-100, 2)}, {Float(math.Copysign(0, -1)), Float(0), Int(0), Decimal(0, 5)},
		{Decimal(1, 1)}, {Float(0.1)}, // 0.1 is a little more than a tenth
		{Float(0.5), Decimal(5, 1)}, {Int(1 << 53), Float(1 << 53)}, {Int(1<<53 + 1)}, {Int(math.MaxInt64)}, {Float(1 << 63)}, {BigDecimal(huge, 0), Float(math.Pow(2, 100))}, {Float(math.Inf(1))}, {Float(math.NaN()), Float(-math.NaN())},
		{String("")}, {String("a")}, {String("ab")}, {String("b")}, {Bytes(nil)}, {Bytes([]byte{1})},
		{Timestamp(-1)}, {Timestamp(1)}, {Date(5)}, {Duration(-5)},
		{List(nil)}, {List([]Value{Int(1)}), List([]Value{Float(1)})}, {List([]Value{Int(1), Null()})}, {List([]Value{Int(2)})},
		{Map(nil)}, {Map([]Entry{{"a", Int(1)}})}, {Map([]Entry{{"a", Int(2)}})}, {Map([]Entry{{"b", Null()}})},
		{Nested([]Value{Null()})},
	}
	for i, as := range ordered {
		for j, bs := range ordered {
			for _, a := range as {
				for _, b := range bs {
					if got, want := Compare(a, b), order(i, j); got != want {
						t.Errorf("%s %s and %s %s: got %d, want %d", a.Kind(), AppendText(nil, a), b.Kind(), AppendText(nil, b), got, want)
					}
				}
			}
		}
	}
}

func TestCompareAgreesWithBigRat(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	random := func() Value {
		switch r.IntN(3) {
		case 0:
			return Int(int64(r.Uint64()) >> r.IntN(64))
		case 1:
			return Float(float64(int64(r.Uint64())>>r.IntN(64)) / float64(int64(1)<<r.IntN(3)))
		default:
			return Decimal(int64(r.Uint64())>>r.IntN(64), uint8(r.IntN(4)))
		}
	}
	for range 50_000 {
		a, b := random(), random()
		if got, want := Compare(a, b), exact(a).Cmp(exact(b)); got != want {
			t.Fatalf("%s and %s: got %d, want %d", AppendText(nil, a), AppendText(nil, b), got, want)
		}
	}
}
