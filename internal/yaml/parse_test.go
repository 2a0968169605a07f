package yaml_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/internal/yaml"
)

// show writes a tree with its places.
func show(b *strings.Builder, t *connectors.Tree, indent string) {
	fmt.Fprintf(b, "@%d:%d ", t.Line, t.Col)
	switch t.Kind {
	case connectors.TreeNull:
		b.WriteString("null\n")
	case connectors.TreeScalar:
		fmt.Fprintf(b, "%q quoted=%t verbatim=%t comment=%t\n", t.Text, t.Quoted, t.Verbatim, t.Comment)
	case connectors.TreeList:
		b.WriteString("list\n")
		for _, item := range t.Items {
			b.WriteString(indent + "- ")
			show(b, item, indent+"  ")
		}
	case connectors.TreeMap:
		b.WriteString("map\n")
		for _, f := range t.Fields {
			fmt.Fprintf(b, "%s%s@%d:%d ", indent, f.Key, f.Line, f.Col)
			show(b, f.Value, indent+"  ")
		}
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"a: 1\nb:\n  - x y\n  - {c: 'd', 1: true}\n", `@1:1 map
a@1:1 @1:4 "1" quoted=false verbatim=true comment=false
b@2:1 @3:3 list
  - @3:5 "x y" quoted=false verbatim=true comment=false
  - @4:5 map
    c@4:6 @4:9 "d" quoted=true verbatim=true comment=false
    1@4:14 @4:17 "true" quoted=false verbatim=true comment=false
`},
		{"\ufeffa: x # c\r\nb: \"y\\n\" # d\r\nc: 'it''s'\r\n", `@1:1 map
a@1:1 @1:4 "x" quoted=false verbatim=true comment=true
b@2:1 @2:4 "y\n" quoted=true verbatim=false comment=false
c@3:1 @3:4 "it's" quoted=true verbatim=false comment=false
`},
		{"a: x\n  y\nb: |\n  1\n  2\nc: >-\n  1\n  2\nd:\n", `@1:1 map
a@1:1 @1:4 "x y" quoted=false verbatim=false comment=false
b@3:1 @3:4 "1\n2\n" quoted=true verbatim=false comment=false
c@6:1 @6:4 "1 2" quoted=true verbatim=false comment=false
d@9:1 @9:1 null
`},
		{"{größe: 日本, b: ~, \"c\": [], \"d\":{\"e\":1}}", `@1:1 map
größe@1:2 @1:9 "日本" quoted=false verbatim=true comment=false
b@1:13 @1:13 null
c@1:19 @1:24 list
d@1:28 @1:32 map
  e@1:33 @1:37 "1" quoted=false verbatim=true comment=false
`},
		{"", "@1:1 null\n"},
		{"# nothing\n", "@1:1 null\n"},
	} {
		tree, wrong := yaml.Parse("f.yaml", []byte(c.text))
		if len(wrong) > 0 {
			t.Errorf("%q: %v", c.text, wrong)
			continue
		}
		var b strings.Builder
		show(&b, tree, "")
		if b.String() != c.want {
			t.Errorf("%q: got\n%swant\n%s", c.text, b.String(), c.want)
		}
	}
}

func TestPlaces(t *testing.T) {
	tree, wrong := yaml.Parse("f.yaml", []byte("a: one two\nb: 'one two'\nc: |\n  one two\n"))
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	for key, want := range map[string][2]int{"a": {1, 8}, "b": {2, 9}, "c": {3, 4}} { // of "two"; the start of a block
		if line, col := tree.Field(key).At(5); line != want[0] || col != want[1] {
			t.Errorf("%s: got %d:%d, want %v", key, line, col, want)
		}
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"a": "1", "B_2": "x: {y}", "empty": "", "nested": "${a}"}
	vars := yaml.Variables{Known: []string{"a", "B_2"}, Want: "a variable", Lookup: func(n string) (string, bool) { v, ok := values[n]; return v, ok }}
	for text, want := range map[string]string{
		"'${a}'": "1", "'${a}${a}'": "11", "'x${B_2}y'": "xx: {y}y", "'${empty}'": "", "'$${a}'": "${a}", "'$$${a}'": "$${a}", "'$a'": "$a", "'${nested}'": "${a}", "'$'": "$", "'a$'": "a$",
	} {
		tree, wrong := yaml.Parse("f.yaml", []byte(text))
		if wrong = append(wrong, yaml.Expand(tree, "p", vars)...); len(wrong) > 0 || tree.Kind != connectors.TreeScalar || tree.Text != want {
			t.Errorf("%s: got %q, %v, want %q", text, tree.Text, wrong, want)
		}
		if referred := strings.Contains(strings.ReplaceAll(text, "$${", ""), "${"); referred != (tree.Raw != "") || referred == tree.Quoted {
			t.Errorf("%s: got raw %q, quoted %t", text, tree.Raw, tree.Quoted)
		}
	}
	for text, want := range map[string]string{
		"x ${c} ${B2}": "f.yaml:1:3 p: got the unknown variable ${c}, want a variable\n" + `f.yaml:1:8 p: got the unknown variable ${B2}, want a variable; did you mean "B_2"?`,
		"x${":          `f.yaml:1:2 p: got "${", want ${NAME} with letters, digits and '_'; $${ stands for ${ itself`,
		"日${}":         `f.yaml:1:2 p: got "${}", want ${NAME} with letters, digits and '_'; $${ stands for ${ itself`,
		"${a-b}":       `f.yaml:1:1 p: got "${a-b}", want ${NAME} with letters, digits and '_'; $${ stands for ${ itself`,
	} {
		tree, wrong := yaml.Parse("f.yaml", []byte(text))
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		var got []string
		for _, v := range yaml.Expand(tree, "p", vars) {
			got = append(got, v.Error())
		}
		if strings.Join(got, "\n") != want || tree.Kind != connectors.TreeBroken {
			t.Errorf("%s: got\n%s\nwant\n%s", text, strings.Join(got, "\n"), want)
		}
	}
}

// TestLargeIsRefusedOrRead: text made to be expensive takes a bounded time.
func TestLargeIsRefusedOrRead(t *testing.T) {
	const n = yaml.MaxBytes - 10
	for name, text := range map[string]string{
		"one word": strings.Repeat("a", n), "spaces": "a:" + strings.Repeat(" ", n), "one key": strings.Repeat("a: b\n", yaml.MaxTokens/4), "dashes": strings.Repeat("- ", n/2),
		"brackets": strings.Repeat("[", n), "braces": strings.Repeat("{a: ", n/4), "list": "a: [" + strings.Repeat("a,", yaml.MaxTokens/2-3) + "]",
		"quotes": strings.Repeat("'", n), "open quote": "a: \"" + strings.Repeat("x\n", n/2), "colons": strings.Repeat(": ", n/2), "comments": strings.Repeat("# x\n", n/4),
		"block": "a: |\n" + strings.Repeat("  x\n", n/4), "lines": "a: " + strings.Repeat("x\n ", n/3), "questions": strings.Repeat("? ", n/2), "anchors": strings.Repeat("&a ", n/3),
		"references": "a: " + strings.Repeat("${a}", n/4), "documents": strings.Repeat("---\n", n/4), "too long": strings.Repeat("#\n", n),
	} {
		start := time.Now()
		tree, wrong := yaml.Parse("f.yaml", []byte(text))
		if tree == nil && len(wrong) == 0 {
			t.Errorf("%s: neither a tree nor a violation", name)
		}
		if took := time.Since(start); took > 30*time.Second { // under the race detector on a busy machine; a second otherwise
			t.Errorf("%s took %s", name, took)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"a: 1\nb: [x, {y: z}]\n", "a: !t b", "a: &b c\nd: *b", "a: |\n  b\n", "\ta: 1", "{a: b, c", "? a\n: b", "a: 'b", "---\na\n---\nb", "<<: a", "a: \"\\x41\"", "a: ${b}", "%YAML 1.2\n---\na", "- - - a",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, wrong := yaml.Parse("f.yaml", data)
		if tree == nil && len(wrong) == 0 {
			t.Error("neither a tree nor a violation")
		}
		if tree == nil {
			return
		}
		var check func(t2 *connectors.Tree)
		check = func(at *connectors.Tree) {
			if at.Line < 1 || at.Col < 1 || at.File != "f.yaml" {
				t.Errorf("a value without a place: %+v", at)
			}
			for _, item := range at.Items {
				check(item)
			}
			for _, f := range at.Fields {
				check(f.Value)
			}
		}
		check(tree)
		yaml.Expand(tree, "", yaml.Variables{Lookup: func(string) (string, bool) { return "x", true }})
	})
}
