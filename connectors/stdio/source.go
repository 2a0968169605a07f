package stdio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// Source reads the records of standard input, to its end. Use it by pointer and do not change it once it is part of a flow.
//
// One flow of a process can read it, once and in one lane. A run that goes back to a checkpoint in the middle of the input, after a failure or a
// stop, ends with the code "stdin.gone". A run that starts with new input reads it, as a new split.
type Source[T any] struct {
	// Format is csv, jsonl or json.
	Format string
	// Delimiter, Quote, NoHeader, NullText and Encoding are those of format.Options.
	Delimiter, Quote string
	NoHeader         bool
	NullText         []string
	Encoding         string
	// InferRecords is how many records are waited for and looked at to infer a schema, 0: 100.
	InferRecords int
	// Schema is that of the records if T is row.Row. Nil: it is inferred from the first records.
	Schema *row.Schema

	in    *input // nil: that of the process
	mu    sync.Mutex
	codec *row.Codec[T]
}

var (
	_ splits.Source[row.Row, Split] = (*Source[row.Row])(nil)
	_ splits.Typed[row.Row]         = (*Source[row.Row])(nil)
	_ connectors.SourceConfig       = (*Source[row.Row])(nil)
)

func newSource() connectors.SourceConfig { return &Source[row.Row]{} }

func (s *Source[T]) input() *input { return cmp.Or(s.in, stdin) }

// Source makes the source that a flow from a file asks for.
func (s *Source[T]) Source(ctx context.Context, env connectors.SourceEnv) (splits.Any, error) {
	if env.Schema != nil {
		s.Schema = env.Schema
	}
	c, err := s.recordCodec(ctx)
	if err != nil {
		return nil, err
	}
	return splits.Erase(s, c), nil
}

// RecordCodec is the codec of the records. For rows without a schema it waits for the first records.
func (s *Source[T]) RecordCodec() (*row.Codec[T], error) { return s.recordCodec(context.Background()) }

func (s *Source[T]) recordCodec(ctx context.Context) (*row.Codec[T], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.codec != nil {
		return s.codec, nil
	}
	if err := checked(s); err != nil {
		return nil, err
	}
	var err error
	if rows, ok := any(&s.codec).(**row.Codec[row.Row]); ok {
		schema := s.Schema
		if schema == nil {
			if schema, err = format.Infer(s.input().peek(ctx), s.options(), name, s.InferRecords); err != nil {
				return nil, err
			}
		}
		*rows = row.RowCodec(schema)
		return s.codec, nil
	}
	if s.codec, err = row.CodecOf[T](); err != nil {
		return nil, &fault.ConfigurationError{Detail: fault.Detail{
			Code: "stdin.type", Doing: fmt.Sprintf("read records of type %T", *new(T)), Connector: "stdin", Retry: fault.RetryNever, Err: err,
		}}
	}
	return s.codec, nil
}

// name is what messages call the stream.
const name = "stdin"

// Schemaless says that a flow in a file must declare a schema, or say infer.
func (s *Source[T]) Schemaless() bool { return true }

// Acknowledges is false: there is nobody to be told.
func (s *Source[T]) Acknowledges() bool { return false }

// Boundedness is Bounded: the input ends.
func (s *Source[T]) Boundedness() splits.Boundedness { return splits.Bounded }

// NotReplayable says why a run can not go back to the middle of the input.
func (s *Source[T]) NotReplayable() string { return "a pipe has no past" }

// Codec is that of the splits.
func (s *Source[T]) Codec() splits.Codec[Split] { return splits.JSON[Split]() }

// Enumerator has the one split.
func (s *Source[T]) Enumerator(_ context.Context, ec splits.EnumeratorContext[Split], restored *splits.State) (splits.Enumerator[Split], error) {
	if err := checked(s); err != nil {
		return nil, err
	}
	return splits.List(ec, restored, splits.ListOptions[Split]{
		Find:  func(context.Context) ([]Split, error) { return []Split{{ID: s.input().id}}, nil },
		Codec: s.Codec(),
	})
}

// Reader reads it.
func (s *Source[T]) Reader(_ context.Context, rc splits.ReaderContext) (splits.Reader[T, Split], error) {
	c, err := s.RecordCodec()
	if err != nil {
		return nil, err
	}
	open := func(ctx context.Context, split Split) (splits.SplitReader[T, Split], error) {
		in := s.input()
		switch {
		case split.ID != in.id:
			return nil, gone("it was that of a process which has ended")
		case split.Offset > 0:
			return nil, gone(fmt.Sprintf("the run goes back to byte %d", split.Offset))
		}
		stream, err := in.take(ctx)
		if err != nil {
			return nil, err
		}
		text, err := format.NewReader(stream, s.options(), c, format.Start{Name: name})
		if err != nil {
			return nil, classify(err)
		}
		return &reader[T]{split, text}, nil
	}
	return splits.Multiplex(rc, open, splits.MultiplexOptions[Split]{Retries: -1}), nil
}

type reader[T any] struct {
	split Split
	text  *format.Reader[T]
}

// Fetch reads what is there, up to a batch.
func (r *reader[T]) Fetch(_ context.Context, dst *record.Batch[T]) (Split, bool, error) {
	err := r.text.Read(dst, splits.BatchRecords, splits.BatchBytes)
	if err != nil && err != io.EOF {
		return r.split, false, classify(err)
	}
	dst.Split = r.split.ID
	r.split.Offset = r.text.Offset()
	return r.split, err == io.EOF, nil
}

func (r *reader[T]) Close() error { return nil }

// classify says of an error of the stream that a retry does not help: what was read up to it would be missing.
func classify(err error) error {
	if !fault.Retryable(err) || errors.Is(err, context.Canceled) {
		return err
	}
	return &fault.SourceError{Detail: fault.Detail{Code: "stdin.read", Doing: "read", Connector: "stdin", Retry: fault.RetryNever, Err: err}}
}
