package expr_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	oracle "github.com/expr-lang/expr"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record/row"
)

// TestAgreesWithExpr: where the meaning is the same, and that is wherever there is no null and no overflow, the parser's own machine gives the
// same values. The expressions are random, from a grammar of types.
func TestAgreesWithExpr(t *testing.T) {
	s := schema(t, `i int64 not null, j int64 not null, f float64 not null, g float64 not null, s string not null, u string not null, p bool not null, q bool not null,
		l list<int64 not null> not null`)
	const rounds = 4000
	r := rand.New(rand.NewPCG(1, 2))
	compared := 0
	for range rounds {
		g := generator{r}
		text := []func(int) string{g.int, g.float, g.string, g.bool}[r.IntN(4)](4)
		x, err := expr.Compile(text, s)
		if err != nil {
			if strings.Contains(err.Error(), "want a result that fits") || strings.Contains(err.Error(), "want a divisor") || strings.Contains(err.Error(), "want a number that fits") {
				continue // a constant that can not be: told at once
			}
			t.Errorf("%s: %v", text, err)
			continue
		}
		names := map[string]any{}
		i, j, f, h := r.IntN(20)-10, r.IntN(1000), float64(r.IntN(100)-50)/4, r.NormFloat64()*100
		a, b := []string{"", "a", "Ab", "abcab", "x-y"}[r.IntN(5)], []string{"a", "b", "AB", " b "}[r.IntN(4)]
		p, q := r.IntN(2) == 0, r.IntN(2) == 0
		names["i"], names["j"], names["f"], names["g"], names["s"], names["u"], names["p"], names["q"], names["l"] = i, j, f, h, a, b, p, q, []int{i, 1, 2}
		v, err := x.Eval([]row.Value{row.Int(int64(i)), row.Int(int64(j)), row.Float(f), row.Float(h), row.String(a), row.String(b), row.Bool(p), row.Bool(q),
			row.List([]row.Value{row.Int(int64(i)), row.Int(1), row.Int(2)})}, nil)
		if d, ok := fault.DetailOf(err); ok && (d.Code == "expression.overflow" || d.Code == "expression.division" || d.Code == "expression.conversion") {
			continue
		} else if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		program, err := oracle.Compile(text, oracle.Env(names))
		if err != nil {
			t.Errorf("%s: the oracle says %v", text, err)
			continue
		}
		want, err := oracle.Run(program, names)
		if err != nil {
			t.Errorf("%s: the oracle says %v", text, err)
			continue
		}
		compared++
		if !same(v, want) {
			t.Errorf("%s with %v:\n got %s\nwant %v", text, names, show(v), want)
		}
	}
	if compared < rounds*2/3 {
		t.Errorf("compared only %d of %d", compared, rounds)
	}
}

func same(v row.Value, want any) bool {
	switch w := want.(type) {
	case int:
		return v.Kind() == row.KindInt64 && v.Int() == int64(w) || v.Kind() == row.KindFloat64 && v.Float() == float64(w)
	case float64:
		return v.Kind() == row.KindFloat64 && (v.Float() == w || math.IsNaN(w) && math.IsNaN(v.Float()))
	case string:
		return v.Kind() == row.KindString && v.Str() == w
	case bool:
		return v.Kind() == row.KindBool && v.Bool() == w
	}
	return false
}

// generator makes random expressions of a type, at most so deep.
type generator struct{ *rand.Rand }

func (g generator) one(of ...func() string) string { return of[g.IntN(len(of))]() }

func (g generator) int(depth int) string {
	leaf := []string{"i", "j", "0", "3", "17", "-2"}[g.IntN(6)]
	if depth == 0 {
		return leaf
	}
	a := func() string { return g.int(depth - 1) }
	return g.one(
		func() string { return leaf },
		func() string { return fmt.Sprintf("(%s %s %s)", a(), []string{"+", "-", "*"}[g.IntN(3)], a()) },
		func() string { return fmt.Sprintf("(%s %% %d)", a(), g.IntN(9)+1) },
		func() string { return fmt.Sprintf("-(%s)", a()) },
		func() string { return fmt.Sprintf("(%s ? %s : %s)", g.bool(depth-1), a(), a()) },
		func() string { return fmt.Sprintf("len(%s)", g.string(depth-1)) },
		func() string { return fmt.Sprintf("abs(%s)", a()) },
		func() string { return fmt.Sprintf("int(%s)", g.float(depth-1)) },
		func() string { return fmt.Sprintf("indexOf(%s, %s)", g.string(depth-1), g.string(depth-1)) },
		func() string { return []string{"l[0]", "l[-1]", "l[1]", "len(l)"}[g.IntN(4)] },
		func() string { return fmt.Sprintf("(%s ?? %s)", a(), a()) },
	)
}

func (g generator) float(depth int) string {
	leaf := []string{"f", "g", "0.5", "1e3", "-2.25"}[g.IntN(5)]
	if depth == 0 {
		return leaf
	}
	a := func() string { return g.float(depth - 1) }
	number := func() string { return g.one(a, func() string { return g.int(depth - 1) }) }
	return g.one(
		func() string { return leaf },
		func() string {
			return fmt.Sprintf("(%s %s %s)", a(), []string{"+", "-", "*", "/"}[g.IntN(4)], number())
		},
		func() string {
			return fmt.Sprintf("(%s %s %s)", number(), []string{"+", "-", "*", "/"}[g.IntN(4)], a())
		},
		func() string { return fmt.Sprintf("(%s / %s)", g.int(depth-1), g.int(depth-1)) },
		func() string { return fmt.Sprintf("(%s %s %d)", number(), []string{"**", "^"}[g.IntN(2)], g.IntN(3)) },
		func() string { return fmt.Sprintf("-(%s)", a()) },
		func() string { return fmt.Sprintf("(%s ? %s : %s)", g.bool(depth-1), a(), a()) },
		func() string { return fmt.Sprintf("%s(%s)", []string{"round", "floor", "ceil", "abs"}[g.IntN(4)], a()) },
		func() string { return fmt.Sprintf("float(%s)", number()) },
	)
}

func (g generator) string(depth int) string {
	leaf := []string{"s", "u", `"ab"`, `'it"s: # {x}'`, "`a`"}[g.IntN(5)]
	if depth == 0 {
		return leaf
	}
	a := func() string { return g.string(depth - 1) }
	return g.one(
		func() string { return leaf },
		func() string { return fmt.Sprintf("(%s + %s)", a(), a()) },
		func() string { return fmt.Sprintf("(%s ? %s : %s)", g.bool(depth-1), a(), a()) },
		func() string { return fmt.Sprintf("%s(%s)", []string{"upper", "lower", "trim"}[g.IntN(3)], a()) },
		func() string { return fmt.Sprintf("trim(%s, 'ab')", a()) },
		func() string { return fmt.Sprintf("%s(%s, 'a')", []string{"trimPrefix", "trimSuffix"}[g.IntN(2)], a()) },
		func() string { return fmt.Sprintf("replace(%s, 'a', %s)", a(), leaf) },
		func() string { return fmt.Sprintf("string(%s)", g.int(depth-1)) },
		func() string { return fmt.Sprintf("string(%s)", g.bool(depth-1)) },
	)
}

func (g generator) bool(depth int) string {
	leaf := []string{"p", "q", "true", "false"}[g.IntN(4)]
	if depth == 0 {
		return leaf
	}
	a := func() string { return g.bool(depth - 1) }
	order := []string{"<", "<=", ">", ">=", "==", "!="}[g.IntN(6)]
	return g.one(
		func() string { return leaf },
		func() string {
			return fmt.Sprintf("(%s %s %s)", a(), []string{"and", "or", "&&", "||", "==", "!="}[g.IntN(6)], a())
		},
		func() string { return fmt.Sprintf("%s(%s)", []string{"not ", "!"}[g.IntN(2)], a()) },
		func() string { return fmt.Sprintf("(%s %s %s)", g.int(depth-1), order, g.int(depth-1)) },
		func() string { return fmt.Sprintf("(%s %s %s)", g.float(depth-1), order, g.float(depth-1)) },
		func() string { return fmt.Sprintf("(%s %s %s)", g.float(depth-1), order, g.int(depth-1)) },
		func() string { return fmt.Sprintf("(%s %s %s)", g.string(depth-1), order, g.string(depth-1)) },
		func() string { return fmt.Sprintf("(%s in [%s, 3, 17])", g.int(depth-1), g.int(depth-1)) },
		func() string { return fmt.Sprintf("(%s not in [1, 2, 3, 4, 17])", g.int(depth-1)) },
		func() string { return fmt.Sprintf("(%s in l)", g.int(depth-1)) },
		func() string { return fmt.Sprintf("(%s in ['a', %s])", g.string(depth-1), g.string(depth-1)) },
		func() string {
			return fmt.Sprintf("(%s %s %s)", g.string(depth-1), []string{"contains", "startsWith", "endsWith", "not contains"}[g.IntN(4)], g.string(depth-1))
		},
		func() string { return fmt.Sprintf("(%s matches '^a.*b$')", g.string(depth-1)) },
		func() string { return fmt.Sprintf("(%s < %s <= %s)", g.int(0), g.float(0), g.int(0)) },
		func() string { return fmt.Sprintf("(%s ? %s : %s)", a(), a(), a()) },
	)
}
