package expr

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/parser/lexer"

	"github.com/activedataflow/adf/record/row"
)

// longest is the length of the longest expression, in bytes.
const longest = 1 << 14

// ordinary makes the parser treat every function as an ordinary one: which there are and what they take is ours to say.
var ordinary = func() conf.FunctionsTable {
	t := conf.FunctionsTable{}
	for _, f := range builtin.Builtins {
		t[f.Name] = f
	}
	return t
}()

// parse gives the tree of an expression that uses no syntax beyond ours. The error is an *Error.
func parse(text string) (ast.Node, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	tree, err := parser.ParseWithConfig(text, &conf.Config{MaxNodes: conf.DefaultMaxNodes, Functions: ordinary})
	if err != nil {
		return nil, parseError(tokens, err)
	}
	return tree.Node, nil
}

// lex cuts an expression into tokens, the last of them EOF, and refuses syntax that is not ours.
func lex(text string) ([]lexer.Token, error) {
	if len(text) > longest {
		return nil, &Error{Col: longest + 1, Got: fmt.Sprintf("an expression of %d bytes", len(text)), Want: fmt.Sprintf("at most %d", longest)}
	}
	if !utf8.ValidString(text) {
		return nil, &Error{Col: 1, Got: "bytes that are not UTF-8", Want: "a text"}
	}
	l := lexer.New()
	l.Reset(file.NewSource(text))
	var tokens []lexer.Token
	for {
		t, err := l.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, lexError(text, tokens, err)
		}
		if t.Kind == lexer.EOF {
			t.From = utf8.RuneCountInString(text)
		}
		tokens = append(tokens, t)
	}
	if len(tokens) == 1 {
		return nil, &Error{Col: 1, Got: "nothing", Want: "an expression"}
	}
	for i, t := range tokens {
		if r, ok := refused[t.Value]; ok && t.Kind == lexer.Operator && (i == 0 || !strings.HasSuffix(tokens[i-1].Value, ".")) {
			return nil, &Error{Col: t.From + 1, Got: r[0], Want: r[1], Fix: r[2]}
		}
	}
	return tokens, nil
}

// refused is syntax that the parser knows and we do not: got, want, fix.
var refused = map[string][3]string{
	"|":    {`"|"`, `"||" for or, or a call as upper(name)`, ""},
	"::":   {`"::"`, "a call as upper(name)", ""},
	"..":   {`".."`, "bounds written out: ranges are not part of the language", "use x >= 1 and x <= 9"},
	"let":  {`"let"`, "one expression without names of its own", "set the value as a field first"},
	";":    {`";"`, "one expression", ""},
	"if":   {`"if"`, "condition ? value : other", ""},
	"else": {`"else"`, "condition ? value : other", ""},
	"#":    {`"#"`, "columns: closures are not part of the language", ""},
	"=":    {`"="`, "a comparison", `did you mean "=="?`},
	"&":    {`"&"`, "an operator", `did you mean "&&"?`},
}

func lexError(text string, tokens []lexer.Token, err error) error {
	var e *file.Error
	if !errors.As(err, &e) {
		return &Error{Col: 1, Got: err.Error(), Want: "an expression"}
	}
	// The token that is wrong begins behind the last one that is right.
	start := 0
	if len(tokens) > 0 {
		start = tokens[len(tokens)-1].To
	}
	rest := []rune(text)[start:]
	for len(rest) > 0 && strings.ContainsRune(" \t\r\n", rest[0]) {
		start, rest = start+1, rest[1:]
	}
	switch {
	case strings.HasPrefix(e.Message, "literal not terminated"):
		return &Error{Col: start + 1, Got: "a text without its closing quote", Want: "it on the same line"}
	case strings.HasPrefix(e.Message, "invalid char escape"), strings.HasPrefix(e.Message, "unable to unescape"):
		return &Error{Col: start + 1, Got: "an unknown escape in a text", Want: `one of \n \t \\ \" \' \xFF \u00FF`, Fix: "a text in `backticks` has no escapes"}
	case strings.HasPrefix(e.Message, "unrecognized character"):
		return &Error{Col: e.From + 1, Got: strconv.Quote(string([]rune(text)[min(e.From, utf8.RuneCountInString(text)-1)])), Want: "an expression"}
	case strings.HasPrefix(e.Message, "bad number syntax"):
		return &Error{Col: start + 1, Got: strings.TrimPrefix(e.Message, "bad number syntax: "), Want: "a number"}
	}
	return &Error{Col: start + 1, Got: e.Message, Want: "an expression"}
}

// other are words of other languages, and what they are called here.
var other = map[string]string{
	"and": `did you mean "and"?`, "or": `did you mean "or"?`, "not": `did you mean "not"?`, "in": `did you mean "in"?`,
	"is": "null is tested with x == null", "like": "use matches, contains, startsWith or endsWith", "between": "use x >= 1 and x <= 9",
}

func parseError(tokens []lexer.Token, err error) error {
	var e *file.Error
	if !errors.As(err, &e) {
		return &Error{Col: 1, Got: err.Error(), Want: "an expression"}
	}
	i := len(tokens) - 1
	if !strings.HasSuffix(e.Message, "token EOF") && e.Message != "unexpected end of expression" {
		for i = 0; i < len(tokens)-1 && tokens[i].From != e.From; i++ {
		}
	}
	t := tokens[i]
	switch {
	case strings.Contains(e.Message, "exceeds maximum allowed nodes"):
		return &Error{Col: t.From + 1, Got: "too long an expression", Want: fmt.Sprintf("at most %d values and operators", conf.DefaultMaxNodes)}
	case strings.Contains(e.Message, "literal") && i > 0: // the parser is one token ahead
		n := tokens[i-1]
		want := "a number that fits int64"
		if strings.Contains(e.Message, "float") {
			want = "a number that fits float64"
		}
		return &Error{Col: n.From + 1, Got: n.Value, Want: want}
	case strings.Contains(e.Message, "coalesce expressions"):
		return &Error{Col: t.From + 1, Got: strconv.Quote(t.Value) + " beside ??", Want: "parentheses around one of them"}
	case e.Message == "expected name":
		i = max(i-1, 0)
		t = tokens[i]
	}
	got := strconv.Quote(t.Value)
	if t.Kind == lexer.EOF {
		got = "the end"
	}
	out := &Error{Col: t.From + 1, Got: got, Want: "a value"}
	if t.Kind == lexer.Identifier {
		out.Fix = other[strings.ToLower(t.Value)]
	}
	if t.Value == ">" && i > 0 && tokens[i-1].Value == "<" {
		out.Fix = `did you mean "!="?`
	}
	if i > 0 && strings.HasSuffix(tokens[i-1].Value, ".") && tokens[i-1].Kind == lexer.Operator {
		out.Want = "a field's name"
	}
	if i == 0 || !endsValue(tokens[i-1]) {
		return out
	}
	out.Want = "an operator or the end"
	var open []string
	for _, b := range tokens[:i] {
		switch {
		case b.Kind != lexer.Bracket:
		case strings.Contains("([{", b.Value):
			open = append(open, b.Value)
		case len(open) > 0:
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		out.Want = fmt.Sprintf("an operator or %q", map[string]string{"(": ")", "[": "]", "{": "}"}[open[len(open)-1]])
	}
	return out
}

// endsValue says whether a value can end with the token.
func endsValue(t lexer.Token) bool {
	return t.Kind != lexer.Operator && (t.Kind != lexer.Bracket || strings.Contains(")]}", t.Value))
}

// CompileCall takes a text that is one call of a function apart, as an aggregate is, and compiles its arguments: mean(dep_delay * 2) is "mean" and
// the expression dep_delay * 2. The function need not be one of the language. The error is an *Error, whose column is that in the whole text.
func CompileCall(text string, in *row.Schema) (fn string, args []*Expr, err error) {
	fn, parts, err := cutCall(text)
	if err != nil {
		return "", nil, err
	}
	for _, p := range parts {
		x, err := compileAt(p.text, p.behind, in)
		if err != nil {
			return "", nil, err
		}
		args = append(args, x)
	}
	return fn, args, nil
}

// part is an argument and how many characters stand before it.
type part struct {
	text   string
	behind int
}

func cutCall(text string) (fn string, args []part, err error) {
	tokens, err := lex(text)
	if err != nil {
		return "", nil, err
	}
	const want = "one call of a function, as count() or mean(x)"
	if len(tokens) < 4 || tokens[0].Kind != lexer.Identifier || tokens[1].Value != "(" || tokens[1].Kind != lexer.Bracket {
		return "", nil, &Error{Col: 1, Got: strconv.Quote(text), Want: want}
	}
	runes, depth, last := []rune(text), 1, 1
	for i := 2; i < len(tokens)-1; i++ {
		t := tokens[i]
		closing := false
		switch {
		case t.Kind == lexer.Bracket && strings.Contains("([{", t.Value):
			depth++
		case t.Kind == lexer.Bracket:
			depth--
			closing = depth == 0
		}
		if closing || depth == 1 && t.Kind == lexer.Operator && t.Value == "," {
			if i > last+1 {
				from, to := tokens[last+1].From, tokens[i-1].To
				args = append(args, part{string(runes[from:to]), from})
			} else if len(args) > 0 || !closing {
				return "", nil, &Error{Col: t.From + 1, Got: strconv.Quote(t.Value), Want: "an argument"}
			}
			last = i
		}
		if closing {
			if next := tokens[i+1]; next.Kind != lexer.EOF {
				return "", nil, &Error{Col: next.From + 1, Got: strconv.Quote(next.Value), Want: "the end: " + want}
			}
			if t.Value != ")" {
				return "", nil, &Error{Col: t.From + 1, Got: strconv.Quote(t.Value), Want: `")"`}
			}
			return tokens[0].Value, args, nil
		}
	}
	return "", nil, &Error{Col: tokens[len(tokens)-1].From + 1, Got: "the end", Want: `")"`}
}
