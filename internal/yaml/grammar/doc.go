// Package grammar checks a flow file against the grammar of flows and gives what it says as a [Flow].
//
// The one idea: the grammar is a table of productions and their keys. The table finds unknown keys and those of later versions, writes the JSON Schema
// for editors, and is what the tests go through: every key and every rule has a wrong input and the message it gets.
//
// What can be said of a file without looking at its data is said here: places, types, names, references, cycles. Expressions are checked when the
// schemas are known, by the package that builds the flow.
//
// It imports internal/yaml, connectors, record/row and fault.
package grammar
