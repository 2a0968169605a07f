package sinks

import (
	"context"
	"errors"
	"iter"

	"github.com/activedataflow/adf/record"
)

// EraseDirect takes the types off a Direct. Its writers want batches of T.
func EraseDirect[T any](s Direct[T]) AnyDirect { return erasedDirect[T]{s} }

type erasedDirect[T any] struct{ Direct[T] }

func (s erasedDirect[T]) NewWriter(ctx context.Context, wc WriterContext) (AnyDirectWriter, error) {
	w, err := s.Writer(ctx, wc)
	if err != nil {
		return nil, err
	}
	return erasedWriter[T]{w}, nil
}

type erasedWriter[T any] struct{ w DirectWriter[T] }

func (w erasedWriter[T]) Write(ctx context.Context, b record.Any, fail func(i int, err error)) error {
	return w.w.Write(ctx, b.(*record.Batch[T]), fail)
}
func (w erasedWriter[T]) Flush(ctx context.Context) error { return w.w.Flush(ctx) }
func (w erasedWriter[T]) Close() error                    { return w.w.Close() }

// EraseExact takes the types off an Exact. Its encoders want batches of T.
func EraseExact[T, C any](s Exact[T, C]) AnyExact { return erasedExact[T, C]{s} }

type erasedExact[T, C any] struct{ s Exact[T, C] }

func (s erasedExact[T, C]) Guarantee() Guarantee { return ExactlyOnce }

func (s erasedExact[T, C]) NewEncoder() AnyEncoder { return erasedEncoder[T]{s.s.Encoder()} }

func (s erasedExact[T, C]) NewCommitter(ctx context.Context) (AnyCommitter, error) {
	c, err := s.s.Committer(ctx)
	if err != nil {
		return nil, err
	}
	return &erasedCommitter[T, C]{c, s.s}, nil
}

type erasedEncoder[T any] struct{ e Encoder[T] }

func (e erasedEncoder[T]) Encode(part []byte, b record.Any, fail func(i int, err error)) ([]byte, error) {
	return e.e.Encode(part, b.(*record.Batch[T]), fail)
}

type erasedCommitter[T, C any] struct {
	Committer[C]
	sink Exact[T, C]
}

// Commit opens a writer behind the progress, feeds it the parts that the target lacks, and commits what it prepared.
func (c *erasedCommitter[T, C]) Commit(ctx context.Context, sh Shard, from int64, parts iter.Seq2[[]byte, error]) (err error) {
	progress, err := c.Progress(ctx, sh)
	if err != nil {
		return err
	}
	if from > progress+1 {
		return gap(sh, progress, from)
	}
	var w Writer[C]
	defer func() {
		if w == nil {
			return
		}
		if closing := w.Close(); closing != nil {
			err = errors.Join(err, closing) // a commit that stands is skipped when the call is repeated
		}
	}()
	next := from
	for part, err := range parts {
		if err != nil {
			return err
		}
		seq := next
		next++
		if seq <= progress {
			continue
		}
		if w == nil {
			if w, err = c.sink.Writer(ctx, sh, seq); err != nil {
				w = nil
				return err
			}
		}
		if len(part) > 0 {
			if err := w.Write(ctx, part); err != nil {
				return err
			}
		}
	}
	if w == nil {
		return nil // the target has them all
	}
	prepared, err := w.Prepare(ctx)
	if err != nil {
		return err
	}
	return c.Committer.Commit(ctx, Committable[C]{sh, progress + 1, next - 1, prepared})
}
