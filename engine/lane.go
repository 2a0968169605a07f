package engine

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/task"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/splits"
)

// lane is one goroutine that reads a source.
type lane struct {
	a       *attempt
	node    *adf.Node
	read    *task.Read
	in      *inbox
	outs    outs
	control chan *barrier
	// complete has the splits of a committed checkpoint, to be acknowledged.
	complete chan []*adfv1.ReadState

	ended     atomic.Bool  // the input is at its end, and everybody behind knows
	quiet     atomic.Int64 // since when there is nothing to read, Unix ms; 0: there is
	watermark atomic.Int64
}

func (l *lane) run(ctx context.Context) error {
	wait := time.NewTimer(0)
	defer wait.Stop()
	if err := l.takeIn(); err != nil { // those of the checkpoint, before they are told to be complete
		return err
	}
	for {
		select {
		case b := <-l.control:
			if err := l.pause(ctx, b); err != nil {
				return err
			}
			continue
		case done := <-l.complete:
			if err := l.read.CheckpointComplete(ctx, done); err != nil {
				return err
			}
			continue
		default:
		}
		now := time.Now()
		if err := l.takeIn(); err != nil {
			return err
		}
		status, err := l.read.Poll(ctx, now.UnixMilli())
		if err != nil {
			return err
		}
		if status == splits.More {
			if l.outs.due(now) {
				err = l.flush(ctx, now, nil)
			}
			if err != nil {
				return err
			}
			l.quiet.Store(0)
			continue
		}
		// Nothing to do for now: hand on what there is, and wait.
		if err := l.flush(ctx, now, nil); err != nil {
			return err
		}
		if l.quiet.Load() == 0 {
			l.quiet.Store(now.UnixMilli())
		}
		ready := l.read.Ready()
		if status == splits.End {
			ready = nil
			if !l.ended.Swap(true) {
				signal(l.a.changed)
			}
		}
		var tick <-chan time.Time
		if l.read.FollowsClock() {
			wait.Reset(time.Second)
			tick = wait.C
		}
		select {
		case <-ready:
		case <-tick:
		case <-l.in.wake:
		case b := <-l.control:
			if err := l.pause(ctx, b); err != nil {
				return err
			}
		case done := <-l.complete:
			if err := l.read.CheckpointComplete(ctx, done); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// takeIn takes what was assigned.
func (l *lane) takeIn() error {
	l.in.mu.Lock()
	added, noMore := l.in.splits, l.in.noMore
	l.in.splits, l.in.noMore = nil, false
	if len(added) > 0 {
		l.quiet.Store(0)
	}
	l.in.mu.Unlock()
	if len(added) > 0 {
		if err := l.read.Add(added...); err != nil {
			return err
		}
	}
	if noMore {
		l.read.NoMoreSplits()
	}
	return nil
}

func (l *lane) flush(ctx context.Context, now time.Time, b *barrier) error {
	w := l.read.Watermark(now.UnixMilli())
	l.watermark.Store(w)
	return l.outs.flush(ctx, w, b)
}

// pause ends the epoch for this lane.
func (l *lane) pause(ctx context.Context, b *barrier) error {
	now := time.Now()
	if err := l.takeIn(); err != nil { // the enumerator has given them away
		return err
	}
	if err := l.flush(ctx, now, b); err != nil {
		return err
	}
	if err := l.read.Chain.FlushSinks(ctx); err != nil {
		return err
	}
	states, err := l.read.Snapshot()
	if err != nil {
		return err
	}
	b.acks <- ack{lane: l, splits: states, watermark: l.watermark.Load()}
	select {
	case <-b.resume:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if b.last { // and committed
		if err := l.read.CheckpointComplete(ctx, states); err != nil {
			return err
		}
		b.acks <- ack{lane: l}
		<-ctx.Done()
	}
	return nil
}

// ack is what one lane or worker tells at the end of an epoch.
type ack struct {
	lane      *lane
	splits    []*adfv1.ReadState
	watermark int64

	worker *worker
	deltas []task.Delta
}

// promised is what a source promised as a whole: the least of its lanes, those aside that hold nobody back.
func promised(lanes []int64) int64 {
	if w := lowest(lanes); w != record.MaxTime {
		return w
	}
	return record.NoTime
}
