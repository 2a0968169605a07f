package engine

import (
	"context"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/record"
)

// What is buffered in front of a shuffle is sent on when it is this old or this large.
const (
	linger     = 50 * time.Millisecond
	flushBytes = 512 << 10
)

// message is what goes through an exchange: payloads, a promise, and sometimes a barrier behind them.
type message struct {
	from      int // the producer, among those of the receiving step
	items     []item
	watermark int64
	barrier   *barrier
}

type item struct {
	bucket, input int
	payload       []byte
}

// barrier is the end of an epoch. Whoever has told where it stands waits for resume.
type barrier struct {
	acks   chan<- ack
	resume chan struct{}
	last   bool // of the run
}

// out is the way from one producer to all workers of a keyed step.
type out struct {
	node    *adf.Node
	workers []*worker
	from    int
	items   [][]item // by worker
}

// outs are the ways out of one lane or worker.
type outs struct {
	chain   *task.Chain
	ways    []*out
	flushed time.Time
	sent    int64 // the last watermark sent
}

// flush sends what is buffered, the watermark when it has moved, and the barrier, if any.
func (o *outs) flush(ctx context.Context, watermark int64, b *barrier) error {
	o.flushed = time.Now()
	for _, s := range o.chain.Shuffles() {
		var way *out
		for _, w := range o.ways {
			if w.node == s.Node {
				way = w
			}
		}
		per := way.workers[0].buckets
		if err := s.Flush(func(bucket int, payload []byte) {
			way.items[bucket/per] = append(way.items[bucket/per], item{bucket, s.Input, payload})
		}); err != nil {
			return err
		}
	}
	moved := watermark != o.sent
	o.sent = watermark
	for _, w := range o.ways {
		for i, to := range w.workers {
			items := w.items[i]
			if len(items) == 0 && !moved && b == nil {
				continue
			}
			w.items[i] = nil
			select {
			case to.in <- message{w.from, items, watermark, b}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// due says whether what is buffered, or a promise, should go on its way.
func (o *outs) due(now time.Time) bool {
	return now.Sub(o.flushed) >= linger || o.chain.Buffered() >= flushBytes
}

// lowest is the least of several promises. Those that say that nothing at all comes any more hold nobody back.
func lowest(watermarks []int64) int64 {
	least := record.MaxTime
	for _, w := range watermarks {
		least = min(least, w)
	}
	return least
}
