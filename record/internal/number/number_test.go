package number

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
)

func TestScanTakesJSONNumbersOnly(t *testing.T) {
	for text, end := range map[string]int{
		"0": 1, "-0": 2, "12": 2, "1.5": 3, "1e5": 3, "1E+5": 4, "1.25e-3,": 7, "0.1": 3, "12a": 2,
		"": 0, "-": 0, "01": 0, "+1": 0, ".5": 0, "1.": 0, "1.e5": 0, "1e": 0, "1e+": 0, "NaN": 0, "-.5": 0, "00": 0,
	} {
		if _, got := Scan([]byte(text), 0); got != end {
			t.Errorf("%q: got the end %d, want %d", text, got, end)
		}
	}
}

func TestInt(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "9223372036854775807": math.MaxInt64, "-9223372036854775808": math.MinInt64, "3.0": 3, "1e3": 1000, "1.50e1": 15, "0e99": 0, "-20e-1": -2,
	} {
		n, _ := Scan([]byte(text), 0)
		if got, ok := n.Int(); !ok || got != want {
			t.Errorf("%s: got %d %v, want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{"9223372036854775808", "-9223372036854775809", "18446744073709551616", "99999999999999999999", "1.5", "1e19", "1e-1", "1e999999999999"} {
		n, _ := Scan([]byte(text), 0)
		if got, ok := n.Int(); ok {
			t.Errorf("%s: got %d, want none", text, got)
		}
	}
}

func FuzzFloat(f *testing.F) {
	for _, s := range []string{"0.1", "1e23", "123456789012345678901234567890", "2.2250738585072011e-308", "1e400", "0.30000000000000004"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, end := Scan([]byte(s), 0)
		if end == 0 {
			return
		}
		got, ok := n.Float([]byte(s[:end]))
		want, err := strconv.ParseFloat(s[:end], 64)
		if ok != (err == nil) || math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("%s: got %v %v, want %v %v", s[:end], got, ok, want, err)
		}
	})
}

func TestAppendFloatIsShortestAndReadsBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	check := func(f float64) {
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return
		}
		got := string(AppendFloat(nil, f))
		back, err := strconv.ParseFloat(got, 64)
		if err != nil || math.Float64bits(back) != math.Float64bits(f) {
			t.Fatalf("%v became %s", f, got)
		}
		format := byte('f')
		if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e21) {
			format = 'e'
		}
		if want := strconv.FormatFloat(f, format, -1, 64); got != want {
			t.Fatalf("%v: got %s, want %s", f, got, want)
		}
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 37.5, 0.1, 0.1 * 3, 1e21, 1e-7, 99999999999.999, 1 << 53, 5e-324, math.MaxFloat64} {
		check(f)
	}
	for range 200_000 {
		check(math.Float64frombits(r.Uint64()))
		check(float64(r.Int64N(1e14)) / 1000)
		check(-float64(r.Int64N(1e6)) / 100)
		check(r.Float64() * 100)
	}
}
