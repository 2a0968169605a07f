package operators

import "time"

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
