package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/fault"
)

// failure is an error as it is told: what happened, where, and what to do.
type failure struct {
	Code       string      `json:"code"`
	Message    string      `json:"message"`
	Violations []violation `json:"violations,omitempty"`
	Flow       string      `json:"flow,omitempty"`
	Run        string      `json:"run,omitempty"`
	Node       string      `json:"node,omitempty"`
	Split      string      `json:"split,omitempty"`
	At         string      `json:"at,omitempty"`
	// Retry is "never", "later" or "unknown".
	Retry string `json:"retry"`
	Fix   string `json:"fix,omitempty"`
	// Also are errors that came on top.
	Also []string `json:"also,omitempty"`
	// Stack is that of a panic in user code.
	Stack string `json:"stack,omitempty"`
	wrong bool   // a configuration error
}

// violation is one mistake in a configuration.
type violation struct {
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	Col  int    `json:"col,omitempty"`
	Path string `json:"path,omitempty"`
	Got  string `json:"got"`
	Want string `json:"want"`
	Fix  string `json:"fix,omitempty"`
	Code string `json:"code"`
}

func failureOf(err error) *failure {
	f := &failure{Retry: "later"}
	if !fault.Retryable(err) {
		f.Retry = "never"
	}
	f.Message = f.message(err)
	switch len(f.Violations) {
	case 0:
	case 1:
		f.Message = f.Violations[0].String()
	default:
		f.Message = counted(len(f.Violations), "mistake")
	}
	if f.Code == "" {
		f.Code = "unclassified"
	}
	return f
}

// message is the error's text without what has a field of its own, which it notes.
func (f *failure) message(err error) string {
	var d *fault.Detail
	switch e := err.(type) {
	case *fault.ConfigurationError:
		d, f.wrong = &e.Detail, true
		for _, v := range e.Violations {
			f.Violations = append(f.Violations, violation{v.File, v.Line, v.Col, v.Path, v.Got, v.Want, v.Fix, v.Code})
		}
	case *fault.SourceError:
		d = &e.Detail
	case *fault.SinkError:
		d = &e.Detail
	case *fault.RuntimeError:
		d = &e.Detail
	case interface{ Unwrap() []error }:
		all := e.Unwrap()
		for _, more := range all[1:] {
			also := &failure{}
			text := also.message(more)
			f.Violations = append(f.Violations, also.Violations...)
			if text != "" {
				f.Also = append(f.Also, text)
			}
		}
		return f.message(all[0])
	case interface{ Unwrap() error }:
		inner := e.Unwrap()
		text := f.message(inner)
		if inner == nil || err.Error() != inner.Error() {
			return err.Error()
		}
		return text
	default:
		return err.Error()
	}
	f.note(d)
	cause := ""
	if d.Err != nil {
		cause = f.message(d.Err)
	}
	var parts []string
	for _, p := range []string{d.Connector, d.Doing, d.At} {
		if p != "" && !strings.Contains(cause, p+": ") { // the cause tells it itself
			parts = append(parts, p)
		}
	}
	if cause != "" {
		parts = append(parts, cause)
	}
	return strings.Join(parts, ": ")
}

// note takes over a detail, as far as an outer one has not said it.
func (f *failure) note(d *fault.Detail) {
	for _, x := range []struct {
		to   *string
		from string
	}{
		{&f.Code, d.Code}, {&f.Flow, d.Flow}, {&f.Run, d.Run}, {&f.Node, d.Node}, {&f.Split, d.Split}, {&f.At, d.At}, {&f.Fix, d.Fix}, {&f.Stack, d.Stack},
	} {
		if *x.to == "" {
			*x.to = x.from
		}
	}
}

// wrong are the codes of errors that are about the command line, besides configuration errors.
var wrong = []string{"checkpoint.not_a_directory", "checkpoint.path"}

// refused are the codes of errors about the claim on a flow and about state that does not fit.
var refused = []string{
	"checkpoint.fenced", "checkpoint.behind", "checkpoint.dropped", "checkpoint.buckets", "checkpoint.corrupt", "checkpoint.version", "checkpoint.blob",
	"sink.gap", "sink.part", "state.restore",
}

func (f *failure) exitCode() int {
	switch {
	case f.wrong || slices.Contains(wrong, f.Code):
		return exitWrong
	case slices.Contains(refused, f.Code):
		return exitRefused
	}
	return exitFailed
}

// end tells how the command ended, and gives the exit code.
func (c *command) end(err error) int {
	switch {
	case err == nil:
		return c.code
	case c.interruptible && errors.Is(err, context.Canceled):
		c.tell(&failure{Code: "interrupted", Message: "a signal has ended it", Retry: "later"}, nil)
		return exitAtOnce
	case errors.Is(err, errAtOnce) || errors.Is(err, context.Canceled) && !errors.As(err, new(*fault.ConfigurationError)):
		err = fmt.Errorf("%w: the next run goes on from the last checkpoint", errAtOnce)
		c.tell(&failure{Code: "run.ended", Message: err.Error(), Retry: "later"}, nil)
		return exitAtOnce
	}
	f := failureOf(err)
	if f.Stack != "" && !c.debug && c.stacks != "" {
		f.Fix = c.stacks + " shows the stack"
	}
	var ran *failedRun
	if errors.As(err, &ran) {
		c.tell(f, &ran.result)
	} else {
		c.tell(f, nil)
	}
	return f.exitCode()
}

// failedRun is the error of a run, with what it had come to.
type failedRun struct {
	error
	result engine.Result
}

func (f *failedRun) Unwrap() error { return f.error }

// tell shows a failure.
func (c *command) tell(f *failure, r *engine.Result) {
	if c.json {
		c.answer(struct {
			Error  *failure       `json:"error"`
			Result *engine.Result `json:"result,omitempty"`
		}{f, r})
		return
	}
	f.write(c.stderr)
	if c.debug && f.Stack != "" {
		fmt.Fprintf(c.stderr, "\n%s", f.Stack)
	}
}

// answer writes one JSON document to standard output.
func (c *command) answer(v any) error {
	e := json.NewEncoder(c.stdout)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (f *failure) write(w io.Writer) {
	for _, v := range f.Violations {
		if v.File == "" {
			fmt.Fprint(w, "error: ")
		}
		fmt.Fprintf(w, "%s\n", v)
		if v.Fix != "" {
			fmt.Fprintf(w, "  fix   %s\n", v.Fix)
		}
	}
	switch {
	case len(f.Violations) == 0:
		fmt.Fprintf(w, "error: %s\n", f.Message)
	case len(f.Violations) > 1 || f.Violations[0].File != "":
		fmt.Fprintf(w, "error: %s, nothing has run\n", counted(len(f.Violations), "mistake"))
	}
	var where []string
	for _, x := range [][2]string{{"node", f.Node}, {"split", f.Split}, {"flow", f.Flow}, {"run", f.Run}} {
		if x[1] != "" {
			where = append(where, x[0]+" "+x[1])
		}
	}
	for _, line := range [][2]string{{"where", strings.Join(where, ", ")}, {"fix", f.Fix}, {"also", strings.Join(f.Also, "; ")}} {
		if line[1] != "" {
			fmt.Fprintf(w, "  %-5s %s\n", line[0], line[1])
		}
	}
	if len(f.Violations) == 0 && f.Code != "unclassified" {
		fmt.Fprintf(w, "  code  %s\n", f.Code)
	}
}

// String is the violation in one line, its place first, as editors find it.
func (v violation) String() string {
	var b strings.Builder
	if v.File != "" {
		b.WriteString(v.File)
		if v.Line > 0 {
			fmt.Fprintf(&b, ":%d", v.Line)
		}
		if v.Line > 0 && v.Col > 0 {
			fmt.Fprintf(&b, ":%d", v.Col)
		}
		b.WriteString(": ")
	}
	if v.Path != "" {
		b.WriteString(v.Path + ": ")
	}
	return b.String() + "got " + v.Got + ", want " + v.Want
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return grouped(int64(n)) + " " + what + "s"
}
