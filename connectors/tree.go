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
	// Quoted says that a scalar was in quotes: then it is a string, whatever it looks like.
	Quoted bool
	// Fields are a map's entries, in the order of the file.
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
