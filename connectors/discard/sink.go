package discard

import (
	"context"
	"sync/atomic"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// Sink counts records and forgets them. It has no options; use it by pointer.
type Sink[T any] struct{ written atomic.Int64 }

var (
	_ sinks.Sink[row.Row]   = (*Sink[row.Row])(nil)
	_ connectors.SinkConfig = (*Sink[row.Row])(nil)
)

// Written is the number of records so far, over all runs of the flows that the sink is part of.
func (s *Sink[T]) Written() int64 { return s.written.Load() }

// Fields declares the options: none.
func (s *Sink[T]) Fields(*connectors.Binder) {}

// Sink makes the sink of records with the codec c.
func (s *Sink[T]) Sink(*row.Codec[T]) (sinks.Any, error) {
	return sinks.EraseDirect[T](counter[T]{&s.written}), nil
}

type counter[T any] struct{ written *atomic.Int64 }

func (c counter[T]) Guarantee() sinks.Guarantee { return sinks.Idempotent }

func (c counter[T]) Writer(context.Context, sinks.WriterContext) (sinks.DirectWriter[T], error) {
	return c, nil
}

func (c counter[T]) Write(_ context.Context, b *record.Batch[T], _ func(int, error)) error {
	c.written.Add(int64(b.Len()))
	return nil
}

func (c counter[T]) Flush(context.Context) error { return nil }
func (c counter[T]) Close() error                { return nil }

// Register adds the sink to a registry.
func Register(r *connectors.Registry) error {
	return r.Sink(connectors.Descriptor{
		Name: "discard", Doc: "Nowhere: records are counted and forgotten", Version: "0.1.0", Core: ">=0.1.0-0, <1.0.0",
	}, func() connectors.SinkConfig { return &Sink[row.Row]{} })
}
