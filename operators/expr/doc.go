// Package expr compiles the expressions of flows: what filter, set and the keys and aggregates of a YAML file compute from a record's columns.
//
// The one idea: a text is parsed by expr-lang/expr, checked against the schema of the rows it will see, and turned into closures over a row's
// values. So every mistake that a schema can show is told before anything runs, with its column, and a record costs a few
// nanoseconds and no allocation. Nulls follow SQL: what is computed from a null is null, logic has three values. What the language has is
// written in docs/expressions.md; all else that the parser knows (closures, pipes, let, ranges) is refused.
//
// It imports record and fault.
package expr
