package operators

import (
	"context"
	"time"

	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Processor is user code that sees the records of each key, with state and timers of that key.
type Processor[T, K, Out any] interface {
	// State are the cells it uses, the same from every instance.
	State() []state.Cell
	Open(ctx context.Context, oc OpContext) error
	// Process takes one record. An error is about this record only; what was changed before it stays.
	Process(ctx context.Context, key K, v T, m record.Meta, c *Ctx[Out]) error
	// OnTimer is called when a timer is due. An error ends the run.
	OnTimer(ctx context.Context, key K, t Timer, c *Ctx[Out]) error
	Close() error
}

// Timer is a moment at which a key's processor wants to be called.
type Timer struct {
	// Time is in milliseconds since the epoch: event time, or the clock's when Processing.
	Time       int64
	Processing bool
	// Tag tells timers of the same time apart.
	Tag string
}

// Ctx is what a processor does besides computing. It is good for the current call only.
type Ctx[Out any] struct{ *state.Scope }

// Process runs user code on each key's records; open makes an instance for each worker. State that was not written for ttl is
// dropped, unless its cell has a TTL of its own; zero keeps it for ever.
func Process[T, K, Out any](in *row.Codec[T], out *row.Codec[Out], key func(T) K, ttl time.Duration, open func() Processor[T, K, Out]) (AnyKeyed, error) {
	panic("being written")
}
