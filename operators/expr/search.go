package expr

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/activedataflow/adf/record/row"
)

// search is matches, contains, startsWith or endsWith.
func search(at int, op string, a, b node) (node, error) {
	if !a.is(row.KindString) || !b.is(row.KindString) {
		return refuse(at, fmt.Sprintf("%s %s %s", describe(a), op, describe(b)), "two strings")
	}
	switch op {
	case "matches":
		if !b.konst {
			return refuse(b.at, "a pattern that is computed", "a regular expression that is written out")
		}
		pattern, err := regexp.Compile(b.val.Str())
		if err != nil {
			return refuse(b.at, "the pattern "+show(b.val), "a regular expression as Go has them: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		return unary(at, boolType, a, func(_ *Env, v row.Value) row.Value { return row.Bool(pattern.MatchString(v.Str())) })
	case "contains":
		return binary(at, boolType, a, b, func(_ *Env, v, w row.Value) row.Value { return row.Bool(strings.Contains(v.Str(), w.Str())) })
	case "startsWith":
		return binary(at, boolType, a, b, func(_ *Env, v, w row.Value) row.Value { return row.Bool(strings.HasPrefix(v.Str(), w.Str())) })
	}
	return binary(at, boolType, a, b, func(_ *Env, v, w row.Value) row.Value { return row.Bool(strings.HasSuffix(v.Str(), w.Str())) })
}
