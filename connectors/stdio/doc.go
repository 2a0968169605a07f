// Package stdio reads records from standard input and writes them to standard output.
//
// The one idea: a pipe has no past and no name. What was read is gone, so standard input is one split of one process, which nobody can
// continue: a flow that stops in the middle of it starts over with the whole input. What was written is gone too, so standard
// output is at least once, and it has no end of its own, so it takes formats that need none.
//
// It imports connectors, splits, sinks, record, record/row, record/format and fault.
package stdio
