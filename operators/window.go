package operators

import (
	"fmt"
	"math"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
)

// Window says how a keyed step cuts event time: into stretches of Size that begin at whole multiples of it since the epoch (UTC), moved by
// Offset. The zero Window is one window over everything, whose result comes at the end of the input. All three are whole milliseconds.
type Window struct {
	Size time.Duration
	// Lateness is by how much the result waits for records behind the watermark.
	Lateness time.Duration
	Offset   time.Duration
}

// Span is the stretch of event time of a window, in milliseconds since the epoch: from Start up to but without End. That of the
// window over everything is from record.NoTime to record.MaxTime.
type Span struct{ Start, End int64 }

// windows is a Window in milliseconds; a size of 0 is one window over everything.
type windows struct{ size, offset, lateness int64 }

func (w Window) windows() (windows, error) {
	var wrong []fault.Violation
	check := func(name string, d time.Duration, ok bool, want string) int64 {
		if !ok || d%time.Millisecond != 0 {
			wrong = append(wrong, fault.Violation{Path: "window." + name, Got: d.String(), Want: want, Code: "window." + name})
		}
		return d.Milliseconds()
	}
	out := windows{
		size:     check("size", w.Size, w.Size >= 0, "a size of whole milliseconds above zero"),
		lateness: check("allowed_lateness", w.Lateness, w.Lateness >= 0, "whole milliseconds, not below zero"),
		offset:   check("offset", w.Offset, true, "whole milliseconds"),
	}
	if w.Size == 0 && w != (Window{}) {
		wrong = append(wrong, fault.Violation{
			Path: "window.size", Got: "none, but an offset or an allowed lateness", Want: "a size above zero: one window over everything has neither", Code: "window.size",
		})
	}
	if out.size > 0 {
		out.offset %= out.size
	}
	return out, fault.Config(wrong...)
}

// all says that there is one window over everything.
func (w windows) all() bool { return w.size == 0 }

// of gives the start of the window of an event time.
func (w windows) of(t int64) (start int64, err error) {
	if t == record.NoTime {
		return 0, &fault.RuntimeError{Detail: fault.Detail{
			Code: "window.no_time", Doing: "find the window", Retry: fault.RetryNever, Err: errNoTime,
			Fix: "give the source a time, or take away the window",
		}}
	}
	if t > farthest || t < -farthest {
		return 0, &fault.RuntimeError{Detail: fault.Detail{
			Code: "window.time_range", Doing: "find the window", Retry: fault.RetryNever,
			Err: fmt.Errorf("got the event time %d ms, want at most %d ms (about 146,000 years) from the epoch", t, farthest),
		}}
	}
	since := (t - w.offset) % w.size
	if since < 0 {
		since += w.size
	}
	return t - since, nil
}

// farthest is how far from the epoch event time may be: it is a timestamp in microseconds too, and sums with a size and lateness do not overflow.
const farthest int64 = math.MaxInt64 / 2000

var errNoTime = fmt.Errorf("the record has no event time")

// span is the window that starts at start.
func (w windows) span(start int64) Span {
	if w.all() {
		return Span{record.NoTime, record.MaxTime}
	}
	return Span{start, start + w.size}
}

// due is the watermark at which the window that starts at start gives its result.
func (w windows) due(start int64) int64 {
	if w.all() {
		return record.MaxTime
	}
	return start + w.size + w.lateness
}

// cell names the state of the windows: windows cut in another way have other state.
func (w windows) cell() string {
	if w.all() {
		return "all"
	}
	text := "tumbling " + (time.Duration(w.size) * time.Millisecond).String()
	if w.offset != 0 {
		text += " offset " + (time.Duration(w.offset) * time.Millisecond).String()
	}
	return text
}
