package yaml

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
)

// Variables are what references stand for.
type Variables struct {
	// Lookup finds a value; ok is false when there is none.
	Lookup func(name string) (value string, ok bool)
	// Known are names to compare an unknown one with.
	Known []string
	// Want completes "want …" for an unknown name.
	Want string
}

// Expand replaces every ${NAME} in the scalars of a tree; $${ stands for ${ itself. A value becomes part of its scalar and nothing else. The
// path is that of the tree, for messages.
func Expand(t *connectors.Tree, path string, vars Variables) []fault.Violation {
	var wrong []fault.Violation
	switch t.Kind {
	case connectors.TreeScalar:
		wrong = expand(t, path, vars)
	case connectors.TreeList:
		for i, item := range t.Items {
			wrong = append(wrong, Expand(item, fmt.Sprintf("%s[%d]", path, i), vars)...)
		}
	case connectors.TreeMap:
		for _, f := range t.Fields {
			at := f.Key
			if path != "" {
				at = path + "." + at
			}
			wrong = append(wrong, Expand(f.Value, at, vars)...)
		}
	}
	return wrong
}

var variable = regexp.MustCompile(`^\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

func expand(t *connectors.Tree, path string, vars Variables) (wrong []fault.Violation) {
	if !strings.Contains(t.Text, "${") {
		return nil
	}
	refuse := func(offset int, got, want, code, fix string) {
		line, col := t.At(len([]rune(t.Text[:offset])) + 1)
		wrong = append(wrong, fault.Violation{File: t.File, Line: line, Col: col, Path: path, Got: got, Want: want, Code: code, Fix: fix})
	}
	var b strings.Builder
	replaced := false
	for i := 0; i < len(t.Text); {
		rest := t.Text[i:]
		switch m := variable.FindStringSubmatch(rest); {
		case strings.HasPrefix(rest, "$${"):
			b.WriteString("${")
			i += len("$${")
		case m != nil:
			value, ok := vars.Lookup(m[1])
			if !ok {
				refuse(i, "the unknown variable "+m[0], vars.Want, ruleVariable, fault.DidYouMean(m[1], vars.Known))
			}
			b.WriteString(value)
			replaced = true
			i += len(m[0])
		case strings.HasPrefix(rest, "${"):
			refuse(i, fmt.Sprintf("%q", cut(rest)), "${NAME} with letters, digits and '_'", ruleRefer, "$${ stands for ${ itself")
			t.Kind = connectors.TreeBroken
			return wrong
		default:
			b.WriteByte(rest[0])
			i++
		}
	}
	if len(wrong) > 0 {
		t.Kind = connectors.TreeBroken
		return wrong
	}
	if replaced {
		t.Raw, t.Quoted = t.Text, false
	}
	t.Text, t.Verbatim = b.String(), false
	return nil
}

// cut is the beginning of a reference.
func cut(s string) string {
	if i := strings.IndexByte(s, '}'); i >= 0 && i < 20 {
		return s[:i+1]
	}
	if r := []rune(s); len(r) > 20 {
		return string(r[:20]) + "…"
	}
	return s
}
