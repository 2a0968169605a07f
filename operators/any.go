package operators

import (
	"context"
	"log/slog"

	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Any is a stateless operator whose types are erased.
type Any interface {
	In() row.AnyCodec
	Out() row.AnyCodec
	// Instance makes what one lane or worker uses, from one goroutine.
	Instance() Instance
}

// Instance is a stateless operator at work.
type Instance interface {
	Open(ctx context.Context, oc OpContext) error
	// Process appends to out what becomes of in. Values in out may share memory with in. fail reports that record i of
	// in failed and is left out; an error ends the run.
	Process(ctx context.Context, in, out record.Any, fail func(i int, err error)) error
	Close() error
}

// OpContext is what the runtime gives an operator.
type OpContext struct {
	Flow, Node, Run string
	// Index is the instance's number among those of its node.
	Index int
	// Log carries flow, run and node already.
	Log *slog.Logger
	// Bounded says that the run's input ends: an operator whose result depends on the order of arrival sorts by
	// (event time, split, position) then.
	Bounded bool
}

// AnyKeyed is a keyed operator whose types are erased.
type AnyKeyed interface {
	// Inputs are the codecs of its inputs, Out that of its output.
	Inputs() []row.AnyCodec
	Out() row.AnyCodec
	// OrderDependent says that the result depends on the order in which records of different splits arrive.
	OrderDependent() bool
	// EventTime says that the operator needs records with event time (it has windows or event timers).
	EventTime() bool
	// OutputDelay is by how many milliseconds outputs may trail the watermark that causes them (the allowed lateness of windows): the
	// runtime holds the watermark of the output back by it.
	OutputDelay() int64
	// Cells are the state cells of a bucket.
	Cells() []state.Cell
	// Shuffle makes the half before the shuffle for one input; one per lane or worker, used from one goroutine.
	Shuffle(input int, oc OpContext, buckets int) (Shuffle, error)
	// Task makes the half after it; one per worker, used from one goroutine.
	Task(oc OpContext) (KeyedTask, error)
}

// Shuffle is the half of a keyed operator before the shuffle.
type Shuffle interface {
	// Add takes a batch; what it keeps it copies. late reports records that came too late, fail those whose key or value failed.
	Add(b record.Any, late func(i int), fail func(i int, err error)) error
	// Buffered is the approximate number of bytes that Flush would emit.
	Buffered() int
	// Flush emits what is buffered, at most one payload per bucket, in ascending order of buckets. A payload belongs to the callee.
	Flush(emit func(bucket int, payload []byte)) error
	Close() error
}

// KeyedTask is the half of a keyed operator after the shuffle. It keeps nothing between calls: all state is in the bucket.
type KeyedTask interface {
	// Process takes one payload of the given input for the bucket.
	Process(ctx context.Context, b *state.Bucket, input int, payload []byte, out Output) error
	// Advance fires the timers due at watermark (event time, ms) and now (processing time, ms), in order of time. It stops early
	// when out is full; more says that timers are still due.
	Advance(ctx context.Context, b *state.Bucket, watermark, now int64, out Output) (more bool, err error)
	Close() error
}

// Output is where a keyed task's results go.
type Output struct {
	// Out takes results, Late what turned out too late after all; both are emptied by the runtime.
	Out, Late record.Any
	// Fail reports a record that user code refused: its JSON text, meta, split and error.
	Fail func(recordJSON []byte, m record.Meta, split string, err error)
	// LateDropped reports that n records that were already combined turned out too late after all and are gone. It happens only when the
	// clock has moved the watermark past a split whose own promise still allowed them (see idle splits); nil ignores it.
	LateDropped func(n int64)
	// Full is asked between timers: true says that the output is large enough for now.
	Full func() bool
}
