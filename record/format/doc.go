// Package format reads and writes records as csv, jsonl and json, for every connector that holds text: files, streams, topics.
//
// The one idea: bytes become tagged values in one step, guided by the schema, and strings point into the block that was read. There
// are no files and no goroutines here: a [Reader] takes an io.Reader and knows at each moment at which offset it stands, so that a
// connector can save that, and go on from it, in any process.
//
// It imports record, record/row and fault, and golang.org/x/text for encodings.
package format
