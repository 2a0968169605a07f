package sinks

import (
	"encoding/binary"
	"errors"
	"iter"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Records is the encoder of most sinks: a part is a row of batches in their durable form, each behind its length. Every record
// can be encoded. [Batches] reads such a part, also one that was written with an earlier schema.
func Records[T any](c *row.Codec[T]) Encoder[T] { return &recordsEncoder[T]{codec: c} }

type recordsEncoder[T any] struct {
	codec *row.Codec[T]
	buf   []byte
}

func (e *recordsEncoder[T]) Encode(part []byte, b *record.Batch[T], _ func(i int, err error)) ([]byte, error) {
	if b.Len() == 0 {
		return part, nil
	}
	e.buf = e.codec.AppendDurable(e.buf[:0], b)
	part = binary.AppendUvarint(part, uint64(len(e.buf)))
	return append(part, e.buf...), nil
}

// Batches gives the batches of a part that a [Records] encoder made. The batch is reset before the next one comes; strings in it share part.
func Batches[T any](c *row.Codec[T], part []byte) iter.Seq2[*record.Batch[T], error] {
	return func(yield func(*record.Batch[T], error) bool) {
		b := c.NewBatch().(*record.Batch[T])
		for len(part) > 0 {
			n, head := binary.Uvarint(part)
			if head <= 0 || n > uint64(len(part)-head) {
				yield(nil, partError(errors.New("a batch is cut off")))
				return
			}
			b.Reset()
			if err := c.DecodeBatch(part[head:head+int(n)], b); err != nil {
				yield(nil, partError(err))
				return
			}
			if part = part[head+int(n):]; !yield(b, nil) {
				return
			}
		}
	}
}

func partError(err error) error {
	return &fault.SinkError{Detail: fault.Detail{
		Code: "sink.part", Doing: "read the records of a part", Retry: fault.RetryNever,
		Fix: "the checkpoint holds output that this program can not read: go on with the release that saved it, or start over with --fresh", Err: err,
	}}
}
