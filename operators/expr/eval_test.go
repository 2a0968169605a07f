package expr_test

import (
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

const columns = `i int64 not null, j int64, n int64, big int64 not null, least int64 not null, f float64 not null, g float64, nan float64 not null, s string not null,
	u string, p bool not null, q bool, d decimal(10,2) not null, e decimal(38,18), b bytes not null, t timestamp not null, w timestamp, day date not null,
	z duration not null, l list<int64> not null, names list<string not null> not null, m map<float64 not null> not null,
	r row<x int64 not null, inner row<y string>> not null, nr row<x int64 not null>, "dep delay" int64 not null, meta string not null, "in" int64 not null`

// j, g, u, q, e, w and nr are null when their name is not set below.
const values = `{"i": 7, "j": -2, "big": 9223372036854775807, "least": -9223372036854775808, "f": 2.5, "g": -0.5, "s": "Ab:c#d", "u": "ü\"x'", "p": true, "q": false,
	"d": 19.99, "e": 0.5, "b": "AQI=", "t": "2013-03-10T07:30:15.25Z", "w": "1969-12-31T23:59:59.999999Z", "day": "2012-02-29", "z": "1h30m", "l": [1, null, 3],
	"names": ["x", "y"], "m": {"a": 1.5, "b": 2}, "r": {"x": 5, "inner": {"y": "deep"}}, "dep delay": 12, "meta": "column", "in": 4}`

func fixture(t testing.TB) (*row.Schema, []row.Value) {
	t.Helper()
	s := schema(t, strings.ReplaceAll(columns, "\n", " "))
	json := strings.Replace(values, `"g": -0.5`, `"g": -0.5, "nan": 0`, 1)
	vs := record1(t, s, json)
	i, _ := s.Index("nan")
	vs[i] = row.Float(math.NaN())
	return s, vs
}

func TestEval(t *testing.T) {
	s, vs := fixture(t)
	for _, test := range []struct{ text, typ, want string }{
		// Columns, literals, parts.
		{`i`, "int64 not null", "7"},
		{`n`, "int64", "null"},
		{`$env["dep delay"] * 2`, "int64 not null", "24"},
		{`$env.in`, "int64 not null", "4"},
		{`meta`, "string not null", `"column"`},
		{`0x1F + 0b11 + 0o7 + 1_000`, "int64 not null", "1041"},
		{`-9223372036854775807 - 1`, "int64 not null", "-9223372036854775808"},
		{`'it''s'`, "", "column 5: got \"s\", want an operator or the end"},
		{`"a: b # {c}, 'd' \"e\"" + 'f"g' + ` + "`h\\n`", "string not null", `"a: b # {c}, 'd' \"e\"f\"gh\n"`},
		{`u == "ü\"x'"`, "bool", "true"},
		{`b == b"\x01\x02"`, "bool not null", "true"},
		{`r.inner.y`, "string", `"deep"`},
		{`r["x"]`, "int64 not null", "5"},
		{`nr.x`, "int64", "null"},
		{`nr?.x`, "int64", "null"},
		{`l[0] + l[-1]`, "int64", "4"},
		{`l[1]`, "int64", "null"},
		{`l[3]`, "int64", "null"},
		{`l[-4]`, "int64", "null"},
		{`l[n]`, "int64", "null"},
		{`m.a + m["b"]`, "float64", "3.5"},
		{`m[names[0]]`, "float64", "null"},
		{`[i, null]`, "list<int64> not null", "[7, null]"},
		{`[1, 2][1]`, "int64 not null", "2"},
		{`len([i, 2, 3])`, "int64 not null", "3"},

		// int64.
		{`i + j * 3`, "int64", "1"},
		{`i - 10`, "int64 not null", "-3"},
		{`10 - i`, "int64 not null", "3"},
		{`i - in2`, "", `column 5: got unknown column "in2", want one of i, j, n, big, least, f, g, nan, s, u, p, q, …; did you mean "in"?`},
		{`i / 2`, "float64 not null", "3.5"},
		{`-i % 4`, "int64 not null", "-3"},
		{`least % -1`, "int64 not null", "0"},
		{`div(-7, 2)`, "int64 not null", "-3"},
		{`2 ** 3 ** 2`, "float64 not null", "512.0"},
		{`-2 ^ 2`, "float64 not null", "-4.0"},
		{`+i`, "int64 not null", "7"},
		{`big + 1 - 1`, "int64 not null", "column 5: got 9223372036854775807 + 1, want a result that fits int64 [expression.overflow]"},
		{`big + i`, "int64 not null", "column 5: got 9223372036854775807 + 7, want a result that fits int64 [expression.overflow]"},
		{`least - 1`, "int64 not null", "column 7: got -9223372036854775808 - 1, want a result that fits int64 [expression.overflow]"},
		{`least - i`, "int64 not null", "column 7: got -9223372036854775808 - 7, want a result that fits int64 [expression.overflow]"},
		{`0 - least`, "int64 not null", "column 3: got 0 - -9223372036854775808, want a result that fits int64 [expression.overflow]"},
		{`big * i`, "int64 not null", "column 5: got 9223372036854775807 * 7, want a result that fits int64 [expression.overflow]"},
		{`least * -1`, "int64 not null", "column 7: got -9223372036854775808 * -1, want a result that fits int64 [expression.overflow]"},
		{`-1 * least`, "int64 not null", "column 4: got -1 * -9223372036854775808, want a result that fits int64 [expression.overflow]"},
		{`-least`, "int64 not null", "column 1: got -(-9223372036854775808), want a result that fits int64 [expression.overflow]"},
		{`abs(least)`, "int64 not null", "column 1: got -(-9223372036854775808), want a result that fits int64 [expression.overflow]"},
		{`div(least, -1)`, "int64 not null", "column 1: got div(-9223372036854775808, -1), want a result that fits int64 [expression.overflow]"},
		{`least * 1`, "int64 not null", "-9223372036854775808"},
		{`3037000499 * i * 433857214`, "int64 not null", "9223372027889248502"},
		{`i / (i - 7)`, "float64 not null", "column 3: got 7 / 0, want a divisor that is not 0 [expression.division]"},
		{`i % (i - 7)`, "int64 not null", "column 3: got 7 % 0, want a divisor that is not 0 [expression.division]"},
		{`div(i, 0)`, "int64 not null", "column 1: got div(7, 0), want a divisor that is not 0 [expression.division]"},
		{`i / 0`, "float64 not null", "column 3: got 7 / 0, want a divisor that is not 0 [expression.division]"},
		{`f / 0.0`, "float64 not null", "column 3: got 2.5 / 0, want a divisor that is not 0 [expression.division]"},
		{`i == 7 or i / 0 > 1`, "bool not null", "true"},
		{`i == 8 and i / 0 > 1`, "bool not null", "false"},
		{`i == 7 ? 1 : div(i, 0)`, "int64 not null", "1"},
		{`(i / 0) ?? 1`, "float64 not null", "column 4: got 7 / 0, want a divisor that is not 0 [expression.division]"},

		// float64.
		{`f * i`, "float64 not null", "17.5"},
		{`i * f`, "float64 not null", "17.5"},
		{`f + g`, "float64", "2.0"},
		{`f - g`, "float64", "3.0"},
		{`1 - f`, "float64 not null", "-1.5"},
		{`f * 2`, "float64 not null", "5.0"},
		{`f / 2`, "float64 not null", "1.25"},
		{`f + 1`, "float64 not null", "3.5"},
		{`f - 1`, "float64 not null", "1.5"},
		{`f - i`, "float64 not null", "-4.5"},
		{`(f + 1) * (f - 1)`, "float64 not null", "5.25"},
		{`-f`, "float64 not null", "-2.5"},
		{`1e308 * f * 10`, "float64 not null", "+Inf"},
		{`f > 2.4 and f >= 2.5 and f <= 2.5 and f < 2.6 and f != 2.4`, "bool not null", "true"},
		{`nan == nan and nan > f and not (nan < f)`, "bool not null", "true"},
		{`isNaN(nan)`, "bool not null", "true"},
		{`round(2.675, 2)`, "float64 not null", "2.68"},
		{`round(f)`, "float64 not null", "3.0"},
		{`round(1e300, 18)`, "float64 not null", "1e+300"},
		{`ceil(-f)`, "float64 not null", "-2.0"},
		{`floor(i)`, "int64 not null", "7"},
		{`round(j)`, "int64", "-2"},

		// Numbers of different types compare exactly.
		{`9007199254740993 == 9007199254740992.0`, "bool not null", "false"},
		{`big < 9223372036854775808.0`, "bool not null", "true"},
		{`i > 6.5 and i < 7.5 and i == 7.0 and 7.0 == i and i != 7.5`, "bool not null", "true"},
		{`f > 2 and f < 3 and 3 > f`, "bool not null", "true"},
		{`d == 19.99 and d > 19 and d < f * 8`, "bool not null", "true"},
		{`f in [1, 2.5]`, "bool not null", "true"},
		{`d in [1, 19.99]`, "bool not null", "true"},

		// decimal.
		{`d + d`, "decimal(11,2) not null", "39.98"},
		{`d - 20`, "decimal(11,2) not null", "-0.01"},
		{`d * d`, "decimal(20,4) not null", "399.6001"},
		{`d / 3`, "decimal(14,6) not null", "6.663333"},
		{`-d / 3`, "decimal(14,6) not null", "-6.663333"},
		{`20.00 / (d - 19.49)`, "decimal(16,12) not null", "40.000000000000"},
		{`d / (d - d)`, "decimal(24,14) not null", "column 3: got 19.99 / 0, want a divisor that is not 0 [expression.division]"},
		{`d * i`, "decimal(29,2) not null", "139.93"},
		{`d * f`, "float64 not null", "49.974999999999994"},
		{`d + 0.005`, "decimal(12,3) not null", "19.995"},
		{`e * e`, "decimal(38,6)", "0.250000"},
		{`e / 3`, "decimal(38,18)", "0.166666666666666667"},
		{`e * big`, "decimal(38,6)", "4611686018427387903.500000"},
		{`e + 99999999999999999999`, "", "column 5: got 99999999999999999999, want a number that fits int64"},
		{`decimal("99999999999999999999.5", 38, 18) + e`, "decimal(38,17)", "100000000000000000000.00000000000000000"},
		{`decimal("99999999999999999999", 20, 0) * decimal("99999999999999999999", 20, 0)`, "",
			"column 40: got 99999999999999999999 * 99999999999999999999, want a result that fits decimal(38,0)"},
		{`-d`, "decimal(10,2) not null", "-19.99"},
		{`abs(-d)`, "decimal(10,2) not null", "19.99"},
		{`round(d, 1)`, "decimal(10,1) not null", "20.0"},
		{`round(d)`, "decimal(9,0) not null", "20"},
		{`round(-d, 5)`, "decimal(11,2) not null", "-19.99"},
		{`floor(-d)`, "decimal(9,0) not null", "-20"},
		{`ceil(-d)`, "decimal(9,0) not null", "-19"},
		{`int(d)`, "int64 not null", "19"},
		{`float(d)`, "float64 not null", "19.99"},
		{`decimal(f, 10, 1)`, "decimal(10,1) not null", "2.5"},
		{`decimal(d, 3, 1)`, "decimal(3,1) not null", "20.0"},
		{`decimal(d * 10, 3, 1)`, "decimal(3,1) not null", "column 1: got 199.90, want a number that fits decimal(3,1) [expression.overflow]"},
		{`p ? d : i`, "decimal(21,2) not null", "19.99"},
		{`p ? d : 0.125`, "decimal(11,3) not null", "19.990"},
		{`p ? 0.125 : d`, "decimal(11,3) not null", "0.125"},

		// Strings.
		{`s + '!' + s`, "string not null", `"Ab:c#d!Ab:c#d"`},
		{`upper(s) + lower(s)`, "string not null", `"AB:C#Dab:c#d"`},
		{`upper("straße")`, "string not null", `"STRAßE"`},
		{`lower("abc")`, "string not null", `"abc"`},
		{`s < 'B' and s >= 'Ab' and 'Ab' < s and s != 'x' and 'x' != s and s == 'Ab:c#d' and s <= s`, "bool not null", "true"},
		{`concat(s, upper(u))`, "string", `"Ab:c#dÜ\"X'"`},
		{`concat(s, string(n))`, "string", "null"},
		{`s matches '^A.*d$'`, "bool not null", "true"},
		{`u not contains '"'`, "bool", "false"},
		{`not (s startsWith 'A') or s endsWith 'd'`, "bool not null", "true"},
		{`substring(u, 1, 2)`, "string", `"\"x"`},
		{`substring(s, 2, -1)`, "string not null", `""`},
		{`substring(s, 20)`, "string not null", `""`},
		{`substring(s, -2)`, "string not null", `"#d"`},
		{`substring(s, -20, 2)`, "string not null", `"Ab"`},
		{`substring(s, 9223372036854775807, 9223372036854775807)`, "string not null", `""`},
		{`substring(s, least, big)`, "string not null", `"Ab:c#d"`},
		{`replace(s, '', 'x')`, "string not null", `"Ab:c#d"`},
		{`replace('aaa', 'aa', 'b')`, "string not null", `"ba"`},
		{`replace(u, 'ü', 'ue')`, "string", `"ue\"x'"`},
		{`split(s, ':')`, "list<string not null> not null", `["Ab", "c#d"]`},
		{`split(s, '')`, "list<string not null> not null", `["Ab:c#d"]`},
		{`split(s, ':')[1]`, "string", `"c#d"`},
		{`'c#d' in split(s, ':')`, "bool not null", "true"},
		{`len(u) + len(b) + len(l) + len(m)`, "int64", "11"},
		{`indexOf(u, "x")`, "int64", "2"},
		{`indexOf(s, "?")`, "int64 not null", "-1"},
		{`string(f) + string(p) + string(t) + string(z) + string(day)`, "string not null", `"2.5true2013-03-10T07:30:15.250000Z1h30m0s2012-02-29"`},
		{`greatest(s, 'z', 'b')`, "string not null", `"z"`},
		{`least(i, f, d)`, "float64 not null", "2.5"},
		{`least(i, n)`, "int64", "null"},

		// Times. 2013-03-10 is the night of the change to daylight saving time in the United States: nothing happens in UTC.
		{`t + '24h'`, "timestamp not null", `"2013-03-11T07:30:15.250000Z"`},
		{`truncate(t, 'day') + duration("1h") * 2`, "timestamp not null", `"2013-03-10T02:00:00Z"`},
		{`t - z`, "timestamp not null", `"2013-03-10T06:00:15.250000Z"`},
		{`z + t == t + z`, "bool not null", "true"},
		{`t - w`, "duration", `"378583h30m15.250001s"`},
		{`day + '24h'`, "timestamp not null", `"2012-03-01T00:00:00Z"`},
		{`day - date('2012-01-01')`, "duration not null", `"1416h0m0s"`},
		{`t - day`, "duration not null", `"9007h30m15.25s"`},
		{`z * f`, "duration not null", `"3h45m0s"`},
		{`i * z`, "duration not null", `"10h30m0s"`},
		{`z / 4`, "duration not null", `"22m30s"`},
		{`z / 0.5`, "duration not null", `"3h0m0s"`},
		{`z / '30m'`, "", "column 3: got duration / string, want two numbers, or a duration and a number"},
		{`z / duration('30m')`, "float64 not null", "3.0"},
		{`z / (i - 7)`, "duration not null", "column 3: got 1h30m0s / 0, want a divisor that is not 0 [expression.division]"},
		{`z * big`, "duration not null", "column 3: got 1h30m0s * 9223372036854775807, want a result that fits duration [expression.overflow]"},
		{`z * 1e300`, "duration not null", "column 3: got 1h30m0s * 1e+300, want a result that fits duration [expression.overflow]"},
		{`z - '2h'`, "duration not null", `"-30m0s"`},
		{`abs(z - '2h')`, "duration not null", `"30m0s"`},
		{`-z`, "duration not null", `"-1h30m0s"`},
		{`z > '1h29m' and z == duration('90m')`, "bool not null", "true"},
		{`t > '2013-03-10' and t < '2013-03-10T07:30:15.3Z' and t >= day and day < t`, "bool not null", "true"},
		{`'2013-03-09T23:30:15.25-08:00' == t`, "bool not null", "true"},
		{`day in ['2012-02-28', '2012-02-29']`, "bool not null", "true"},
		{`day in ['2012-02-25', '2012-02-26', '2012-02-27', '2012-02-28', '2012-02-29']`, "bool not null", "true"},
		{`day in ['2012-02-25', t]`, "bool not null", "false"},
		{`year(day) * 10000 + month(day) * 100 + day(day)`, "int64 not null", "20120229"},
		{`weekday(day) * 10 + weekday(t)`, "int64 not null", "37"},
		{`year(w) * 10000 + month(w) * 100 + day(w)`, "int64", "19691231"},
		{`hour(w) * 10000 + minute(w) * 100 + second(w)`, "int64", "235959"},
		{`truncate(w, "second")`, "timestamp", `"1969-12-31T23:59:59Z"`},
		{`truncate(w, "minute")`, "timestamp", `"1969-12-31T23:59:00Z"`},
		{`truncate(w, "week")`, "timestamp", `"1969-12-29T00:00:00Z"`},
		{`truncate(t, "hour")`, "timestamp not null", `"2013-03-10T07:00:00Z"`},
		{`truncate(t, "quarter")`, "timestamp not null", `"2013-01-01T00:00:00Z"`},
		{`truncate(t, "year")`, "timestamp not null", `"2013-01-01T00:00:00Z"`},
		{`truncate(day, "month")`, "date not null", `"2012-02-01"`},
		{`truncate(day, "day")`, "date not null", `"2012-02-29"`},
		{`truncate(day, "year")`, "date not null", `"2012-01-01"`},
		{`truncate(date("1900-03-01"), "week")`, "date not null", `"1900-02-26"`},
		{`date("2000-02-29") + "24h" == date("2000-03-01")`, "bool not null", "true"},
		{`date("1900-02-29")`, "", `column 1: got "1900-02-29", want a date as "2006-01-02"`},
		{`unixMillis(w)`, "int64", "-1"},
		{`fromUnixMillis(unixMillis(t))`, "timestamp not null", `"2013-03-10T07:30:15.250000Z"`},
		{`fromUnixMillis(big)`, "timestamp not null", "column 1: got 9223372036854775807 ms, want a time that fits timestamp [expression.overflow]"},
		{`date(t)`, "date not null", `"2013-03-10"`},
		{`date(w)`, "date", `"1969-12-31"`},
		{`timestamp(day)`, "timestamp not null", `"2012-02-29T00:00:00Z"`},
		{`timestamp(s)`, "timestamp not null", `column 1: got "Ab:c#d", want a timestamp as "2006-01-02T15:04:05Z" or "2006-01-02" [expression.conversion]`},

		// Conversions.
		{`int(f)`, "int64 not null", "2"},
		{`int(-f)`, "int64 not null", "-2"},
		{`int(nan)`, "int64 not null", "column 1: got NaN, want a number that fits int64 [expression.conversion]"},
		{`int(f * 1e300)`, "int64 not null", "column 1: got 2.5e+300, want a number that fits int64 [expression.conversion]"},
		{`int(s)`, "int64 not null", `column 1: got "Ab:c#d", want what can become int64 [expression.conversion]`},
		{`int(q)`, "int64", "0"},
		{`bool(i)`, "bool not null", "column 1: got 7, want what can become bool [expression.conversion]"},
		{`bool("true") and p`, "bool not null", "true"},
		{`float("1e3")`, "float64 not null", "1000.0"},
		{`string(b)`, "string not null", `"AQI="`},
		{`bytes(s)`, "bytes not null", `"QWI6YyNk"`},
		{`int(null) == null`, "bool not null", "true"},
		{`string(s)`, "string not null", `"Ab:c#d"`},
	} {
		x, err := expr.Compile(test.text, s)
		if test.typ == "" { // the mistake is told at once
			if err == nil || err.Error() != test.want {
				t.Errorf("%s: got %v, want %s", test.text, err, test.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
			continue
		}
		typ := x.Type().String()
		if !x.Nullable() {
			typ += " not null"
		}
		var env expr.Env
		v, err := x.Eval(vs, &env)
		got := show(v)
		if err != nil {
			got = strings.TrimPrefix(err.Error(), "runtime: evaluate "+quote(test.text)+": ")
		}
		if typ != test.typ || got != test.want {
			t.Errorf("%s: got %s of type %s, want %s of type %s", test.text, got, typ, test.want, test.typ)
		}
		if again, err2 := x.Eval(vs, &env); show(again) != show(v) || (err == nil) != (err2 == nil) {
			t.Errorf("%s: the second time gives %s, %v", test.text, show(again), err2)
		}
		if err != nil && fault.Retryable(err) {
			t.Errorf("%s: a retry does not help", test.text)
		}
	}
}

// TestThreeValues is the whole of the logic: true, false, unknown.
func TestThreeValues(t *testing.T) {
	s := schema(t, "a bool, b bool")
	values := []row.Value{row.Bool(true), row.Bool(false), row.Null()}
	for text, want := range map[string]string{ // for each a, each b
		"a and b":                     "true false null  false false false  null false null",
		"a && b":                      "true false null  false false false  null false null",
		"a or b":                      "true true true  true false null  true null null",
		"a || b":                      "true true true  true false null  true null null",
		"not a":                       "false false false  true true true  null null null",
		"!b":                          "false true null  false true null  false true null",
		"a == b":                      "true false null  false true null  null null null",
		"a != b":                      "false true null  true false null  null null null",
		"a == null":                   "false false false  false false false  true true true",
		"null != b":                   "true true false  true true false  true true false",
		"a ?? b":                      "true true true  false false false  true false null",
		"coalesce(a, b, false)":       "true true true  false false false  true false false",
		"nullif(a, b)":                "null true true  false null false  null null null",
		"a ? b : not b":               "true false null  false true null  false true null",
		"a in [b, true]":              "true true true  false true null  null null null",
		"a not in [b]":                "false true null  true false null  null null null",
		"a and not (b or a)":          "false false false  false false false  false null null",
		"(a == null) == (b == null)":  "true true false  true true false  false false true",
		"a in [true]":                 "true true true  false false false  null null null",
		"a ? null : b":                "null null null  true false null  true false null",
		"(a or b) and not (a and b)":  "false true null  true false null  null null null",
		"a in [b] or a not in [b]":    "true true null  true true null  null null null",
		"(a == b) ?? (a == null) ":    "true false false  false true false  true true true",
		"string(a) + string(b) == ''": "false false null  false false null  null null null",
	} {
		x, err := expr.Compile(text, s)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		var rows []string
		for _, a := range values {
			var cells []string
			for _, b := range values {
				v, err := x.Eval([]row.Value{a, b}, nil)
				if err != nil {
					t.Fatal(err)
				}
				cells = append(cells, show(v))
			}
			rows = append(rows, strings.Join(cells, " "))
		}
		if got := strings.Join(rows, "  "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
	}
}

// TestNullThroughEverything: whatever is computed from a null is null.
func TestNullThroughEverything(t *testing.T) {
	s := schema(t, `i int64, f float64, d decimal(5,1), s string, t timestamp, day date, z duration, l list<int64>, m map<int64>, b bytes, k int64 not null`)
	vs := make([]row.Value, len(s.Fields))
	vs[len(vs)-1] = row.Int(3)
	for _, text := range []string{
		"i + 1", "1 + i", "i + k", "k + i", "k - i", "k * i", "i * 2", "i - 2", "i / 2", "i % 2", "2 ** i", "-i", "f + 1", "1 / f", "f * k", "k * f", "f - k", "f / f", "-f",
		"d + 1", "d * d", "-d", "d / d", "s + 'x'", "'x' + s", "t + '1h'", "t - t", "day - day", "z * 2", "z / z", "-z", "i > 1", "1 > i", "i == k", "k == i", "f > 1.5", "f > f",
		"s == 'x'", "s > 'x'", "s == s", "b == b", "t > '2013-01-01'", "day > '2013-01-01'", "d > 1", "d > f", "i in [1]", "i in [1, 2, 3, 4]", "s in ['a', 'b', 'c', 'd']", "k in l", "s in m",
		"i in [1.5]", "s matches 'x'", "s contains 'x'", "s startsWith 'x'", "'x' endsWith s", "l[0]", "l[i]", "m.x", "m[s]", "upper(s)", "lower(s)", "trim(s)", "trim(s, 'x')",
		"trimPrefix(s, 'x')", "trimSuffix('x', s)", "len(s)", "len(l)", "len(m)", "len(b)", "substring(s, 1)", "substring('x', i)", "substring('x', 1, i)", "indexOf(s, 'x')",
		"replace(s, 'x', 'y')", "replace('x', s, 'y')", "replace('x', 'y', s)", "concat('x', s)", "split(s, 'x')", "split('x', s)", "abs(i)", "abs(f)", "abs(d)", "abs(z)", "round(f)", "round(d, 1)",
		"floor(f)", "ceil(d)", "div(i, 2)", "div(2, i)", "least(i, 1)", "greatest(1, i)", "isNaN(f)", "int(f)", "int(s)", "float(i)", "decimal(i, 5, 1)", "string(i)", "bool(s)",
		"bytes(s)", "timestamp(day)", "date(t)", "duration(s)", "year(t)", "month(day)", "day(t)", "weekday(t)", "hour(t)", "minute(t)", "second(t)", "truncate(t, 'day')",
		"truncate(day, 'month')", "unixMillis(t)", "fromUnixMillis(i)", "meta.time", "nullif(i, i)", "ifnull(i, i)", "coalesce(i, null)", "false ? 1 : i", "i > 1 or i < 1", "not (i > 1)",
	} {
		x, err := expr.Compile(text, s)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if v, err := x.Eval(vs, nil); !v.IsNull() || err != nil {
			t.Errorf("%s: got %s, %v, want null", text, show(v), err)
		}
		if !x.Nullable() {
			t.Errorf("%s: not null, by its type", text)
		}
	}
}

func TestInListOfNulls(t *testing.T) {
	s := schema(t, "x int64, l list<int64>, whole list<int64 not null> not null")
	list := func(vs ...row.Value) row.Value { return row.List(vs) }
	for _, test := range []struct {
		x, l row.Value
		want string
	}{
		{row.Int(1), list(row.Int(1), row.Null()), "true"},
		{row.Int(2), list(row.Int(1), row.Null()), "null"},
		{row.Int(2), list(row.Int(1)), "false"},
		{row.Int(2), list(), "false"},
		{row.Null(), list(row.Int(1)), "null"},
		{row.Int(1), row.Null(), "null"},
	} {
		x, err := expr.Compile("x in l", s)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := x.Eval([]row.Value{test.x, test.l, list()}, nil); err != nil || show(v) != test.want {
			t.Errorf("%s in %s: got %s, want %s (%v)", show(test.x), show(test.l), show(v), test.want, err)
		}
	}
	if x, err := expr.Compile("3 in whole", s); err != nil || x.Nullable() {
		t.Errorf("got nullable %v, %v: nothing in it is null", x.Nullable(), err)
	}
}

func TestMeta(t *testing.T) {
	s := schema(t, "a int64")
	x, err := expr.Compile(`meta.split + "/" + string(meta.position) + "/" + (string(meta.time) ?? "none")`, s)
	if err != nil {
		t.Fatal(err)
	}
	vs := []row.Value{row.Null()}
	for _, test := range []struct {
		env  *expr.Env
		want string
	}{
		{nil, `"/0/none"`},
		{&expr.Env{Meta: &record.Meta{Time: record.NoTime, Position: 9}, Split: "a.csv"}, `"a.csv/9/none"`},
		{&expr.Env{Meta: &record.Meta{Time: 1357016400123, Position: 1}, Split: "b"}, `"b/1/2013-01-01T05:00:00.123000Z"`},
	} {
		if v, err := x.Eval(vs, test.env); err != nil || show(v) != test.want {
			t.Errorf("got %s, want %s (%v)", show(v), test.want, err)
		}
	}
	_, err = x.Eval(vs, &expr.Env{Meta: &record.Meta{Time: record.MaxTime}})
	want := `runtime: evaluate ` + quote(x.String()) + `: column 58: got meta.time 9223372036854775807 ms, want a time that fits timestamp [expression.overflow]`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestColumn(t *testing.T) {
	s := schema(t, `a int64, "b c" string not null`)
	for text, want := range map[string]string{"a": "a", ` $env["b c"] `: "b c", "(a)": "a", "+a": "a", "-a": "", "1": "", "upper(null)": ""} {
		x, err := expr.Compile(text, s)
		if text == "upper(null)" {
			if want := "column 1: got upper(null), want upper(string)"; err == nil || err.Error() != want {
				t.Errorf("got %v, want %s", err, want)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := x.Column(); got != want || ok != (want != "") {
			t.Errorf("%s: got column %q, want %q", text, got, want)
		}
		if f := x.Field("new"); f.Name != "new" || f.Type.Kind != x.Type().Kind || f.Nullable != x.Nullable() {
			t.Errorf("%s: got field %v", text, f)
		}
	}
}

// TestConcurrently: an expression is shared, each goroutine has an Env of its own.
func TestConcurrently(t *testing.T) {
	s, vs := fixture(t)
	x, err := expr.Compile(`concat(s, string(i)) matches "7$" and i not in [1, 2, 3, 4] and len(split(s, ":")) == 2 and abs(-d) > 1`, s)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			var env expr.Env
			for range 1000 {
				if v, err := x.Eval(vs, &env); err != nil || !v.Bool() {
					t.Errorf("got %s, %v", show(v), err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestStringsOutliveTheirRecord: what Eval gives may be kept, whatever is computed afterwards.
func TestStringsOutliveTheirRecord(t *testing.T) {
	s := schema(t, "i int64 not null")
	x, err := expr.Compile(`concat("n", string(i), upper("x"), replace("a-a", "-", string(i)))`, s)
	if err != nil {
		t.Fatal(err)
	}
	var env expr.Env
	kept := make([]string, 20_000)
	for i := range kept {
		v, err := x.Eval([]row.Value{row.Int(int64(i))}, &env)
		if err != nil {
			t.Fatal(err)
		}
		kept[i] = v.Str()
	}
	for i, got := range kept {
		n := string(row.AppendText(nil, row.Int(int64(i))))
		if want := "n" + n + "Xa" + n + "a"; got != want {
			t.Fatalf("record %d: got %q, want %q", i, got, want)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	s, vs := fixture(t)
	for _, text := range []string{
		"i + 1 > 3 and f * i < 100 or not p", `s == "x" or s in ["a", "b", "c", "d", "Ab:c#d"]`, "d * i + 1 > 19.99", "round(d, 1)", `t + z > "2013-01-01" and hour(t) > 3`,
		`truncate(t, "month")`, "j ?? n ?? i", "r.inner.y", "m.a + l[0]", "i in l", `lower(s) + "/" + string(i) + "/" + string(t)`, `replace(s, ":", "::")`, "len(u)",
		"substring(u, 1)", "meta.time == null", "least(i, f)", `weekday(day) + year(day)`, "float(d) * 2",
	} {
		x, err := expr.Compile(text, s)
		if err != nil {
			t.Fatal(err)
		}
		var env expr.Env
		got := testing.AllocsPerRun(10, func() {
			for range 1000 {
				if _, err := x.Eval(vs, &env); err != nil {
					t.Fatal(err)
				}
			}
		})
		if got /= 1000; got >= 0.01 {
			t.Errorf("%s: got %v allocations per record, want less than 0.01", text, got)
		}
	}
}
