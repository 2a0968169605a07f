// Package discard is the sink that keeps nothing: to measure a flow, or to run one for the sake of its errors.
//
// The one idea: it is idempotent, not exactly once. There is no target in which a record could be twice, so nothing has to wait
// for a checkpoint; what it counts are writes, repeated ones too.
//
// It imports connectors, sinks, record and record/row.
package discard
