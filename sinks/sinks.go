package sinks

import (
	"context"
	"fmt"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
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

func (s Shard) String() string {
	return fmt.Sprintf("shard %d of %s/%s, run %s", s.Shard, s.Flow, s.Node, s.Run)
}

// Committable is what one commit is about: the unit C that the sink's writer prepared and its place in the shard's sequence.
// One Commit call covers the parts From to To of a shard; both count from 0.
type Committable[C any] struct {
	Shard
	// From and To are the first and the last sequence number that Value holds.
	From, To int64
	Value    C
}

// Due says whether c is to be committed at a target that has its shard up to progress (-1: nothing). It is asked inside the
// atomic action of [Committer.Commit]: false means that the target has all of c. An error is a [GapError], or, when another committer
// has meanwhile committed only some of the parts, one that a retry helps against: the runtime prepares again what is left.
func (c Committable[C]) Due(progress int64) (bool, error) {
	switch {
	case c.To <= progress:
		return false, nil
	case c.From == progress+1:
		return true, nil
	case c.From > progress+1:
		return false, gap(c.Shard, progress, c.From)
	}
	return false, &fault.SinkError{Detail: fault.Detail{
		Code: "sink.overtaken", Doing: "commit", Retry: fault.RetryLater,
		Err: fmt.Errorf("another committer has committed parts %d to %d of %d to %d (%s) meanwhile", c.From, progress, c.From, c.To, c.Shard),
	}}
}

// GapError says that a commit does not follow what its target has: parts between them are missing. It is the
// cause of a fault.SinkError with the code "sink.gap", which no retry helps against; find it with errors.As.
type GapError struct {
	Shard Shard
	// Progress is the last sequence number at the target, -1 for none; From is the first one of the commit.
	Progress, From int64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("got part %d, want part %d: the target does not have what lies between (%s)", e.From, e.Progress+1, e.Shard)
}

func gap(sh Shard, progress, from int64) error {
	return &fault.SinkError{Detail: fault.Detail{
		Code: "sink.gap", Doing: "commit", Retry: fault.RetryNever,
		Fix: "output that was committed is gone from the target, or the target is not the one this flow wrote to: bring it back, or start over with --fresh",
		Err: &GapError{sh, progress, from},
	}}
}

// Sink is what a flow writes to: a connector's sink type. The codec is that of the records that come.
type Sink[T any] interface {
	Sink(c *row.Codec[T]) (Any, error)
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

// Writer takes the parts of one commit that are not empty; there may be none. Nothing it does is visible at the target before Commit. A crash may leave what it
// did behind: the next one starts anew, and orphans are swept by age.
type Writer[C any] interface {
	// Write takes one part as an Encoder made it; it may not keep it.
	Write(ctx context.Context, part []byte) error
	// Prepare makes everything written ready to be committed.
	Prepare(ctx context.Context) (C, error)
	// Close ends the writer; before Prepare, or after its failure, it removes what was written.
	Close() error
}

// Committer makes prepared data visible. Commit and the progress it leaves are one conditional, atomic action of the
// target; [Committable.Due] is the condition. Parts may be empty: they move the progress and bring no data, and a Writer that got only
// such parts is prepared and committed as well.
type Committer[C any] interface {
	// Progress is the last committed sequence number of a shard, -1 when there is none.
	Progress(ctx context.Context, sh Shard) (int64, error)
	// Commit commits one committable. A retryable error may be followed by the same call.
	Commit(ctx context.Context, c Committable[C]) error
	Close() error
}
