package expr_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/activedataflow/adf/operators/expr"
)

func quote(s string) string { return strconv.Quote(s) }

func TestRefused(t *testing.T) {
	s := schema(t, `dep_delay int64, arr_delay int64, carrier string not null, distance float64, price decimal(10,2), paid bool, time timestamp, day date, air_time duration, raw bytes,
		tags list<string>, counts map<int64>, plane row<model string, seats int64>`)
	for _, test := range []struct{ text, want string }{
		// What the parser refuses.
		{``, "column 1: got nothing, want an expression"},
		{`  `, "column 1: got nothing, want an expression"},
		{`dep_delay >`, "column 12: got the end, want a value"},
		{`dep_delay > > 1`, `column 13: got ">", want a value`},
		{`dep_delay <> 1`, `column 12: got ">", want a value; did you mean "!="?`},
		{`dep_delay = 1`, `column 11: got "=", want a comparison; did you mean "=="?`},
		{`paid & paid`, `column 6: got "&", want an operator; did you mean "&&"?`},
		{`paid AND paid`, `column 6: got "AND", want an operator or the end; did you mean "and"?`},
		{`dep_delay IS NULL`, `column 11: got "IS", want an operator or the end; null is tested with x == null`},
		{`carrier like "U%"`, `column 9: got "like", want an operator or the end; use matches, contains, startsWith or endsWith`},
		{`dep_delay between 1 and 2`, `column 11: got "between", want an operator or the end; use x >= 1 and x <= 9`},
		{`(dep_delay + 1`, `column 15: got the end, want an operator or ")"`},
		{`dep_delay + 1)`, `column 14: got ")", want an operator or the end`},
		{`[1, 2`, `column 6: got the end, want an operator or "]"`},
		{`tags[`, `column 6: got the end, want a value`},
		{`upper(carrier, )) `, `column 17: got ")", want an operator or the end`},
		{`upper(,)`, `column 7: got ",", want a value`},
		{`dep_delay ?? 1 + 2`, `column 16: got "+" beside ??, want parentheses around one of them`},
		{`"é" + 'abc`, "column 7: got a text without its closing quote, want it on the same line"},
		{"carrier == \"U\nA\"", "column 12: got a text without its closing quote, want it on the same line"},
		{"'a' + `abc", "column 7: got a text without its closing quote, want it on the same line"},
		{`carrier == "a\qb"`, "column 12: got an unknown escape in a text, want one of \\n \\t \\\\ \\\" \\' \\xFF \\u00FF; a text in `backticks` has no escapes"},
		{`dep_delay @ 1`, `column 11: got "@", want an expression`},
		{`dep_delay + 12ab`, `column 13: got "12a", want a number`},
		{`9223372036854775808`, "column 1: got 9223372036854775808, want a number that fits int64"},
		{`1 + 0xFFFFFFFFFFFFFFFFF`, "column 5: got 0xFFFFFFFFFFFFFFFFF, want a number that fits int64"},
		{`1 + 1e999`, "column 5: got 1e999, want a number that fits float64"},
		{`plane.`, `column 7: got the end, want a field's name`},
		{`plane."x"`, `column 7: got "x", want a field's name`},
		{`plane.1`, `column 6: got ".1", want an operator or the end`},
		{"carrier == '\xff'", "column 1: got bytes that are not UTF-8, want a text"},
		{strings.Repeat("1+", 10_000) + "1", "column 16385: got an expression of 20001 bytes, want at most 16384"},
		{strings.Repeat("1+", 6_000) + "1", "column 10002: got too long an expression, want at most 10000 values and operators"},
		{`/* note`, `column 1: got unclosed comment, want an expression`},

		// What the parser knows and we do not.
		{`carrier | upper()`, `column 9: got "|", want "||" for or, or a call as upper(name)`},
		{`1..3`, `column 2: got "..", want bounds written out: ranges are not part of the language; use x >= 1 and x <= 9`},
		{`let x = 1; x`, `column 1: got "let", want one expression without names of its own; set the value as a field first`},
		{`1; 2`, `column 2: got ";", want one expression`},
		{`if paid { 1 } else { 2 }`, `column 1: got "if", want condition ? value : other`},
		{`filter(tags, # == "x")`, `column 14: got "#", want columns: closures are not part of the language`},
		{`filter(tags, .x)`, `column 14: got ".", want a value`},
		{`map(tags, {#})`, `column 12: got "#", want columns: closures are not part of the language`},
		{`all(tags, true)`, `column 1: got unknown function "all", want one of the functions of the language`},
		{`::upper(carrier)`, `column 1: got "::", want a call as upper(name)`},
		{`tags[1:2]`, `column 5: got a slice, want substring(text, start, length) or an index`},
		{`{a: 1}`, `column 1: got a map written out, want a value`},
		{`carrier.upper()`, `column 9: got a method, want a function as upper(name)`},
		{`now()`, `column 1: got now(…), want a value that is the same when the record is read again; use meta.time, the event time of the record`},
		{`mean(dep_delay)`, `column 1: got mean(…), want a function of one record; mean is an aggregate: it stands in aggregate`},
		{`count()`, `column 1: got count(…), want a function of one record; count is an aggregate: it stands in aggregate`},
		{`max(dep_delay, 0)`, `column 1: got max(…), want a function of one record; max is an aggregate; the greatest of several values is greatest(a, b)`},

		// Names.
		{`dep_dely > 0`, `column 1: got unknown column "dep_dely", want one of dep_delay, arr_delay, carrier, distance, price, paid, time, day, air_time, raw, tags, counts, …; did you mean "dep_delay"?`},
		{`1 + depDelay`, `column 5: got unknown column "depDelay", want one of dep_delay, arr_delay, carrier, distance, price, paid, time, day, air_time, raw, tags, counts, …; did you mean "dep_delay"?`},
		{`"é" == xyz`, `column 8: got unknown column "xyz", want one of dep_delay, arr_delay, carrier, distance, price, paid, time, day, air_time, raw, tags, counts, …`},
		{`$env["dep"]`, `column 1: got unknown column "dep", want one of dep_delay, arr_delay, carrier, distance, price, paid, time, day, air_time, raw, tags, counts, …`},
		{`$env`, `column 1: got $env, want $env["name of a column"]`},
		{`$env[carrier]`, `column 1: got $env with a computed name, want $env["name of a column"]`},
		{`meta`, `column 1: got meta, want one of meta.time, meta.split, meta.position`},
		{`meta.tme`, `column 1: got meta.tme, want one of meta.time, meta.split, meta.position; did you mean "time"?`},
		{`meta.key`, `column 1: got meta.key, want one of meta.time, meta.split, meta.position: records have a key only inside a keyed step`},
		{`uper(carrier)`, `column 1: got unknown function "uper", want one of the functions of the language; did you mean "upper"?`},
		{`plane.seat > 1`, `column 7: got unknown field "seat", want one of model, seats; did you mean "seats"?`},
		{`plane[0]`, `column 7: got int64 of row<model string, seats int64>, want a field of the row: model, seats`},
		{`counts[0]`, `column 8: got int64 of map<int64>, want a string as key`},
		{`tags.first`, `column 6: got "first" of list<string>, want an int64 as index`},
		{`carrier.x`, `column 9: got "x" of string, want a list with an int64 index, a map with a key, or a row with a field`},

		// Types.
		{`carrier > 1`, "column 9: got string > int64, want two values that can be compared: numbers, strings, bytes, or times of one kind"},
		{`paid < true`, "column 6: got bool < bool, want two values that can be compared: numbers, strings, bytes, or times of one kind"},
		{`tags == ["x"]`, "column 6: got list<string> == list<string not null>, want two values that can be compared: numbers, strings, bytes, bools, or times of one kind"},
		{`dep_delay > null`, "column 11: got int64 > null, want a value on both sides: only == and != test for null"},
		{`dep_delay + null`, "column 11: got int64 + null, want two numbers, two strings, or a time and a duration"},
		{`dep_delay + carrier`, "column 11: got int64 + string, want two strings or two numbers; string(x) makes a string of a value"},
		{`"n" + dep_delay`, "column 5: got string + int64, want two numbers, two strings, or a time and a duration; string(x) makes a string of a value"},
		{`carrier - "x"`, "column 9: got string - string, want two numbers, two times, or a time and a duration"},
		{`paid * 2`, "column 6: got bool * int64, want two numbers, or a duration and a number"},
		{`distance % 2`, "column 10: got float64 % int64, want two int64"},
		{`carrier % 2`, "column 9: got string % int64, want two int64"},
		{`carrier ** 2`, "column 9: got string ** int64, want two numbers"},
		{`time + 1`, "column 6: got timestamp + int64, want two numbers, two strings, or a time and a duration"},
		{`time + time`, "column 6: got timestamp + timestamp, want two numbers, two strings, or a time and a duration"},
		{`air_time - time`, "column 10: got duration - timestamp, want two numbers, two times, or a time and a duration"},
		{`2 / air_time`, "column 3: got int64 / duration, want two numbers, or a duration and a number"},
		{`time + "x"`, `column 8: got "x", want a duration as "1h30m"`},
		{`time > "2013-13-01"`, `column 8: got "2013-13-01", want a timestamp as "2006-01-02T15:04:05Z" or "2006-01-02"`},
		{`day == "yesterday"`, `column 8: got "yesterday", want a date as "2006-01-02"`},
		{`air_time > "1d"`, `column 12: got "1d", want a duration as "1h30m"`},
		{`time > carrier`, "column 6: got timestamp > string, want two values that can be compared: numbers, strings, bytes, or times of one kind"},
		{`time > air_time`, "column 6: got timestamp > duration, want two values that can be compared: numbers, strings, bytes, or times of one kind"},
		{`not dep_delay`, "column 1: got not int64, want a bool behind it; not binds more than ==: write not (a == b)"},
		{`not dep_delay == 1`, "column 1: got not int64, want a bool behind it; not binds more than ==: write not (a == b)"},
		{`!carrier`, "column 1: got ! string, want a bool behind it; ! binds more than ==: write not (a == b)"},
		{`-carrier`, "column 1: got -string, want a number or a duration behind it"},
		{`+paid`, "column 1: got + bool, want a number behind it"},
		{`dep_delay and paid`, "column 11: got int64 and bool, want a bool on both sides"},
		{`paid || null`, "column 6: got bool || null, want a bool on both sides"},
		{`dep_delay ? 1 : 2`, "column 1: got int64 before ?, want a bool"},
		{`null ? 1 : 2`, "column 1: got null before ?, want a bool"},
		{`paid ? 1 : "x"`, `column 12: got string beside int64, want values of one type`},
		{`paid ? carrier : dep_delay`, `column 18: got int64 beside string, want values of one type`},
		{`paid ? time : "x"`, `column 15: got "x", want a timestamp as "2006-01-02T15:04:05Z" or "2006-01-02"`},
		{`dep_delay ?? carrier`, `column 14: got string beside int64, want values of one type`},
		{`dep_delay in ["a"]`, "column 15: got string in the list of int64 in, want values that can be compared"},
		{`dep_delay in [1, null]`, "column 18: got null in the list of in, want values: x == null tests for null"},
		{`null in [1]`, "column 6: got null in …, want a value: x == null tests for null"},
		{`dep_delay in tags`, "column 11: got int64 in list<string>, want a value in a list of such values, or a string in a map"},
		{`dep_delay in counts`, "column 11: got int64 in map<int64>, want a value in a list of such values, or a string in a map"},
		{`"x" in carrier`, "column 5: got string in string, want a value in a list of such values, or a string in a map"},
		{`tags in [tags]`, "column 10: got list<string> in the list of list<string> in, want values that can be compared"},
		{`[]`, "column 1: got a list of nothing, want at least one element"},
		{`[null]`, "column 1: got a list of nulls, want a value, for its type"},
		{`[1, "a"]`, "column 5: got string beside int64, want values of one type"},
		{`carrier matches "("`, `column 17: got the pattern "(", want a regular expression as Go has them: missing closing ): ` + "`(`"},
		{`carrier matches carrier`, "column 17: got a pattern that is computed, want a regular expression that is written out"},
		{`dep_delay contains "1"`, "column 11: got int64 contains string, want two strings"},
		{`raw startsWith carrier`, "column 5: got bytes startsWith string, want two strings"},

		// Functions.
		{`upper()`, "column 1: got upper(), want upper(string)"},
		{`upper(dep_delay)`, "column 1: got upper(int64), want upper(string)"},
		{`1 + upper(carrier, 2)`, "column 5: got upper(string, int64), want upper(string)"},
		{`lower(1)`, "column 1: got lower(int64), want lower(string)"},
		{`trim(1)`, "column 1: got trim(int64), want trim(string) or trim(string, characters)"},
		{`trimPrefix(carrier)`, "column 1: got trimPrefix(string), want trimPrefix(string, prefix)"},
		{`trimSuffix(carrier, 1)`, "column 1: got trimSuffix(string, int64), want trimSuffix(string, suffix)"},
		{`len(dep_delay)`, "column 1: got len(int64), want len(string), len(bytes), len(list) or len(map)"},
		{`concat(carrier, 1)`, "column 1: got concat(string, int64), want concat(string, string, …)"},
		{`concat()`, "column 1: got concat(), want concat(string, string, …)"},
		{`substring(carrier, 1.5)`, "column 1: got substring(string, float64), want substring(string, start) or substring(string, start, length)"},
		{`indexOf(carrier, 1)`, "column 1: got indexOf(string, int64), want indexOf(string, part)"},
		{`replace(carrier, "a")`, "column 1: got replace(string, string), want replace(string, old, new)"},
		{`split(carrier, 1)`, "column 1: got split(string, int64), want split(string, separator)"},
		{`abs(carrier)`, "column 1: got abs(string), want abs(number) or abs(duration)"},
		{`round(carrier)`, "column 1: got round(string), want round(number) or round(number, digits)"},
		{`round(distance, dep_delay)`, "column 17: got digits that are int64, want a whole number from 0 to 18, written out"},
		{`round(distance, 19)`, "column 17: got digits that are int64, want a whole number from 0 to 18, written out"},
		{`floor(time)`, "column 1: got floor(timestamp), want floor(number)"},
		{`ceil(null)`, "column 1: got ceil(null), want ceil(number)"},
		{`div(distance, 2)`, "column 1: got div(float64, int64), want div(int64, int64)"},
		{`isNaN(1)`, "column 1: got isNaN(int64), want isNaN(float64)"},
		{`least(paid, true)`, "column 1: got least(bool, bool), want least(a, b, …) of values that can be ordered"},
		{`greatest(1, "a")`, "column 13: got string beside int64, want values of one type"},
		{`least()`, "column 1: got least(), want least(a, b, …) of values that can be ordered"},
		{`coalesce()`, "column 1: got coalesce(), want coalesce(a, b, …) of values of one type"},
		{`ifnull(1)`, "column 1: got ifnull(int64), want ifnull(a, b) of values of one type"},
		{`nullif(1, "a")`, "column 1: got nullif(int64, string), want nullif(a, b) of values that can be compared"},
		{`int(tags)`, "column 1: got list<string> as int64, want a value that can become int64"},
		{`int(time)`, "column 1: got timestamp as int64, want a value that can become int64"},
		{`float(paid)`, "column 1: got bool as float64, want a value that can become float64"},
		{`bool(distance)`, "column 1: got float64 as bool, want a value that can become bool"},
		{`string(tags)`, "column 1: got list<string> as string, want a value that can become string"},
		{`bytes(1)`, "column 1: got bytes(int64), want bytes(string)"},
		{`timestamp(1)`, "column 1: got int64 as timestamp, want a value that can become timestamp"},
		{`date(1)`, "column 1: got int64 as date, want a value that can become date"},
		{`duration(1)`, "column 1: got int64 as duration, want a value that can become duration"},
		{`decimal(1)`, "column 1: got decimal(int64), want decimal(value, precision, scale)"},
		{`decimal(1, 39, 0)`, "column 1: got decimal(39, 0), want a precision from 1 to 38 and a scale from 0 to the precision"},
		{`decimal(time, 9, 0)`, "column 1: got timestamp as decimal(9,0), want a value that can become decimal(9,0)"},
		{`year(1)`, "column 1: got year(int64), want year(timestamp) or year(date)"},
		{`month("2013-01-01")`, "column 1: got month(string), want month(timestamp) or month(date)"},
		{`day(null)`, "column 1: got day(null), want day(timestamp) or day(date)"},
		{`weekday()`, "column 1: got weekday(), want weekday(timestamp) or weekday(date)"},
		{`hour(day)`, "column 1: got hour(date), want hour(timestamp)"},
		{`minute(air_time)`, "column 1: got minute(duration), want minute(timestamp)"},
		{`second(1)`, "column 1: got second(int64), want second(timestamp)"},
		{`truncate(time)`, "column 1: got truncate(timestamp), want truncate(timestamp, unit) or truncate(date, unit)"},
		{`truncate(time, "days")`, `column 16: got the unit "days", want one of second, minute, hour, day, week, month, quarter, year`},
		{`truncate(time, carrier)`, `column 16: got a unit that is computed, want one of second, minute, hour, day, week, month, quarter, year`},
		{`unixMillis(day)`, "column 1: got unixMillis(date), want unixMillis(timestamp)"},
		{`fromUnixMillis(distance)`, "column 1: got fromUnixMillis(float64), want fromUnixMillis(int64)"},

		// What fails for every record.
		{`dep_delay + 1 / 0`, "column 15: got 1 / 0, want a divisor that is not 0"},
		{`1 % 0`, "column 3: got 1 % 0, want a divisor that is not 0"},
		{`int("x")`, `column 1: got "x", want what can become int64`},
		{`9223372036854775807 + 1`, "column 21: got 9223372036854775807 + 1, want a result that fits int64"},
		{`timestamp("292277-01-01") - "1h"`, `column 1: got "292277-01-01", want a timestamp as "2006-01-02T15:04:05Z" or "2006-01-02"`},
	} {
		x, err := expr.Compile(test.text, s)
		var e *expr.Error
		if !errors.As(err, &e) {
			t.Errorf("%.60s: got %v, %v, want %s", test.text, x, err, test.want)
			continue
		}
		if e.Error() != test.want {
			t.Errorf("%.60s:\n got %s\nwant %s", test.text, e, test.want)
		}
	}
}

// TestEveryFunctionRefuses holds the table above and the functions together.
func TestEveryFunctionRefuses(t *testing.T) {
	s := schema(t, "r row<x int64>")
	for _, name := range expr.FunctionNames {
		text := name + "(r, r, r, r)"
		if _, err := expr.Compile(text, s); err == nil && name != "coalesce" {
			t.Errorf("%s is fine", text)
		}
	}
}

func TestNoColumns(t *testing.T) {
	_, err := expr.Compile("x", schema(t, ""))
	if want := `column 1: got unknown column "x", want no column: there are none`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestCompileCall(t *testing.T) {
	s := schema(t, "a int64, b float64, s string")
	for _, test := range []struct{ text, fn, args, want string }{
		{`count()`, "count", "", ""},
		{` mean( a * (b + 1) )`, "mean", "a * (b + 1)", ""},
		{`f(s == "),(", [a, 1][0], -a)`, "f", `s == "),(" | [a, 1][0] | -a`, ""},
		{`mean`, "", "", `column 1: got "mean", want one call of a function, as count() or mean(x)`},
		{`1 + mean(a)`, "", "", `column 1: got "1 + mean(a)", want one call of a function, as count() or mean(x)`},
		{`mean(a) * 2`, "", "", `column 9: got "*", want the end: one call of a function, as count() or mean(x)`},
		{`mean(a`, "", "", `column 7: got the end, want ")"`},
		{`mean(a]`, "", "", `column 7: got "]", want ")"`},
		{`mean(a, )`, "", "", `column 9: got ")", want an argument`},
		{`mean(, a)`, "", "", `column 6: got ",", want an argument`},
		{`mean(a,, b)`, "", "", `column 8: got ",", want an argument`},
		{`mean(a b)`, "", "", `column 8: got "b", want an operator or the end`},
		{`sum(b, "é" + s, c)`, "", "", `column 17: got unknown column "c", want one of a, b, s`},
		{`sum('x`, "", "", `column 5: got a text without its closing quote, want it on the same line`},
		{`mean(mean(a))`, "", "", `column 6: got mean(…), want a function of one record; mean is an aggregate: it stands in aggregate`},
		{``, "", "", `column 1: got nothing, want an expression`},
	} {
		fn, args, err := expr.CompileCall(test.text, s)
		if test.want != "" {
			if err == nil || err.Error() != test.want {
				t.Errorf("%s:\n got %v\nwant %s", test.text, err, test.want)
			}
			continue
		}
		var texts []string
		for _, a := range args {
			texts = append(texts, a.String())
		}
		if got := strings.Join(texts, " | "); err != nil || fn != test.fn || got != test.args {
			t.Errorf("%s: got %s(%s), want %s(%s) (%v)", test.text, fn, got, test.fn, test.args, err)
		}
	}
}
