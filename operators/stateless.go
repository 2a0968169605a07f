package operators

import (
	"context"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Operator is a stateless step of one's own. An instance is used from one goroutine.
type Operator[In, Out any] interface {
	// Open comes before the first batch: the place for clients, metrics and caches.
	Open(ctx context.Context, oc OpContext) error
	// Process appends to out what becomes of in, each record with the meta of the one it came from. Values in out may share memory
	// with in, which is the caller's again when Process returns: nothing of it is kept. fail reports that record i of in failed and is
	// left out; an error ends the run, or sends it back to its last checkpoint when a retry can help.
	Process(ctx context.Context, in *record.Batch[In], out *record.Batch[Out], fail func(i int, err error)) error
	// Close comes once after Open, also when the run failed.
	Close() error
}

// Through makes a step of an operator; open makes an instance for each lane or worker.
func Through[In, Out any](in *row.Codec[In], out *row.Codec[Out], open func() Operator[In, Out]) Any {
	return &stateless[In, Out]{in, out, open}
}

// Filter keeps the records for which keep is true. A record whose keep fails is left out and reported.
func Filter[T any](c *row.Codec[T], keep func(T) (bool, error)) Any {
	return Through(c, c, each(func(v T, m record.Meta, out *record.Batch[T]) error {
		ok, err := keep(v)
		if ok && err == nil {
			out.Append(v, m)
		}
		return err
	}))
}

// Map makes one record of each. A record whose fn fails is left out and reported.
func Map[In, Out any](in *row.Codec[In], out *row.Codec[Out], fn func(In) (Out, error)) Any {
	return Through(in, out, each(func(v In, m record.Meta, out *record.Batch[Out]) error {
		w, err := fn(v)
		if err == nil {
			out.Append(w, m)
		}
		return err
	}))
}

// FlatMap makes any number of records of each, by calling emit before it returns. When fn fails, what it emitted for the record is taken
// back and the record is reported.
func FlatMap[In, Out any](in *row.Codec[In], out *row.Codec[Out], fn func(v In, emit func(Out)) error) Any {
	return Through(in, out, func() Operator[In, Out] {
		// One closure for an instance's life: what it emits to changes with each record.
		var meta record.Meta
		var to *record.Batch[Out]
		emit := func(w Out) { to.Append(w, meta) }
		return each(func(v In, m record.Meta, out *record.Batch[Out]) error {
			meta, to = m, out
			before := out.Len()
			err := fn(v, emit)
			if err != nil {
				clear(out.Values[before:])
				out.Values, out.Metas = out.Values[:before], out.Metas[:before]
			}
			return err
		})()
	})
}

// each makes the operator that does the same with each record.
func each[In, Out any](do func(v In, m record.Meta, out *record.Batch[Out]) error) func() Operator[In, Out] {
	return func() Operator[In, Out] { return perRecord[In, Out]{do} }
}

type perRecord[In, Out any] struct {
	do func(v In, m record.Meta, out *record.Batch[Out]) error
}

func (perRecord[In, Out]) Open(context.Context, OpContext) error { return nil }
func (perRecord[In, Out]) Close() error                          { return nil }

func (p perRecord[In, Out]) Process(_ context.Context, in *record.Batch[In], out *record.Batch[Out], fail func(i int, err error)) error {
	for i, v := range in.Values {
		if err := p.do(v, in.Metas[i], out); err != nil {
			fail(i, err)
		}
	}
	return nil
}

// stateless erases the types of an operator.
type stateless[In, Out any] struct {
	in   *row.Codec[In]
	out  *row.Codec[Out]
	open func() Operator[In, Out]
}

func (s *stateless[In, Out]) In() row.AnyCodec   { return s.in }
func (s *stateless[In, Out]) Out() row.AnyCodec  { return s.out }
func (s *stateless[In, Out]) Instance() Instance { return instance[In, Out]{s.open()} }

type instance[In, Out any] struct{ op Operator[In, Out] }

func (n instance[In, Out]) Open(ctx context.Context, oc OpContext) error { return n.op.Open(ctx, oc) }
func (n instance[In, Out]) Close() error                                 { return n.op.Close() }

func (n instance[In, Out]) Process(ctx context.Context, in, out record.Any, fail func(i int, err error)) error {
	return n.op.Process(ctx, in.(*record.Batch[In]), out.(*record.Batch[Out]), fail)
}
