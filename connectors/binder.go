package connectors

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/activedataflow/adf/fault"
)

// Config is a configuration whose options are declared by Fields: on a pointer to a struct, one call of [Value], [Strings], [Bytes],
// [Object] or [List] for each of its fields.
//
// The zero value of an option means that it is not given: it gets the default, or is refused when it is required. This holds in Go and in
// files alike, so an option whose zero means something has no other default.
type Config interface{ Fields(b *Binder) }

// Binder collects the options that a Config declares.
type Binder struct {
	options []option
	checks  []func() []fault.Violation
}

// Check adds a check over several options, which runs when all of them are bound; one that is wrong by itself may be zero then, and what is said of
// it is left out. Paths of its violations are bare option names; their places are filled in.
func (b *Binder) Check(check func() []fault.Violation) { b.checks = append(b.checks, check) }

// Scalar is what one scalar can be bound to. A time.Duration is written as a duration, see [ParseDuration].
type Scalar interface {
	~string | ~bool | ~int | ~int64 | ~float64
}

// Value declares an option that is one scalar.
func Value[V Scalar](b *Binder, name string, p *V) *Field[V] {
	return add(b, &Field[V]{name: name, p: p, kind: scalarKind[V]()})
}

// Strings declares an option that is a list of strings.
func Strings(b *Binder, name string, p *[]string) *Field[[]string] {
	return add(b, &Field[[]string]{name: name, p: p, kind: stringsKind})
}

// Bytes declares an option that is a size in bytes, written as "16MB", see [ParseSize].
func Bytes(b *Binder, name string, p *int64) *Field[int64] {
	return add(b, &Field[int64]{name: name, p: p, kind: sizeKind})
}

// Object declares an option that is a map with options of its own.
func Object(b *Binder, name string, p Config) *Nested {
	return add(b, &Nested{name: name, one: func() Config { return p }})
}

// List declares an option that is a list of maps with options of their own.
func List[C any, P interface {
	*C
	Config
}](b *Binder, name string, p *[]C) *Nested {
	return add(b, &Nested{
		name:   name,
		list:   true,
		one:    func() Config { return P(new(C)) },
		length: func() int { return len(*p) },
		at:     func(i int) Config { return P(&(*p)[i]) },
		grow:   func() Config { *p = append(*p, *new(C)); return P(&(*p)[len(*p)-1]) },
	})
}

func add[O option](b *Binder, o O) O {
	b.options = append(b.options, o)
	return o
}

// Decode fills a configuration from a tree (nil and null are an empty map) and gives everything that is wrong, in the order of its place.
// The path is put before the options' names.
func Decode(t *Tree, path string, c Config) []fault.Violation {
	if t == nil {
		t = &Tree{}
	}
	w := &walk{}
	w.object(t, path, c)
	slices.SortStableFunc(w.wrong, func(a, b fault.Violation) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return w.wrong
}

// Check fills the defaults of a configuration that was built in Go and gives everything that is wrong.
func Check(c Config, path string) []fault.Violation {
	w := &walk{}
	w.built(nil, path, c)
	return w.wrong
}

// bind collects the options of a configuration.
func bind(c Config) *Binder {
	b := &Binder{}
	c.Fields(b)
	return b
}

// option is what the binder does with one declared option; Field and Nested implement it.
type option interface {
	describe() Option
	schema() map[string]any
	redact() (value any, ok bool)
	// decode reads the value from a tree.
	decode(w *walk, t *Tree, path string)
	// built completes and checks a value that is not in a tree; at is the place of the map that lacks it, or nil.
	built(w *walk, at *Tree, path string)
	// mistake is what is wrong with the declaration itself, "" when nothing is.
	mistake() string
}

// walk collects what is wrong.
type walk struct{ wrong []fault.Violation }

func (w *walk) refuse(at *Tree, path, got, want, code string) {
	w.wrong = append(w.wrong, refuse(at, path, got, want, code))
}

func (w *walk) object(t *Tree, path string, c Config) {
	switch t.Kind {
	case TreeMap, TreeNull:
	case TreeBroken:
		return
	default:
		w.refuse(t, path, t.Show(), "a map of options", ruleShape)
		return
	}
	b := bind(c)
	names := b.names()
	places := map[string]*Tree{}
	for _, f := range t.Fields {
		at := &Tree{File: t.File, Line: f.Line, Col: f.Col}
		i := slices.Index(names, f.Key)
		if i < 0 {
			v := refuse(at, join(path, f.Key), "an unknown option", "one of "+strings.Join(names, ", "), ruleUnknown)
			if len(names) == 0 {
				v.Want = "no options"
			}
			v.Fix = fault.DidYouMean(f.Key, names)
			w.wrong = append(w.wrong, v)
			continue
		}
		places[f.Key] = f.Value
		if f.Value.Kind != TreeBroken {
			b.options[i].decode(w, f.Value, join(path, f.Key))
		}
	}
	for i, name := range names {
		if places[name] == nil {
			b.options[i].built(w, t, join(path, name))
		}
	}
	bind(c).together(w, t, path, places) // bound again: a check may hold values that it took when it was declared
}

func (w *walk) built(at *Tree, path string, c Config) {
	b := bind(c)
	for _, o := range b.options {
		o.built(w, at, join(path, o.describe().Name))
	}
	bind(c).together(w, at, path, nil)
}

// together runs the checks over several options. What is said of an option that is wrong already is left out.
func (b *Binder) together(w *walk, at *Tree, path string, places map[string]*Tree) {
	before := w.wrong
	for _, check := range b.checks {
		for _, v := range check() {
			full := join(path, v.Path)
			if slices.ContainsFunc(before, func(o fault.Violation) bool { return o.Path == full }) {
				continue
			}
			place := at
			if t := places[v.Path]; t != nil {
				if t.Kind == TreeBroken {
					continue
				}
				place = t
				if t.Raw != "" {
					v.Got = t.Show()
				}
			}
			if i := slices.Index(b.names(), v.Path); i >= 0 && b.options[i].describe().Secret {
				v.Got = hidden
			}
			if v.Code == "" {
				v.Code = ruleTogether
			}
			n := refuse(place, full, v.Got, v.Want, v.Code)
			n.Fix = v.Fix
			w.wrong = append(w.wrong, n)
		}
	}
}

func (b *Binder) names() []string {
	names := make([]string, len(b.options))
	for i, o := range b.options {
		names[i] = o.describe().Name
	}
	return names
}

func join(path, name string) string {
	if path == "" || name == "" {
		return path + name
	}
	return path + "." + name
}

// Field is a declared option; its methods say more about it.
type Field[V any] struct {
	name, doc, example string
	required, secret   bool
	p                  *V
	kind               *kind
	def                *V
	oneOf              []V
	checks             []func(V) error
}

// Doc says in a sentence what the option is for. Every option has one.
func (f *Field[V]) Doc(s string) *Field[V] { f.doc = s; return f }

// Example is a value as it would be written in a file.
func (f *Field[V]) Example(s string) *Field[V] { f.example = s; return f }

// Default is what the zero value stands for.
func (f *Field[V]) Default(v V) *Field[V] { f.def = &v; return f }

// Required refuses the zero value.
func (f *Field[V]) Required() *Field[V] { f.required = true; return f }

// Secret hides the value from messages, explain and plans.
func (f *Field[V]) Secret() *Field[V] { f.secret = true; return f }

// OneOf allows only these values (of a list: only these elements).
func (f *Field[V]) OneOf(vs ...V) *Field[V] { f.oneOf = append(f.oneOf, vs...); return f }

// Check refuses values. The text of its error completes "want …", as "a number above 0", and does not repeat the value.
func (f *Field[V]) Check(check func(V) error) *Field[V] { f.checks = append(f.checks, check); return f }

// hidden is what is shown instead of a secret.
const hidden = "a secret"

func (f *Field[V]) decode(w *walk, t *Tree, path string) {
	got := t.Show()
	if f.secret && t.Kind == TreeScalar && t.Raw == "" {
		got = hidden
	}
	before := len(w.wrong)
	f.kind.read(w, t, path, got, reflect.ValueOf(f.p).Elem())
	if len(w.wrong) > before {
		return
	}
	zero := f.kind.empty(reflect.ValueOf(*f.p))
	switch {
	case zero && f.required:
		w.refuse(t, path, got, f.kind.want, ruleRequired)
	case zero && f.def != nil && !f.kind.empty(reflect.ValueOf(*f.def)):
		v := refuse(t, path, got, "a value that is not zero", ruleZero)
		v.Fix = "zero stands for the default, " + f.show(*f.def) + ": leave the option out"
		w.wrong = append(w.wrong, v)
	default:
		f.check(w, t, path, got)
	}
}

func (f *Field[V]) built(w *walk, at *Tree, path string) {
	if !f.kind.empty(reflect.ValueOf(*f.p)) {
		got := hidden
		if !f.secret {
			got = cut(f.show(*f.p))
		}
		if f.kind.name == "duration" && reflect.ValueOf(*f.p).Int() < 0 {
			w.refuse(at, path, got, f.kind.want, ruleDuration)
			return
		}
		f.check(w, at, path, got)
		return
	}
	switch {
	case f.required:
		v := refuse(at, path, "nothing", f.kind.want, ruleRequired)
		if f.example != "" {
			v.Fix = "for example " + f.name + ": " + f.example
		}
		w.wrong = append(w.wrong, v)
	case f.def != nil:
		*f.p = *f.def
	}
}

// check holds a value that is there against OneOf and Check.
func (f *Field[V]) check(w *walk, at *Tree, path, got string) {
	if len(f.oneOf) > 0 && !f.kind.empty(reflect.ValueOf(*f.p)) {
		allowed := f.allowed()
		for i, s := range f.kind.texts(reflect.ValueOf(*f.p)) {
			if slices.Contains(allowed, s) {
				continue
			}
			at, path, got := at, path, got
			if f.kind.list {
				if path = fmt.Sprintf("%s[%d]", path, i); at != nil && i < len(at.Items) {
					at = at.Items[i]
				}
				if got = cut(s); f.secret {
					got = hidden
				} else if at != nil && at.Raw != "" {
					got = at.Show()
				}
			}
			v := refuse(at, path, got, "one of "+strings.Join(allowed, ", "), ruleOneOf)
			if !f.secret && (at == nil || at.Raw == "") {
				v.Fix = fault.DidYouMean(s, allowed)
			}
			w.wrong = append(w.wrong, v)
			return
		}
	}
	for _, check := range f.checks {
		if err := check(*f.p); err != nil {
			w.refuse(at, path, got, err.Error(), ruleCheck)
		}
	}
}

func (f *Field[V]) allowed() []string {
	var all []string
	for _, v := range f.oneOf {
		all = append(all, f.kind.texts(reflect.ValueOf(v))...)
	}
	return all
}

func (f *Field[V]) show(v V) string {
	return strings.Join(f.kind.texts(reflect.ValueOf(v)), ", ")
}

var optionName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (f *Field[V]) mistake() string {
	switch d := (&walk{}); {
	case f.doc == "":
		return "it has no Doc"
	case f.def == nil:
	case f.required:
		return "it is required and has a default"
	case f.kind.name == "bool" && reflect.ValueOf(*f.def).Bool():
		return "its default is true, so it can not be switched off in Go: name it the other way around"
	default:
		probe := *f
		probe.p = f.def
		if probe.check(d, nil, "", ""); len(d.wrong) > 0 {
			return "its default " + f.show(*f.def) + " is refused: want " + d.wrong[0].Want
		}
	}
	return ""
}

// Nested is a declared option that is a map, or a list of maps.
type Nested struct {
	name, doc string
	required  bool
	list      bool
	one       func() Config // the map, or a new element
	length    func() int
	at        func(i int) Config
	grow      func() Config
}

// Doc says in a sentence what the option is for. Every option has one.
func (n *Nested) Doc(s string) *Nested { n.doc = s; return n }

// Required refuses a map that is not there and a list without elements.
func (n *Nested) Required() *Nested { n.required = true; return n }

func (n *Nested) want() string {
	if n.list {
		return "a list of maps"
	}
	return "a map of options"
}

func (n *Nested) decode(w *walk, t *Tree, path string) {
	switch {
	case t.Kind == TreeNull:
		w.refuse(t, path, "nothing", n.want(), ruleShape)
	case !n.list:
		w.object(t, path, n.one())
	case t.Kind != TreeList:
		w.refuse(t, path, t.Show(), n.want(), ruleShape)
	case n.required && len(t.Items) == 0:
		w.refuse(t, path, "an empty list", n.want(), ruleRequired)
	default:
		for i, item := range t.Items {
			w.object(item, fmt.Sprintf("%s[%d]", path, i), n.grow())
		}
	}
}

func (n *Nested) built(w *walk, at *Tree, path string) {
	if n.list {
		if n.required && n.length() == 0 {
			w.refuse(at, path, "nothing", n.want(), ruleRequired)
		}
		for i := range n.length() {
			w.built(at, fmt.Sprintf("%s[%d]", path, i), n.at(i))
		}
		return
	}
	if c := n.one(); n.required || !reflect.ValueOf(c).Elem().IsZero() {
		w.built(at, path, c)
		return
	}
	w = &walk{} // not given: only its defaults count
	w.built(at, path, n.one())
}

func (n *Nested) mistake() string {
	if n.doc == "" {
		return "it has no Doc"
	}
	return mistakeIn(n.one())
}

// mistakeIn is what is wrong with the declarations of a configuration, "" when nothing is.
func mistakeIn(c Config) string {
	b := bind(c)
	names := b.names()
	for i, o := range b.options {
		m := o.mistake()
		switch {
		case !optionName.MatchString(names[i]):
			m = "its name is not lower case letters, digits and '_'"
		case slices.Contains(names[:i], names[i]):
			m = "it is declared twice"
		}
		if m != "" {
			return "option " + names[i] + ": " + m
		}
	}
	return ""
}
