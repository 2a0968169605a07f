package sinks

import (
	"sync"
	"time"

	"github.com/activedataflow/adf/record/row"
)

// DeadLetter is a record of an errors output: one that could not be read, failed in a step, or was refused by its sink.
type DeadLetter struct {
	Flow string `adf:"flow"`
	// Node is where it failed.
	Node string `adf:"node"`
	// Split and Position are where it came from, as the source counts.
	Split    string `adf:"split"`
	Position int64  `adf:"position"`
	// Time is its event time, nil when it has none.
	Time *time.Time `adf:"time"`
	// Code is that of the error, empty when nobody gave it one; Error its text.
	Code  string `adf:"code"`
	Error string `adf:"error"`
	// Record is its JSON text, or the input as it was found when it could not be decoded.
	Record string `adf:"record"`
}

// DeadLetters is the codec of dead letters, the same one at every call.
func DeadLetters() *row.Codec[DeadLetter] { return deadLetters() }

var deadLetters = sync.OnceValue(func() *row.Codec[DeadLetter] {
	c, err := row.CodecOf[DeadLetter]()
	if err != nil {
		panic(err) // the struct above can not travel: seen by the first test
	}
	return c
})
