package operators

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/operators/state/table"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Processor is user code that sees the records of each key, with state and timers of that key. An instance is used from one goroutine.
//
// In a run whose input ends, the records of a key come in the order of (event time, split, position), each once the watermark has passed
// it; in other runs as they arrive.
type Processor[T, K, Out any] interface {
	// State are the cells it uses, the same from every instance.
	State() []state.Cell
	// Open is called before the first record or timer.
	Open(ctx context.Context, oc OpContext) error
	// Process takes one record; v is good for the call only (row.Row: Clone). An error is about this record; what was changed and emitted
	// before it stays.
	Process(ctx context.Context, key K, v T, m record.Meta, c *Ctx[Out]) error
	// OnTimer is called when a timer is due. An error ends the run.
	OnTimer(ctx context.Context, key K, t Timer, c *Ctx[Out]) error
	Close() error
}

// Timer is a moment at which a key's processor wants to be called.
type Timer = state.Timer

// Ctx is what a processor does besides computing: it is what the handles of state work on, and it emits and sets timers. It is good for the
// current call only.
type Ctx[Out any] struct {
	keyScope
	b    *state.Bucket
	key  []byte
	meta record.Meta
	out  *record.Batch[Out]
	emit func(v Out, m record.Meta)
}

type keyScope = state.Scope

// Emit gives a result. It has the event time of the record or of the event-time timer at work.
func (c *Ctx[Out]) Emit(v Out) { c.emit(v, c.meta) }

// EmitAt gives a result with an event time of its own, in milliseconds.
func (c *Ctx[Out]) EmitAt(v Out, time int64) {
	m := c.meta
	m.Time = time
	c.emit(v, m)
}

// Now is the clock's time in milliseconds, as processing-time timers and TTL have it.
func (c *Ctx[Out]) Now() int64 { return c.b.Now() }

// SetEventTimer calls OnTimer for this key once the watermark has reached ms; at once when it has already. One that is set stays as it is.
func (c *Ctx[Out]) SetEventTimer(ms int64, tag string) {
	c.b.SetTimer(c.key, Timer{Time: ms, Tag: tag})
}

// SetProcessingTimer calls OnTimer for this key once the clock has reached ms.
func (c *Ctx[Out]) SetProcessingTimer(ms int64, tag string) {
	c.b.SetTimer(c.key, Timer{Time: ms, Processing: true, Tag: tag})
}

// DeleteTimer takes a timer of this key back, if it is set.
func (c *Ctx[Out]) DeleteTimer(t Timer) { c.b.DeleteTimer(c.key, t) }

// Process runs user code on each key's records; open makes an instance for each worker. State that was not written for ttl is
// dropped, unless its cell has a TTL of its own; zero keeps it for ever.
func Process[T, K, Out any](in *row.Codec[T], out *row.Codec[Out], key func(T) K, ttl time.Duration, open func() Processor[T, K, Out]) (AnyKeyed, error) {
	keys, err := row.CodecOf[K]()
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if ttl < 0 {
		return nil, fmt.Errorf("got the TTL %s, want one of at least zero", ttl)
	}
	p := &process[T, K, Out]{in: in, out: out, keys: keys, key: key, open: open}
	for _, c := range open().State() {
		if strings.HasPrefix(c.Name(), "adf.") {
			return nil, fmt.Errorf("state %s: names that begin with \"adf.\" are taken", c.Name())
		}
		p.cells = append(p.cells, c.WithTTL(ttl))
	}
	p.waiting = state.Define("adf.waiting", state.Format[[]byte](waitingFormat{in.Schema()}), dueAfter)
	p.cells = append(p.cells, p.waiting)
	return p, state.Check(p.cells)
}

type process[T, K, Out any] struct {
	in      *row.Codec[T]
	out     *row.Codec[Out]
	keys    *row.Codec[K]
	key     func(T) K
	open    func() Processor[T, K, Out]
	cells   []state.Cell
	waiting *state.Value[[]byte]
}

func (p *process[T, K, Out]) Inputs() []row.AnyCodec { return []row.AnyCodec{p.in} }
func (p *process[T, K, Out]) Out() row.AnyCodec      { return p.out }
func (p *process[T, K, Out]) OrderDependent() bool   { return true }
func (p *process[T, K, Out]) EventTime() bool        { return false }
func (p *process[T, K, Out]) OutputDelay() int64     { return 0 }
func (p *process[T, K, Out]) Cells() []state.Cell    { return p.cells }

func (p *process[T, K, Out]) Shuffle(_ int, _ OpContext, buckets int) (Shuffle, error) {
	return &processShuffle[T, K, Out]{process: p, coder: keyCoder[K]{codec: p.keys}, parts: make([]processPart, buckets)}, nil
}

func (p *process[T, K, Out]) Task(oc OpContext) (KeyedTask, error) {
	return &processTask[T, K, Out]{
		process: p, oc: oc, user: p.open(), coder: keyCoder[K]{codec: p.keys}, batch: &record.Batch[T]{}, width: len(p.in.Schema().Fields),
	}, nil
}

// processShuffle cuts records by bucket.
type processShuffle[T, K, Out any] struct {
	*process[T, K, Out]
	coder    keyCoder[K]
	parts    []processPart
	bytes    []byte
	vs       []row.Value
	buffered int
}

// processPart is what has come for one bucket.
type processPart struct {
	payload []byte
	last    int // size of the payload before
	split   string
	before  record.Meta
}

func (s *processShuffle[T, K, Out]) Add(b record.Any, _ func(i int), _ func(i int, err error)) error {
	batch := b.(*record.Batch[T])
	for i, m := range batch.Metas {
		s.bytes = s.coder.append(s.bytes[:0], s.key(batch.Values[i]))
		p := &s.parts[table.Hash(s.bytes)%uint64(len(s.parts))]
		n := len(p.payload)
		if n == 0 {
			p.payload = append(make([]byte, 0, p.last+p.last/8+64), payloadVersion)
		}
		if n == 0 || p.split != batch.Split {
			p.payload = appendText(append(p.payload, tagSplit), batch.Split)
			p.split, p.before = batch.Split, record.Meta{}
		}
		p.payload = appendText(append(p.payload, tagRecord), textOf(s.bytes))
		p.payload = appendMeta(p.payload, m, p.before)
		p.before = m
		s.vs = s.in.Values(s.vs[:0], batch, i)
		s.bytes = appendValues(s.bytes[:0], s.vs)
		p.payload = appendText(p.payload, textOf(s.bytes))
		s.buffered += len(p.payload) - n
	}
	return nil
}

func (s *processShuffle[T, K, Out]) Buffered() int { return s.buffered }

func (s *processShuffle[T, K, Out]) Flush(emit func(bucket int, payload []byte)) error {
	if s.buffered == 0 {
		return nil
	}
	for bucket := range s.parts {
		if p := &s.parts[bucket]; len(p.payload) > 0 {
			payload := p.payload
			*p = processPart{last: len(payload)}
			emit(bucket, payload)
		}
	}
	s.buffered = 0
	return nil
}

func (s *processShuffle[T, K, Out]) Close() error { return nil }

// processTask gives records and timers to user code.
type processTask[T, K, Out any] struct {
	*process[T, K, Out]
	oc     OpContext
	user   Processor[T, K, Out]
	opened bool
	coder  keyCoder[K] // of timers
	batch  *record.Batch[T]
	width  int
	vs     []row.Value
	sorted []waitingRecord
	ctx    Ctx[Out]
}

func (t *processTask[T, K, Out]) begin(ctx context.Context, b *state.Bucket, out Output) error {
	if !t.opened {
		if err := t.user.Open(ctx, t.oc); err != nil {
			return err
		}
		t.opened = true
		t.ctx.emit = t.emit
	}
	t.ctx.b, t.ctx.out = b, out.Out.(*record.Batch[Out])
	return nil
}

func (t *processTask[T, K, Out]) emit(v Out, m record.Meta) {
	if r, ok := any(v).(row.Row); ok { // it may be the input's, whose memory is used again
		if err := t.out.AppendRecord(t.ctx.out, r.Values, m); err != nil {
			panic(err) // a row that is no row of the schema
		}
		return
	}
	t.ctx.out.Append(v, m)
}

func (t *processTask[T, K, Out]) at(key []byte, m record.Meta) {
	t.ctx.keyScope = state.At(t.ctx.b, table.Hash(key), key)
	t.ctx.key, t.ctx.meta = key, m
}

func (t *processTask[T, K, Out]) Process(ctx context.Context, b *state.Bucket, _ int, payload []byte, out Output) error {
	if err := t.begin(ctx, b, out); err != nil {
		return err
	}
	b.Reach(record.NoTime, time.Now().UnixMilli())
	p, err := newProcessReader(payload)
	if err != nil {
		return badPayload(err)
	}
	waiting := t.waiting.In(b)
	for p.next() {
		if t.oc.Bounded {
			v, _ := waiting.Change(table.Hash(p.key), p.key, p.meta.Time)
			*v = appendWaiting(*v, waitingRecord{split: p.split, meta: p.meta, values: p.values})
			continue
		}
		if err := t.one(ctx, p.key, p.split, p.meta, p.values, out); err != nil {
			return err
		}
	}
	if p.err != nil {
		return badPayload(p.err)
	}
	return nil
}

// one gives a record to user code.
func (t *processTask[T, K, Out]) one(ctx context.Context, key []byte, split string, m record.Meta, values []byte, out Output) error {
	var err error
	if t.vs, err = readValues(t.vs[:0], values, t.width); err == nil {
		err = t.in.AppendRecord(t.batch, t.vs, m)
	}
	if err != nil {
		return badPayload(err)
	}
	defer t.batch.Reset()
	v := t.batch.Values[0]
	t.at(key, m)
	err = t.user.Process(ctx, t.key(v), v, m, &t.ctx)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		out.Fail(t.in.AppendJSON(nil, t.batch, 0), m, split, err)
	}
	return nil
}

func (t *processTask[T, K, Out]) Advance(ctx context.Context, b *state.Bucket, watermark, now int64, out Output) (more bool, err error) {
	if err := t.begin(ctx, b, out); err != nil {
		return false, err
	}
	b.Reach(watermark, now)
	b.Expire()
	for next := t.due(b); next != nothing; next = t.due(b) {
		if more { // the output is full
			return true, nil
		}
		if next == waitingRecords {
			err = t.records(ctx, b, out)
		} else {
			err = t.timer(ctx, b, next == processingTimer)
		}
		if err != nil {
			return false, err
		}
		more = out.Full()
	}
	return false, nil
}

// dueThing is what is to be done next.
type dueThing uint8

const (
	nothing dueThing = iota
	waitingRecords
	eventTimer
	processingTimer
)

// due says what is due first: the records of a key and time that have waited, a timer of event time, a timer of processing time.
func (t *processTask[T, K, Out]) due(b *state.Bucket) dueThing {
	_, timer, ok := b.NextOf(false)
	ok = ok && timer.Time <= b.Watermark()
	if _, at, _, waits := t.waiting.In(b).Due(b.Watermark()); waits && (!ok || dueAfter(at) <= timer.Time) {
		return waitingRecords
	}
	if ok {
		return eventTimer
	}
	if _, timer, ok = b.NextOf(true); ok && timer.Time <= b.Now() {
		return processingTimer
	}
	return nothing
}

// records processes the records of the first key and time.
func (t *processTask[T, K, Out]) records(ctx context.Context, b *state.Bucket, out Output) (err error) {
	waiting := t.waiting.In(b)
	from, at, v, _ := waiting.Due(b.Watermark())
	if t.sorted, err = readWaiting(t.sorted[:0], *v); err != nil {
		return err
	}
	key := bytesOf(from)
	waiting.Remove(table.Hash(key), key, at)
	for _, r := range t.sorted {
		r.meta.Time = at
		if err := t.one(ctx, key, r.split, r.meta, r.values, out); err != nil {
			return err
		}
	}
	return nil
}

// timer calls user code for the first timer of a kind.
func (t *processTask[T, K, Out]) timer(ctx context.Context, b *state.Bucket, processing bool) error {
	from, timer, _ := b.NextOf(processing)
	k, err := t.coder.decode(from)
	if err != nil {
		return err
	}
	key := bytesOf(from)
	b.DeleteTimer(key, timer)
	m := record.Meta{Time: record.NoTime, Watermark: record.NoTime, Position: int64(table.Hash(key) >> 1)}
	if !processing {
		m.Time, m.Watermark = timer.Time, timer.Time
	}
	t.at(key, m)
	return t.user.OnTimer(ctx, k, timer, &t.ctx)
}

func (t *processTask[T, K, Out]) Close() error {
	if !t.opened {
		return nil
	}
	t.opened = false
	return t.user.Close()
}
