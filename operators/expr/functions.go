package expr

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/activedataflow/adf/record/row"
)

// function is what can be called in an expression.
type function struct {
	// signature is what the function takes, as messages and the reference show it.
	signature string
	// least and most are how many arguments it takes; a negative most is any number.
	least, most int
	// make compiles a call; errSignature says that the arguments are not what the signature tells.
	make func(at int, args []node) (node, error)
}

var errSignature = errors.New("the arguments do not fit the signature")

// elsewhere are functions of other places of a flow, or of other languages: what is wanted instead, and a fix.
var elsewhere = map[string][2]string{
	"min":   {"a function of one record", "min is an aggregate; the least of several values is least(a, b)"},
	"max":   {"a function of one record", "max is an aggregate; the greatest of several values is greatest(a, b)"},
	"sum":   {"a function of one record", "sum is an aggregate: it stands in aggregate"},
	"mean":  {"a function of one record", "mean is an aggregate: it stands in aggregate"},
	"count": {"a function of one record", "count is an aggregate: it stands in aggregate"},
	"now":   {"a value that is the same when the record is read again", "use meta.time, the event time of the record"},
}

var functions, functionNames = func() (map[string]function, []string) {
	all := map[string]function{}
	for _, group := range []map[string]function{textFunctions, numberFunctions, nullFunctions, conversions, timeFunctions} {
		maps.Copy(all, group)
	}
	return all, slices.Sorted(maps.Keys(all))
}()

// kinds says whether the arguments have just these kinds.
func kinds(args []node, want ...row.Kind) bool {
	for i, a := range args {
		if i >= len(want) || !a.is(want[i]) {
			return false
		}
	}
	return true
}

var textFunctions = map[string]function{
	"upper": {"upper(string)", 1, 1, func(at int, args []node) (node, error) { return changeCase(at, args, 'a', 'z', strings.ToUpper) }},
	"lower": {"lower(string)", 1, 1, func(at int, args []node) (node, error) { return changeCase(at, args, 'A', 'Z', strings.ToLower) }},
	"trim": {"trim(string) or trim(string, characters)", 1, 2, func(at int, args []node) (node, error) {
		switch {
		case !kinds(args, row.KindString, row.KindString):
			return node{}, errSignature
		case len(args) == 1:
			return unary(at, stringType, args[0], func(_ *Env, v row.Value) row.Value { return row.String(strings.TrimSpace(v.Str())) })
		}
		return binary(at, stringType, args[0], args[1], func(_ *Env, v, w row.Value) row.Value { return row.String(strings.Trim(v.Str(), w.Str())) })
	}},
	"trimPrefix": {"trimPrefix(string, prefix)", 2, 2, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindString, row.KindString) {
			return node{}, errSignature
		}
		return binary(at, stringType, args[0], args[1], func(_ *Env, v, w row.Value) row.Value { return row.String(strings.TrimPrefix(v.Str(), w.Str())) })
	}},
	"trimSuffix": {"trimSuffix(string, suffix)", 2, 2, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindString, row.KindString) {
			return node{}, errSignature
		}
		return binary(at, stringType, args[0], args[1], func(_ *Env, v, w row.Value) row.Value { return row.String(strings.TrimSuffix(v.Str(), w.Str())) })
	}},
	"len": {"len(string), len(bytes), len(list) or len(map)", 1, 1, func(at int, args []node) (node, error) {
		var of func(v row.Value) int
		switch args[0].typ.Kind {
		case row.KindString:
			of = func(v row.Value) int { return utf8.RuneCountInString(v.Str()) }
		case row.KindBytes:
			of = func(v row.Value) int { return len(v.Bytes()) }
		case row.KindList:
			of = func(v row.Value) int { return len(v.List()) }
		case row.KindMap:
			of = func(v row.Value) int { return len(v.Map()) }
		default:
			return node{}, errSignature
		}
		return unary(at, intType, args[0], func(_ *Env, v row.Value) row.Value { return row.Int(int64(of(v))) })
	}},
	"concat": {"concat(string, string, …)", 1, -1, func(at int, args []node) (node, error) {
		for _, a := range args {
			if !a.is(row.KindString) {
				return node{}, errSignature
			}
		}
		return concat(at, args)
	}},
	"substring": {"substring(string, start) or substring(string, start, length)", 2, 3, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindString, row.KindInt64, row.KindInt64) {
			return node{}, errSignature
		}
		if len(args) == 2 {
			args = append(args, constant(intType, row.Int(math.MaxInt64), at))
		}
		length := args[2]
		return strict(at, stringType, func(e *Env) row.Value {
			v, from, n := args[0].fn(e), args[1].fn(e), length.fn(e)
			if v.IsNull() || from.IsNull() || n.IsNull() {
				return row.Null()
			}
			return row.String(substring(v.Str(), from.Int(), n.Int()))
		}, args...)
	}},
	"indexOf": {"indexOf(string, part)", 2, 2, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindString, row.KindString) {
			return node{}, errSignature
		}
		return binary(at, intType, args[0], args[1], func(_ *Env, v, w row.Value) row.Value {
			i := strings.Index(v.Str(), w.Str())
			if i > 0 {
				i = utf8.RuneCountInString(v.Str()[:i])
			}
			return row.Int(int64(i))
		})
	}},
	"replace": {"replace(string, old, new)", 3, 3, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindString, row.KindString, row.KindString) {
			return node{}, errSignature
		}
		return strict(at, stringType, func(e *Env) row.Value {
			v, old, new := args[0].fn(e), args[1].fn(e), args[2].fn(e)
			if v.IsNull() || old.IsNull() || new.IsNull() {
				return row.Null()
			}
			return replace(e, at, v, old.Str(), new.Str())
		}, args...)
	}},
	"split": {"split(string, separator)", 2, 2, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindString, row.KindString) {
			return node{}, errSignature
		}
		t := stringType
		return binary(at, row.Type{Kind: row.KindList, Elem: &t}, args[0], args[1], func(e *Env, v, w row.Value) row.Value { return split(e, v.Str(), w.Str()) })
	}},
}

// changeCase is upper or lower: letters from first to last are of the other case.
func changeCase(at int, args []node, first, last byte, unicode func(string) string) (node, error) {
	if !kinds(args, row.KindString) {
		return node{}, errSignature
	}
	return unary(at, stringType, args[0], func(e *Env, v row.Value) row.Value {
		s := v.Str()
		change := false
		for i := range len(s) {
			if s[i] >= utf8.RuneSelf {
				return row.String(unicode(s))
			}
			change = change || s[i] >= first && s[i] <= last
		}
		if !change {
			return v
		}
		b := append(e.tail(len(s)), s...)
		for i, c := range b {
			if c >= first && c <= last {
				b[i] = c ^ 0x20
			}
		}
		return e.keep(b, len(s))
	})
}

// concat puts strings together.
func concat(at int, args []node) (node, error) {
	return strict(at, stringType, func(e *Env) row.Value {
		var few [8]row.Value
		vs, n := few[:0], 0
		for _, a := range args {
			v := a.fn(e)
			if v.IsNull() {
				return v
			}
			vs = append(vs, v)
			n += len(v.Str())
		}
		if n > longestText {
			return tooLong(e, at, n)
		}
		b := e.tail(n)
		for _, v := range vs {
			b = append(b, v.Str()...)
		}
		return e.keep(b, n)
	}, args...)
}

// substring takes length characters from the one at start, counted from 0, or from the end when negative.
func substring(s string, start, length int64) string {
	if start < 0 {
		start = max(0, start+int64(utf8.RuneCountInString(s)))
	}
	if length <= 0 {
		return ""
	}
	from, to := len(s), len(s)
	n := int64(0)
	for i := range s {
		if n == start {
			from = i
		}
		if n-start == length && n >= start {
			to = i
			break
		}
		n++
	}
	return s[from:to]
}

// longestText is the length of the longest string that an expression makes, in bytes.
const longestText = 1 << 26

func tooLong(e *Env, at, n int) row.Value {
	return e.fail(at, "expression.overflow", fmt.Sprintf("a string of %d bytes", n), fmt.Sprintf("at most %d", longestText))
}

func replace(e *Env, at int, v row.Value, old, new string) row.Value {
	s := v.Str()
	count := strings.Count(s, old)
	if count == 0 || old == "" {
		return v
	}
	n := len(s) + count*(len(new)-len(old))
	if n > longestText {
		return tooLong(e, at, n)
	}
	b := e.tail(n)
	for {
		i := strings.Index(s, old)
		if i < 0 {
			return e.keep(append(b, s...), n)
		}
		b = append(append(b, s[:i]...), new...)
		s = s[i+len(old):]
	}
}

// split cuts a string at each separator; an empty separator cuts nothing.
func split(e *Env, s, separator string) row.Value {
	if separator == "" {
		vs := e.values(1)
		vs[0] = row.String(s)
		return row.List(vs)
	}
	vs := e.values(strings.Count(s, separator) + 1)
	for i := range vs {
		before, after, _ := strings.Cut(s, separator)
		vs[i], s = row.String(before), after
	}
	return row.List(vs)
}

var numberFunctions = map[string]function{
	"abs": {"abs(number) or abs(duration)", 1, 1, func(at int, args []node) (node, error) {
		a := args[0]
		if !a.number() && !a.is(row.KindDuration) {
			return node{}, errSignature
		}
		minus, err := negate(node{typ: a.typ, null: a.null, col: -1, at: at, fn: a.fn}, at)
		if err != nil {
			return minus, err
		}
		zero := row.Int(0)
		return unary(at, a.typ, a, func(e *Env, v row.Value) row.Value {
			switch {
			case v.Kind() == row.KindFloat64:
				return row.Float(math.Abs(v.Float()))
			case v.Kind() == row.KindDuration && v.Int() >= 0, v.Kind() != row.KindDuration && row.Compare(v, zero) >= 0:
				return v
			}
			return minus.fn(e)
		})
	}},
	"round": {"round(number) or round(number, digits)", 1, 2, func(at int, args []node) (node, error) {
		a := args[0]
		if !a.number() {
			return node{}, errSignature
		}
		places := int64(0)
		if len(args) == 2 {
			if !args[1].konst || !args[1].is(row.KindInt64) || args[1].val.Int() < 0 || args[1].val.Int() > 18 {
				return refuse(args[1].at, "digits that are "+describe(args[1]), "a whole number from 0 to 18, written out")
			}
			places = args[1].val.Int()
		}
		return rounded(at, a, places, func(f float64) float64 {
			if places == 0 {
				return math.Round(f)
			}
			p := float64(tens[places])
			if r := math.Round(f*p) / p; !math.IsInf(r, 0) {
				return r
			}
			return f // so large a number has no digits there
		})
	}},
	"floor": {"floor(number)", 1, 1, func(at int, args []node) (node, error) { return wholeNear(at, args, math.Floor, -1) }},
	"ceil":  {"ceil(number)", 1, 1, func(at int, args []node) (node, error) { return wholeNear(at, args, math.Ceil, 1) }},
	"div": {"div(int64, int64)", 2, 2, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindInt64, row.KindInt64) {
			return node{}, errSignature
		}
		return binary(at, intType, args[0], args[1], func(e *Env, v, w row.Value) row.Value {
			n, ok := scale("/", v.Int(), w)
			switch {
			case ok:
				return row.Int(n)
			case w.Int() == 0:
				return e.fail(at, "expression.division", "div("+show(v)+", 0)", "a divisor that is not 0")
			}
			return e.fail(at, "expression.overflow", "div("+show(v)+", "+show(w)+")", "a result that fits int64")
		})
	}},
	"isNaN": {"isNaN(float64)", 1, 1, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindFloat64) {
			return node{}, errSignature
		}
		return unary(at, boolType, args[0], func(_ *Env, v row.Value) row.Value { return row.Bool(math.IsNaN(v.Float())) })
	}},
	"least":    {"least(a, b, …) of values that can be ordered", 1, -1, func(at int, args []node) (node, error) { return extreme(at, args, -1) }},
	"greatest": {"greatest(a, b, …) of values that can be ordered", 1, -1, func(at int, args []node) (node, error) { return extreme(at, args, 1) }},
}

// rounded rounds a number to places digits after the point.
func rounded(at int, a node, places int64, of func(float64) float64) (node, error) {
	switch a.typ.Kind {
	case row.KindInt64:
		a.at = at
		return a, nil
	case row.KindFloat64:
		return unary(at, floatType, a, func(_ *Env, v row.Value) row.Value { return row.Float(of(v.Float())) })
	}
	scale := min(int(a.typ.Scale), int(places))
	t := digits(min(mostDigits, int(a.typ.Precision)-int(a.typ.Scale)+scale+1), scale)
	return unary(at, t, a, func(e *Env, v row.Value) row.Value { return rescale(e, at, v, t) })
}

// wholeNear is floor or ceil: the whole number at or beyond a number, in the direction of sign.
func wholeNear(at int, args []node, of func(float64) float64, sign int) (node, error) {
	a := args[0]
	if !a.number() {
		return node{}, errSignature
	}
	if !a.is(row.KindDecimal) {
		return rounded(at, a, 0, of)
	}
	t := digits(min(mostDigits, int(a.typ.Precision)-int(a.typ.Scale)+1), 0)
	return unary(at, t, a, func(e *Env, v row.Value) row.Value { return wholeDecimal(e, at, v, t, sign) })
}

// extreme is least or greatest; the sign says which.
func extreme(at int, args []node, sign int) (node, error) {
	for _, a := range args {
		if a.isNull() {
			return node{}, errSignature
		}
	}
	kids, err := unify(args)
	if err != nil {
		return node{}, err
	}
	if k := kids[0].typ.Kind; k == row.KindBool || k >= row.KindList {
		return node{}, errSignature
	}
	return strict(at, kids[0].typ, func(e *Env) row.Value {
		best := kids[0].fn(e)
		for _, k := range kids[1:] {
			v := k.fn(e)
			if v.IsNull() || best.IsNull() {
				best = row.Null()
			} else if row.Compare(v, best)*sign > 0 {
				best = v
			}
		}
		return best
	}, kids...)
}

var nullFunctions = map[string]function{
	"coalesce": {"coalesce(a, b, …) of values of one type", 1, -1, coalesce},
	"ifnull":   {"ifnull(a, b) of values of one type", 2, 2, coalesce},
	"nullif": {"nullif(a, b) of values that can be compared", 2, 2, func(at int, args []node) (node, error) {
		if args[0].isNull() || args[1].isNull() {
			return node{}, errSignature
		}
		same, err := compare(at, "==", args[0], args[1])
		if err != nil {
			return node{}, errSignature
		}
		return compute(at, args[0].typ, true, func(e *Env) row.Value {
			if same.fn(e).Bool() {
				return row.Null()
			}
			return args[0].fn(e)
		}, args...)
	}},
}
