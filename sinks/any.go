package sinks

import (
	"context"
	"iter"

	"github.com/activedataflow/adf/record"
)

// Any is a sink whose types are erased: what runtimes work with. Make one with [EraseDirect] or [EraseExact]. It implements
// AnyDirect or AnyExact as well, according to its guarantee.
type Any interface {
	Guarantee() Guarantee
}

// AnyDirect is a Direct whose types are erased.
type AnyDirect interface {
	Any
	NewWriter(ctx context.Context, wc WriterContext) (AnyDirectWriter, error)
}

// AnyDirectWriter is a DirectWriter whose types are erased.
type AnyDirectWriter interface {
	Write(ctx context.Context, b record.Any, fail func(i int, err error)) error
	Flush(ctx context.Context) error
	Close() error
}

// AnyExact is an Exact whose types are erased.
type AnyExact interface {
	Any
	NewEncoder() AnyEncoder
	NewCommitter(ctx context.Context) (AnyCommitter, error)
}

// AnyEncoder is an Encoder whose types are erased.
type AnyEncoder interface {
	Encode(part []byte, b record.Any, fail func(i int, err error)) ([]byte, error)
}

// AnyCommitter opens the writer, feeds it, and commits.
type AnyCommitter interface {
	Progress(ctx context.Context, sh Shard) (int64, error)
	// Commit commits the parts from (their number in the shard) on, in order, as one committable; parts that progress covers are
	// skipped. A part may be empty: it moves the progress and brings no data. Parts may yield an error, which ends the commit. After an
	// error that a retry helps against, the same call is safe.
	Commit(ctx context.Context, sh Shard, from int64, parts iter.Seq2[[]byte, error]) error
	Close() error
}
