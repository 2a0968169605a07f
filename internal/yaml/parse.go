package yaml

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
)

// Limits on what is read. The parser takes time with the square of the tokens: keys, values, colons, brackets, commas.
const (
	MaxBytes  = 1 << 20
	MaxTokens = 40_000
	MaxDepth  = 64
)

// The rules of reading. Each is the code of the violations that it finds, stable between releases.
const (
	ruleSize     = "yaml.size"      // a file that is too long or nested too deeply
	ruleText     = "yaml.text"      // bytes that are no UTF-8 text
	ruleSyntax   = "yaml.syntax"    // what YAML does not allow
	ruleColon    = "yaml.colon"     // ": " inside a value without quotes
	ruleOpen     = "yaml.open"      // a brace or bracket that is not closed
	ruleQuotes   = "yaml.quotes"    // text behind a closing quote
	ruleInner    = "yaml.inner"     // braces, brackets or commas in a value without quotes inside {…} or […]
	ruleFirst    = "yaml.first"     // a value that begins with a character that means something to YAML
	ruleIndent   = "yaml.indent"    // entries that are not indented alike
	ruleTab      = "yaml.tab"       // a tab as indentation
	ruleComment  = "yaml.comment"   // a comment that cuts off a value inside {…} or […]
	ruleTag      = "yaml.tag"       // a tag, most likely an expression that begins with "!"
	ruleAnchor   = "yaml.anchor"    // anchors and aliases
	ruleMerge    = "yaml.merge"     // merge keys
	ruleKey      = "yaml.key"       // a key that is no scalar, or has a reference in it
	ruleValue    = "yaml.value"     // a key inside {…} without ":" and a value
	ruleTwice    = "yaml.duplicate" // a key that is there twice in one map
	ruleMany     = "yaml.documents" // several documents in one file
	ruleVariable = "yaml.variable"  // a reference to something that is not defined
	ruleRefer    = "yaml.reference" // a reference that is not well formed
)

// Parse reads one document. An empty file is null. References are not expanded yet, see [Expand]. With violations there may be
// a tree all the same, of what could be read. The file's name is for messages.
func Parse(file string, data []byte) (tree *connectors.Tree, wrong []fault.Violation) {
	p := &reader{file: file}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	switch {
	case len(data) > MaxBytes:
		p.refuse(1, 1, "", fmt.Sprintf("a file of %d bytes", len(data)), fmt.Sprintf("at most %d", MaxBytes), ruleSize, "")
		return nil, p.wrong
	case !utf8.Valid(data):
		p.notText(data)
		return nil, p.wrong
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	p.lines = strings.Split(text, "\n")
	defer func() { // the parser is somebody else's: a mistake in it is a message, not the end of the program
		if x := recover(); x != nil {
			tree = nil
			p.refuse(1, 1, "", "what YAML does not allow", "YAML", ruleSyntax, "")
			wrong = p.wrong
		}
	}()
	tokens := lexer.Tokenize(text)
	if len(tokens) > MaxTokens {
		p.refuse(1, 1, "", fmt.Sprintf("a file of %d tokens", len(tokens)), fmt.Sprintf("at most %d", MaxTokens), ruleSize, "")
		return nil, p.wrong
	}
	if !p.shallow(tokens) {
		return nil, p.wrong
	}
	if p.plain(tokens); len(p.wrong) > 0 {
		return nil, p.wrong
	}
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p.syntax(err)
		return nil, p.wrong
	}
	var body ast.Node
	for _, d := range f.Docs {
		switch {
		case d.Body == nil:
		case d.Body.Type() == ast.DirectiveType:
			p.refuseAt(d.Body, "", "a directive", "a document without directives", ruleSyntax, "")
			return nil, p.wrong
		case body != nil:
			p.refuseAt(d.Body, "", "a second document", "one document in a file", ruleMany, "")
			return nil, p.wrong
		default:
			body = d.Body
		}
	}
	if body == nil {
		return &connectors.Tree{File: file, Line: 1, Col: 1}, nil
	}
	tree = p.tree(body, "")
	return tree, p.wrong
}

// reader turns the parser's nodes into a tree.
type reader struct {
	file     string
	lines    []string
	comments map[int]int     // line → column of its comment
	cut      *token.Position // of the last comment inside braces or brackets that is behind an open parenthesis
	depth    int
	wrong    []fault.Violation
}

func (p *reader) refuse(line, col int, path, got, want, code, fix string) {
	p.wrong = append(p.wrong, fault.Violation{File: p.file, Line: line, Col: col, Path: path, Got: got, Want: want, Code: code, Fix: fix})
}

func (p *reader) refuseAt(n ast.Node, path, got, want, code, fix string) {
	line, col := place(n)
	p.refuse(line, col, path, got, want, code, fix)
}

// place is where a node starts.
func place(n ast.Node) (line, col int) {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		n = m.Values[0].Key // the token of a block map is its first colon
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		n = m.Key
	}
	at := n.GetToken().Position
	return at.Line, max(at.Column, 1)
}

func (p *reader) notText(data []byte) {
	line, col := 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size == 1 {
			p.refuse(line, col, "", fmt.Sprintf("the byte 0x%02x", data[0]), "text in UTF-8", ruleText, "")
			return
		}
		if col++; r == '\n' {
			line, col = line+1, 1
		}
		data = data[size:]
	}
}

// plain notes where comments are, and refuses tags, anchors and aliases: the parser takes what follows for a part of them.
func (p *reader) plain(tokens token.Tokens) {
	p.comments = map[int]int{}
	flow := 0
	for _, t := range tokens {
		line, col := t.Position.Line, max(t.Position.Column, 1)
		if n := len(p.wrong); n > 0 && p.wrong[n-1].Line == line {
			continue
		}
		const quotes = "an expression that begins with %q needs quotes"
		const twice = "what is used twice goes into params, as ${NAME}; " + quotes
		switch t.Type {
		case token.CommentType:
			p.comments[line] = col
			if before := p.before(line, col); flow > 0 && strings.Count(before, "(") > strings.Count(before, ")") {
				p.cut = t.Position
			}
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.TagType:
			p.refuse(line, col, "", "the YAML tag "+t.Value, "a value without one", ruleTag, fmt.Sprintf(quotes, "!"))
		case token.AnchorType:
			p.refuse(line, col, "", "an anchor", "a value without one", ruleAnchor, fmt.Sprintf(twice, "&"))
		case token.AliasType:
			p.refuse(line, col, "", "an alias", "the value itself", ruleAnchor, fmt.Sprintf(twice, "*"))
		}
	}
}

// shallow refuses nesting that the parser, which is recursive, should not see.
func (p *reader) shallow(tokens token.Tokens) bool {
	flow, entries, line := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, entries = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			entries++
		}
		indent := 0
		if line > 0 && line <= len(p.lines) {
			indent = len(p.lines[line-1]) - len(strings.TrimLeft(p.lines[line-1], " "))
		}
		if flow > MaxDepth || entries > MaxDepth || t.Type != token.CommentType && indent > 8*MaxDepth {
			p.refuse(line, max(t.Position.Column, 1), "", "values nested too deeply", fmt.Sprintf("at most %d levels", MaxDepth), ruleSize, "")
			return false
		}
	}
	return true
}

// tree turns a node and what is below it into a tree; what is refused becomes a broken one.
func (p *reader) tree(n ast.Node, path string) *connectors.Tree {
	line, col := place(n)
	t := &connectors.Tree{File: p.file, Line: line, Col: col}
	broken := func(got, want, code, fix string) {
		p.refuse(line, col, path, got, want, code, fix)
		t.Kind = connectors.TreeBroken
	}
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > MaxDepth {
		broken("values nested too deeply", fmt.Sprintf("at most %d levels", MaxDepth), ruleSize, "")
		return t
	}
	switch n := n.(type) {
	case *ast.NullNode:
	case *ast.MappingNode:
		t.Kind = connectors.TreeMap
		p.fields(t, n.Values, path)
	case *ast.MappingValueNode:
		t.Kind = connectors.TreeMap
		p.fields(t, []*ast.MappingValueNode{n}, path)
	case *ast.SequenceNode:
		t.Kind = connectors.TreeList
		for i, item := range n.Values {
			t.Items = append(t.Items, p.tree(item, fmt.Sprintf("%s[%d]", path, i)))
		}
	case *ast.LiteralNode:
		t.Kind, t.Text, t.Quoted = connectors.TreeScalar, n.Value.Value, true
	case ast.ScalarNode:
		p.scalar(t, n.GetToken())
	default:
		broken("a "+strings.ToLower(n.Type().YAMLName()), "a map, a list or a scalar", ruleSyntax, "")
	}
	return t
}

// rest is what stands in a line from a column on.
func (p *reader) rest(line, col int) string {
	r := []rune(p.line(line))
	if col > len(r) {
		return ""
	}
	return strings.TrimRight(string(r[col-1:]), " ")
}

// before is what stands in a line in front of a column.
func (p *reader) before(line, col int) string {
	r := []rune(p.line(line))
	return string(r[:min(col-1, len(r))])
}

func (p *reader) line(n int) string {
	if n < 1 || n > len(p.lines) {
		return ""
	}
	return p.lines[n-1]
}

func (p *reader) scalar(t *connectors.Tree, tk *token.Token) {
	t.Kind, t.Text = connectors.TreeScalar, tk.Value
	t.Quoted = tk.Type == token.DoubleQuoteType || tk.Type == token.SingleQuoteType
	written := tk.Value
	if t.Quoted {
		quote := `"`
		if tk.Type == token.SingleQuoteType {
			quote = "'"
		}
		written = quote + written + quote
	}
	t.Verbatim = strings.HasPrefix(p.rest(t.Line, t.Col), written)
	if !t.Quoted {
		end := t.Line + strings.Count(strings.TrimSpace(tk.Origin), "\n")
		t.Comment = p.comments[end] > 0 && (end > t.Line || p.comments[end] > t.Col)
	}
}

func (p *reader) fields(t *connectors.Tree, values []*ast.MappingValueNode, path string) {
	seen := map[string]int{}
	for _, v := range values {
		key := v.Key.GetToken()
		line, col := place(v.Key)
		at := key.Value
		if path != "" {
			at = path + "." + at
		}
		switch {
		case v.Key.IsMergeKey():
			p.refuse(line, col, path, "the merge key <<", "the keys themselves", ruleMerge, "")
			t.Kind = connectors.TreeBroken
			continue
		case !scalarKey(v.Key):
			p.refuse(line, col, path, "a key that is no plain text", "KEY: VALUE", ruleKey, "")
			t.Kind = connectors.TreeBroken
			continue
		case v.Start.Type != token.MappingValueType:
			p.refuse(line, col, path, fmt.Sprintf("%q without a value", key.Value), "KEY: VALUE", ruleValue,
				"inside {…} a comma ends a value: an expression or a type with a comma needs quotes")
			continue
		case strings.Contains(key.Value, "${"):
			p.refuse(line, col, at, "a reference in a key", "references in values only", ruleKey, "")
			t.Kind = connectors.TreeBroken
			continue
		case seen[key.Value] > 0:
			p.refuse(line, col, at, "the key a second time", fmt.Sprintf("each key once; the first is in line %d", seen[key.Value]), ruleTwice, "")
			continue
		}
		seen[key.Value] = line
		value := p.tree(v.Value, at)
		if value.Kind == connectors.TreeNull {
			value.Line, value.Col = line, col
		}
		t.Fields = append(t.Fields, connectors.TreeField{Key: key.Value, Line: line, Col: col, Value: value})
	}
}

func scalarKey(k ast.MapKeyNode) bool {
	switch k.(type) {
	case *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode, *ast.InfinityNode, *ast.NanNode:
		return true
	}
	return false
}
