package format

import (
	"errors"
	"io"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// MaxRecord is the size in bytes of the longest record that a Reader takes; a longer one ends the stream with an error.
const MaxRecord = 64 << 20

// Start says where in a stream a Reader begins, and where it ends. The zero value is the whole stream.
type Start struct {
	// Name is what messages call the stream, as "flights.csv".
	Name string
	// Offset is the stream offset of the first byte that the io.Reader gives. Offsets count the bytes of the io.Reader, in every encoding.
	Offset int64
	// Line is the number of the line that Offset is in, from 1. It is 1 by itself when Offset is 0; 0 when it is not known: messages then
	// give the byte offset.
	Line int64
	// Header are the csv columns when Offset is behind the header line, as [Reader.Header] told them; nil at Offset 0, or without a header line.
	Header []string
	// Skip says that Offset is anywhere in a stream, possibly in the middle of a record: everything up to the first line end is passed
	// over. A record that starts exactly at Offset is passed over too, since it is not seen whether it does: it belongs to the range before.
	Skip bool
	// End is where the range ends: a record that starts behind it is not read; the one that starts exactly at it is. So a range with End x and a
	// range with Skip and Offset x give every record once. 0: to the end.
	End int64
}

// Reader reads records. It is used from one goroutine. Make one with NewReader.
type Reader[T any] struct {
}

// NewReader makes a reader of what o says. For csv it reads the header line (or takes Start.Header) and compares it with the
// codec's schema: a column too many, too few or twice is a fault.SourceError.
func NewReader[T any](r io.Reader, o Options, c *row.Codec[T], s Start) (*Reader[T], error) {
	return nil, errors.New("being written")
}

// Read appends up to maxRecords records, or as many as begin within maxBytes bytes of text, to b, at least one; io.EOF comes at the end,
// possibly with records appended. It returns early rather than wait for input when it has something; call it again to fill the batch.
//
// Records that can not be decoded are appended to b.Rejected, with a fault.SourceError whose At is "name:line:column", and do not end the stream; every
// other error does. Meta.Position is the offset at which the record starts; Time and Watermark are record.NoTime.
func (r *Reader[T]) Read(b *record.Batch[T], maxRecords, maxBytes int) error {
	return errors.New("being written")
}

// Offset is the stream offset behind the last record read: a Start at it reads the rest.
func (r *Reader[T]) Offset() int64 { return 0 }

// Line is the line number at Offset, 0 when it is not known.
func (r *Reader[T]) Line() int64 { return 0 }

// Header are the csv columns, for Start.Header; nil without a header line.
func (r *Reader[T]) Header() []string { return nil }

// Infer makes a schema of the first records of a stream (all of them when records is 0). Every field is nullable.
//
// In csv a column is int64, float64, bool, timestamp or date when all its texts are, and string otherwise; numbers with leading zeros or a plus
// sign are strings, since codes look like that. In JSON the JSON type decides; strings that all are timestamps or dates become such.
// A field that is null everywhere is a string.
func Infer(r io.Reader, o Options, name string, records int) (*row.Schema, error) {
	return nil, errors.New("being written")
}
