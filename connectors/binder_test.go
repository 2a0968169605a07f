package connectors_test

import (
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/yaml"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// all has an option of every kind.
type all struct {
	Path     string
	Format   format
	Header   bool
	Count    int64
	Ratio    float64
	Wait     time.Duration
	Size     int64
	Nulls    []string
	Modes    []string
	Password string
	Login    login
	Columns  []column
}

type format string

type login struct{ User, Password string }

type column struct {
	Name string
	Type string
}

func (c *all) Fields(b *connectors.Binder) {
	connectors.Value(b, "path", &c.Path).Doc("Where it is.").Required().Example("data/*.csv")
	connectors.Value(b, "format", &c.Format).Doc("How it is written.").OneOf("csv", "jsonl").Default("csv")
	connectors.Value(b, "header", &c.Header).Doc("Whether there is a header.")
	connectors.Value(b, "count", &c.Count).Doc("How many.").Default(10).Check(func(n int64) error {
		if n < 1 {
			return errors.New("a number above 0")
		}
		return nil
	})
	connectors.Value(b, "ratio", &c.Ratio).Doc("How much.")
	connectors.Value(b, "wait", &c.Wait).Doc("How long.").Default(time.Minute)
	connectors.Bytes(b, "size", &c.Size).Doc("How large.").Default(16_000_000)
	connectors.Strings(b, "nulls", &c.Nulls).Doc("What stands for null.")
	connectors.Strings(b, "modes", &c.Modes).Doc("Which modes.").OneOf([]string{"fast"}, []string{"safe"})
	connectors.Value(b, "password", &c.Password).Doc("The password.").Secret().Check(func(p string) error {
		if len(p) < 8 {
			return errors.New("at least 8 characters")
		}
		return nil
	})
	connectors.Object(b, "login", &c.Login).Doc("Who reads.")
	connectors.List(b, "columns", &c.Columns).Doc("The columns.")
	b.Check(func() []fault.Violation {
		if c.Header && c.Format == "jsonl" {
			return []fault.Violation{{Path: "header", Got: "true", Want: "it with csv only"}}
		}
		return nil
	})
}

func (l *login) Fields(b *connectors.Binder) {
	connectors.Value(b, "user", &l.User).Doc("The name.").Required()
	connectors.Value(b, "password", &l.Password).Doc("The password.").Secret()
	b.Check(func() []fault.Violation {
		if l.Password == l.User && l.User != "" {
			return []fault.Violation{{Path: "password", Got: l.Password, Want: "another one than the name"}}
		}
		return nil
	})
}

func (c *column) Fields(b *connectors.Binder) {
	connectors.Value(b, "name", &c.Name).Doc("The name.").Required()
	connectors.Value(b, "type", &c.Type).Doc("The type.").Default("string")
}

// wrong are inputs for the rules of the binder; each is expected to break at least the rule it stands under.
var wrong = map[string][]string{
	"option.unknown":  {"path: x\nphat: y\nFormat: csv\nzzz: 1", "path: x\nlogin: {user: a, pasword: b}"},
	"option.required": {"{}", "", "path: ''", "path: x\nlogin: {}", "path: x\ncolumns: [{}, {name: a}, {name: ''}]"},
	"option.shape": {
		"path: [x]", "path: {x: y}", "path:", "path: x\nnulls: NA", "path: x\nnulls: [a, [b], {c: d}, ]", "path: x\nlogin: ann", "path: x\ncolumns: {name: a}",
		"path: x\ncolumns: [a]", "path: x\nlogin:", "[path]", "path: x\ncount: [1]\nwait: {}\nsize: []\nheader: []\nratio: []",
	},
	"option.bool":     {"path: x\nheader: yes", "path: x\nheader: 'true'", "path: x\nheader: 1"},
	"option.int":      {"path: x\ncount: ten", "path: x\ncount: '10'", "path: x\ncount: 1.5", "path: x\ncount: 1e3", "path: x\ncount: 9223372036854775808", "path: x\ncount: 0x10"},
	"option.float":    {"path: x\nratio: much", "path: x\nratio: .nan", "path: x\nratio: inf", "path: x\nratio: '1.5'", "path: x\nratio: 1e999"},
	"option.duration": {"path: x\nwait: 5", "path: x\nwait: -5s", "path: x\nwait: soon", "path: x\nwait: 1.5d", "path: x\nwait: 1d-1h", "path: x\nwait: 999999999d"},
	"option.size":     {"path: x\nsize: 16 apples", "path: x\nsize: -1", "path: x\nsize: 1.5MB", "path: x\nsize: MB", "path: x\nsize: 99999999999TB"},
	"option.one_of":   {"path: x\nformat: cvs", "path: x\nmodes: [fast, saef]"},
	"option.zero":     {"path: x\nformat: ''", "path: x\ncount: 0", "path: x\nwait: 0s", "path: x\nsize: 0"},
	"option.check":    {"path: x\ncount: -3", "path: x\npassword: short"},
	"option.together": {"path: x\nformat: jsonl\nheader: true", "path: x\nlogin: {user: hunter2, password: hunter2}"},
}

// TestEveryRule goes through the rules that the package declares: each has wrong inputs and golden messages.
func TestEveryRule(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "rules.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	listed := map[string]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		listed[code] = true
		if len(wrong[code]) == 0 {
			t.Errorf("%s has no wrong input", code)
		}
		for _, text := range wrong[code] {
			fmt.Fprintf(&b, "%s\n%s\n", code, indent(text))
			vs := decode(t, text, &all{})
			if !slices.ContainsFunc(vs, func(v fault.Violation) bool { return v.Code == code }) {
				t.Errorf("%s: %q gives %v", code, text, vs)
			}
			for _, v := range vs {
				fmt.Fprintf(&b, "%s [%s]\n", v.Error(), v.Code)
			}
			b.WriteByte('\n')
		}
		return true
	})
	for code := range wrong {
		if !listed[code] {
			t.Errorf("%s is no rule", code)
		}
	}
	compare(t, "testdata/rules.golden", b.String())
}

func indent(text string) string { return "    " + strings.ReplaceAll(text, "\n", "\n    ") }

func decode(t *testing.T, text string, c connectors.Config) []fault.Violation {
	t.Helper()
	tree, vs := yaml.Parse("flow.yaml", []byte(text))
	if len(vs) > 0 {
		t.Fatalf("%q: %v", text, vs)
	}
	return connectors.Decode(tree, "sources.a.file", c)
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s", file, got)
	}
}

func TestDecode(t *testing.T) {
	var c all
	if vs := decode(t, `
path: 007
format: jsonl
count: -9223372036854775808
ratio: 2.5e-3
wait: 1d12h30m
size: 64 kib
nulls: [NA, 1, "", no]
modes: [safe, fast]
password: correct horse
login: {user: ann}
columns: [{name: a}, {name: b, type: int64}]
`, &c); len(vs) != 1 || vs[0].Path != "sources.a.file.count" { // the check on count
		t.Fatal(vs)
	}
	c.Count = 3
	want := all{
		Path: "007", Format: "jsonl", Count: 3, Ratio: 0.0025, Wait: 36*time.Hour + 30*time.Minute, Size: 64 << 10, Nulls: []string{"NA", "1", "", "no"},
		Modes: []string{"safe", "fast"}, Password: "correct horse", Login: login{User: "ann"},
		Columns: []column{{"a", "string"}, {"b", "int64"}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if got := fmt.Sprint(connectors.Redact(&c)); strings.Contains(got, "horse") || !strings.Contains(got, "size:64KiB") || !strings.Contains(got, "wait:36h30m") {
		t.Error(got)
	}
}

func TestCheckOfGo(t *testing.T) {
	c := all{Path: "x", Columns: []column{{Name: "a"}}}
	if vs := connectors.Check(&c, "a.file"); len(vs) > 0 {
		t.Fatal(vs)
	}
	want := all{Path: "x", Format: "csv", Count: 10, Wait: time.Minute, Size: 16_000_000, Columns: []column{{"a", "string"}}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if vs := connectors.Check(&c, "a.file"); len(vs) > 0 || !reflect.DeepEqual(c, want) {
		t.Errorf("a second check changes it: %v %+v", vs, c)
	}

	c = all{Format: "xml", Count: -1, Wait: -time.Second, Password: "hunter2", Login: login{Password: "hunter3"}, Columns: []column{{}}}
	var got []string
	for _, v := range connectors.Check(&c, "a.file") {
		got = append(got, v.Error())
	}
	if want := []string{
		"a.file.path: got nothing, want a string; for example path: data/*.csv",
		"a.file.format: got xml, want one of csv, jsonl",
		"a.file.count: got -1, want a number above 0",
		`a.file.wait: got -1s, want a duration with units, not negative, as "24h", "1d12h" or "500ms"`,
		"a.file.password: got a secret, want at least 8 characters",
		"a.file.login.user: got nothing, want a string",
		"a.file.columns[0].name: got nothing, want a string",
	}; !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// TestOrder: violations come in the order of their place, not of the declaration.
func TestOrder(t *testing.T) {
	vs := decode(t, "wait: 5\nzzz: 1\ncount: ten\npath: []", &all{})
	if !slices.IsSortedFunc(vs, func(a, b fault.Violation) int { return a.Line - b.Line }) || len(vs) != 4 {
		t.Error(vs)
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "24h": 24 * time.Hour, "1d": 24 * time.Hour, "1d12h": 36 * time.Hour, "7d0h": 168 * time.Hour, "1.5h": 90 * time.Minute, "500ms": 500 * time.Millisecond,
		"106751d": 106751 * 24 * time.Hour,
	} {
		d, err := connectors.ParseDuration(text)
		if err != nil || d != want {
			t.Errorf("%s: got %s, %v", text, d, err)
		}
		if again, err := connectors.ParseDuration(connectors.FormatDuration(d)); err != nil || again != d {
			t.Errorf("%s is written %s", d, connectors.FormatDuration(d))
		}
	}
	for _, text := range []string{"", "d", "5", "-1h", "+1h", "1d-1h", "1.5d", "1h1d", "106752d", "106751d24h", "1dd", "1 d", "24 h", "inf"} {
		if d, err := connectors.ParseDuration(text); err == nil {
			t.Errorf("%q: got %s", text, d)
		}
	}
	for text, want := range map[string]int64{
		"0": 0, "4096": 4096, "1B": 1, "16MB": 16e6, "16mb": 16e6, "16 MB": 16e6, "16MiB": 16 << 20, "1KiB": 1024, "3TB": 3e12, "9223372036854775807": 1<<63 - 1,
	} {
		n, err := connectors.ParseSize(text)
		if err != nil || n != want {
			t.Errorf("%s: got %d, %v", text, n, err)
		}
		if again, err := connectors.ParseSize(connectors.FormatSize(n)); err != nil || again != n {
			t.Errorf("%d is written %s", n, connectors.FormatSize(n))
		}
	}
	for _, text := range []string{"", "MB", "-1", "1.5MB", "1XB", "8388608TiB", "9223372036854775808", "0x10", "1_000"} {
		if n, err := connectors.ParseSize(text); err == nil {
			t.Errorf("%q: got %d", text, n)
		}
	}
}

func TestNearest(t *testing.T) {
	known := []string{"path", "format", "null_text", "out_of_orderness"}
	for got, want := range map[string]string{
		"pth": "path", "Path": "path", "fromat": "format", "nulltext": "null_text", "null-text": "null_text", "out_of_order": "out_of_orderness", "x": "", "": "", "password": "",
		strings.Repeat("a", 100): "",
	} {
		if n := fault.Nearest(got, known); n != want {
			t.Errorf("%q: got %q, want %q", got, n, want)
		}
	}
}

func FuzzDuration(f *testing.F) {
	f.Add("1d12h")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := connectors.ParseDuration(text)
		if err != nil {
			return
		}
		if again, err := connectors.ParseDuration(connectors.FormatDuration(d)); d < 0 || err != nil || again != d {
			t.Errorf("%q: %s, %s, %v", text, d, again, err)
		}
	})
}
