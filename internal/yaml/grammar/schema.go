package grammar

import (
	"maps"

	"github.com/activedataflow/adf/connectors"
)

// JSONSchema gives the JSON Schema (2020-12) of flow files, with the connectors of a registry.
func JSONSchema(r *connectors.Registry) map[string]any {
	defs := map[string]any{
		"name":       map[string]any{"type": "string", "pattern": nodeName.String()},
		"ref":        map[string]any{"type": "string", "pattern": `^[A-Za-z][A-Za-z0-9_-]{0,62}(\.(late|errors))?$`},
		"expression": map[string]any{"type": []any{"string", "number", "boolean"}},
		"type":       map[string]any{"type": "string", "description": "A type, as int64 not null or decimal(10,2)."},
		"duration": map[string]any{
			"type": "string", "pattern": `^(.*\$\{.*|0|[0-9]+d|([0-9]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))+)$`, "description": "A duration, as 24h, 1d12h or 500ms.",
		},
	}
	g := schemas{r}
	for _, p := range productions {
		if p.name != flowMap.name {
			defs[p.name] = g.production(p)
		}
	}
	s := g.production(flowMap)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "ActiveDataFlow flow"
	s["required"] = []any{"flow", "version", "sources", "sinks"}
	s["$defs"] = defs
	return s
}

type schemas struct{ registry *connectors.Registry }

// production writes a map of the grammar.
func (g schemas) production(p production) map[string]any {
	properties := map[string]any{}
	for _, k := range p.keys {
		if !k.later {
			s := g.key(p, k)
			s["description"] = k.doc
			properties[k.name] = s
		}
	}
	m := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
	switch p.name {
	case sourceMap.name:
		types(m, properties, g.registry.Sources())
	case sinkMap.name:
		types(m, properties, g.registry.Sinks())
		m["required"] = []any{"from"}
	case stepMap.name:
		m["required"] = []any{"from"}
		m["oneOf"] = exactlyOne(verbs)
	case timeMap.name:
		m["required"] = []any{"field", "out_of_orderness"}
	case windowMap.name:
		m["oneOf"] = exactlyOne([]string{"tumbling", "global"})
	}
	return m
}

// types adds the connectors, of which there is exactly one.
func types[C connectors.Config](m, properties map[string]any, entries []connectors.Entry[C]) {
	var names []string
	for _, e := range entries {
		s := connectors.JSONSchema(e.New())
		s["description"] = e.Doc
		s["type"] = []any{"object", "null"}
		properties[e.Name] = s
		names = append(names, e.Name)
	}
	if len(names) > 0 {
		m["oneOf"] = exactlyOne(names)
	}
}

func exactlyOne(names []string) []any {
	var all []any
	for _, n := range names {
		all = append(all, map[string]any{"required": []any{n}})
	}
	return all
}

func def(name string) map[string]any { return map[string]any{"$ref": "#/$defs/" + name} }

func mapOf(values map[string]any) map[string]any {
	return map[string]any{"type": "object", "additionalProperties": values, "minProperties": 1}
}

func named(values string) map[string]any {
	m := mapOf(def(values))
	m["propertyNames"] = def("name")
	return m
}

// key writes one key of a production.
func (g schemas) key(p production, k key) map[string]any {
	column := map[string]any{"type": []any{"string", "number", "boolean"}}
	columns := map[string]any{"type": "array", "items": map[string]any{"anyOf": []any{
		def("expression"), map[string]any{"type": "object", "additionalProperties": def("expression"), "minProperties": 1, "maxProperties": 1},
	}}}
	switch k.name {
	case "flow":
		return def("name")
	case "version":
		return map[string]any{"enum": []any{1, "1"}}
	case "params":
		return map[string]any{"type": []any{"object", "null"}, "additionalProperties": map[string]any{"type": []any{"string", "number", "boolean", "null"}}}
	case "defaults":
		return map[string]any{"anyOf": []any{def("defaults"), map[string]any{"type": "null"}}}
	case "sources":
		return named("source")
	case "sinks":
		return named("sink")
	case "steps":
		s := named("step")
		delete(s, "minProperties")
		s["type"] = []any{"object", "null"}
		return s
	case "schema":
		return map[string]any{"anyOf": []any{map[string]any{"const": "infer"}, mapOf(def("type"))}}
	case "time", "window":
		return def(k.name)
	case "from":
		return map[string]any{"anyOf": []any{def("ref"), map[string]any{"type": "array", "items": def("ref"), "minItems": 1, "uniqueItems": true}}}
	case "do":
		items := map[string]any{"type": "object", "properties": g.verbs(), "additionalProperties": false, "minProperties": 1, "maxProperties": 1}
		return map[string]any{"type": "array", "items": items, "minItems": 1}
	case "filter":
		return def("expression")
	case "set", "aggregate":
		return mapOf(def("expression"))
	case "select":
		chosen := maps.Clone(columns)
		chosen["minItems"] = 1
		return map[string]any{"anyOf": []any{chosen, mapOf(def("expression"))}}
	case "by":
		return columns
	case "rename":
		return mapOf(column)
	case "cast":
		return mapOf(def("type"))
	case "drop":
		return map[string]any{"type": "array", "items": column, "minItems": 1}
	case "global":
		return map[string]any{"enum": []any{true, "true"}}
	case "parallelism":
		return map[string]any{"anyOf": []any{
			map[string]any{"type": "integer", "minimum": 1, "maximum": maxParallelism}, map[string]any{"type": "string", "pattern": `\$\{|^[0-9]+$`},
		}}
	case "on_error":
		return map[string]any{"anyOf": []any{map[string]any{"enum": []any{"fail", "emit"}}, map[string]any{"type": "string", "pattern": `\$\{`}}}
	case "tumbling", "offset", "allowed_lateness", "ttl", "out_of_orderness", "idle_after":
		return def("duration")
	default: // field, use
		return map[string]any{"type": "string"}
	}
}

// verbs are the stateless verbs, for the items of do.
func (g schemas) verbs() map[string]any {
	all := map[string]any{}
	for _, name := range stateless {
		k, _ := stepMap.find(name)
		all[name] = g.key(stepMap, k)
	}
	return all
}
