package yaml

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

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
	value, start := valueIn(p.line(line))
	inside := strings.ContainsAny(p.line(line), "{[")
	switch {
	case strings.Contains(message, "tab character") || strings.Contains(message, "'\\t'") || strings.Contains(message, "'\t'"):
		p.refuse(line, col, "", "a tab", "spaces as indentation", ruleTab, "")
	case value != "" && strings.ContainsAny(value[:1], "!&*%@`|>?"):
		p.refuse(line, start, "", "a value that begins with "+value[:1], "a value in quotes", ruleFirst,
			fmt.Sprintf("%s means something to YAML: write '%s'", value[:1], strings.ReplaceAll(value, "'", "''")))
	case strings.HasPrefix(message, "value is not allowed in this context. map key-value is pre-defined") && value != "" && strings.ContainsAny(value[:1], `"'`):
		p.refuse(line, start, "", "text behind a closing quote", "the whole value in quotes", ruleQuotes,
			"an expression with quotes at its start goes into the other kind of quotes")
	case message == "mapping value is not allowed in this context":
		p.refuse(line, col, "", `": " inside a value`, "the value in quotes", ruleColon, `": " separates a key from its value, so an expression with it needs quotes`)
	case inside && strings.HasPrefix(message, "',' or") || message == "could not find flow map content":
		p.refuse(line, col, "", "a brace, bracket or comma inside a value", "the value in quotes", ruleInner,
			`inside {…} and […] an expression or a ${NAME} with any of { } [ ] , needs quotes`)
	default:
		p.refuse(line, col, "", message, "YAML", ruleSyntax, "")
	}
}

var keyInFront = regexp.MustCompile(`^[\s{\[,-]*("[^"]*"|'[^']*'|[^\s:{}\[\],"']+):\s+`)

// valueIn finds the value behind the last key that a line begins with, and its column.
func valueIn(line string) (value string, col int) {
	col = 1
	for rest := line; ; {
		m := keyInFront.FindString(rest)
		if m == "" {
			if col == 1 {
				return "", 1
			}
			return strings.TrimRight(rest, " \t"), col
		}
		rest = rest[len(m):]
		col += len([]rune(m))
	}
}
