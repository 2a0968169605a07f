package expr_test

import (
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// FuzzCompile compiles any text and computes it for rows of extremes: it never panics, mistakes have a place in the text, and values have
// the type that was promised.
func FuzzCompile(f *testing.F) {
	for _, block := range blocks(reference(f), "expr") {
		for _, line := range strings.Split(block, "\n") {
			text, _, _ := strings.Cut(line, "→")
			f.Add(text)
		}
	}
	for _, text := range []string{
		`i + least * big - 1 / f ** nan % 2`, `d / e * d - round(e, 3)`, `l[-1] ?? m["a"] ?? r.inner.y`, `$env["dep delay"] in [1, 2, 3, 4, 5]`, `t + z * 3 > "2013-01-01"`,
		`s matches "^(a|b)+$" ? [s, u] : split(s, ":")`, `concat(s, "\u{1F600}", u)[1:2]`, `filter(l, {# > 1})`, `let x = 1; x | upper()`, `{a: 1}["a"]?.b`, `0x1F..1e3`, `'é' + "`,
		`replace(replace(s, "", "x"), "A", s)`, `substring(u, least, big)`, `truncate(timestamp(day), "week")`, `-(-least)`, `meta.time - meta.position`, "/* */ 1 // x",
	} {
		f.Add(text)
	}
	s, some := fixture(f)
	nothing := make([]row.Value, len(some))
	extreme := make([]row.Value, len(some))
	for i, field := range s.Fields {
		if !field.Nullable {
			nothing[i] = some[i]
		}
		extreme[i] = extremes(field.Type, some[i])
	}
	rows := [][]row.Value{some, nothing, extreme}
	env := &expr.Env{Meta: &record.Meta{Time: math.MaxInt64, Position: math.MinInt64}, Split: "split"}
	f.Fuzz(func(t *testing.T, text string) {
		if _, _, err := expr.CompileCall(text, s); err != nil {
			place(t, text, err)
		}
		x, err := expr.Compile(text, s)
		if err != nil {
			place(t, text, err)
			return
		}
		for _, vs := range rows {
			v, err := x.Eval(vs, env)
			var bad *fault.RuntimeError
			var e *expr.Error
			switch {
			case err != nil && (!errors.As(err, &bad) || bad.Code == "" || !errors.As(err, &e)):
				t.Errorf("got the error %v, want a fault with a code and a place", err)
			case err != nil:
				place(t, text, e)
			case v.IsNull() && !x.Nullable():
				t.Errorf("%q: got null, want a value by its type", text)
			case !v.IsNull() && v.Kind() != x.Type().Kind:
				t.Errorf("%q: got a %s, want a %s by its type", text, v.Kind(), x.Type().Kind)
			case v.Kind() == row.KindDecimal:
				if _, scale := v.Decimal(); scale != x.Type().Scale {
					t.Errorf("%q: got the scale %d, want %s", text, scale, x.Type())
				}
			case v.Kind() == row.KindString && utf8.ValidString(text) && !strings.ContainsAny(text, `\`) && !utf8.ValidString(v.Str()):
				t.Errorf("%q: got %q, which is not UTF-8", text, v.Str())
			}
		}
	})
}

// place checks that a mistake has a place in the text.
func place(t *testing.T, text string, err error) {
	t.Helper()
	var e *expr.Error
	if !errors.As(err, &e) || e.Col < 1 || e.Col > len(text)+1 || e.Got == "" || e.Want == "" {
		t.Errorf("%q: got the error %v, want one with a place in the text", text, err)
	}
}

// extremes is the largest value of a type.
func extremes(t row.Type, otherwise row.Value) row.Value {
	switch t.Kind {
	case row.KindInt64:
		return row.Int(math.MinInt64)
	case row.KindFloat64:
		return row.Float(math.Inf(-1))
	case row.KindDecimal:
		v, err := row.ParseText([]byte(strings.Repeat("9", int(t.Precision-t.Scale))+"."+strings.Repeat("9", int(t.Scale))), t)
		if err == nil {
			return v
		}
	case row.KindTimestamp:
		return row.Timestamp(math.MaxInt64)
	case row.KindDate:
		return row.Date(math.MinInt64)
	case row.KindDuration:
		return row.Duration(math.MinInt64)
	case row.KindString:
		return row.String("")
	}
	return otherwise
}
