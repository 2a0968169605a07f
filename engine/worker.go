package engine

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/record"
)

// worker is one goroutine that owns a range of a keyed step's buckets.
type worker struct {
	node    *adf.Node
	index   int
	keyed   *task.Keyed
	buckets int // how many a worker owns; bucket n belongs to worker n / buckets
	in      chan message
	outs    outs
	open    bool // the end of the input is not the end of time

	watermarks []int64 // by producer
	barriers   int     // producers whose barrier has come
	lowest     int64
	watermark  atomic.Int64
}

func (w *worker) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		// Wake up for the next processing-time timer, or to hand on what is buffered.
		now := time.Now()
		wait := time.Hour
		if next := w.keyed.NextProcessing(); next != math.MaxInt64 && w.barriers == 0 { // timers stand still while an epoch ends
			wait = min(wait, max(0, time.UnixMilli(next).Sub(now)))
		}
		if w.keyed.Chain.Buffered() > 0 {
			wait = min(wait, linger)
		}
		timer.Reset(wait)
		select {
		case m := <-w.in:
			if err := w.take(ctx, m); err != nil {
				return err
			}
		case <-timer.C:
			if w.barriers > 0 {
				break
			}
			if err := w.keyed.Advance(ctx, w.lowest, time.Now().UnixMilli()); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if w.outs.due(time.Now()) {
			if err := w.flush(ctx, nil); err != nil {
				return err
			}
		}
	}
}

func (w *worker) take(ctx context.Context, m message) error {
	for _, i := range m.items {
		if err := w.keyed.Process(ctx, i.bucket, i.input, i.payload); err != nil {
			return err
		}
	}
	w.watermarks[m.from] = max(w.watermarks[m.from], m.watermark)
	if low := lowest(w.watermarks); low > w.lowest && !(w.open && low == record.MaxTime) {
		w.lowest = low
		w.watermark.Store(low)
		if err := w.keyed.Advance(ctx, low, time.Now().UnixMilli()); err != nil {
			return err
		}
		if err := w.flush(ctx, nil); err != nil {
			return err
		}
	}
	if m.barrier == nil {
		return nil
	}
	if w.barriers++; w.barriers < len(w.watermarks) {
		return nil
	}
	w.barriers = 0
	if err := w.flush(ctx, m.barrier); err != nil {
		return err
	}
	if err := w.keyed.Chain.FlushSinks(ctx); err != nil {
		return err
	}
	m.barrier.acks <- ack{worker: w, deltas: w.keyed.Snapshot()}
	select {
	case <-m.barrier.resume:
		if m.barrier.last {
			<-ctx.Done()
		}
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (w *worker) flush(ctx context.Context, b *barrier) error {
	return w.outs.flush(ctx, w.keyed.OutputWatermark(w.lowest), b)
}
