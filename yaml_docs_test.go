package adf_test

import (
	"strings"
	"testing"

	goyaml "github.com/goccy/go-yaml"

	"github.com/activedataflow/adf"
)

// plain is YAML as a JSON Schema sees it.
func plain(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := goyaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return jsonNumbers(v)
}

func jsonNumbers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = jsonNumbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = jsonNumbers(v[i])
		}
	case uint64:
		return float64(v)
	case int64:
		return float64(v)
	}
	return v
}

// TestReference loads every example of docs/yaml.md: whole flows as they are, and pieces of sources and steps inside a flow.
func TestReference(t *testing.T) {
	text := read(t, "docs/yaml.md")
	schema := flowSchema(t)
	examples := 0
	for part := range strings.SplitSeq(text, "```yaml\n") {
		if examples++; examples == 1 {
			continue // what is in front of the first one
		}
		code, _, closed := strings.Cut(part, "```")
		if !closed {
			t.Fatal("an example is not closed")
		}
		flow := whole(code)
		f, err := adf.Parse(t.Context(), "docs/yaml.md", []byte(flow), options(t))
		if err != nil {
			t.Errorf("%v\n%s", err, flow)
			continue
		}
		if _, err := f.Build(t.Context()); err != nil {
			t.Errorf("%v\n%s", err, flow)
		}
		if err := schema.Validate(plain(t, flow)); err != nil {
			t.Errorf("%v\n%s", err, flow)
		}
	}
	if examples < 20 {
		t.Errorf("got %d examples", examples)
	}
}

// whole puts a piece of a flow, whose first line begins a section, into a flow with the sources and sinks it lacks.
func whole(code string) string {
	if strings.HasPrefix(code, "flow:") || strings.Contains(code, "\nflow:") {
		return code
	}
	var b strings.Builder
	b.WriteString("flow: example\nversion: 1\n")
	b.WriteString(code)
	if !strings.Contains(code, "sources:\n") {
		b.WriteString("sources:\n  flights:\n    file: {path: \"examples/flights/2013-01.csv.gz\", format: csv, null_text: [NA]}\n    schema: infer\n" +
			"    time: {field: time_hour, out_of_orderness: 24h}\n")
	}
	if !strings.Contains(code, "sinks:\n") {
		last := "flights"
		for line := range strings.SplitSeq(code, "\n") {
			if strings.HasPrefix(line, "  ") && line[2] != ' ' && line[2] != '#' {
				last, _, _ = strings.Cut(strings.TrimSpace(line), ":")
			}
		}
		b.WriteString("sinks:\n  out: {from: " + last + ", discard: {}}\n")
	}
	return b.String()
}
