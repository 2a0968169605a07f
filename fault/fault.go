package fault

import (
	"errors"
	"fmt"
	"strings"
)

// Retry says whether doing the same thing again can help.
type Retry uint8

const (
	// RetryUnknown is for causes that nobody has classified; a runtime treats it as RetryLater.
	RetryUnknown Retry = iota
	// RetryNever is for causes that stay until somebody changes the input, the configuration or the target.
	RetryNever
	// RetryLater is for causes that pass by themselves: a lost connection, a full disk, a lock.
	RetryLater
)

func (r Retry) String() string {
	switch r {
	case RetryNever:
		return "a retry does not help"
	case RetryLater:
		return "a retry can help"
	default:
		return "unknown whether a retry helps"
	}
}

// Detail is what every error of ActiveDataFlow tells. All fields but Err may be empty.
//
// Connectors fill Code, Doing, Connector, Split, At, Retry, Fix and Err; the runtime fills Flow, Run
// and Node once, by [Within].
type Detail struct {
	// Code is stable between releases: dotted lower case, as "file.csv.quote".
	Code string
	// Doing is what was being done, as "read row".
	Doing string
	// Connector is the registered type name, as "file".
	Connector string
	// Split is the id of the split, At the place inside it, as "flights.csv:3:7".
	Split, At string
	// Flow, Run and Node say where in the running flow it happened.
	Flow, Run, Node string
	// Retry says whether a retry helps.
	Retry Retry
	// Fix is one sentence that tells the reader what to do.
	Fix string
	// Stack is the stack of a panic in user code, else empty.
	Stack string
	// Err is the cause.
	Err error
}

// ConfigurationError is a mistake in a flow, an option or a command line: nothing has run yet.
// A retry never helps.
type ConfigurationError struct {
	Detail
	// Violations are all mistakes found at once, in the order of their place; empty when Err says it all.
	Violations []Violation
}

// SourceError is a failure to find, open, read or decode input.
type SourceError struct{ Detail }

// SinkError is a failure to encode, write or commit output.
type SinkError struct{ Detail }

// RuntimeError is a failure of the flow itself: user code, state, checkpoints, a lost claim.
type RuntimeError struct{ Detail }

func (e *ConfigurationError) Error() string {
	if len(e.Violations) == 0 {
		return e.text("configuration")
	}
	lines := make([]string, len(e.Violations))
	for i, v := range e.Violations {
		lines[i] = v.Error()
	}
	return strings.Join(lines, "\n")
}
func (e *SourceError) Error() string  { return e.text("source") }
func (e *SinkError) Error() string    { return e.text("sink") }
func (e *RuntimeError) Error() string { return e.text("runtime") }

// Unwrap gives the cause.
func (d *Detail) Unwrap() error { return d.Err }

// FaultDetail gives the error's own detail, for [DetailOf].
func (d *Detail) FaultDetail() *Detail { return d }

// text is `source file: read row: data.csv:3:7: cause (node a, split b) [code]; fix`.
func (d *Detail) text(kind string) string {
	var b strings.Builder
	b.WriteString(kind)
	if d.Connector != "" {
		b.WriteString(" " + d.Connector)
	}
	for _, s := range []string{d.Doing, d.At} {
		if s != "" {
			b.WriteString(": " + s)
		}
	}
	if d.Err != nil {
		b.WriteString(": " + d.Err.Error())
	}
	var where []string
	for _, w := range [][2]string{{"flow", d.Flow}, {"run", d.Run}, {"node", d.Node}, {"split", d.Split}} {
		if w[1] != "" {
			where = append(where, w[0]+" "+w[1])
		}
	}
	if len(where) > 0 {
		b.WriteString(" (" + strings.Join(where, ", ") + ")")
	}
	if d.Code != "" {
		b.WriteString(" [" + d.Code + "]")
	}
	if d.Fix != "" {
		b.WriteString("; " + d.Fix)
	}
	return b.String()
}

// Violation is one mistake in a configuration: where it is, what was found and what was expected.
type Violation struct {
	// File, Line and Col (both from 1) are zero when the configuration did not come from a file; Col alone is when it is Go code.
	File      string
	Line, Col int
	// Path is the dotted path of the option, as "sources.flights.file.path".
	Path string
	// Got is what was found, Want what was expected, both as a reader would write them.
	Got, Want string
	// Code is stable between releases, as "yaml.unknown_key".
	Code string
	// Fix is an optional sentence more, as `did you mean "path"?`.
	Fix string
}

// Error is `file:line:col path: got X, want Y`; what is zero is left out.
func (v Violation) Error() string {
	var b strings.Builder
	if v.File != "" {
		b.WriteString(v.File + ":")
	}
	if v.Line > 0 && v.Col > 0 {
		fmt.Fprintf(&b, "%d:%d ", v.Line, v.Col)
	} else if v.Line > 0 {
		fmt.Fprintf(&b, "%d ", v.Line)
	} else if v.File != "" {
		b.WriteByte(' ')
	}
	if v.Path != "" {
		b.WriteString(v.Path + ": ")
	}
	b.WriteString("got " + v.Got + ", want " + v.Want)
	if v.Fix != "" {
		b.WriteString("; " + v.Fix)
	}
	return b.String()
}

// Config makes a ConfigurationError of violations; nil when there are none.
func Config(vs ...Violation) error {
	if len(vs) == 0 {
		return nil
	}
	return &ConfigurationError{Detail: Detail{Code: vs[0].Code, Retry: RetryNever}, Violations: vs}
}

// DetailOf gives the detail of the outermost fault in err's tree; ok is false when there is none.
func DetailOf(err error) (d *Detail, ok bool) {
	var f interface{ FaultDetail() *Detail }
	if !errors.As(err, &f) {
		return nil, false
	}
	return f.FaultDetail(), true
}

// Retryable says whether a retry can help: the outermost fault that is classified decides; an error
// that nobody classified counts as retryable, configuration errors never do.
func Retryable(err error) bool {
	for err != nil {
		var c *ConfigurationError
		if errors.As(err, &c) {
			return false
		}
		d, ok := DetailOf(err)
		if !ok {
			return true
		}
		if d.Retry != RetryUnknown {
			return d.Retry == RetryLater
		}
		err = d.Err
	}
	return true
}

// Within completes err with where in the running flow it happened; what is filled already stays.
// An error that is no fault becomes a RuntimeError. The given error is not changed. Nil stays nil.
func Within(err error, flow, run, node string) error {
	if err == nil {
		return nil
	}
	if j, ok := err.(interface{ Unwrap() []error }); ok && len(j.Unwrap()) == 1 {
		err = j.Unwrap()[0] // joined with nothing
	}
	fill := func(d Detail) Detail {
		if d.Flow == "" {
			d.Flow = flow
		}
		if d.Run == "" {
			d.Run = run
		}
		if d.Node == "" {
			d.Node = node
		}
		return d
	}
	switch e := err.(type) { // the outermost only: what wraps a fault in plain text keeps its text
	case *ConfigurationError:
		return &ConfigurationError{fill(e.Detail), e.Violations}
	case *SourceError:
		return &SourceError{fill(e.Detail)}
	case *SinkError:
		return &SinkError{fill(e.Detail)}
	case *RuntimeError:
		return &RuntimeError{fill(e.Detail)}
	}
	d := Detail{Err: err}
	if inner, ok := DetailOf(err); ok {
		d.Retry, d.Code = inner.Retry, ""
	}
	return &RuntimeError{fill(d)}
}
