package connectors

import "maps"

// JSONSchema gives the JSON Schema (2020-12) of a configuration as it stands in a file, for editors. Wherever a scalar belongs, a text with
// a reference as ${NAME} may stand as well.
func JSONSchema(c Config) map[string]any {
	properties, required := map[string]any{}, []any{}
	for _, o := range bind(c).options {
		d := o.describe()
		s := o.schema()
		s["description"] = d.Doc
		properties[d.Name] = s
		if d.Required {
			required = append(required, d.Name)
		}
	}
	m := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		m["required"] = required
	}
	return m
}

// reference is a text with an expansion in it.
const reference = `\$\{`

func (f *Field[V]) schema() map[string]any {
	s := maps.Clone(f.kind.json)
	if allowed := f.allowed(); len(allowed) > 0 && f.kind == stringKind {
		enum := make([]any, len(allowed))
		for i, a := range allowed {
			enum[i] = a
		}
		s = map[string]any{"enum": enum}
	}
	switch {
	case f.kind.list:
	case f.kind == stringKind && len(f.oneOf) == 0:
		s["type"] = []any{"string", "number", "boolean"} // a plain scalar is taken as it is written
	default:
		s = map[string]any{"anyOf": []any{s, map[string]any{"type": "string", "pattern": reference}}}
	}
	if f.def != nil && !f.secret {
		s["default"] = f.jsonDefault()
	}
	if f.example != "" {
		s["examples"] = []any{f.example}
	}
	return s
}

func (f *Field[V]) jsonDefault() any {
	probe := *f
	probe.p = f.def
	v, _ := probe.redact()
	return v
}

func (n *Nested) schema() map[string]any {
	s := JSONSchema(n.one())
	if n.list {
		return map[string]any{"type": "array", "items": s}
	}
	return s
}
