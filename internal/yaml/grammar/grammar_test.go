package grammar

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestEveryRule goes through the whole grammar: each production's keys, and each rule, have a wrong input and its golden messages.
func TestEveryRule(t *testing.T) {
	wanted := map[string]func(v fault.Violation) bool{}
	for _, p := range productions {
		for _, k := range p.keys {
			wanted[p.name+"."+k.name] = func(v fault.Violation) bool {
				return slices.ContainsFunc(strings.FieldsFunc(v.Path, func(r rune) bool { return r == '.' || r == '[' }), func(s string) bool { return s == k.name })
			}
		}
	}
	for _, dir := range []string{".", ".."} {
		for _, code := range rulesIn(t, dir) {
			wanted["rule."+code] = func(v fault.Violation) bool { return v.Code == code }
		}
	}
	for name, hits := range wanted {
		t.Run(name, func(t *testing.T) {
			if wrong := golden(t, filepath.Join("testdata", name+".yaml")); !slices.ContainsFunc(wrong, hits) {
				t.Errorf("no violation is about %s: %v", name, wrong)
			}
		})
	}
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".yaml")
		if _, listed := wanted[name]; listed {
			continue
		}
		if !strings.HasPrefix(name, "trap.") && !strings.HasPrefix(name, "more.") {
			t.Errorf("%s is neither a key of the grammar nor a rule, trap or more", f)
		}
		t.Run(name, func(t *testing.T) { golden(t, f) })
	}
}

// rulesIn lists the rules that a package declares, as constants named rule….
func rulesIn(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || !strings.HasPrefix(spec.Names[0].Name, "rule") {
				return true
			}
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				code, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, code)
			}
			return true
		})
	}
	if len(all) == 0 {
		t.Fatalf("no rules in %s", dir)
	}
	return all
}

// golden reads a wrong file and compares its messages.
func golden(t *testing.T, path string) []fault.Violation {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, wrong := Read(filepath.Base(path), data, testOptions())
	if len(wrong) == 0 {
		t.Fatalf("%s is right", path)
	}
	var b strings.Builder
	for _, v := range wrong {
		if v.Line == 0 || v.Col == 0 || v.Got == "" || v.Want == "" || v.Code == "" {
			t.Errorf("a violation that does not tell all: %+v", v)
		}
		fmt.Fprintf(&b, "%s [%s]\n", v.Error(), v.Code)
	}
	file := strings.TrimSuffix(path, ".yaml") + ".golden"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
	return wrong
}

func testOptions() Options {
	r := connectors.NewRegistry("0.1.0")
	if err := errors.Join(
		r.Source(connectors.Descriptor{Name: "file", Doc: "Files.", Version: "0.1.0", Core: ">=0.1.0"}, func() connectors.SourceConfig { return &fileConfig{} }),
		r.Source(connectors.Descriptor{Name: "generate", Doc: "Records.", Version: "0.1.0", Core: ">=0.1.0"}, func() connectors.SourceConfig { return &fileConfig{} }),
		r.Sink(connectors.Descriptor{Name: "file", Doc: "Files.", Version: "0.1.0", Core: ">=0.1.0"}, func() connectors.SinkConfig { return &sinkConfig{} }),
		r.Sink(connectors.Descriptor{Name: "discard", Doc: "Nothing.", Version: "0.1.0", Core: ">=0.1.0"}, func() connectors.SinkConfig { return &noConfig{} }),
	); err != nil {
		panic(err)
	}
	return Options{
		Registry: r, Funcs: []string{"geocode", "score"},
		Getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"DATA": "/data", "SECRET": "s3cret", "N": "12"}[name]
			return v, ok
		},
	}
}

type fileConfig struct {
	path, format, password string
	records                int
	wait                   time.Duration
}

func (c *fileConfig) Fields(b *connectors.Binder) {
	connectors.Value(b, "path", &c.path).Doc("Where.").Required().Example("data/*.csv")
	connectors.Value(b, "format", &c.format).Doc("How.").OneOf("csv", "jsonl").Default("csv")
	connectors.Value(b, "password", &c.password).Doc("The key.").Secret()
	connectors.Value(b, "records", &c.records).Doc("How many.")
	connectors.Value(b, "wait", &c.wait).Doc("How long.")
}

func (c *fileConfig) Source(context.Context, connectors.SourceEnv) (splits.Any, error) {
	return nil, errors.New("not for reading")
}

type sinkConfig struct{ fileConfig }

func (c *sinkConfig) Sink(*row.Codec[row.Row]) (sinks.Any, error) {
	return nil, errors.New("not for writing")
}

type noConfig struct{}

func (noConfig) Fields(*connectors.Binder) {}

func (noConfig) Sink(*row.Codec[row.Row]) (sinks.Any, error) {
	return nil, errors.New("not for writing")
}

// full is a flow with all of the grammar in it.
const full = `flow: everything
version: 1
params: {input: "data/*.csv", least: 0, missing: }
defaults: {parallelism: 2, on_error: fail}
sources:
  a:
    file: {path: "${input}", password: "${SECRET}"}
    schema: {id: int64 not null, at: timestamp, "long name": "list<row<x int64, y string>>"}
    time: {field: at, out_of_orderness: 1d12h, idle_after: 10s}
    parallelism: 3
    on_error: emit
  b: {file: {path: "$${HOME}/${DATA}"}, schema: infer}
  c: {generate: {path: x}}
steps:
  some: {from: [a, b, c], filter: "id > ${least} && id != 3"}
  more:
    from: some
    do:
      - filter: "name != \"#\""
      - set: {y: id + 1, z: "f(id, 2)"}
      - select: [y, {w: z * 2}, id]
      - rename: {w: v}
      - cast: {v: "decimal(10,2) not null"}
      - drop: [y]
  chosen: {from: more, select: {v: v, id: id}}
  daily:
    from: a
    by: [id, {day: date(at)}]
    window: {tumbling: 24h, allowed_lateness: 1h, offset: 6h}
    aggregate: {n: count(), m: mean(id)}
    parallelism: 4
  all: {from: chosen, by: [], window: {global: true}, aggregate: {n: count()}}
  own: {from: chosen, use: score, by: [id], ttl: 1h}
  none: {from: chosen, use: geocode}
sinks:
  out: {from: [daily, all, own, none], file: {path: out}}
  late: {from: daily.late, discard: {}}
  bad: {from: a.errors, discard: , on_error: emit}
  worse: {from: bad.errors, discard: {}}
`

func TestReadEverything(t *testing.T) {
	o := testOptions()
	o.Params = map[string]string{"missing": "there", "input": "given.csv"}
	f, wrong := Read("full.yaml", []byte(full), o)
	for _, v := range wrong {
		t.Error(v)
	}
	if t.Failed() {
		t.FailNow()
	}
	a, daily := f.Sources[0], f.Steps[3]
	if c := a.Config.(*fileConfig); c.path != "given.csv" || c.password != "s3cret" || c.format != "csv" {
		t.Errorf("got %+v", c)
	}
	if c := f.Sources[1].Config.(*fileConfig); c.path != "${HOME}//data" {
		t.Errorf("got %q", c.path)
	}
	if want := `id int64 not null, at timestamp, "long name" list<row<x int64, y string>>`; a.Schema.String() != want {
		t.Errorf("got %s, want %s", a.Schema, want)
	}
	if a.Parallelism != 3 || !a.Emit || f.Sources[2].Parallelism != 2 || f.Sources[2].Emit || !f.Sources[1].Infer {
		t.Errorf("got %+v", f.Sources)
	}
	if a.Time.Field != "at" || a.Time.OutOfOrderness != 36*time.Hour || a.Time.IdleAfter != 10*time.Second {
		t.Errorf("got %+v", a.Time)
	}
	if got := f.Steps[0].Do[0].Filter; got.Text != "id > 0 && id != 3" || got.Raw != "id > ${least} && id != 3" {
		t.Errorf("got %+v", got.Tree)
	}
	if *daily.Window != (Window{24 * time.Hour, time.Hour, 6 * time.Hour}) || daily.By[1].Name != "day" || daily.By[1].Expr.Text != "date(at)" || daily.Parallelism != 4 {
		t.Errorf("got %+v", daily)
	}
	if own := f.Steps[5]; own.Use != "score" || own.TTL != time.Hour || !own.HasBy {
		t.Errorf("got %+v", own)
	}
	if len(f.Order) != 3+7+4 {
		t.Errorf("got %d nodes in order", len(f.Order))
	}
}

// TestJSONIsRead reads a flow as JSON.
func TestJSONIsRead(t *testing.T) {
	const text = `{"flow":"f","version":1,"sources":{"a":{"file":{"path":"x","records":3}}},
		"steps":{"s":{"from":"a","filter":"name == \"x\" && id > 2"}},"sinks":{"o":{"from":["s"],"discard":{}}}}`
	f, wrong := Read("flow.json", []byte(text), testOptions())
	if len(wrong) > 0 {
		t.Fatal(fault.Config(wrong...))
	}
	if got := f.Steps[0].Do[0].Filter.Text; got != `name == "x" && id > 2` {
		t.Errorf("got %q", got)
	}
}

// TestSecretsStayHidden looks for a value of the environment in messages.
func TestSecretsStayHidden(t *testing.T) {
	text := strings.NewReplacer("password: ", "records: ", "schema: infer", `wrong: "${SECRET}"`, "id > ${least}", "${SECRET}", "1d12h", `"${SECRET}"`).Replace(full)
	o := testOptions()
	o.Params = map[string]string{"missing": "there"}
	_, wrong := Read("f.yaml", []byte(text), o)
	if len(wrong) < 2 {
		t.Fatalf("got %v", wrong)
	}
	if all := fault.Config(wrong...).Error(); strings.Contains(all, "s3cret") {
		t.Error(all)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(full))
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		if data, err := os.ReadFile(file); err == nil && len(data) < 10_000 {
			f.Add(data)
		}
	}
	o := testOptions()
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		flow, wrong := Read("fuzz.yaml", data, o)
		if flow == nil && len(wrong) == 0 {
			t.Error("neither a flow nor a violation")
		}
		for _, v := range wrong {
			if v.Line < 1 || v.Col < 1 || v.Got == "" || v.Want == "" || v.Code == "" {
				t.Errorf("a violation that does not tell all: %+v", v)
			}
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%d bytes took %s", len(data), took)
		}
	})
}
