package splits

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Typed is a Source that knows the codec of its records. Without it a flow takes that of the Go type, row.CodecOf[T].
type Typed[T any] interface {
	RecordCodec() (*row.Codec[T], error)
}

// Erase makes an Any of a source whose records have the codec c.
func Erase[T any, S Split](src Source[T, S], c *row.Codec[T]) Any {
	return &erased[T, S]{src, c}
}

type erased[T any, S Split] struct {
	src    Source[T, S]
	record *row.Codec[T]
}

func (e *erased[T, S]) Boundedness() Boundedness { return e.src.Boundedness() }
func (e *erased[T, S]) Codec() row.AnyCodec      { return e.record }

// NotReplayable passes on why the source can not be read again, if it has that method.
func (e *erased[T, S]) NotReplayable() string {
	if s, ok := e.src.(interface{ NotReplayable() string }); ok {
		return s.NotReplayable()
	}
	return ""
}

// Acknowledges passes on whether the source's readers want CheckpointComplete; they are told when it does not say.
func (e *erased[T, S]) Acknowledges() bool {
	if s, ok := e.src.(Acknowledger); ok {
		return s.Acknowledges()
	}
	return true
}

// Size passes on what the source says of its size, if it has that method.
func (e *erased[T, S]) Size(ctx context.Context) (bytes int64, known bool) {
	if s, ok := e.src.(Sizer); ok {
		return s.Size(ctx)
	}
	return 0, false
}

func (e *erased[T, S]) NewEnumerator(ctx context.Context, ec AnyEnumeratorContext, restored *State) (AnyEnumerator, error) {
	tc := &typedContext[S]{any: ec, codec: e.src.Codec()}
	enum, err := e.src.Enumerator(ctx, tc, restored)
	if err = cmp.Or(err, tc.taken()); err != nil {
		return nil, err
	}
	return &erasedEnumerator[S]{enum, tc}, nil
}

func (e *erased[T, S]) NewReader(ctx context.Context, rc ReaderContext) (AnyReader, error) {
	r, err := e.src.Reader(ctx, rc)
	if err != nil {
		return nil, err
	}
	return &erasedReader[T, S]{r, e.src.Codec()}, nil
}

// typedContext is what a typed enumerator sees of the runtime. An error of its codec waits in err for the method that caused it.
type typedContext[S Split] struct {
	any   AnyEnumeratorContext
	codec Codec[S]
	err   error
}

func (c *typedContext[S]) taken() error {
	err := c.err
	c.err = nil
	return err
}

func (c *typedContext[S]) Parallelism() int        { return c.any.Parallelism() }
func (c *typedContext[S]) Readers() []int          { return c.any.Readers() }
func (c *typedContext[S]) NoMoreSplits(reader int) { c.any.NoMoreSplits(reader) }

func (c *typedContext[S]) Assign(reader int, assigned ...S) {
	es, err := encodeAll(c.codec, assigned)
	if err != nil {
		c.err = cmp.Or(c.err, err)
		return
	}
	c.any.Assign(reader, es...)
}

func (c *typedContext[S]) Every(period time.Duration, discover func(context.Context) ([]S, error), handle func([]S, error) error) {
	c.any.Every(period, func(ctx context.Context) func() error {
		found, err := discover(ctx)
		return func() error { return cmp.Or(handle(found, err), c.taken()) }
	})
}

type erasedEnumerator[S Split] struct {
	enum Enumerator[S]
	tc   *typedContext[S]
}

func (e *erasedEnumerator[S]) Start(ctx context.Context) error {
	return cmp.Or(e.enum.Start(ctx), e.tc.taken())
}

func (e *erasedEnumerator[S]) AddReader(ctx context.Context, reader int) error {
	return cmp.Or(e.enum.AddReader(ctx, reader), e.tc.taken())
}

func (e *erasedEnumerator[S]) HandleSplitRequest(ctx context.Context, reader int) error {
	return cmp.Or(e.enum.HandleSplitRequest(ctx, reader), e.tc.taken())
}

func (e *erasedEnumerator[S]) AddSplitsBack(ctx context.Context, back []Envelope, reader int) error {
	ss, err := decodeAll(e.tc.codec, back)
	if err != nil {
		return err
	}
	return cmp.Or(e.enum.AddSplitsBack(ctx, ss, reader), e.tc.taken())
}

func (e *erasedEnumerator[S]) Snapshot(ctx context.Context) (State, error) {
	return e.enum.Snapshot(ctx)
}
func (e *erasedEnumerator[S]) Close() error { return e.enum.Close() }

type erasedReader[T any, S Split] struct {
	Reader[T, S]
	codec Codec[S]
}

func (r *erasedReader[T, S]) Poll(dst record.Any) (Status, error) {
	return r.Reader.Poll(dst.(*record.Batch[T]))
}

func (r *erasedReader[T, S]) AddSplits(added []Envelope) error {
	ss, err := decodeAll(r.codec, added)
	if err != nil {
		return err
	}
	return r.Reader.AddSplits(ss)
}

func (r *erasedReader[T, S]) Snapshot() ([]Envelope, error) {
	ss, err := r.Reader.Snapshot()
	if err != nil {
		return nil, err
	}
	return encodeAll(r.codec, ss)
}

func (r *erasedReader[T, S]) CheckpointComplete(ctx context.Context, done []Envelope) error {
	ss, err := decodeAll(r.codec, done)
	if err != nil {
		return err
	}
	return r.Reader.CheckpointComplete(ctx, ss)
}

func encodeAll[S Split](c Codec[S], ss []S) ([]Envelope, error) {
	es := make([]Envelope, len(ss))
	for i, s := range ss {
		data, err := c.Encode(s)
		if err != nil {
			return nil, &fault.RuntimeError{Detail: fault.Detail{
				Code: "split.encode", Doing: "write down a split", Split: s.SplitID(), Retry: fault.RetryNever, Err: err,
			}}
		}
		es[i] = Envelope{s.SplitID(), State{c.Version(), data}}
	}
	return es, nil
}

func decodeAll[S Split](c Codec[S], es []Envelope) ([]S, error) {
	ss := make([]S, len(es))
	for i, e := range es {
		s, err := c.Decode(e.Version, e.Data)
		if err == nil && s.SplitID() != e.ID {
			err = fmt.Errorf("got the split %q, want %q", s.SplitID(), e.ID)
		}
		if err != nil {
			return nil, &fault.RuntimeError{Detail: fault.Detail{
				Code: "split.decode", Doing: "restore a split", Split: e.ID, Retry: fault.RetryNever, Err: err,
				Fix: "use the release that saved it, or a later one",
			}}
		}
		ss[i] = s
	}
	return ss, nil
}
