package flinkbridge

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	bstate "github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"

	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
)

// bucketFn is a keyed step behind its shuffle, with the chain behind it, by bucket. A bucket's state is a log of deltas in a bag, and a token that is written once in a
// bundle, at its first change. Its timers of event time are the runner's; those of the clock fire when the bucket is called, once a second: the harness of Beam's Go SDK
// waits for ever, or leaves elements out, when a DoFn has timers of two kinds.
type bucketFn struct {
	Job  []byte
	Node string
	// Behind is by how many ms the step's watermark trails that of the runner: what the steps before it may give late. Last is the watermark of the runner that is
	// the end of time here, in ms; 0 where the input does not end.
	Behind, Last int64

	Log   bstate.Bag[[]byte]
	Token bstate.Value[[]byte]
	Event timers.EventTime

	stage *stage
	keyed *task.Keyed
	held  map[string]*bucket // those of the bundle
}

// ProcessElement takes one payload, or fires what is due by the clock when there is none.
func (f *bucketFn) ProcessElement(
	ctx context.Context, sp bstate.Provider, tp timers.Provider, key, value []byte, _ func([]byte, []byte),
) error {
	c := bundle{ctx, sp, tp}
	if len(value) == 0 {
		return f.with(c, key, func(b *bucket) error { return f.fire(b, math.MinInt64) })
	}
	return f.with(c, key, func(b *bucket) error {
		payload, input, err := f.stage.payload(value)
		if err != nil {
			return err
		}
		return f.keyed.Process(f.stage.ctx, b.number, input, payload)
	})
}

// OnTimer fires what is due. The timestamp is the one that the timer holds, a millisecond before it fires.
func (f *bucketFn) OnTimer(
	ctx context.Context, ts beam.EventTime, sp bstate.Provider, tp timers.Provider, key []byte, of timers.Context, _ func([]byte, []byte),
) error {
	return f.with(bundle{ctx, sp, tp}, key, func(b *bucket) error {
		b.fired(of.Tag, int64(ts)+1-f.Behind)
		if f.Last != 0 && int64(ts)+1 >= f.Last {
			return f.fire(b, record.MaxTime)
		}
		watermark := int64(ts) + 1 - f.Behind
		f.stage.job.reached(ctx, f.Node, watermark)
		return f.fire(b, watermark)
	})
}

// bundle is what a call has of the runner.
type bundle struct {
	ctx context.Context
	sp  bstate.Provider
	tp  timers.Provider
}

// bucket is a bucket that this process has.
type bucket struct {
	*state.Bucket
	number int
	token  []byte
	fresh  bool  // the token was written in this bundle
	over   bool  // it was taken to the end of time
	event  int64 // the timer that is set; unset when that is not known

	ahead [len(aheadTags)]int64 // those that are set ahead of it; unset where none is known
	last  int64                 // the latest that has fired
}

const unset = math.MinInt64

// aheadTags are the tags of the timers that are set ahead of a bucket's first one, 4, 16, 64 … steps of its timers away. The runner fires what a bundle has set with the next
// bundle only. So when the watermark jumps, as when history is read or input ends, a bucket would close a window with each bundle, 20 of them in a second. Of the timers ahead all
// that are due fire at once, each with everything before it, which leaves a fourth of the way or less for the next bundle.
var aheadTags = [...]string{"4", "16", "64", "256", "1024"}

func newBucket(b *state.Bucket, number int, token []byte) *bucket {
	n := &bucket{Bucket: b, number: number, token: token, event: unset, last: unset}
	for i := range n.ahead {
		n.ahead[i] = unset
	}
	return n
}

// fired notes that a timer has fired, and when it was due.
func (b *bucket) fired(tag string, at int64) {
	b.last = max(b.last, at)
	if i := slices.Index(aheadTags[:], tag); i >= 0 {
		b.ahead[i] = unset
	} else {
		b.event = unset
	}
}

// fire fires what is due at a watermark and by the clock.
func (f *bucketFn) fire(b *bucket, watermark int64) error {
	for size := 0; ; {
		more, err := f.keyed.Fire(f.stage.ctx, b.number, watermark, time.Now().UnixMilli())
		if err != nil || !more {
			b.over = b.over || watermark == record.MaxTime
			return err
		}
		if size += f.stage.chain.Buffered(); size >= sliceBytes {
			return nil // the timer is still due, and fires again
		}
	}
}

// with does something to a bucket, saves what changed, and sets its timers.
func (f *bucketFn) with(c bundle, key []byte, work func(b *bucket) error) error {
	if f.stage == nil {
		if err := f.open(c); err != nil {
			return err
		}
	}
	b, err := f.take(c, key)
	if err == nil {
		f.keyed.Give(b.number, b.Bucket)
		err = work(b)
		f.keyed.Take(b.number)
	}
	if err == nil {
		err = f.save(c, b)
	}
	if err != nil {
		j := f.stage.job
		f.giveUp()
		return j.failing(err, f.Node)
	}
	f.arm(c, b)
	return nil
}

func (f *bucketFn) open(c bundle) error {
	j, err := find(f.Job)
	if err != nil {
		return err
	}
	s := newStage(context.WithoutCancel(c.ctx), j)
	s.streaming, s.env.Bounded = true, false
	if f.keyed, err = task.NewKeyed(s.ctx, s.env, j.node(f.Node)); err != nil {
		_ = s.end()
		return j.failing(err, f.Node)
	}
	s.chain, s.close = f.keyed.Chain, f.keyed.Close
	f.stage, f.held = s, map[string]*bucket{}
	return nil
}

// take gives the bucket of a key; its state is looked at once in a bundle.
func (f *bucketFn) take(c bundle, key []byte) (*bucket, error) {
	name := f.Node + string(key)
	if b := f.held[name]; b != nil {
		return b, nil
	}
	token, _, err := f.Token.Read(c.sp)
	if err != nil {
		return nil, err
	}
	b, ok := f.stage.job.buckets.take(name)
	if !ok || !bytes.Equal(b.token, token) {
		if b, err = f.restore(c, key, token); err != nil {
			return nil, err
		}
	}
	b.fresh = false
	f.held[name] = b
	return b, nil
}

// restore makes the bucket of the state.
func (f *bucketFn) restore(c bundle, key, token []byte) (*bucket, error) {
	j := f.stage.job
	number, ok := numberOf(key, j.Buckets)
	if !ok {
		return nil, j.wrong("bridge.form", fmt.Errorf("got the key %x, want a bucket", key), sameRelease)
	}
	b := newBucket(state.NewBucket(j.node(f.Node).Keyed.Cells()), number, token)
	if len(token) == 0 {
		return b, nil
	}
	log, _, err := f.Log.Read(c.sp)
	if err != nil {
		return nil, err
	}
	f.keyed.Give(b.number, b.Bucket)
	defer f.keyed.Take(b.number)
	return b, f.keyed.Restore(b.number, log)
}

// save writes what changed.
func (f *bucketFn) save(c bundle, b *bucket) error {
	delta, whole := b.Delta()
	if delta == nil && !whole {
		return nil
	}
	if !b.fresh {
		b.token, b.fresh = newToken(), true
		if err := f.Token.Write(c.sp, b.token); err != nil {
			return err
		}
	}
	if whole {
		if err := f.Log.Clear(c.sp); err != nil {
			return err
		}
	}
	if len(delta) == 0 {
		return nil
	}
	return f.Log.Add(c.sp, delta)
}

// arm sets the runner's timer to the bucket's first one of event time, and those ahead of it, as long as all that they can give is not too much for a bundle. A timer holds
// the watermark back for what it will give.
func (f *bucketFn) arm(c bundle, b *bucket) {
	event, _ := b.NextTimer()
	due, at := event < far.UnixMilli()-f.Behind, event+f.Behind
	if step := event - b.last; due && b.last != unset && step > 0 && b.Size() <= sliceBytes {
		last := far.UnixMilli() - 1
		if f.Last != 0 {
			last = f.Last - 1
		}
		for i, tag := range aheadTags {
			if step *= 4; b.ahead[i] < event && step < last-at {
				b.ahead[i] = event + step
				f.Event.Set(c.tp, time.UnixMilli(at+step), timers.WithTag(tag), timers.WithOutputTimestamp(time.UnixMilli(at+step-1)))
			}
		}
	}
	if f.Last != 0 && (!due || at > f.Last) { // it is due when everything is
		due, at = !b.over, f.Last
	}
	if due && event != b.event {
		f.Event.Set(c.tp, time.UnixMilli(at), timers.WithOutputTimestamp(time.UnixMilli(at-1)))
	}
	b.event = event
}

// FinishBundle hands on what the bundle gave, and keeps the buckets for the next one.
func (f *bucketFn) FinishBundle(ctx context.Context, emit func([]byte, []byte)) error {
	if f.stage == nil || len(f.held) == 0 {
		return nil
	}
	s := f.stage
	out, err := s.finish()
	if err != nil {
		f.giveUp()
		return s.job.failing(err, "")
	}
	for name, b := range f.held {
		s.job.buckets.put(name, b, 0)
	}
	clear(f.held)
	s.count(ctx)
	send(out, emit)
	return nil
}

// Teardown closes the step.
func (f *bucketFn) Teardown() error {
	if f.stage == nil {
		return nil
	}
	s := f.stage
	f.stage, f.held = nil, nil
	return s.end()
}

func (f *bucketFn) giveUp() {
	_ = f.stage.end() // a failure went before
	f.stage, f.held = nil, nil
}
