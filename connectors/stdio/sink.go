package stdio

import (
	"cmp"
	"context"
	"sync"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// Sink writes records to standard output, at least once. Use it by pointer and do not change it once it is part of a flow.
//
// The lines of several sinks and writers may follow each other in any order, but never mix. In csv the line with the names of the columns comes
// before the first record.
type Sink[T any] struct {
	// Format is jsonl ("") or csv.
	Format string
	// Delimiter, Quote, NoHeader and NullText are those of format.Options.
	Delimiter, Quote string
	NoHeader         bool
	NullText         []string

	out *output // nil: that of the process
}

var (
	_ sinks.Sink[row.Row]   = (*Sink[row.Row])(nil)
	_ connectors.SinkConfig = (*Sink[row.Row])(nil)
)

func newSink() connectors.SinkConfig { return &Sink[row.Row]{} }

// Sink makes the sink of records with the codec c.
func (s *Sink[T]) Sink(c *row.Codec[T]) (sinks.Any, error) {
	d, err := s.direct(c)
	if err != nil {
		return nil, err
	}
	return sinks.EraseDirect(d), nil
}

func (s *Sink[T]) direct(c *row.Codec[T]) (sinks.Direct[T], error) {
	if err := checked(s); err != nil {
		return nil, err
	}
	if _, err := format.NewWriter(s.options(), c); err != nil {
		return nil, err
	}
	return &direct[T]{out: cmp.Or(s.out, stdout), options: s.options(), codec: c}, nil
}

type direct[T any] struct {
	out     *output
	options format.Options
	codec   *row.Codec[T]

	mu    sync.Mutex
	begun bool // the head is out
}

// write writes records, and before the first ones the head.
func (d *direct[T]) write(w *format.Writer[T], records []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var head []byte
	if !d.begun && len(records) > 0 {
		d.begun = true
		head = w.Head(nil)
	}
	return d.out.write(head, records)
}

func (d *direct[T]) Guarantee() sinks.Guarantee { return sinks.AtLeastOnce }

func (d *direct[T]) Writer(context.Context, sinks.WriterContext) (sinks.DirectWriter[T], error) {
	text, err := format.NewWriter(d.options, d.codec)
	if err != nil {
		return nil, err
	}
	return &writer[T]{sink: d, text: text}, nil
}

// writer collects records and writes them out in one piece.
type writer[T any] struct {
	sink *direct[T]
	text *format.Writer[T]
	buf  []byte
}

// full is when a writer does not wait for Flush any longer.
const full = 64 << 10

func (w *writer[T]) Write(_ context.Context, b *record.Batch[T], fail func(i int, err error)) error {
	if len(w.buf) >= full {
		if err := w.out(); err != nil {
			return err // nothing of b is taken yet: it comes again
		}
	}
	for i := range b.Values {
		var err error
		if w.buf, err = w.text.Append(w.buf, b, i, true); err != nil {
			fail(i, refused(err))
		}
	}
	return nil
}

// Flush returns when everything is with the operating system.
func (w *writer[T]) Flush(context.Context) error { return w.out() }

func (w *writer[T]) out() error {
	err := w.sink.write(w.text, w.buf)
	w.buf = w.buf[:0] // an error leaves it with the output
	return err
}

func (w *writer[T]) Close() error { return nil }

// refused is the error of a record that can not be written.
func refused(err error) error {
	if _, ok := fault.DetailOf(err); ok {
		return err
	}
	return &fault.SinkError{Detail: fault.Detail{Code: "stdout.record", Doing: "encode a record", Connector: "stdout", Retry: fault.RetryNever, Err: err}}
}
