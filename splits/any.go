package splits

import (
	"context"
	"time"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Envelope is a split in its wire form, together with its id.
type Envelope struct {
	ID string
	State
}

// Any is a Source whose types are erased: what runtimes work with. Make one with [Erase].
type Any interface {
	Boundedness() Boundedness
	// Codec is that of the records.
	Codec() row.AnyCodec
	NewEnumerator(ctx context.Context, ec AnyEnumeratorContext, restored *State) (AnyEnumerator, error)
	NewReader(ctx context.Context, rc ReaderContext) (AnyReader, error)
}

// AnyEnumerator is an Enumerator whose types are erased.
type AnyEnumerator interface {
	Start(ctx context.Context) error
	AddReader(ctx context.Context, reader int) error
	HandleSplitRequest(ctx context.Context, reader int) error
	AddSplitsBack(ctx context.Context, back []Envelope, reader int) error
	Snapshot(ctx context.Context) (State, error)
	Close() error
}

// AnyEnumeratorContext is an EnumeratorContext whose types are erased. Every's work function runs in the background and
// gives back a function that is then called under the enumerator's lock.
type AnyEnumeratorContext interface {
	Parallelism() int
	Readers() []int
	Assign(reader int, assigned ...Envelope)
	NoMoreSplits(reader int)
	Every(period time.Duration, work func(context.Context) (handle func() error))
}

// AnyReader is a Reader whose types are erased.
type AnyReader interface {
	Start(ctx context.Context) error
	Poll(dst record.Any) (Status, error)
	Ready() <-chan struct{}
	AddSplits(added []Envelope) error
	NoMoreSplits()
	Finished() []string
	Snapshot() ([]Envelope, error)
	CheckpointComplete(ctx context.Context, done []Envelope) error
	Close() error
}
