package connectortest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
)

// Run registers a connector and checks the options of its sources, sinks and runtimes.
func Run(t *testing.T, register func(r *connectors.Registry) error) {
	t.Helper()
	r := connectors.NewRegistry("0.1.0")
	if err := register(r); err != nil {
		t.Fatal(err)
	}
	if err := register(r); err == nil {
		t.Error("a second registration is accepted")
	}
	if len(r.Sources())+len(r.Sinks())+len(r.Runtimes()) == 0 {
		t.Error("nothing is registered")
	}
	for _, e := range r.Sources() {
		t.Run("source "+e.Name, func(t *testing.T) { Config(t, func() connectors.Config { return e.New() }) })
	}
	for _, e := range r.Sinks() {
		t.Run("sink "+e.Name, func(t *testing.T) { Config(t, func() connectors.Config { return e.New() }) })
	}
	for _, e := range r.Runtimes() {
		t.Run("runtime "+e.Name, func(t *testing.T) { Config(t, e.New) })
	}
}

// Config checks the options of one configuration; new makes an empty one.
func Config(t *testing.T, new func() connectors.Config) {
	t.Helper()
	options := connectors.Describe(new())
	for _, bad := range failures(new, options, nil) {
		t.Error(bad)
	}
	same(t, "", options, connectors.JSONSchema(new()))
	names := namesOf(options)
	v, ok := find(connectors.Decode(tree("no-option-has-this-name"), "", new()), "no-option-has-this-name")
	if !ok || v.Code != "option.unknown" || !strings.Contains(v.Error(), strings.Join(names, ", ")) {
		t.Errorf("an unknown option: got %v, want the names of all", v)
	}
}

// hint is put into every wrong value of a secret.
const hint = "hunter2"

// wrongValue is a value that an option must refuse, and the rule that it breaks.
type wrongValue struct {
	value *connectors.Tree
	rule  string
}

// failures are what is not refused as it should be; at is the path of the map that the options are in.
func failures(new func() connectors.Config, options []connectors.Option, at []string) (bad []string) {
	for _, o := range options {
		path := append(slices.Clone(at), o.Name)
		for _, w := range wrongValues(o) {
			v, ok := find(connectors.Decode(inside(path, w.value), "", new()), shown(path))
			switch {
			case !ok || v.Code != w.rule:
				bad = append(bad, fmt.Sprintf("%s: %s: got %v, want a violation of %s", shown(path), w.value.Show(), v, w.rule))
			case o.Secret && strings.Contains(v.Error(), hint):
				bad = append(bad, fmt.Sprintf("%s: a secret is shown: %v", shown(path), v))
			}
		}
		if o.Required {
			if v, ok := find(connectors.Decode(inside(at, tree()), "", new()), shown(path)); !ok || v.Code != "option.required" {
				bad = append(bad, fmt.Sprintf("%s is required: got %v", shown(path), v))
			}
		}
		if o.Secret && o.Type == "string" {
			c := new()
			connectors.Decode(inside(path, scalar(hint)), "", c)
			if strings.Contains(fmt.Sprint(connectors.Redact(c)), hint) {
				bad = append(bad, shown(path)+": a secret is shown by Redact")
			}
		}
		switch o.Type {
		case "map":
			bad = append(bad, failures(new, o.Options, path)...)
		case "list of maps":
			bad = append(bad, failures(new, o.Options, append(path, "[0]"))...)
		}
	}
	return bad
}

// wrongValues are made by an option's type.
func wrongValues(o connectors.Option) []wrongValue {
	list := &connectors.Tree{Kind: connectors.TreeList, Items: []*connectors.Tree{tree(), {Kind: connectors.TreeList}}}
	all := []wrongValue{{&connectors.Tree{}, "option.shape"}}
	add := func(rule string, texts ...string) {
		for _, text := range texts {
			all = append(all, wrongValue{scalar(text), rule})
		}
	}
	switch o.Type {
	case "map", "list of maps", "list of strings":
		add("option.shape", hint)
	default:
		all = append(all, wrongValue{list, "option.shape"}, wrongValue{tree("a"), "option.shape"})
	}
	switch o.Type {
	case "bool":
		add("option.bool", hint, "yes", "1")
	case "int":
		add("option.int", hint, "1.5", "99999999999999999999")
	case "float":
		add("option.float", hint, "nan", "1e999")
	case "duration":
		add("option.duration", hint, "5", "-1s")
	case "size":
		add("option.size", hint, "-1", "1.5MB")
	case "string":
		if len(o.OneOf) > 0 {
			add("option.one_of", hint)
		}
		if o.Required {
			all = append(all, wrongValue{&connectors.Tree{Kind: connectors.TreeScalar, Quoted: true}, "option.required"})
		}
	}
	return all
}

func scalar(text string) *connectors.Tree {
	return &connectors.Tree{Kind: connectors.TreeScalar, Text: text, Line: 1, Col: 1}
}

// tree is a map with the given keys, each with a text.
func tree(keys ...string) *connectors.Tree {
	t := &connectors.Tree{Kind: connectors.TreeMap}
	for _, k := range keys {
		t.Fields = append(t.Fields, connectors.TreeField{Key: k, Value: scalar(hint)})
	}
	return t
}

// inside puts a value at a path; "[0]" is the one element of a list.
func inside(path []string, value *connectors.Tree) *connectors.Tree {
	for _, name := range slices.Backward(path) {
		if name == "[0]" {
			value = &connectors.Tree{Kind: connectors.TreeList, Items: []*connectors.Tree{value}}
		} else {
			value = &connectors.Tree{Kind: connectors.TreeMap, Fields: []connectors.TreeField{{Key: name, Value: value}}}
		}
	}
	return value
}

func shown(path []string) string { return strings.ReplaceAll(strings.Join(path, "."), ".[0]", "[0]") }

// find gives the first violation of an option, or of one of its elements.
func find(vs []fault.Violation, path string) (fault.Violation, bool) {
	for _, v := range vs {
		if v.Path == path || strings.HasPrefix(v.Path, path+"[") {
			return v, true
		}
	}
	return fault.Violation{}, false
}

func namesOf(options []connectors.Option) []string {
	var names []string
	for _, o := range options {
		names = append(names, o.Name)
	}
	return names
}

// same compares the options with their JSON Schema.
func same(t *testing.T, at string, options []connectors.Option, schema map[string]any) {
	t.Helper()
	properties, _ := schema["properties"].(map[string]any)
	if got, want := slices.Sorted(maps.Keys(properties)), slices.Sorted(slices.Values(namesOf(options))); !slices.Equal(got, want) {
		t.Errorf("%s: the schema has %v, want %v", at, got, want)
		return
	}
	for _, o := range options {
		s := properties[o.Name].(map[string]any)
		required, _ := schema["required"].([]any)
		if s["description"] != o.Doc || slices.Contains(required, any(o.Name)) != o.Required {
			t.Errorf("%s%s: the schema says %v", at, o.Name, s)
		}
		switch o.Type {
		case "map":
			same(t, at+o.Name+".", o.Options, s)
		case "list of maps":
			same(t, at+o.Name+"[].", o.Options, s["items"].(map[string]any))
		}
	}
}
