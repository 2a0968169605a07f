// Package row holds schemas, tagged values and rows: how data looks where its Go type is not known at
// compile time, and the one wire form, key encoding and evolution rule of all data, typed or not.
//
// The one idea: a row is a schema and a slice of 24-byte tagged values in a slab that the batch owns; a Go struct
// travels in the same form through a [Codec] derived from its fields. Nothing is ever a map[string]any.
//
// Strings and bytes in a value point into a block that is never reused, so user code may keep them; slabs of values
// are reused when their batch is reset.
//
// It imports record; the wire form is the message Batch of proto/adf/v1, written by hand.
package row
