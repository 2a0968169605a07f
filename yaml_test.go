package adf_test

import (
	"bytes"
	"context"
	"encoding/json"
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

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/connectors/stdio"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

var updateYAML = flag.Bool("update-yaml", false, "rewrite the golden files of flow files")

// TestEveryYAMLRule goes through the rules that take schemas or connectors to check: each has a wrong file and its golden messages.
func TestEveryYAMLRule(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "yaml.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	ast.Inspect(f, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && strings.HasPrefix(spec.Names[0].Name, "rule") {
			code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, code)
		}
		return true
	})
	if len(rules) == 0 {
		t.Fatal("no rules")
	}
	for _, code := range rules {
		wrong := goldenYAML(t, filepath.Join("testdata", "yaml", "rule."+code+".yaml"))
		if !slices.ContainsFunc(wrong, func(v fault.Violation) bool { return v.Code == code }) {
			t.Errorf("no violation is about %s: %v", code, wrong)
		}
	}
	more, err := filepath.Glob("testdata/yaml/more.*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range more {
		goldenYAML(t, f)
	}
}

func goldenYAML(t *testing.T, path string) []fault.Violation {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = adf.Parse(t.Context(), filepath.Base(path), data, options(t))
	var c *fault.ConfigurationError
	if !errors.As(err, &c) {
		t.Fatalf("%s: got %v, want violations", path, err)
	}
	var b strings.Builder
	for _, v := range c.Violations {
		fmt.Fprintf(&b, "%s [%s]\n", v.Error(), v.Code)
	}
	golden := strings.TrimSuffix(path, ".yaml") + ".golden"
	if *updateYAML {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("%s: got\n%swant\n%s", path, b.String(), want)
	}
	return c.Violations
}

func registry(t testing.TB) *connectors.Registry {
	r := connectors.NewRegistry(adf.Version)
	d := connectors.Descriptor{Name: "table", Doc: "Rows for tests.", Version: "0.1.0", Core: ">=0.1.0"}
	for _, err := range []error{
		discard.Register(r), file.Register(r), generate.Register(r), stdio.Register(r),
		r.Source(d, func() connectors.SourceConfig { return &table{} }),
		r.Sink(d, func() connectors.SinkConfig { return &table{} }),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// table is a source and a sink for tests. Its own schema is tableSchema.
type table struct {
	Path, Password         string
	Tags                   []string
	Endless, Typed, Broken bool
	Bare                   bool
}

const tableSchema = "id int64 not null, name string, at timestamp, day date, ms int64, price decimal(10,2)"

func (c *table) Fields(b *connectors.Binder) {
	connectors.Value(b, "path", &c.Path).Doc("Where it is.")
	connectors.Value(b, "password", &c.Password).Doc("What opens it.").Secret()
	connectors.Strings(b, "tags", &c.Tags).Doc("Words.")
	connectors.Value(b, "endless", &c.Endless).Doc("It never ends.")
	connectors.Value(b, "typed", &c.Typed).Doc("Its records are no rows.")
	connectors.Value(b, "broken", &c.Broken).Doc("It can not be opened.")
	connectors.Value(b, "bare", &c.Bare).Doc("It has no schema of its own.")
}

func (c *table) Schemaless() bool { return c.Bare }

func (c *table) Source(_ context.Context, env connectors.SourceEnv) (splits.Any, error) {
	if c.Broken {
		return nil, &fault.SourceError{Detail: fault.Detail{Code: "table.open", Doing: "open", Connector: "table", Err: errors.New("no such table")}}
	}
	if c.Path == "nowhere" {
		return nil, fault.Config(fault.Violation{Path: "path", Got: "nowhere", Want: "somewhere", Code: "table.path"})
	}
	if c.Typed {
		codec, err := row.CodecOf[int64]()
		return splits.Erase(memory.Values[int64](), codec), err
	}
	schema, err := row.ParseSchema(tableSchema)
	if env.Schema != nil && c.Bare {
		schema = env.Schema
	}
	codec := row.RowCodec(schema)
	return splits.Erase(&memory.Source[row.Row]{Splits: [][]row.Row{{}}, RecordsCodec: codec, Follow: c.Endless}, codec), err
}

func (c *table) Sink(*row.Codec[row.Row]) (sinks.Any, error) {
	if c.Path == "nowhere" {
		return nil, fault.Config(fault.Violation{Path: "path", Got: "nowhere", Want: "somewhere", Code: "table.path"})
	}
	return nil, errors.New("not for writing")
}

func options(t testing.TB) adf.LoadOptions {
	return adf.LoadOptions{
		Registry: registry(t),
		Getenv: func(name string) (string, bool) {
			v, ok := map[string]string{"PLACE": "nowhere", "PASSWORD": "hunter2", "TAG": "blue"}[name]
			return v, ok
		},
		Funcs: adf.Funcs{
			"same": {Step: func(in *row.Schema) (operators.Any, error) {
				c := row.RowCodec(in)
				return operators.Filter(c, func(row.Row) (bool, error) { return true, nil }), nil
			}},
			"count": {Keyed: func(in *row.Schema, key func(row.Row) string, ttl time.Duration) (operators.AnyKeyed, error) {
				c := row.RowCodec(in)
				return operators.Process(c, c, key, ttl, func() operators.Processor[row.Row, string, row.Row] { return pass{} })
			}},
			"ids": {Step: func(in *row.Schema) (operators.Any, error) {
				out, err := row.CodecOf[int64]()
				return operators.Map(row.RowCodec(in), out, func(r row.Row) (int64, error) { return r.Get("id").Int(), nil }), err
			}},
			"picky": {Step: func(in *row.Schema) (operators.Any, error) {
				return nil, errors.New("got no column colour, want one")
			}},
		},
	}
}

type pass struct{}

func (pass) State() []state.Cell                             { return nil }
func (pass) Open(context.Context, operators.OpContext) error { return nil }
func (pass) Close() error                                    { return nil }
func (pass) Process(_ context.Context, _ string, v row.Row, _ record.Meta, c *operators.Ctx[row.Row]) error {
	return nil
}
func (pass) OnTimer(context.Context, string, operators.Timer, *operators.Ctx[row.Row]) error {
	return nil
}

const everything = `
flow: everything
version: 1
params: {least: 3}
sources:
  a:
    table: {path: "${PLACE}-not", password: "${PASSWORD}", tags: [red, "${TAG}"]}
    time: {field: at, out_of_orderness: 1h, idle_after: 10s}
    parallelism: 3
    on_error: emit
  b: {table: {}, schema: {id: int64 not null, name: string, at: timestamp, day: date, ms: int64, price: "decimal(10,2)"}}
steps:
  some:
    from: [a, b]
    do:
      - filter: id > ${least}
      - set: {twice: id * 2}
      - select: [twice, {title: name}, at]
      - rename: {title: label}
      - cast: {twice: float64}
      - drop: [at]
  daily: {from: a, by: [name, {d: "date(at)"}], window: {tumbling: 24h, allowed_lateness: 1h, offset: 6h}, aggregate: {n: count(), m: mean(id)}, parallelism: 4}
  total: {from: some, by: [], aggregate: {n: count()}}
  own: {from: some, use: count, by: [label], ttl: 1d}
  same: {from: some, use: same}
sinks:
  labels: {from: [own, same], discard: {}}
  days: {from: daily, discard: {}}
  totals: {from: total, discard: {}}
  late: {from: daily.late, discard: {}}
  errors: {from: [a.errors, some.errors], discard: {}}
`

func TestLoadEverything(t *testing.T) {
	f, err := adf.Parse(t.Context(), "everything.yaml", []byte(everything), options(t))
	if err != nil {
		t.Fatal(err)
	}
	g, err := f.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	for _, n := range g.Nodes {
		config, err := json.Marshal(n.Config)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %s %s at %d:%d from %v\n    (%s)\n    %s", n.Name, n.Kind, n.Type, n.Place.Line, n.Place.Col, n.Inputs, n.Out.Schema(), config)
		if n.Parallelism > 0 {
			fmt.Fprintf(&b, " ×%d", n.Parallelism)
		}
		if n.Emit {
			b.WriteString(" emit")
		}
		if n.Time != nil {
			fmt.Fprintf(&b, " %s %s", n.Time.OutOfOrderness, n.Time.IdleAfter)
		}
		b.WriteByte('\n')
	}
	if *updateYAML {
		if err := os.WriteFile("testdata/yaml/everything.golden", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/yaml/everything.golden")
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("got\n%s", b.String())
	}
	if strings.Contains(b.String(), "hunter2") || strings.Contains(b.String(), "blue") {
		t.Error("a value of the environment is shown")
	}
}

func TestEventTimeOfColumns(t *testing.T) {
	for _, c := range []struct {
		column string
		value  row.Value
		want   int64
	}{
		{"at", row.Timestamp(1_500_999), 1500},
		{"at", row.Timestamp(-1), -1},
		{"at", row.Timestamp(-1000), -1},
		{"at", row.Timestamp(-1001), -2},
		{"day", row.Date(1), 86_400_000},
		{"day", row.Date(-1), -86_400_000},
		{"ms", row.Int(42), 42},
		{"id", row.Int(7), 7},
	} {
		text := fmt.Sprintf("flow: f\nversion: 1\nsources:\n  a: {table: {}, time: {field: %s, out_of_orderness: 0s}}\nsinks:\n  o: {from: a, discard: {}}\n", c.column)
		f, err := adf.Parse(t.Context(), "f.yaml", []byte(text), options(t))
		if err != nil {
			t.Fatal(err)
		}
		g, err := f.Build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a := g.Node("a")
		i, _ := a.Out.Schema().Index(c.column)
		vs := make([]row.Value, len(a.Out.Schema().Fields))
		vs[i] = c.value
		b := a.Out.NewBatch()
		for range 2 {
			if err := a.Out.AppendRecord(b, vs, record.Meta{Time: record.NoTime}); err != nil {
				t.Fatal(err)
			}
			vs = make([]row.Value, len(vs)) // and one whose time is null
		}
		var failed []int
		if err := a.Time.Set(b, func(i int, err error) {
			failed = append(failed, i)
			if d, ok := fault.DetailOf(err); !ok || d.Code != "flow.no_time" {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if got := b.Meta()[0].Time; got != c.want || !slices.Equal(failed, []int{1}) || b.Meta()[1].Time != record.NoTime {
			t.Errorf("%s: got %d, want %d; failed %v", c.column, got, c.want, failed)
		}
	}
}

func TestLoadFile(t *testing.T) {
	if _, err := adf.Load(t.Context(), filepath.Join(t.TempDir(), "none.yaml"), options(t)); err == nil || fault.Retryable(err) {
		t.Error(err)
	}
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, bytes.Repeat([]byte("# more\n"), 200_000), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := adf.Load(t.Context(), large, options(t)); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Error(err)
	}
	f, err := adf.Load(t.Context(), "examples/flights/flow.yaml", options(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// flowSchema compiles the JSON Schema of flow files.
func flowSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	text, err := json.Marshal(adf.JSONSchema(registry(t)))
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("flow.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("flow.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestJSONSchema: what loads is valid, and what an editor can see is wrong is not.
func TestJSONSchema(t *testing.T) {
	s := flowSchema(t)
	flows := map[string]string{"everything": everything}
	for _, pattern := range []string{"examples/*/*.yaml", "bench/*.yaml", "internal/itest/testdata/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, f := range files {
			if filepath.Base(f) != "wrong.yaml" { // the tour's, whose mistakes it shows
				flows[f] = read(t, f)
			}
		}
	}
	for name, text := range flows {
		if err := s.Validate(plain(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	const good = "flow: f\nversion: 1\nsources: {a: {table: {}}}\nsteps: {s: {from: a, filter: x > 0}}\nsinks: {o: {from: s, discard: {}}}\n"
	if err := s.Validate(plain(t, good)); err != nil {
		t.Fatal(err)
	}
	for old, wrong := range map[string]string{
		"version: 1": "version: 2", "flow: f": "flow: 1st", "filter: x > 0": "filter: [x]", "from: a": "form: a", "discard: {}": "discrad: {}", "table: {}": "table: {pth: x}",
		"{a: {table: {}}}": "{}", "from: s,": "", "from: a, ": "from: a, drop: [y], ", "x > 0}": "x > 0, on_error: ignore}", "{table: {}}": "{table: {}, schema: inferred}",
		"a: {": "a.b: {", "filter: ": "explode: ", "a: {table": "a: {time: {field: x, out_of_orderness: soon}, table",
	} {
		text := strings.Replace(good, old, wrong, 1)
		if text == good {
			t.Fatalf("%q is not there", old)
		}
		if s.Validate(plain(t, text)) == nil {
			t.Errorf("the schema allows %q", wrong)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// FuzzParse loads flows whose connectors touch nothing.
func FuzzParse(f *testing.F) {
	f.Add([]byte(everything))
	f.Add([]byte("sources:\n  a: {table: }\nsteps:\n  s:\n    from: [a]\n    filter: 0${")) // a step whose only mistake is told by another pass
	files, err := filepath.Glob("testdata/yaml/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	o := options(f)
	o.Registry = connectors.NewRegistry(adf.Version)
	d := connectors.Descriptor{Name: "table", Doc: "Rows for tests.", Version: "0.1.0", Core: ">=0.1.0"}
	if err := errors.Join(discard.Register(o.Registry), o.Registry.Source(d, func() connectors.SourceConfig { return &table{} })); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		flow, err := adf.Parse(t.Context(), "fuzz.yaml", data, o)
		var c *fault.ConfigurationError
		switch {
		case err == nil:
			flow.Build(t.Context()) // it may be refused as a whole; it does not panic
		case !errors.As(err, &c) || len(c.Violations) == 0:
			t.Errorf("got %v, want violations", err)
		default:
			for _, v := range c.Violations {
				if v.Line < 1 || v.Col < 1 || v.Got == "" || v.Want == "" || v.Code == "" {
					t.Errorf("a violation that does not tell all: %+v", v)
				}
			}
		}
	})
}
