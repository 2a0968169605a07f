package connectors

import (
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// kind is how values of one type are read and shown.
type kind struct {
	name string // as documentation names the type
	want string // completes "want …"
	rule string
	// parse sets v to what the text says; quoted says that it was in quotes.
	parse func(text string, quoted bool, v reflect.Value) error
	text  func(v reflect.Value) string
	json  map[string]any
	list  bool
}

// read sets v from a tree, or refuses it.
func (k *kind) read(w *walk, t *Tree, path, got string, v reflect.Value) {
	if !k.list {
		k.readOne(w, t, path, got, v)
		return
	}
	if t.Kind != TreeList {
		w.refuse(t, path, got, k.want, ruleShape)
		return
	}
	all := reflect.MakeSlice(v.Type(), len(t.Items), len(t.Items))
	for i, item := range t.Items {
		stringKind.readOne(w, item, path+"["+strconv.Itoa(i)+"]", item.Show(), all.Index(i))
	}
	v.Set(all)
}

func (k *kind) readOne(w *walk, t *Tree, path, got string, v reflect.Value) {
	if t.Kind == TreeBroken {
		return
	}
	if t.Kind != TreeScalar {
		w.refuse(t, path, got, k.want, ruleShape)
		return
	}
	err := k.parse(t.Text, t.Quoted, v)
	if err == nil {
		return
	}
	n := refuse(t, path, got, k.want, k.rule)
	switch {
	case errors.Is(err, strconv.ErrRange):
		n.Want += " between -9223372036854775808 and 9223372036854775807"
	case t.Quoted && k.parse(t.Text, false, v) == nil:
		n.Fix = "without quotes"
	}
	w.wrong = append(w.wrong, n)
}

// empty says that a value stands for the default.
func (k *kind) empty(v reflect.Value) bool {
	if k.list {
		return v.Len() == 0
	}
	return v.IsZero()
}

// texts are the value's scalars as they would be written.
func (k *kind) texts(v reflect.Value) []string {
	if !k.list {
		return []string{k.text(v)}
	}
	all := make([]string, v.Len())
	for i := range all {
		all[i] = v.Index(i).String()
	}
	return all
}

var (
	stringKind = &kind{
		name: "string", want: "a string", rule: ruleShape,
		parse: func(text string, _ bool, v reflect.Value) error { v.SetString(text); return nil },
		text:  func(v reflect.Value) string { return v.String() },
		json:  map[string]any{"type": "string"},
	}
	stringsKind = &kind{
		name: "list of strings", want: "a list of strings, as [a, b]", list: true,
		json: map[string]any{"type": "array", "items": map[string]any{"type": []any{"string", "number", "boolean"}}},
	}
	boolKind = &kind{
		name: "bool", want: "true or false", rule: ruleBool,
		parse: func(text string, quoted bool, v reflect.Value) error {
			if quoted || text != "true" && text != "false" {
				return errKind
			}
			v.SetBool(text == "true")
			return nil
		},
		text: func(v reflect.Value) string { return strconv.FormatBool(v.Bool()) },
		json: map[string]any{"type": "boolean"},
	}
	intKind = &kind{
		name: "int", want: "a whole number", rule: ruleInt,
		parse: func(text string, quoted bool, v reflect.Value) error {
			if quoted {
				return errKind
			}
			n, err := strconv.ParseInt(text, 10, v.Type().Bits())
			if err != nil {
				return err
			}
			v.SetInt(n)
			return nil
		},
		text: func(v reflect.Value) string { return strconv.FormatInt(v.Int(), 10) },
		json: map[string]any{"type": "integer"},
	}
	floatKind = &kind{
		name: "float", want: "a number", rule: ruleFloat,
		parse: func(text string, quoted bool, v reflect.Value) error {
			x, err := strconv.ParseFloat(text, 64)
			if quoted || err != nil || math.IsNaN(x) || math.IsInf(x, 0) || strings.ContainsAny(text, "xX_") {
				return errKind
			}
			v.SetFloat(x)
			return nil
		},
		text: func(v reflect.Value) string { return strconv.FormatFloat(v.Float(), 'g', -1, 64) },
		json: map[string]any{"type": "number"},
	}
	durationKind = &kind{
		name: "duration", want: WantDuration, rule: ruleDuration,
		parse: func(text string, _ bool, v reflect.Value) error {
			d, err := ParseDuration(text)
			v.SetInt(int64(d))
			return err
		},
		text: func(v reflect.Value) string { return FormatDuration(time.Duration(v.Int())) },
		json: map[string]any{"type": "string", "pattern": `^(0|([0-9]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))*)$`},
	}
	sizeKind = &kind{
		name: "size", want: WantSize, rule: ruleSize,
		parse: func(text string, _ bool, v reflect.Value) error {
			n, err := ParseSize(text)
			v.SetInt(n)
			return err
		},
		text: func(v reflect.Value) string { return FormatSize(v.Int()) },
		json: map[string]any{"anyOf": []any{
			map[string]any{"type": "integer", "minimum": 0},
			map[string]any{"type": "string", "pattern": `^[0-9]+ *([kKmMgGtT]?i?[bB])?$`},
		}},
	}
)

var errKind = errors.New("not of this kind")

func scalarKind[V Scalar]() *kind {
	t := reflect.TypeFor[V]()
	if t == reflect.TypeFor[time.Duration]() {
		return durationKind
	}
	switch t.Kind() {
	case reflect.String:
		return stringKind
	case reflect.Bool:
		return boolKind
	case reflect.Float64:
		return floatKind
	default:
		return intKind
	}
}

// WantDuration completes "want …" where [ParseDuration] refuses.
const WantDuration = `a duration with units, not negative, as "24h", "1d12h" or "500ms"`

// ParseDuration reads a duration as configurations write it: Go's text form, with days of 24 hours in front when wanted. It is not negative.
func ParseDuration(text string) (time.Duration, error) {
	rest := text
	var d time.Duration
	if days, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > uint64(math.MaxInt64/(24*time.Hour)) {
			return 0, errors.New("want " + WantDuration)
		}
		if d, rest = time.Duration(n)*24*time.Hour, after; rest == "" {
			return d, nil
		}
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 || d+more < 0 || strings.HasPrefix(rest, "+") || strings.HasPrefix(rest, "-") {
		return 0, errors.New("want " + WantDuration)
	}
	return d + more, nil
}

// FormatDuration writes a duration so that [ParseDuration] reads it, without units that are zero.
func FormatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// WantSize completes "want …" where [ParseSize] refuses.
const WantSize = `a size, as 4096, "64KB" or "16MiB"`

// sizes are the units, larger ones first: KB is 1000 bytes, KiB 1024.
var sizes = []struct {
	unit  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1},
}

// ParseSize reads a size in bytes: a whole number, with a unit behind it when wanted, whose case does not matter: B, KB, MB, GB, TB (powers of
// 1000), KiB, MiB, GiB, TiB (powers of 1024).
func ParseSize(text string) (int64, error) {
	number, factor := text, int64(1)
	for _, s := range sizes {
		if len(text) > len(s.unit) && strings.EqualFold(text[len(text)-len(s.unit):], s.unit) {
			number, factor = strings.TrimRight(text[:len(text)-len(s.unit)], " "), s.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil || int64(n) > math.MaxInt64/factor {
		return 0, errors.New("want " + WantSize)
	}
	return int64(n) * factor, nil
}

// FormatSize writes a size so that [ParseSize] reads it, in the largest unit that divides it.
func FormatSize(n int64) string {
	best := sizes[len(sizes)-1]
	for _, s := range sizes {
		if n != 0 && n%s.bytes == 0 && len(strconv.FormatInt(n/s.bytes, 10)) < len(strconv.FormatInt(n/best.bytes, 10)) {
			best = s
		}
	}
	return strconv.FormatInt(n/best.bytes, 10) + best.unit
}
