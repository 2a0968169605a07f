package expr

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/row"
)

// Error is a mistake in an expression: where it is, what was found and what was expected.
type Error struct {
	// Col is the place in the expression's text, in characters from 1.
	Col int
	// Got is what was found, Want what was expected, as a reader would write them.
	Got, Want string
	// Fix is an optional sentence more, as `did you mean "dep_delay"?`.
	Fix string
}

// Error is `column 8: got X, want Y; did you mean Z?`.
func (e *Error) Error() string {
	text := fmt.Sprintf("column %d: got %s, want %s", e.Col, e.Got, e.Want)
	if e.Fix != "" {
		text += "; " + e.Fix
	}
	return text
}

// failure is what keeps a record's value from being computed.
type failure struct {
	Error
	code string
}

// fail notes a failure; the value of the whole expression does not count any more.
func (e *Env) fail(at int, code, got, want string) row.Value {
	if e.err == nil {
		e.err = &failure{Error{Col: at, Got: got, Want: want}, code}
	}
	return row.Null()
}

// fault makes the error of a record from a failure.
func (f *failure) fault(text string) error {
	return &fault.RuntimeError{Detail: fault.Detail{Code: f.code, Doing: "evaluate " + strconv.Quote(text), Retry: fault.RetryNever, Err: &f.Error}}
}

// show is a value as a message shows it.
func show(v row.Value) string {
	switch v.Kind() {
	case row.KindNull:
		return "null"
	case row.KindString:
		return row.Quote(v.Bytes())
	}
	return string(row.AppendText(nil, v))
}

// list shows names for a message, not too many of them.
func list(names []string) string {
	const most = 12
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", …"
	}
	return strings.Join(names, ", ")
}
