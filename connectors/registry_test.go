package connectors_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/splits"
)

func (c *all) Source(context.Context, connectors.SourceEnv) (splits.Any, error) {
	return nil, errors.New("not for reading")
}

func newAll() connectors.SourceConfig { return &all{} }

func descriptor(name string) connectors.Descriptor {
	return connectors.Descriptor{Name: name, Doc: "Records.", Version: "1.2.0", Core: ">=0.1.0, <1.0.0"}
}

func TestRegistry(t *testing.T) {
	r := connectors.NewRegistry("0.1.0")
	if _, err := r.LookupSource("file"); err == nil || err.Error() != `got the source type "file", want a registered one, and none is registered` {
		t.Error(err)
	}
	for _, name := range []string{"memory", "file"} {
		if err := r.Source(descriptor(name), newAll); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.LookupSource("flie"); err == nil || err.Error() != `got the source type "flie", want one of file, memory; did you mean "file"?` {
		t.Error(err)
	}
	if _, err := r.LookupSink("file"); err == nil {
		t.Error("a source is found as a sink")
	}
	e, err := r.LookupSource("file")
	if err != nil || e.Name != "file" || e.New() == e.New() {
		t.Error(e, err)
	}
	var names []string
	for _, e := range r.Sources() {
		names = append(names, e.Name)
	}
	if !slices.Equal(names, []string{"file", "memory"}) {
		t.Error(names)
	}
}

func TestRegistrationIsRefused(t *testing.T) {
	with := func(change func(*connectors.Descriptor)) connectors.Descriptor {
		d := descriptor("new")
		change(&d)
		return d
	}
	for _, c := range []struct {
		core string
		d    connectors.Descriptor
		new  func() connectors.SourceConfig
		want string
	}{
		{"0.1.0", descriptor("file"), newAll,
			`configuration file: register source: got the name "file" a second time (version 1.2.0 is registered), want names used once; registered are file [connector.duplicate]`},
		{"0.1.0", with(func(d *connectors.Descriptor) { d.Core = ">=0.2.0, <1.0.0" }), newAll,
			"configuration new: register source: got version 1.2.0, which works with ActiveDataFlow >=0.2.0, <1.0.0, want one that works with this one, 0.1.0 [connector.version]; use versions of both that fit together"},
		{"1.0.0", descriptor("new"), newAll,
			"configuration new: register source: got version 1.2.0, which works with ActiveDataFlow >=0.1.0, <1.0.0, want one that works with this one, 1.0.0 [connector.version]; use versions of both that fit together"},
		{"0.1.0", with(func(d *connectors.Descriptor) { d.Core = "newest" }), newAll,
			`configuration new: register source: got the core constraint "newest", want one on semantic versions, as ">=0.1.0, <1.0.0" [connector.declaration]`},
		{"0.1.0", with(func(d *connectors.Descriptor) { d.Core = "" }), newAll,
			`configuration new: register source: got the core constraint "", want one on semantic versions, as ">=0.1.0, <1.0.0" [connector.declaration]`},
		{"0.1.0", with(func(d *connectors.Descriptor) { d.Version = "v1" }), newAll,
			`configuration new: register source: got its version "v1", want a semantic version, as 1.2.0 [connector.declaration]`},
		{"dev", descriptor("new"), newAll,
			`configuration new: register source: got the core version "dev", want a semantic version [connector.declaration]`},
		{"0.1.0", descriptor("from"), newAll,
			`configuration from: register source: got the name "from", want lower case letters, digits, '_' and '-', and none of from, schema, time, parallelism, on_error [connector.declaration]`},
		{"0.1.0", descriptor("File"), newAll,
			`configuration File: register source: got the name "File", want lower case letters, digits, '_' and '-', and none of from, schema, time, parallelism, on_error [connector.declaration]`},
		{"0.1.0", with(func(d *connectors.Descriptor) { d.Doc = "" }), newAll,
			"configuration new: register source: got no Doc, want a sentence that says what it is [connector.declaration]"},
		{"0.1.0", descriptor("new"), declare(func(b *connectors.Binder) { connectors.Value(b, "a", new(string)) }),
			"configuration new: register source: option a: it has no Doc [connector.declaration]"},
		{"0.1.0", descriptor("new"), declare(func(b *connectors.Binder) { connectors.Value(b, "a", new(bool)).Doc("A.").Default(true) }),
			"configuration new: register source: option a: its default is true, so it can not be switched off in Go: name it the other way around [connector.declaration]"},
		{"0.1.0", descriptor("new"), declare(func(b *connectors.Binder) { connectors.Value(b, "a", new(string)).Doc("A.").Default("x").OneOf("y") }),
			"configuration new: register source: option a: its default x is refused: want one of y [connector.declaration]"},
		{"0.1.0", descriptor("new"), declare(func(b *connectors.Binder) { connectors.Value(b, "a", new(string)).Doc("A.").Default("x").Required() }),
			"configuration new: register source: option a: it is required and has a default [connector.declaration]"},
		{"0.1.0", descriptor("new"), declare(func(b *connectors.Binder) {
			connectors.Value(b, "a", new(string)).Doc("A.")
			connectors.Value(b, "a", new(int)).Doc("A.")
		}), "configuration new: register source: option a: it is declared twice [connector.declaration]"},
		{"0.1.0", descriptor("new"), declare(func(b *connectors.Binder) { connectors.Value(b, "A-b", new(string)).Doc("A.") }),
			"configuration new: register source: option A-b: its name is not lower case letters, digits and '_' [connector.declaration]"},
	} {
		r := connectors.NewRegistry("0.1.0")
		if err := r.Source(descriptor("file"), newAll); err != nil {
			t.Fatal(err)
		}
		if c.core != "0.1.0" {
			r = connectors.NewRegistry(c.core)
		}
		err := r.Source(c.d, c.new)
		if err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
		if fault.Retryable(err) {
			t.Errorf("%v: a retry would help", err)
		}
	}
}

type declared struct{ fields func(*connectors.Binder) }

func declare(fields func(*connectors.Binder)) func() connectors.SourceConfig {
	return func() connectors.SourceConfig { return declared{fields} }
}

func (d declared) Fields(b *connectors.Binder) { d.fields(b) }

func (declared) Source(context.Context, connectors.SourceEnv) (splits.Any, error) {
	return nil, errors.New("not for reading")
}

func TestDescribe(t *testing.T) {
	options, err := json.MarshalIndent(connectors.Describe(&all{}), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	schema, err := json.MarshalIndent(connectors.JSONSchema(&all{}), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "testdata/describe.golden", string(options)+"\n"+string(schema)+"\n")
	if strings.Contains(string(schema), "null,") {
		t.Error("a null in the schema")
	}
}
