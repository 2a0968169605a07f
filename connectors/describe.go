package connectors

import "reflect"

// Option is what a declared option is, for people.
type Option struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Doc      string   `json:"doc"`
	Required bool     `json:"required,omitempty"`
	Secret   bool     `json:"secret,omitempty"`
	Default  string   `json:"default,omitempty"`
	OneOf    []string `json:"one_of,omitempty"`
	Example  string   `json:"example,omitempty"`
	// Options are those of a nested map or of a list's elements.
	Options []Option `json:"options,omitempty"`
}

// Describe gives the options of a configuration, in the order in which they are declared.
func Describe(c Config) []Option {
	var all []Option
	for _, o := range bind(c).options {
		all = append(all, o.describe())
	}
	return all
}

func (f *Field[V]) describe() Option {
	o := Option{Name: f.name, Type: f.kind.name, Doc: f.doc, Required: f.required, Secret: f.secret, OneOf: f.allowed(), Example: f.example}
	if f.def != nil {
		o.Default = f.show(*f.def)
	}
	return o
}

func (n *Nested) describe() Option {
	o := Option{Name: n.name, Type: "map", Doc: n.doc, Required: n.required, Options: Describe(n.one())}
	if n.list {
		o.Type = "list of maps"
	}
	return o
}

// Redact gives a configuration as data to be shown: options that are set, durations and sizes as text, and "***" for secrets.
func Redact(c Config) map[string]any {
	m := map[string]any{}
	for _, o := range bind(c).options {
		if v, ok := o.redact(); ok {
			m[o.describe().Name] = v
		}
	}
	return m
}

func (f *Field[V]) redact() (any, bool) {
	v := reflect.ValueOf(*f.p)
	switch {
	case f.kind.empty(v):
		return nil, false
	case f.secret:
		return "***", true
	case f.kind.list:
		return f.kind.texts(v), true
	}
	switch f.kind {
	case boolKind:
		return v.Bool(), true
	case intKind:
		return v.Int(), true
	case floatKind:
		return v.Float(), true
	}
	return f.kind.text(v), true
}

func (n *Nested) redact() (any, bool) {
	if !n.list {
		m := Redact(n.one())
		return m, len(m) > 0
	}
	var all []any
	for i := range n.length() {
		all = append(all, Redact(n.at(i)))
	}
	return all, len(all) > 0
}
