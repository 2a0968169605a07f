package cli

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
)

// Params are the parameters that a program's flow is built with: those of --set, and defaults for the others. Values are written as in
// configuration files: durations "1d12h", sizes "16MB". What does not fit, and what --set names and nobody asks for, is told together with all that is wrong with the flow.
type Params struct{ p *params }

type params struct {
	given map[string]string
	known []string
	wrong []fault.Violation
}

func newParams(given map[string]string) Params { return Params{&params{given: given}} }

// String is a text.
func (p Params) String(name, otherwise string) string { return scalar(p, name, otherwise) }

// Int is a whole number.
func (p Params) Int(name string, otherwise int64) int64 { return scalar(p, name, otherwise) }

// Float is a number.
func (p Params) Float(name string, otherwise float64) float64 { return scalar(p, name, otherwise) }

// Bool is true or false.
func (p Params) Bool(name string, otherwise bool) bool { return scalar(p, name, otherwise) }

// Duration is a stretch of time.
func (p Params) Duration(name string, otherwise time.Duration) time.Duration {
	return scalar(p, name, otherwise)
}

// Bytes is a size.
func (p Params) Bytes(name string, otherwise int64) int64 {
	return one(p, name, otherwise, func(b *connectors.Binder, v *int64) { connectors.Bytes(b, name, v).Doc(name) })
}

// Bind fills a configuration, whose options are parameters then: with required ones, checks, and lists of those that are allowed. It is for
// scalar options; a list of strings takes its elements with commas between them.
func (p Params) Bind(c connectors.Config) {
	options := connectors.Describe(c)
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.Name
	}
	t := &connectors.Tree{Kind: connectors.TreeMap}
	for _, o := range options {
		value, ok := p.p.given[o.Name]
		if !ok {
			continue
		}
		v := &connectors.Tree{Kind: connectors.TreeScalar, Text: value}
		if o.Type == "list of strings" {
			v = &connectors.Tree{Kind: connectors.TreeList}
			for item := range strings.SplitSeq(value, ",") {
				v.Items = append(v.Items, &connectors.Tree{Kind: connectors.TreeScalar, Text: item})
			}
		}
		t.Fields = append(t.Fields, connectors.TreeField{Key: o.Name, Value: v})
	}
	p.p.decode(t, c, names...)
}

// decode binds, and puts what is wrong down as mistakes of --set.
func (p *params) decode(t *connectors.Tree, c connectors.Config, names ...string) {
	p.known = append(p.known, names...)
	for _, v := range connectors.Decode(t, "", c) {
		v.Path = "--set " + v.Path
		p.wrong = append(p.wrong, v)
	}
}

func scalar[V connectors.Scalar](p Params, name string, otherwise V) V {
	return one(p, name, otherwise, func(b *connectors.Binder, v *V) { connectors.Value(b, name, v).Doc(name) })
}

// one is the configuration of one parameter. Its default is not the binder's: there a zero stands for the default, here it is a value.
func one[V any](p Params, name string, otherwise V, declare func(b *connectors.Binder, v *V)) V {
	value, ok := p.p.given[name]
	if !ok {
		p.p.known = append(p.p.known, name)
		return otherwise
	}
	c := &single[V]{declare: declare}
	t := &connectors.Tree{Kind: connectors.TreeMap, Fields: []connectors.TreeField{{Key: name, Value: &connectors.Tree{Kind: connectors.TreeScalar, Text: value}}}}
	p.p.decode(t, c, name)
	return c.value
}

type single[V any] struct {
	value   V
	declare func(b *connectors.Binder, v *V)
}

func (s *single[V]) Fields(b *connectors.Binder) { s.declare(b, &s.value) }

// mistakes are all that is wrong with the parameters, once the flow is built.
func (p Params) mistakes() []fault.Violation {
	wrong := p.p.wrong
	for _, name := range slices.Sorted(maps.Keys(p.p.given)) {
		if slices.Contains(p.p.known, name) {
			continue
		}
		known := slices.Compact(slices.Sorted(slices.Values(p.p.known)))
		v := misuse("--set "+name, "an unknown parameter", "one of "+strings.Join(known, ", "), fault.DidYouMean(name, known))
		if len(known) == 0 {
			v.Want = "none: this flow has no parameters"
		}
		wrong = append(wrong, v)
	}
	return wrong
}
