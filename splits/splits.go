package splits

import (
	"context"
	"time"

	"github.com/activedataflow/adf/record"
)

// Split is a piece of a source that one reader reads at a time: a file's byte range, a topic's partition. A split
// carries its position; its id is unique in the source, stable over restarts, and never used again for other data.
type Split interface{ SplitID() string }

// Boundedness says whether a source ends.
type Boundedness uint8

const (
	// Bounded sources end: their enumerator signals NoMoreSplits and each split comes to an end.
	Bounded Boundedness = iota
	// Unbounded sources go on until they are stopped.
	Unbounded
)

// Codec gives a value a versioned wire form. Encode always writes Version(); Decode reads every version ever released.
type Codec[V any] interface {
	Version() int
	Encode(V) ([]byte, error)
	Decode(version int, data []byte) (V, error)
}

// State is a versioned wire form.
type State struct {
	Version int
	Data    []byte
}

// Source makes the two halves of a source. It is immutable after configuration and safe for concurrent use.
type Source[T any, S Split] interface {
	Boundedness() Boundedness
	Codec() Codec[S]
	// Enumerator makes a new enumerator (restored is nil) or one that goes on from a snapshot.
	Enumerator(ctx context.Context, ec EnumeratorContext[S], restored *State) (Enumerator[S], error)
	// Reader makes a reader without splits. Its splits come by AddSplits, restored ones too.
	Reader(ctx context.Context, rc ReaderContext) (Reader[T, S], error)
}

// Sizer is a Source that can tell how much it is going to give, cheaply and before anything is read: a runtime makes its parts of it, so that each fits into memory.
type Sizer interface {
	// Size estimates the bytes of all records in their encoded form, rather too many than too few. It says so when it is not known: for a source that does
	// not end, or whose input can not be seen from here.
	Size(ctx context.Context) (bytes int64, known bool)
}

// Acknowledger is a Source that says whether its readers want [Reader].CheckpointComplete. Those of a source that does not say are told.
type Acknowledger interface{ Acknowledges() bool }

// Enumerator finds splits and assigns them. The runtime calls it from one goroutine at a time, and never while a callback of
// EnumeratorContext.Every runs. No method may block on a reader.
type Enumerator[S Split] interface {
	// Start comes once, before everything else. It may list and register discovery, and may already assign to readers
	// that are registered.
	Start(ctx context.Context) error
	// AddReader says that a reader is there; after a failure it comes again for the same id.
	AddReader(ctx context.Context, reader int) error
	// HandleSplitRequest gives one credit to a reader: assign a split to it now or when one is found, or signal NoMoreSplits.
	HandleSplitRequest(ctx context.Context, reader int) error
	// AddSplitsBack says that a reader has failed, which is no longer registered, and returns the splits it had, if any, at the positions of
	// the last completed checkpoint. Readers that were told NoMoreSplits may get them too once they ask again. The reader is -1 when it was one of
	// an earlier process, and the splits may be unknown to the enumerator then.
	AddSplitsBack(ctx context.Context, back []S, reader int) error
	// Snapshot tells what is known and not yet assigned. What was assigned belongs to the readers.
	Snapshot(ctx context.Context) (State, error)
	Close() error
}

// EnumeratorContext is what the runtime gives an enumerator.
type EnumeratorContext[S Split] interface {
	// Parallelism is the number of reader lanes there will be: ids 0 to Parallelism-1.
	Parallelism() int
	// Readers are the ids of the registered readers, ascending.
	Readers() []int
	// Assign gives splits to a registered reader; it takes effect when the calling method returns.
	Assign(reader int, assigned ...S)
	// NoMoreSplits answers all requests of a reader so far: nothing more will be assigned to it. A runtime whose readers die alone keeps this back
	// until no other reader has a split, and asks again for the reader when splits come back: nobody leaves who could still be needed.
	NoMoreSplits(reader int)
	// Every calls discover in the background, at once and then every period (only once when it is zero), and handle with its
	// result under the enumerator's own lock. Both end with the enumerator.
	Every(period time.Duration, discover func(context.Context) ([]S, error), handle func([]S, error) error)
}

// Status is what a poll came to.
type Status uint8

const (
	// More: the batch has records, or a split ended; poll again at once.
	More Status = iota
	// Nothing: no records now; wait for Ready.
	Nothing
	// End: NoMoreSplits came and every split is read to its end.
	End
)

// Reader reads several splits. The runtime calls every method from one goroutine; none of them blocks for input.
type Reader[T any, S Split] interface {
	// Start comes once, before everything else.
	Start(ctx context.Context) error
	// Poll appends at most one batch of one split to dst, which is empty, and sets dst.Split.
	// After it the split's position is behind the batch. A split's end is reported by Finished.
	Poll(dst *record.Batch[T]) (Status, error)
	// Ready has a value when a poll that found Nothing is worth repeating.
	Ready() <-chan struct{}
	// AddSplits adds splits, to be read from the position they carry.
	AddSplits(added []S) error
	// NoMoreSplits says that no further splits will be added.
	NoMoreSplits()
	// Finished gives the ids of the splits that ended since the last call; all their records have been polled.
	Finished() []string
	// Snapshot gives every split that has not ended, at the position after the last batch that was polled of it.
	Snapshot() ([]S, error)
	// CheckpointComplete says that the given splits, as a snapshot had them, are part of a completed checkpoint: the
	// place to acknowledge input at its system. It comes at least once, possibly in another process. A Source whose readers have nothing to do
	// there says so as an [Acknowledger]: on a cluster each call costs something.
	CheckpointComplete(ctx context.Context, done []S) error
	Close() error
}

// ReaderContext is what the runtime gives a reader.
type ReaderContext interface {
	// Index is the reader's id, 0 to parallelism-1.
	Index() int
	// RequestSplit gives the enumerator one credit. It never blocks; where nothing flows back to the enumerator it does nothing.
	RequestSplit()
}

// SplitReader is what most connectors write: it reads one split and may block.
type SplitReader[T any, S Split] interface {
	// Fetch appends at most one batch to dst and returns the split at the position after it. It blocks until there is
	// something, the linger has passed (an empty dst is fine) or ctx ends. done says that the split is at its end.
	// After an error the reader is closed and, if a retry can help, opened again at the last position.
	Fetch(ctx context.Context, dst *record.Batch[T]) (after S, done bool, err error)
	Close() error
}

// Limits of one batch: whichever comes first ends it.
const (
	BatchRecords = 1000
	BatchBytes   = 1 << 20
	Linger       = 50 * time.Millisecond
)
