package adftest

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// collector is an exactly-once sink that keeps what comes: one output of the flow, over all runs of a test.
type collector struct {
	codec row.AnyCodec
	// refuses is the sink that it stands for, when that one may refuse records.
	refuses sinks.AnyExact
	clock   *clock
	seen    atomic.Int64 // records, also those whose run was cut off

	mu       sync.Mutex
	progress map[sinks.Shard]int64
	got      []arrival
}

// clock numbers and times what comes, over all collectors of a test.
type clock struct {
	began time.Time
	count atomic.Int64
}

// arrival is one record of an output.
type arrival struct {
	number int64
	after  time.Duration
	split  string
	batch  record.Any
	at     int
	values []row.Value
}

func (a *arrival) meta() record.Meta { return a.batch.Meta()[a.at] }

func (c *collector) Guarantee() sinks.Guarantee { return sinks.ExactlyOnce }

func (c *collector) NewEncoder() sinks.AnyEncoder {
	e := &encoder{collector: c}
	if c.refuses != nil {
		e.refusing = c.refuses.NewEncoder()
	}
	return e
}

// encoder makes parts: each batch with a number, its time and its length before it.
type encoder struct {
	*collector
	refusing sinks.AnyEncoder
}

func (e *encoder) Encode(part []byte, b record.Any, fail func(i int, err error)) ([]byte, error) {
	if e.refusing != nil {
		refused := map[int]bool{}
		if _, err := e.refusing.Encode(nil, b, func(i int, err error) {
			refused[i] = true
			fail(i, err)
		}); err != nil {
			return part, err
		}
		if len(refused) > 0 {
			taken := e.codec.NewBatch()
			taken.SetSplitID(b.SplitID())
			for i := range b.Len() {
				if !refused[i] {
					e.codec.CopyRecord(taken, b, i)
				}
			}
			b = taken
		}
	}
	if b.Len() == 0 {
		return part, nil
	}
	e.seen.Add(int64(b.Len()))
	data := e.codec.AppendBatch(nil, b)
	part = binary.AppendUvarint(part, uint64(e.clock.count.Add(1)))
	part = binary.AppendVarint(part, int64(time.Since(e.clock.began)))
	part = binary.AppendUvarint(part, uint64(len(data)))
	return append(part, data...), nil
}

func (c *collector) NewCommitter(context.Context) (sinks.AnyCommitter, error) { return c, nil }

func (c *collector) Progress(_ context.Context, sh sinks.Shard) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if last, ok := c.progress[sh]; ok {
		return last, nil
	}
	return -1, nil
}

func (c *collector) Commit(_ context.Context, sh sinks.Shard, from int64, parts iter.Seq2[[]byte, error]) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.progress[sh]
	if !ok {
		last = -1
	}
	var got []arrival
	for part, err := range parts {
		if err != nil {
			return err
		}
		if from > last+1 {
			return fmt.Errorf("got part %d of %s, want part %d", from, sh, last+1)
		}
		if from > last {
			if got, err = c.decode(got, bytes.Clone(part)); err != nil { // the part's memory is the runtime's
				return err
			}
			last = from
		}
		from++
	}
	c.got, c.progress[sh] = append(c.got, got...), last
	return nil
}

func (c *collector) decode(got []arrival, part []byte) ([]arrival, error) {
	for len(part) > 0 {
		number, n := binary.Uvarint(part)
		after, m := binary.Varint(part[n:])
		size, l := binary.Uvarint(part[n+m:])
		data := part[n+m+l:][:size]
		part = part[n+m+l+len(data):]
		b := c.codec.NewBatch()
		if err := c.codec.DecodeBatch(data, b); err != nil {
			return nil, err
		}
		for i := range b.Len() {
			got = append(got, arrival{int64(number), time.Duration(after), b.SplitID(), b, i, c.codec.Values(nil, b, i)})
		}
	}
	return got, nil
}

func (c *collector) Close() error { return nil }

// arrived is what came, as it came.
func (c *collector) arrived() []arrival {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := slices.Clone(c.got)
	slices.SortStableFunc(all, func(a, b arrival) int { return int(a.number - b.number) })
	return all
}
