package row

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func typ(text string) Type {
	t, err := ParseType(text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestTextsAndBack(t *testing.T) {
	huge, _ := new(big.Int).SetString("-12345678901234567890123456789012345678", 10)
	for _, c := range []struct {
		v    Value
		of   string
		text string
	}{
		{Bool(true), "bool", "true"}, {Bool(false), "bool", "false"},
		{Int(math.MinInt64), "int64", "-9223372036854775808"}, {Int(0), "int64", "0"},
		{Float(0.1), "float64", "0.1"}, {Float(math.Copysign(0, -1)), "float64", "-0"}, {Float(1e300), "float64", "1e+300"}, {Float(math.Inf(-1)), "float64", "-Inf"},
		{Float(math.NaN()), "float64", "NaN"},
		{Decimal(-5, 2), "decimal(4,2)", "-0.05"}, {Decimal(1250, 2), "decimal(4,2)", "12.50"}, {Decimal(7, 0), "decimal(1)", "7"},
		{BigDecimal(huge, 10), "decimal(38,10)", "-1234567890123456789012345678.9012345678"}, {BigDecimal(huge, 38), "decimal(38,38)", "-0.12345678901234567890123456789012345678"},
		{String("é\n"), "string", "é\n"}, {String(""), "string", ""}, {Bytes([]byte{0, 255}), "bytes", "AP8="},
		{Timestamp(0), "timestamp", "1970-01-01T00:00:00Z"}, {Timestamp(-1), "timestamp", "1969-12-31T23:59:59.999999Z"},
		{TimestampOf(time.Date(2012, 2, 29, 23, 59, 59, 500_000_000, time.UTC)), "timestamp", "2012-02-29T23:59:59.500000Z"},
		{TimestampOf(time.Date(12345, 1, 2, 0, 0, 0, 0, time.UTC)), "timestamp", "+12345-01-02T00:00:00Z"},
		{Date(-719528), "date", "0000-01-01"}, {Date(-719529), "date", "-0001-12-31"}, {Date(11016), "date", "2000-02-29"},
		{Duration(0), "duration", "0s"}, {Duration(-1500), "duration", "-1.5ms"}, {Duration(5_400_000_000), "duration", "1h30m0s"}, {Duration(61_000_001), "duration", "1m1.000001s"},
		{Duration(999), "duration", "999µs"},
	} {
		if got := string(AppendText(nil, c.v)); got != c.text {
			t.Errorf("got %s, want %s", got, c.text)
		}
		if back, err := ParseText([]byte(c.text), typ(c.of)); err != nil || Compare(back, c.v) != 0 || back.Kind() != c.v.Kind() {
			t.Errorf("%s: got %s and %v", c.text, AppendText(nil, back), err)
		}
	}
	if got := AppendText(nil, Null()); len(got) > 0 {
		t.Errorf("null: got %q", got)
	}
}

func TestTextsThatAreFineToo(t *testing.T) {
	for _, c := range []struct{ text, of, want string }{
		{"TRUE", "bool", "true"}, {"+7", "int64", "7"}, {"007", "int64", "7"}, {"1e3", "float64", "1000"}, {".5", "float64", "0.5"}, {"inf", "float64", "+Inf"},
		{"1", "decimal(4,2)", "1.00"}, {"+01.5", "decimal(4,2)", "1.50"}, {"1.5000", "decimal(4,2)", "1.50"}, {"15e-1", "decimal(4,2)", "1.50"}, {"1E1", "decimal(4,2)", "10.00"},
		{"0e999999999", "decimal(4,2)", "0.00"}, {"123456789012345678901234567890.0", "decimal(38,1)", "123456789012345678901234567890.0"},
		{"2013-11-03 01:30:00", "timestamp", "2013-11-03T01:30:00Z"}, {"2013-11-03t01:30:00.1234567+05:30", "timestamp", "2013-11-02T20:00:00.123456Z"}, {"90m", "duration", "1h30m0s"},
	} {
		v, err := ParseText([]byte(c.text), typ(c.of))
		if got := string(AppendText(nil, v)); err != nil || got != c.want {
			t.Errorf("%s: got %s and %v, want %s", c.text, got, err, c.want)
		}
	}
}

func TestTextErrors(t *testing.T) {
	for _, c := range []struct{ text, of, want string }{
		{"yes", "bool", `got "yes", want true or false`},
		{"", "int64", `got "", want an int64`}, {"1.0", "int64", `got "1.0", want an int64`}, {" 1", "int64", `got " 1", want an int64`}, {"-", "int64", `got "-", want an int64`},
		{"9223372036854775808", "int64", `got "9223372036854775808", which does not fit int64`}, {strings.Repeat("9", 70), "int64", `got "` + strings.Repeat("9", 60) + `"…, which does not fit int64`},
		{"0x1p3", "float64", `got "0x1p3", want a float64`}, {"1_0", "float64", `got "1_0", want a float64`}, {"1e999", "float64", `got "1e999", which does not fit float64`}, {"", "float64", `got "", want a float64`},
		{"1.005", "decimal(4,2)", `got "1.005", which does not fit decimal(4,2)`}, {"100", "decimal(4,2)", `got "100", which does not fit decimal(4,2)`}, {"1e999999999", "decimal(38,0)", `got "1e999999999", which does not fit decimal(38,0)`},
		{"1e-999999999", "decimal(38,0)", `got "1e-999999999", which does not fit decimal(38,0)`}, {"x", "decimal(4,2)", `got "x", want a decimal(4,2)`}, {"--1", "decimal(4,2)", `got "--1", want a decimal(4,2)`}, {"+-1", "decimal(4,2)", `got "+-1", want a decimal(4,2)`},
		{"?", "bytes", `got "?", want bytes in base64`},
		{"2013-02-29T00:00:00Z", "timestamp", `got "2013-02-29T00:00:00Z", want a timestamp as 2006-01-02T15:04:05Z`}, {"2013-01-01", "timestamp", `got "2013-01-01", want a timestamp as 2006-01-02T15:04:05Z`},
		{"+999999999-01-01T00:00:00Z", "timestamp", `got "+999999999-01-01T00:00:00Z", want a timestamp as 2006-01-02T15:04:05Z`}, {"2013-01-01T00:00:60Z", "timestamp", `got "2013-01-01T00:00:60Z", want a timestamp as 2006-01-02T15:04:05Z`},
		{"1900-02-29", "date", `got "1900-02-29", want a date as 2006-01-02`}, {"2013-1-1", "date", `got "2013-1-1", want a date as 2006-01-02`}, {"2013-01-01x", "date", `got "2013-01-01x", want a date as 2006-01-02`},
		{"1d", "duration", `got "1d", want a duration as 1h30m`}, {"[]", "list<int64>", "a text can not be a list"},
	} {
		_, err := ParseText([]byte(c.text), typ(c.of))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s as %s: got %v, want %s", c.text, c.of, err, c.want)
		}
	}
}

// Dates and times agree with package time over a long stretch, leap days and the turn of the era included.
func TestCalendarAgreesWithTime(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200_000 {
		micros := r.Int64N(2*250_000_000_000_000_000) - 62_167_219_200_000_000
		if i%2 == 0 {
			micros = r.Int64N(4_000_000_000_000_000)
		}
		want := time.UnixMicro(micros).UTC()
		if y := want.Year(); y < 0 || y > 9999 {
			continue
		}
		layout := "2006-01-02T15:04:05Z"
		if micros%1_000_000 != 0 {
			layout = "2006-01-02T15:04:05.000000Z"
		}
		got := string(AppendText(nil, Timestamp(micros)))
		if got != want.Format(layout) {
			t.Fatalf("%d: got %s, want %s", micros, got, want.Format(layout))
		}
		if back, ok := parseTimestamp([]byte(got)); !ok || back != micros {
			t.Fatalf("%s: got %d", got, back)
		}
	}
	for _, micros := range []int64{0, 1, 10, 999, 1000, 1500, 999_999, 1_000_000, 59_999_999, 60_000_000, 3_600_000_000, 3_601_500_000, math.MaxInt64 / 1000} {
		for _, m := range []int64{micros, -micros} {
			if got, want := string(AppendText(nil, Duration(m))), (time.Duration(m) * time.Microsecond).String(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
}

func FuzzParseText(f *testing.F) {
	types := []string{"bool", "int64", "float64", "decimal(38,18)", "decimal(3,3)", "string", "bytes", "timestamp", "date", "duration"}
	for i, s := range []string{"true", "-12", "1e-7", "1.5", "0.001", "é", "aGk=", "2013-01-01T00:00:00+01:00", "-0001-01-01", "1h1us"} {
		f.Add([]byte(s), i)
	}
	f.Fuzz(func(t *testing.T, text []byte, of int) {
		if of < 0 || of >= len(types) {
			return
		}
		to := typ(types[of])
		v, err := ParseText(text, to)
		if err != nil {
			return
		}
		shown := AppendText(nil, v)
		again, err := ParseText(shown, to)
		if err != nil || Compare(v, again) != 0 {
			t.Fatalf("%q as %s became %s, which became %s: %v", text, to, shown, AppendText(nil, again), err)
		}
	})
}
