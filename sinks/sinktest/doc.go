// Package sinktest is the definition of a correct sink, as a suite that every connector runs.
//
// The one idea: a sink is only as good as its worst moment. The suite walks a commit through its steps and stops at each of them, as a
// process does that is killed: what was open is dropped without Close, and another process (a sink, writer and committer
// made anew) goes on. Then it reads the target back. [Run] is for exactly-once sinks, [RunDirect] for the others. Buffers are overwritten
// as soon as a call has returned, which finds whoever keeps them.
//
// It imports sinks, record, record/row and fault.
package sinktest
