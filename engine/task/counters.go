package task

import "sync/atomic"

// Counters count what a node does; the lanes and workers of a node share them.
type Counters struct {
	// In and Out are records. A source has no In, a sink no Out.
	In, Out atomic.Int64
	// Late are the records that came too late for their window, Errors those that failed.
	Late, Errors atomic.Int64
	// Splits are the splits that have been opened, for sources; Parts the parts committed, for exactly-once sinks.
	Splits, Parts atomic.Int64
}
