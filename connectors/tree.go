package connectors

// Tree is one value of a configuration with its place: what a YAML or JSON file was parsed to, after the expansion of
// ${ENV} and ${param}. Binders and the flow grammar read it, so that every mistake can name its line and column.
type Tree struct {
	Kind TreeKind
	// File, Line and Col (from 1) are where the value starts; zero when the configuration was built in Go.
	File      string
	Line, Col int
	// Text is a scalar as written, after expansion and without quotes.
	Text string
	// Raw is a scalar before expansion, empty when nothing was expanded. Messages and plans show it instead of Text: what came from
	// the environment may be a secret.
	Raw string
	// Quoted says that a scalar was in quotes: then it is a string, whatever it looks like. A scalar with an expansion never
	// counts as quoted, because inside braces it has to be.
	Quoted bool
	// Verbatim says that Text stands in the file just so, on one line, and starts at Col (one later when Quoted).
	Verbatim bool
	// Comment says that a scalar without quotes is followed by a comment in its line: what was meant as part of it may be cut off.
	Comment bool
	// Fields are a map's entries, in the order of the file; no key is there twice.
	Fields []TreeField
	// Items are a list's elements.
	Items []*Tree
}

// TreeField is one entry of a map, with the place of its key.
type TreeField struct {
	Key       string
	Line, Col int
	Value     *Tree
}

// TreeKind is the shape of a Tree.
type TreeKind uint8

// The shapes.
const (
	TreeNull TreeKind = iota
	TreeScalar
	TreeList
	TreeMap
	// TreeBroken stands for a value whose mistake has been told already: readers pass it over.
	TreeBroken
)

// Field finds a map's entry by its key; nil when there is none.
func (t *Tree) Field(key string) *Tree {
	for i := range t.Fields {
		if t.Fields[i].Key == key {
			return t.Fields[i].Value
		}
	}
	return nil
}

// At is where column col (from 1) of a scalar's text is in the file; the start of the scalar when that can not be told.
func (t *Tree) At(col int) (line, column int) {
	switch {
	case !t.Verbatim:
		return t.Line, t.Col
	case t.Quoted:
		return t.Line, t.Col + col
	}
	return t.Line, t.Col + col - 1
}

// Show is the value as a message quotes it: scalars as written, before expansion and cut to a sensible length.
func (t *Tree) Show() string {
	switch {
	case t == nil || t.Kind == TreeNull:
		return "nothing"
	case t.Kind == TreeList:
		return "a list"
	case t.Kind == TreeMap:
		return "a map"
	case t.Raw != "":
		return cut(t.Raw)
	case t.Quoted:
		return `"` + cut(t.Text) + `"`
	case t.Text == "":
		return `""`
	}
	return cut(t.Text)
}

// cut shortens what is shown in one line of a message.
func cut(s string) string {
	const most = 60
	for i, r := range s {
		if r < ' ' && r != '\t' || i >= most {
			return s[:i] + "…"
		}
	}
	return s
}
