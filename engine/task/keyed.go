package task

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
)

// fullRecords is how many results are handed on at a time.
const fullRecords = 4096

// Keyed is a keyed step behind its shuffle, for some of its buckets, with the chain behind it. It is used from one goroutine.
type Keyed struct {
	Chain   *Chain
	node    *adf.Node
	task    operators.KeyedTask
	buckets []*state.Bucket // by number; nil: not yet used
	out     operators.Output
	fails   *failing

	watermark, now int64 // of the last Advance
}

// NewKeyed opens the step without any bucket, and the chain behind it.
func NewKeyed(ctx context.Context, env Env, n *adf.Node) (*Keyed, error) {
	chain, err := NewChain(ctx, env, n)
	if err != nil {
		return nil, err
	}
	k := &Keyed{Chain: chain, node: n, buckets: make([]*state.Bucket, env.buckets()), fails: chain.failing(n, n.Keyed.Inputs()[0]), watermark: record.NoTime}
	err = Guard(n.Name, func() (err error) {
		k.task, err = n.Keyed.Task(env.opContext(n))
		return err
	})
	if err != nil {
		return nil, errors.Join(k.within(err), chain.Close())
	}
	k.out = operators.Output{
		Out: n.Out.NewBatch(), Late: n.Keyed.Inputs()[0].NewBatch(), Fail: k.fails.refuse,
		LateDropped: func(n int64) { k.fails.count.Late.Add(n) },
		Full:        func() bool { return k.out.Out.Len() >= fullRecords },
	}
	return k, nil
}

func (k *Keyed) bucket(n int) *state.Bucket {
	b := k.buckets[n]
	if b == nil {
		b = state.NewBucket(k.node.Keyed.Cells())
		b.Reach(k.watermark, b.Now())
		k.buckets[n] = b
	}
	return b
}

// Restore folds the log of a bucket.
func (k *Keyed) Restore(bucket int, log [][]byte) error {
	if err := k.bucket(bucket).Load(log); err != nil {
		return k.within(&fault.RuntimeError{Detail: fault.Detail{
			Code: "state.restore", Doing: fmt.Sprintf("restore bucket %d", bucket), Retry: fault.RetryNever, Err: err,
			Fix: "the step's state has a form that this flow can not read: give the step a new name (its state starts empty), or start over with --fresh",
		}})
	}
	return nil
}

// Process takes one payload, and fires the timers that it sets for a time that has been reached already.
func (k *Keyed) Process(ctx context.Context, bucket, input int, payload []byte) error {
	b := k.bucket(bucket)
	if err := k.work(ctx, func() (more bool, err error) {
		return false, k.task.Process(ctx, b, input, payload, k.out)
	}); err != nil {
		return err
	}
	return k.advance(ctx, b)
}

// Advance fires the timers due at a watermark and at now, both in milliseconds. The watermark does not go back.
func (k *Keyed) Advance(ctx context.Context, watermark, now int64) error {
	k.watermark, k.now = max(k.watermark, watermark), now
	for _, b := range k.buckets {
		if b == nil {
			continue
		}
		if err := k.advance(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (k *Keyed) advance(ctx context.Context, b *state.Bucket) error {
	now := max(k.now, b.Now())
	if event, processing := b.NextTimer(); event > k.watermark && processing > now {
		b.Reach(k.watermark, now) // what is late is late in every bucket
		return nil
	}
	return k.work(ctx, func() (more bool, err error) {
		return k.task.Advance(ctx, b, k.watermark, now, k.out)
	})
}

// Finish takes one bucket to the end of time and forgets it: for a driver that gives a bucket its whole input at once.
func (k *Keyed) Finish(ctx context.Context, bucket int, now int64) error {
	b := k.bucket(bucket)
	k.buckets[bucket] = nil
	return k.work(ctx, func() (more bool, err error) {
		return k.task.Advance(ctx, b, record.MaxTime, max(now, b.Now()), k.out)
	})
}

// Give makes b the bucket of a number, and Take forgets it again: for a driver that keeps the buckets itself.
func (k *Keyed) Give(bucket int, b *state.Bucket) { k.buckets[bucket] = b }

// Take forgets a bucket.
func (k *Keyed) Take(bucket int) { k.buckets[bucket] = nil }

// Fire fires the timers of one bucket that are due at a watermark and at now, until there are enough results for now; more says that timers are still due.
func (k *Keyed) Fire(ctx context.Context, bucket int, watermark, now int64) (more bool, err error) {
	b := k.bucket(bucket)
	err = k.work(ctx, func() (bool, error) {
		more, err = k.task.Advance(ctx, b, max(watermark, b.Watermark()), max(now, b.Now()), k.out)
		return false, err
	})
	return more, err
}

// work does something until there is no more of it, and hands on what comes out.
func (k *Keyed) work(ctx context.Context, do func() (more bool, err error)) error {
	for more := true; more; {
		err := Guard(k.node.Name, func() (err error) {
			more, err = do()
			return err
		})
		if err == nil {
			err, k.fails.refused = k.fails.refused, nil
		}
		if err == nil {
			err = k.emit(ctx)
		}
		if err != nil {
			return k.within(err)
		}
	}
	return nil
}

func (k *Keyed) emit(ctx context.Context) error {
	defer k.out.Out.Reset()
	defer k.out.Late.Reset()
	k.fails.count.Out.Add(int64(k.out.Out.Len()))
	k.fails.count.Late.Add(int64(k.out.Late.Len()))
	return errors.Join(
		k.Chain.Push(ctx, adf.Ref{Node: k.node.Name}, k.out.Out),
		k.Chain.Push(ctx, adf.Ref{Node: k.node.Name, Port: adf.PortLate}, k.out.Late),
		k.fails.flush(ctx),
	)
}

// NextProcessing is when the next processing-time timer is due, in milliseconds; math.MaxInt64 when there is none.
func (k *Keyed) NextProcessing() int64 {
	next := int64(math.MaxInt64)
	for _, b := range k.buckets {
		if b != nil {
			_, processing := b.NextTimer()
			next = min(next, processing)
		}
	}
	return next
}

// OutputWatermark is what the step promises to those behind it when its own watermark is w.
func (k *Keyed) OutputWatermark(w int64) int64 { return minus(w, k.node.Keyed.OutputDelay()) }

// Delta is what changed in a bucket since the last snapshot.
type Delta struct {
	Bucket int
	Data   []byte
	// Whole says that it replaces the bucket's log.
	Whole bool
}

// Snapshot gives what changed since the last one.
func (k *Keyed) Snapshot() []Delta {
	var deltas []Delta
	for n, b := range k.buckets {
		if b == nil {
			continue
		}
		if data, whole := b.Delta(); data != nil || whole {
			deltas = append(deltas, Delta{n, data, whole})
		}
	}
	return deltas
}

// Close closes the step and the chain.
func (k *Keyed) Close() error {
	return errors.Join(k.within(Guard(k.node.Name, k.task.Close)), k.Chain.Close())
}

func (k *Keyed) within(err error) error {
	return fault.Within(err, k.Chain.env.Graph.Plan.Flow(), k.Chain.env.Run, k.node.Name)
}
