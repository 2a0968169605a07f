package flinkbridge

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	bstate "github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"

	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/operators/state"
)

// windowFn is a keyed step with windows behind its shuffle, with the chain behind it, by bucket. A bucket's state is a log of deltas in a bag, and a token that is
// written once in a bundle, at its first change.
type windowFn struct {
	Job  []byte
	Node string
	// Behind is by how many ms the step's watermark trails that of the runner: what the steps before it may give late.
	Behind int64

	Log   bstate.Bag[[]byte]
	Token bstate.Value[[]byte]
	Event timers.EventTime

	bucketing
}

// processFn is a keyed step that has timers of the clock too. It is a DoFn of its own because prism does not fire event-time timers of one that has both.
type processFn struct {
	Job    []byte
	Node   string
	Behind int64

	Log        bstate.Bag[[]byte]
	Token      bstate.Value[[]byte]
	Event      timers.EventTime
	Processing timers.ProcessingTime

	bucketing
}

// ProcessElement takes one payload.
func (f *windowFn) ProcessElement(
	ctx context.Context, sp bstate.Provider, tp timers.Provider, key, value []byte, _ func([]byte, []byte),
) error {
	return f.payload(bundle{ctx, sp, tp, f.Job, f.Node, f.Behind, &f.Log, &f.Token, &f.Event, nil}, key, value)
}

// OnTimer fires what is due.
func (f *windowFn) OnTimer(
	ctx context.Context, ts beam.EventTime, sp bstate.Provider, tp timers.Provider, key []byte, t timers.Context, _ func([]byte, []byte),
) error {
	return f.fire(bundle{ctx, sp, tp, f.Job, f.Node, f.Behind, &f.Log, &f.Token, &f.Event, nil}, key, ts, t)
}

// ProcessElement takes one payload.
func (f *processFn) ProcessElement(
	ctx context.Context, sp bstate.Provider, tp timers.Provider, key, value []byte, _ func([]byte, []byte),
) error {
	return f.payload(bundle{ctx, sp, tp, f.Job, f.Node, f.Behind, &f.Log, &f.Token, &f.Event, &f.Processing}, key, value)
}

// OnTimer fires what is due.
func (f *processFn) OnTimer(
	ctx context.Context, ts beam.EventTime, sp bstate.Provider, tp timers.Provider, key []byte, t timers.Context, _ func([]byte, []byte),
) error {
	return f.fire(bundle{ctx, sp, tp, f.Job, f.Node, f.Behind, &f.Log, &f.Token, &f.Event, &f.Processing}, key, ts, t)
}

// bundle is what a call has of its DoFn and of the runner.
type bundle struct {
	ctx        context.Context
	sp         bstate.Provider
	tp         timers.Provider
	job        []byte
	node       string
	behind     int64
	log        *bstate.Bag[[]byte]
	token      *bstate.Value[[]byte]
	event      *timers.EventTime
	processing *timers.ProcessingTime // nil when the step has none
}

// bucketing is what both have in common.
type bucketing struct {
	stage *stage
	keyed *task.Keyed
	held  map[string]*bucket // those of the bundle
}

// bucket is a bucket that this process has.
type bucket struct {
	*state.Bucket
	number            int
	token             []byte
	fresh             bool  // the token was written in this bundle
	event, processing int64 // the timers that are set; unset when that is not known
}

const unset = math.MinInt64

// payload takes one payload.
func (f *bucketing) payload(c bundle, key, value []byte) error {
	return f.with(c, key, func(b *bucket) error {
		n := len(value) - 1
		if n < 0 {
			return f.stage.job.wrong("bridge.form", fmt.Errorf("got an empty value for bucket %d", b.number), sameRelease)
		}
		return f.keyed.Process(f.stage.ctx, b.number, int(value[n]), value[:n:n])
	})
}

// fire fires what is due. The timestamp is the one that the timer holds, a millisecond before it fires.
func (f *bucketing) fire(c bundle, key []byte, ts beam.EventTime, t timers.Context) error {
	return f.with(c, key, func(b *bucket) error {
		watermark := int64(math.MinInt64)
		if t.Family == c.event.Family {
			watermark = int64(ts) + 1 - c.behind
			b.event = unset
		} else {
			b.processing = unset
		}
		for size := 0; ; {
			more, err := f.keyed.Fire(f.stage.ctx, b.number, watermark, time.Now().UnixMilli())
			if err != nil || !more {
				return err
			}
			if size += f.stage.chain.Buffered(); size >= sliceBytes {
				return nil // the timer is still due, and fires again
			}
		}
	})
}

// with does something to a bucket, saves what changed, and sets its timers.
func (f *bucketing) with(c bundle, key []byte, work func(b *bucket) error) error {
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
		err = b.save(c)
	}
	if err != nil {
		j := f.stage.job
		f.giveUp()
		return j.failing(err, c.node)
	}
	b.arm(c)
	return nil
}

func (f *bucketing) open(c bundle) error {
	j, err := find(c.job)
	if err != nil {
		return err
	}
	s := newStage(context.WithoutCancel(c.ctx), j)
	s.streaming, s.env.Bounded = true, false
	if f.keyed, err = task.NewKeyed(s.ctx, s.env, j.node(c.node)); err != nil {
		_ = s.end()
		return j.failing(err, c.node)
	}
	s.chain, s.close = f.keyed.Chain, f.keyed.Close
	f.stage, f.held = s, map[string]*bucket{}
	return nil
}

// take gives the bucket of a key; its state is looked at once in a bundle.
func (f *bucketing) take(c bundle, key []byte) (*bucket, error) {
	name := c.node + string(key)
	if b := f.held[name]; b != nil {
		return b, nil
	}
	token, _, err := c.token.Read(c.sp)
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
func (f *bucketing) restore(c bundle, key, token []byte) (*bucket, error) {
	j := f.stage.job
	if len(key) != 4 || int64(binary.BigEndian.Uint32(key)) >= int64(j.Buckets) {
		return nil, j.wrong("bridge.form", fmt.Errorf("got the key %x, want a bucket", key), sameRelease)
	}
	b := &bucket{
		Bucket: state.NewBucket(j.node(c.node).Keyed.Cells()), number: int(binary.BigEndian.Uint32(key)), token: token, event: unset, processing: unset,
	}
	if len(token) == 0 {
		return b, nil
	}
	log, _, err := c.log.Read(c.sp)
	if err != nil {
		return nil, err
	}
	f.keyed.Give(b.number, b.Bucket)
	defer f.keyed.Take(b.number)
	return b, f.keyed.Restore(b.number, log)
}

// save writes what changed.
func (b *bucket) save(c bundle) error {
	delta, whole := b.Delta()
	if delta == nil && !whole {
		return nil
	}
	if !b.fresh {
		b.token, b.fresh = newToken(), true
		if err := c.token.Write(c.sp, b.token); err != nil {
			return err
		}
	}
	if whole {
		if err := c.log.Clear(c.sp); err != nil {
			return err
		}
	}
	if len(delta) == 0 {
		return nil
	}
	return c.log.Add(c.sp, delta)
}

// arm sets the runner's timers to the bucket's first ones. That of event time holds the watermark back for what it will give.
func (b *bucket) arm(c bundle) {
	event, processing := b.NextTimer()
	if event != b.event && event < far.UnixMilli()-c.behind {
		at := time.UnixMilli(event + c.behind)
		c.event.Set(c.tp, at, timers.WithOutputTimestamp(at.Add(-time.Millisecond)))
	}
	if c.processing != nil && processing != b.processing && processing < far.UnixMilli() {
		c.processing.Set(c.tp, time.UnixMilli(processing), timers.WithOutputTimestamp(far))
	}
	b.event, b.processing = event, processing
}

// FinishBundle hands on what the bundle gave, and keeps the buckets for the next one.
func (f *bucketing) FinishBundle(ctx context.Context, emit func([]byte, []byte)) error {
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
func (f *bucketing) Teardown() error {
	if f.stage == nil {
		return nil
	}
	s := f.stage
	f.stage, f.held = nil, nil
	return s.end()
}

func (f *bucketing) giveUp() {
	_ = f.stage.end() // a failure went before
	f.stage, f.held = nil, nil
}
