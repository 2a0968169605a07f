package format

import (
	"errors"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Writer turns records into text. It is used from one goroutine. Make one with NewWriter.
type Writer[T any] struct {
}

// NewWriter makes a writer of what o says. A schema that the format can not hold (lists in csv) is a fault.ConfigurationError.
func NewWriter[T any](o Options, c *row.Codec[T]) (*Writer[T], error) {
	return nil, errors.New("being written")
}

// Head appends what stands before the first record: the csv header line, or "[".
func (w *Writer[T]) Head(dst []byte) []byte { return dst }

// Append appends record i of b, with what separates it from the one before; first says that there is none before it in the text.
// An error is about this record alone, and dst comes back as it was.
func (w *Writer[T]) Append(dst []byte, b *record.Batch[T], i int, first bool) ([]byte, error) {
	return dst, errors.New("being written")
}

// Tail appends what stands behind the last record: nothing, or "]".
func (w *Writer[T]) Tail(dst []byte) []byte { return dst }
