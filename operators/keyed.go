package operators

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/operators/state/table"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// windowed is a keyed step that folds the records of a key and window into an accumulator A.
type windowed[A any] struct {
	in, out row.AnyCodec
	windows windows
	format  state.Format[A]
	cell    *state.Value[A]
	// fold makes what one half works with, from one goroutine.
	fold func() folding[A]
}

// folding is what a kind of aggregate does with records and accumulators.
type folding[A any] interface {
	// begin says which batch the following records are in.
	begin(b record.Any)
	// read appends the key of record i to dst and keeps what add needs. An error is about this record.
	read(dst []byte, i int) ([]byte, error)
	// fresh makes an accumulator that has seen nothing of one that is zero or was used before.
	fresh(a *A)
	// add adds the record read last.
	add(a *A)
	// merge adds what is in from, which is not used afterwards.
	merge(into, from *A)
	// result hands on the result of a key and window. An error ends the run.
	result(out Output, key string, w Span, a *A, m record.Meta) error
}

func newWindowed[A any](in, out row.AnyCodec, w windows, f state.Format[A], fold func() folding[A]) *windowed[A] {
	return &windowed[A]{in, out, w, f, state.Define(w.cell(), f, w.due), fold}
}

func (k *windowed[A]) Inputs() []row.AnyCodec { return []row.AnyCodec{k.in} }
func (k *windowed[A]) Out() row.AnyCodec      { return k.out }
func (k *windowed[A]) OrderDependent() bool   { return false }
func (k *windowed[A]) EventTime() bool        { return !k.windows.all() }
func (k *windowed[A]) AtEnd() bool            { return k.windows.all() }
func (k *windowed[A]) OutputDelay() int64     { return k.windows.lateness }
func (k *windowed[A]) Cells() []state.Cell    { return []state.Cell{k.cell} }

func (k *windowed[A]) Shuffle(_ int, _ OpContext, buckets int) (Shuffle, error) {
	return &windowShuffle[A]{windowed: k, fold: k.fold(), write: k.format.Writer(), buckets: uint64(buckets), weight: 16}, nil
}

func (k *windowed[A]) Task(OpContext) (KeyedTask, error) {
	read, err := k.format.Reader(k.format.Schema())
	if err != nil {
		return nil, err
	}
	return &windowTask[A]{windowed: k, fold: k.fold(), read: read}, nil
}

// windowShuffle combines the records of each key and window, until they are flushed.
type windowShuffle[A any] struct {
	*windowed[A]
	fold    folding[A]
	write   func(dst []byte, a *A) []byte
	buckets uint64

	current    Span // the window of the record before
	due        int64
	key        []byte
	groups     table.Table[group[A]]
	keys       arena
	buffered   int
	weight     int // bytes of an entry without its key, as they were in the last payloads
	counts     []uint32
	order      []uint32
	value, buf []byte
}

// group is what was combined for a key and window.
type group[A any] struct {
	bucket  uint32
	records int64
	acc     A
}

func (s *windowShuffle[A]) Add(b record.Any, late func(i int), fail func(i int, err error)) error {
	metas := b.Meta()
	s.fold.begin(b)
	for i := range metas {
		if !s.windows.all() {
			m := &metas[i]
			if m.Time < s.current.Start || m.Time >= s.current.End {
				start, err := s.windows.of(m.Time)
				if err != nil {
					fail(i, err)
					continue
				}
				s.current, s.due = s.windows.span(start), s.windows.due(start)
			}
			if s.due <= m.Watermark {
				late(i)
				continue
			}
		}
		var err error
		if s.key, err = s.fold.read(s.key[:0], i); err != nil {
			fail(i, err)
			continue
		}
		hash := table.Hash(s.key)
		var g *group[A]
		if at := s.groups.Find(hash, s.key, s.current.Start); at >= 0 {
			g = &s.groups.At(at).Value
		} else {
			g = &s.groups.Insert(hash, s.keys.copy(s.key), s.current.Start).Value
			g.bucket, g.records = uint32(hash%s.buckets), 0
			s.fold.fresh(&g.acc)
			s.buffered += len(s.key) + s.weight
		}
		g.records++
		s.fold.add(&g.acc)
	}
	return nil
}

func (s *windowShuffle[A]) Buffered() int { return s.buffered }

func (s *windowShuffle[A]) Flush(emit func(bucket int, payload []byte)) error {
	n := s.groups.Len()
	if n == 0 {
		return nil
	}
	s.sort(n)
	total := 0
	for from := 0; from < n; {
		bucket := s.groups.At(int(s.order[from])).Value.bucket
		s.buf = append(s.buf[:0], payloadVersion)
		before := int64(0)
		for ; from < n; from++ {
			e := s.groups.At(int(s.order[from]))
			if e.Value.bucket != bucket {
				break
			}
			s.buf = binary.AppendUvarint(s.buf, uint64(len(e.Key)))
			s.buf = append(s.buf, e.Key...)
			s.buf = binary.AppendVarint(s.buf, e.NS-before)
			before = e.NS
			s.buf = binary.AppendUvarint(s.buf, uint64(e.Value.records))
			s.value = s.write(s.value[:0], &e.Value.acc)
			s.buf = binary.AppendUvarint(s.buf, uint64(len(s.value)))
			s.buf = append(s.buf, s.value...)
		}
		total += len(s.buf)
		emit(int(bucket), bytes.Clone(s.buf))
	}
	s.weight = max(1, (total-s.keys.size())/n)
	s.buffered = 0
	s.groups.Clear()
	s.keys.reset()
	return nil
}

// sort puts the places of the n groups in the order of their buckets.
func (s *windowShuffle[A]) sort(n int) {
	if s.counts == nil {
		s.counts = make([]uint32, s.buckets+1)
	}
	clear(s.counts)
	for i := range n {
		s.counts[s.groups.At(i).Value.bucket+1]++
	}
	for i := 1; i < len(s.counts); i++ {
		s.counts[i] += s.counts[i-1]
	}
	if cap(s.order) < n || cap(s.order) > 8*n+1024 {
		s.order = make([]uint32, n+n/4)
	}
	s.order = s.order[:cap(s.order)]
	for i := range n {
		at := &s.counts[s.groups.At(i).Value.bucket]
		s.order[*at] = uint32(i)
		*at++
	}
}

func (s *windowShuffle[A]) Close() error { return nil }

// payloadVersion is the version of the form of what crosses the shuffle: groups one after another, each with its key (length before it),
// the start of its window as difference to the group before (zigzag), the number of records in it and its accumulator (length before it).
const payloadVersion = 1

// windowTask merges what was combined, and gives results.
type windowTask[A any] struct {
	*windowed[A]
	fold    folding[A]
	read    func(a *A, data []byte) error
	scratch A
}

func (t *windowTask[A]) Process(_ context.Context, b *state.Bucket, _ int, payload []byte, out Output) error {
	if len(payload) == 0 || payload[0] != payloadVersion {
		return badPayload(errVersion)
	}
	data := payload[1:]
	acc := t.cell.In(b)
	start, late := int64(0), int64(0)
	for len(data) > 0 {
		key, rest, ok := cut(data)
		moved, n := binary.Varint(rest)
		if !ok || n <= 0 {
			return badPayload(errTruncated)
		}
		start += moved
		if !t.windows.all() && (start > farthest || start < -farthest-t.windows.size) || t.windows.all() && start != 0 {
			return badPayload(fmt.Errorf("got a window that starts at %d", start))
		}
		records, n2 := binary.Uvarint(rest[n:])
		if n2 <= 0 || records == 0 || records > math.MaxInt64 {
			return badPayload(errTruncated)
		}
		value, rest, ok := cut(rest[n+n2:])
		if !ok {
			return badPayload(errTruncated)
		}
		data = rest
		if !t.windows.all() && t.windows.due(start) <= b.Watermark() {
			late += int64(records)
			continue
		}
		v, fresh := acc.Change(table.Hash(key), key, start)
		if fresh {
			t.fold.fresh(v)
			if err := t.read(v, value); err != nil {
				return badPayload(err)
			}
			continue
		}
		if err := t.read(&t.scratch, value); err != nil {
			return badPayload(err)
		}
		t.fold.merge(v, &t.scratch)
	}
	if late > 0 && out.LateDropped != nil {
		out.LateDropped(late)
	}
	return nil
}

func (t *windowTask[A]) Advance(_ context.Context, b *state.Bucket, watermark, now int64, out Output) (more bool, err error) {
	b.Reach(watermark, now)
	acc := t.cell.In(b)
	for {
		key, start, v, ok := acc.Due(watermark)
		if !ok {
			return false, nil
		}
		hash := table.Hash(bytesOf(key))
		m := record.Meta{Time: record.NoTime, Watermark: record.NoTime, Position: int64(hash >> 1)}
		span := t.windows.span(start)
		if !t.windows.all() {
			m.Time, m.Watermark = span.End-1, span.End-1
		}
		if err := t.fold.result(out, key, span, v, m); err != nil {
			return false, err
		}
		acc.Remove(hash, bytesOf(key), start)
		if out.Full() {
			_, _, _, more := acc.Due(watermark)
			return more, nil
		}
	}
}

func (t *windowTask[A]) Close() error { return nil }

var (
	errVersion   = fmt.Errorf("want version %d", payloadVersion)
	errTruncated = errors.New("the data ends in the middle of a group")
)

func badPayload(err error) error {
	return &fault.RuntimeError{Detail: fault.Detail{Code: "keyed.payload", Doing: "read what crossed the shuffle", Retry: fault.RetryNever, Err: err}}
}

// cut takes bytes with their length before them off data.
func cut(data []byte) (b, rest []byte, ok bool) {
	n, w := binary.Uvarint(data)
	if w <= 0 || n > uint64(len(data)-w) {
		return nil, nil, false
	}
	return data[w : w+int(n)], data[w+int(n):], true
}
