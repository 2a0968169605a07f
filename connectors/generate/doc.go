// Package generate is a source of made-up records, for examples, tests and measurements.
//
// The one idea: record n is a function of the seed and n alone. So a read can begin anywhere, splits are strides of one sequence
// that advance together in event time, and what every record must be can be said without keeping any.
//
// It imports connectors, splits, record, record/row and fault.
package generate
