package task

import "sync/atomic"

// Counters count what a node does; the lanes and workers of a node share them.
type Counters struct {
	// In and Out are records. A source has no In, a sink no Out.
	In, Out atomic.Int64
	// BytesIn are the bytes that a source has read, when it can tell, or that the shuffle of a keyed step has carried to it;
	// BytesOut those that were encoded for an exactly-once sink.
	BytesIn, BytesOut atomic.Int64
	// Late are the records that came too late for their window, Errors those that failed.
	Late, Errors atomic.Int64
	// Splits are the splits that have been opened, for sources; Parts the parts committed, for exactly-once sinks.
	Splits, Parts atomic.Int64
}
