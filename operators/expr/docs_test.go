package expr_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
)

// show is a value as the reference shows it: strings, bytes and times as texts, a whole float64 with a point.
func show(v row.Value) string {
	switch v.Kind() {
	case row.KindNull:
		return "null"
	case row.KindFloat64:
		if s := string(row.AppendText(nil, v)); strings.ContainsAny(s, ".eIN") {
			return s
		}
		return string(row.AppendText(nil, v)) + ".0"
	case row.KindString, row.KindBytes, row.KindTimestamp, row.KindDate, row.KindDuration:
		return `"` + strings.ReplaceAll(string(row.AppendText(nil, v)), `"`, `\"`) + `"`
	case row.KindList, row.KindRow:
		parts := []string{}
		for _, e := range v.List() {
			parts = append(parts, show(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case row.KindMap:
		parts := []string{}
		for _, e := range v.Map() {
			parts = append(parts, e.Key+": "+show(e.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return string(row.AppendText(nil, v))
}

// record1 reads one record from JSON.
func record1(t testing.TB, s *row.Schema, json string) []row.Value {
	t.Helper()
	r, err := format.NewReader(strings.NewReader(strings.ReplaceAll(json, "\n", " ")+"\n"), format.Options{Format: "jsonl"}, row.RowCodec(s), format.Start{Name: "record"})
	if err != nil {
		t.Fatal(err)
	}
	var b record.Batch[row.Row]
	if err := r.Read(&b, 1, 1<<20); b.Len() != 1 || len(b.Rejected) > 0 {
		t.Fatalf("the record can not be read: %v %v", err, b.Rejected)
	}
	return b.Values[0].Values
}

func schema(t testing.TB, text string) *row.Schema {
	t.Helper()
	s, err := row.ParseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reference is the text of the language's reference.
func reference(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/expressions.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func blocks(text, kind string) []string {
	var all []string
	for _, m := range regexp.MustCompile("(?s)```"+kind+"\n(.*?)```").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

// sample is the schema and the record of the reference.
func sample(t testing.TB) (*row.Schema, []row.Value) {
	t.Helper()
	text := reference(t)
	s := schema(t, blocks(text, "schema")[0])
	return s, record1(t, s, blocks(text, "json")[0])
}

func TestReference(t *testing.T) {
	s, vs := sample(t)
	examples := 0
	for _, block := range blocks(reference(t), "expr") {
		for _, line := range strings.Split(strings.TrimSpace(block), "\n") {
			text, want, ok := strings.Cut(line, "→")
			text, want = strings.TrimSpace(text), strings.TrimSpace(want)
			if !ok {
				t.Errorf("%s: there is no result", line)
				continue
			}
			examples++
			x, err := expr.Compile(text, s)
			if err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			v, err := x.Eval(vs, nil)
			if err != nil || show(v) != want {
				t.Errorf("%s: got %s, want %s (%v)", text, show(v), want, err)
			}
		}
	}
	if examples < 100 {
		t.Errorf("got %d examples: not all were found", examples)
	}
}

// TestReferenceNamesEveryFunction holds the reference and the functions together.
func TestReferenceNamesEveryFunction(t *testing.T) {
	examples := strings.Join(blocks(reference(t), "expr"), "\n")
	for _, name := range expr.FunctionNames {
		if !regexp.MustCompile(`\b` + name + `\(`).MatchString(examples) {
			t.Errorf("%s has no example", name)
		}
	}
}
