package sinks

import (
	"context"

	"github.com/activedataflow/adf/record"
)

// Guarantee says how often a record is in the target after failures.
type Guarantee uint8

const (
	// AtLeastOnce: every record, some twice.
	AtLeastOnce Guarantee = iota
	// Idempotent: every record; a second write of the same record changes nothing.
	Idempotent
	// ExactlyOnce: every record once.
	ExactlyOnce
)

func (g Guarantee) String() string {
	return [...]string{"at-least-once", "idempotent", "exactly-once"}[g]
}

// Shard names one sequence of commits: a node's output is cut into a fixed number of shards, and each run counts its own.
type Shard struct {
	Flow, Node, Run string
	Shard           int
}

// Committable is what one commit is about: the unit C that the sink's writer prepared and its place in the shard's sequence.
// One Commit call covers the parts From to To of a shard; both count from 0.
type Committable[C any] struct {
	Shard
	// From and To are the first and the last sequence number that Value holds.
	From, To int64
	Value    C
}

// Direct is a sink that writes as the records come: at least once, or idempotent. It is immutable after
// configuration and safe for concurrent use.
type Direct[T any] interface {
	// Guarantee is AtLeastOnce or Idempotent.
	Guarantee() Guarantee
	// Writer opens one of several writers, one per lane or worker.
	Writer(ctx context.Context, wc WriterContext) (DirectWriter[T], error)
}

// DirectWriter is used from one goroutine.
type DirectWriter[T any] interface {
	// Write takes a batch; what it keeps it copies. fail reports a record that the target will never take; an error is
	// about the whole batch and, if a retry can help, the same batch is written again.
	Write(ctx context.Context, b *record.Batch[T], fail func(i int, err error)) error
	// Flush returns when everything written is safe at the target. It comes before each checkpoint.
	Flush(ctx context.Context) error
	Close() error
}

// WriterContext is what the runtime gives a direct writer.
type WriterContext struct {
	Flow, Node, Run string
	// Index is the writer's number among those of its node.
	Index int
}

// Exact is an exactly-once sink. It is immutable after configuration and safe for concurrent use.
type Exact[T, C any] interface {
	// Encoder turns records into parts before the checkpoint, one encoder per shard. A record that can not be encoded
	// is reported there, so it reaches the errors output exactly once too. Most sinks return [Records](codec).
	Encoder() Encoder[T]
	// Writer opens the writer for one commit: the parts From.. of a shard, in order.
	Writer(ctx context.Context, sh Shard, from int64) (Writer[C], error)
	// Committer opens the committer. Several may be open at once, also in processes that should be dead.
	Committer(ctx context.Context) (Committer[C], error)
}

// Encoder makes a part of records. It is used from one goroutine.
type Encoder[T any] interface {
	// Encode appends the records of b to part and returns it. fail reports a record that can not be encoded and is left out.
	Encode(part []byte, b *record.Batch[T], fail func(i int, err error)) ([]byte, error)
}

// Writer takes the parts of one commit. Nothing it does is visible at the target before Commit. A crash may leave what it
// did behind: the next one starts anew, and orphans are swept by age.
type Writer[C any] interface {
	// Write takes one part as an Encoder made it; it may not keep it.
	Write(ctx context.Context, part []byte) error
	// Prepare makes everything written ready to be committed.
	Prepare(ctx context.Context) (C, error)
	// Close ends the writer; before Prepare, or after its failure, it removes what was written.
	Close() error
}

// Committer makes prepared data visible. Commit and the progress it leaves are one conditional, atomic action of
// the target: committables with To ≤ progress are skipped, From must be progress+1, and From beyond it is a [GapError].
type Committer[C any] interface {
	// Progress is the last committed sequence number of a shard, -1 when there is none.
	Progress(ctx context.Context, sh Shard) (int64, error)
	// Commit commits one committable. A retryable error may be followed by the same call.
	Commit(ctx context.Context, c Committable[C]) error
	Close() error
}
