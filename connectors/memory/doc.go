// Package memory is the source and the sink inside the process: values in, values out, for tests and examples.
//
// The one idea: it is the smallest connector that is right, so it is the reference of both conformance suites, and the one to read before
// writing another. Its script makes it fail or wait at a chosen record, as real systems do at moments of their own.
//
// It imports splits, sinks, record, record/row and fault.
package memory
