package yaml

import (
	"errors"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/token"
)

// syntax tells what the parser did not understand, and what was most likely meant.
func (p *reader) syntax(err error) {
	var e interface {
		GetMessage() string
		GetToken() *token.Token
	}
	if !errors.As(err, &e) || e.GetToken() == nil {
		p.refuse(1, 1, "", err.Error(), "YAML", ruleSyntax, "")
		return
	}
	at, message := e.GetToken().Position, e.GetMessage()
	line, col := at.Line, max(at.Column, 1)
	value, start := p.valueAt(line, col)
	broken := strings.HasPrefix(message, "',' or") || message == "could not find flow map content" || strings.Contains(message, "end token")
	switch {
	case broken && p.cut != nil && p.cut.Line <= line+1:
		p.refuse(p.cut.Line, p.cut.Column, "", "a comment inside {…} or […]", "the value in front of it in quotes", ruleComment,
			`" #" begins a comment, so an expression with it needs quotes`)
	case strings.Contains(message, "tab character") || strings.Contains(message, "'\\t'") || strings.Contains(message, "'\t'"):
		p.refuse(line, col, "", "a tab", "spaces as indentation", ruleTab, "")
	case value != "" && (strings.ContainsAny(value[:1], "!&*%@`|>?") || strings.HasPrefix(value, "- ")):
		p.refuse(line, start, "", "a value that begins with "+value[:1], "the value in quotes", ruleFirst, value[:1]+" at the beginning of a value means something to YAML")
	case value != "" && strings.ContainsAny(value[:1], `"'`) && (strings.HasSuffix(message, "map key-value is pre-defined") || strings.HasPrefix(message, "',' or")):
		p.refuse(line, start, "", "text behind a closing quote", "the whole value in quotes", ruleQuotes,
			"an expression with quotes at its beginning goes into the other kind of quotes")
	case message == "mapping value is not allowed in this context":
		p.refuse(line, col, "", `": " inside a value`, "the value in quotes", ruleColon, `": " separates a key from its value, so an expression with it needs quotes`)
	case strings.HasPrefix(message, "',' or") || message == "could not find flow map content":
		p.refuse(line, col, "", "a brace, bracket or comma inside a value", "the value in quotes", ruleInner,
			`inside {…} and […] an expression or a ${NAME} with any of { } [ ] , needs quotes`)
	case strings.Contains(message, "end token"):
		open := p.rest(line, col)
		if open != "" {
			open = open[:1]
		}
		p.refuse(line, col, "", open+" that is not closed", map[string]string{"{": "}", "[": "]"}[open]+" behind the last value", ruleOpen, "")
	case message == "value is not allowed in this context":
		p.refuse(line, col, "", "a value where none belongs", "the entries of a map or list indented alike", ruleIndent, "")
	default:
		p.refuse(line, col, "", "what YAML does not allow ("+message+")", "YAML", ruleSyntax, "")
	}
}

var keyInFront = regexp.MustCompile(`(?:^|[\s{\[,])(?:"[^"]*"|'[^']*'|[^\s:{}\[\],"']+):[ \t]+`)

// valueAt finds the value that a place in a line belongs to: what is behind the last key in front of it, up to the end of the line, and the column
// where that begins.
func (p *reader) valueAt(line, col int) (value string, start int) {
	text := p.line(line)
	for _, m := range keyInFront.FindAllStringIndex(text, -1) {
		at := utf8.RuneCountInString(text[:m[1]]) + 1
		if at > col && start > 0 {
			break
		}
		value, start = strings.TrimRight(text[m[1]:], " \t"), at
	}
	return value, start
}
