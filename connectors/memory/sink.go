package memory

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// Store is a target: the records that were committed, and how far each shard's sequence is. It outlives the runs that write to it. It is safe
// for concurrent use, and the zero value is empty and ready.
type Store[T any] struct {
	mu       sync.Mutex
	records  []T
	progress map[sinks.Shard]int64 // the next number, so that 0 stands for none
}

// Records gives a copy of what has been committed, in the order of the commits.
func (s *Store[T]) Records() []T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.records)
}

// Sink writes to a Store, exactly once. Set its fields first; it is safe for concurrent use then.
type Sink[T any] struct {
	Store *Store[T]
	// AtLeastOnce makes it a direct sink: records are there when they are written, some twice after a failure.
	AtLeastOnce bool
	// Refuse, if set, says which records the target never takes, and why.
	Refuse func(v T) error
	// Before, if set, is called before each commit, or each write of an AtLeastOnce sink: what it returns is what that fails with. It may wait.
	Before func(ctx context.Context) error
}

var _ sinks.Sink[row.Row] = (*Sink[row.Row])(nil)

// To is a sink that writes to a store exactly once.
func To[T any](s *Store[T]) *Sink[T] { return &Sink[T]{Store: s} }

// Sink makes the sink of records with the codec c.
func (s *Sink[T]) Sink(c *row.Codec[T]) (sinks.Any, error) {
	if s.AtLeastOnce {
		return sinks.EraseDirect[T](&direct[T]{s, c}), nil
	}
	return sinks.EraseExact[T, []T](&exact[T]{s, c}), nil
}

func (s *Sink[T]) before(ctx context.Context) error {
	if s.Before == nil {
		return ctx.Err()
	}
	return s.Before(ctx)
}

// taken copies the records that the target takes into a batch of its own.
func (s *Sink[T]) taken(c *row.Codec[T], b *record.Batch[T], fail func(i int, err error)) *record.Batch[T] {
	own := &record.Batch[T]{Split: b.Split}
	for i, v := range b.Values {
		if s.Refuse != nil {
			if err := s.Refuse(v); err != nil {
				fail(i, err)
				continue
			}
		}
		c.CopyRecord(own, b, i)
	}
	return own
}

// exact is the sink that commits; what it prepares are the records themselves.
type exact[T any] struct {
	*Sink[T]
	codec *row.Codec[T]
}

func (s *exact[T]) Encoder() sinks.Encoder[T] {
	return &encoder[T]{s, sinks.Records(s.codec)}
}

func (s *exact[T]) Writer(context.Context, sinks.Shard, int64) (sinks.Writer[[]T], error) {
	return &writer[T]{codec: s.codec}, nil
}

func (s *exact[T]) Committer(context.Context) (sinks.Committer[[]T], error) {
	return committer[T]{s.Sink}, nil
}

type encoder[T any] struct {
	sink    *exact[T]
	records sinks.Encoder[T]
}

func (e *encoder[T]) Encode(part []byte, b *record.Batch[T], fail func(i int, err error)) ([]byte, error) {
	if e.sink.Refuse != nil {
		b = e.sink.taken(e.sink.codec, b, fail)
	}
	return e.records.Encode(part, b, fail)
}

type writer[T any] struct {
	codec *row.Codec[T]
	own   record.Batch[T]
}

func (w *writer[T]) Write(_ context.Context, part []byte) error {
	for b, err := range sinks.Batches(w.codec, bytes.Clone(part)) { // strings share it
		if err != nil {
			return err
		}
		for i := range b.Values {
			w.codec.CopyRecord(&w.own, b, i)
		}
	}
	return nil
}

func (w *writer[T]) Prepare(context.Context) ([]T, error) { return w.own.Values, nil }
func (w *writer[T]) Close() error                         { return nil }

type committer[T any] struct{ sink *Sink[T] }

func (c committer[T]) Progress(_ context.Context, sh sinks.Shard) (int64, error) {
	s := c.sink.Store
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.progress[sh] - 1, nil
}

// Commit adds the records and moves the progress under one lock.
func (c committer[T]) Commit(ctx context.Context, p sinks.Committable[[]T]) error {
	if err := c.sink.before(ctx); err != nil {
		return err
	}
	s := c.sink.Store
	s.mu.Lock()
	defer s.mu.Unlock()
	due, err := p.Due(s.progress[p.Shard] - 1)
	if !due || err != nil {
		return err
	}
	if s.progress == nil {
		s.progress = map[sinks.Shard]int64{}
	}
	s.records = append(s.records, p.Value...)
	s.progress[p.Shard] = p.To + 1
	return nil
}

func (c committer[T]) Close() error { return nil }

// direct is the sink that writes at once.
type direct[T any] struct {
	*Sink[T]
	codec *row.Codec[T]
}

func (s *direct[T]) Guarantee() sinks.Guarantee { return sinks.AtLeastOnce }

func (s *direct[T]) Writer(context.Context, sinks.WriterContext) (sinks.DirectWriter[T], error) {
	return s, nil
}

func (s *direct[T]) Write(ctx context.Context, b *record.Batch[T], fail func(i int, err error)) error {
	if err := s.before(ctx); err != nil {
		return err
	}
	own := s.taken(s.codec, b, fail)
	s.Store.mu.Lock()
	defer s.Store.mu.Unlock()
	s.Store.records = append(s.Store.records, own.Values...)
	return nil
}

func (s *direct[T]) Flush(ctx context.Context) error { return ctx.Err() }
func (s *direct[T]) Close() error                    { return nil }
