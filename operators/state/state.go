package state

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/activedataflow/adf/fault"
)

// Bucket is the state of one bucket of one node. It is used from one goroutine at a time.
type Bucket struct {
	stores    []store
	timers    timers
	watermark int64
	now       int64 // the clock, in milliseconds
	cells     int   // how many cells the log has declared
	log       int64 // bytes of the log
	pieces    int   // deltas of the log
	gone, set []byte
}

// NewBucket makes an empty bucket. What is wrong with the cells is told by [Check].
func NewBucket(cells []Cell) *Bucket {
	b := &Bucket{watermark: math.MinInt64, now: time.Now().UnixMilli()}
	for _, c := range cells {
		s := c.open()
		s.enter(b)
		b.stores = append(b.stores, s)
	}
	return b
}

// Reach tells the bucket how far its input has come, and what the clock says, both in milliseconds. The watermark only grows. TTL goes by the clock.
func (b *Bucket) Reach(watermark, now int64) {
	b.watermark = max(b.watermark, watermark)
	b.now = now
}

// Watermark is how far the input has come since the bucket was made; it is not part of the state.
func (b *Bucket) Watermark() int64 { return b.watermark }

// Now is what the clock said last, in milliseconds.
func (b *Bucket) Now() int64 { return b.now }

// Expire drops what has outlived its TTL.
func (b *Bucket) Expire() {
	for _, s := range b.stores {
		s.expire(b.now)
	}
}

// SetTimer sets a timer of a key; one that is already set stays as it is.
func (b *Bucket) SetTimer(key []byte, t Timer) { b.timers.add(alarm{t, string(key)}) }

// DeleteTimer deletes a timer of a key, if it is set.
func (b *Bucket) DeleteTimer(key []byte, t Timer) { b.timers.delete(alarm{t, string(key)}) }

// NextOf gives the first of the timers of one kind, in order of time, then key, then tag. ok is false when there is none.
func (b *Bucket) NextOf(processing bool) (key string, t Timer, ok bool) {
	a, ok := b.timers.next(processing)
	return a.key, a.Timer, ok
}

// NextTimer gives when the next timer of event time and of processing time is due, in milliseconds; math.MaxInt64 when there is none (of
// event time: none before the end of the input).
func (b *Bucket) NextTimer() (event, processing int64) {
	event, processing = never, never
	if a, ok := b.timers.next(false); ok {
		event = a.Time
	}
	if a, ok := b.timers.next(true); ok {
		processing = a.Time
	}
	for _, s := range b.stores {
		event = min(event, s.nextDue())
		processing = min(processing, s.nextExpiry())
	}
	return event, processing
}

// Size is the size in bytes of the live state as it is encoded, at the last Load or Delta.
func (b *Bucket) Size() int64 {
	n := b.timers.live
	for _, s := range b.stores {
		n += s.bytes()
	}
	return n
}

// MostPieces bounds how many deltas a log has: a large state that changes a little in each of many checkpoints would keep a piece of each.
const MostPieces = 64

// Delta gives what changed since the last call (or Load), nil when nothing did. whole says that it is all there is and replaces the log: that
// is so when the log would be at least twice as large.
func (b *Bucket) Delta() (delta []byte, whole bool) {
	dirty := b.timers.dirty()
	for _, s := range b.stores {
		dirty = dirty || s.dirty()
	}
	if !dirty {
		return nil, false
	}
	delta = b.encode(false)
	if b.log > 0 && (b.pieces >= MostPieces || b.log+int64(len(delta)) >= 2*b.whole()) {
		delta, whole = b.encode(true), true
		b.log, b.pieces = 0, 0
	}
	b.log += int64(len(delta))
	b.pieces++
	return delta, whole
}

// whole is about how large a whole delta would be.
func (b *Bucket) whole() int64 {
	n := b.Size()
	for _, s := range b.stores {
		if s.count() > 0 {
			n += int64(len(s.name())+len(s.schema())) + 24
		}
	}
	return n
}

func (b *Bucket) encode(whole bool) []byte {
	dst := protowire.AppendTag(nil, deltaFieldVersion, protowire.VarintType)
	dst = protowire.AppendVarint(dst, deltaVersion)
	if whole {
		b.cells = 0
		for _, s := range b.stores {
			*s.number() = -1
		}
	}
	writes := func(s store) bool { return s.dirty() || whole && s.count() > 0 }
	for _, s := range b.stores {
		if n := s.number(); *n < 0 && writes(s) {
			*n = b.cells
			b.cells++
			dst = appendCell(dst, s.name(), s.schema(), s.hasTTL())
		}
	}
	for _, s := range b.stores {
		if writes(s) {
			dst = s.appendDelta(dst, whole, &b.gone, &b.set)
		}
	}
	dst = b.timers.append(dst, whole)
	b.gone, b.set = emptied(b.gone), emptied(b.set)
	return dst
}

// append appends the changed timers, or all. From then on the log has them.
func (t *timers) append(dst []byte, whole bool) []byte {
	var gone, set []byte
	live := func(a alarm) {
		if inLog, there := t.set[a]; there && (!inLog || whole) {
			n := len(set)
			set = appendTimer(set, a.key, a.Timer)
			if !inLog {
				t.live += int64(len(set) - n)
			}
			t.set[a] = true
		}
	}
	if whole {
		for _, a := range sorted(t.set) {
			live(a)
		}
	} else {
		for _, a := range sorted(t.gone) {
			n := len(gone)
			gone = appendTimer(gone, a.key, a.Timer)
			t.live -= int64(len(gone) - n)
		}
		for _, a := range t.changed {
			live(a)
		}
	}
	clear(t.changed)
	t.changed, t.gone = emptied(t.changed), nil // an emptied map keeps its memory
	if len(t.set) == 0 {
		t.set = nil
	}
	dst = appendBytes(dst, deltaFieldGone, gone)
	return appendBytes(dst, deltaFieldTimers, set)
}

func sorted[V any](m map[alarm]V) []alarm {
	all := make([]alarm, 0, len(m))
	for a := range m {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, o alarm) int {
		switch {
		case a == o:
			return 0
		case a.before(o) || !o.before(a) && o.Processing:
			return -1
		}
		return 1
	})
	return all
}

// Load folds a log of deltas, into an empty bucket. It keeps nothing of log.
func (b *Bucket) Load(log [][]byte) error {
	if b.log > 0 || b.cells > 0 {
		panic("state is loaded into a bucket that has some")
	}
	var readers []reader
	for i, delta := range log {
		if err := b.fold(delta, &readers); err != nil {
			return fmt.Errorf("delta %d of %d: %w", i+1, len(log), err)
		}
		b.log += int64(len(delta))
		b.pieces++
	}
	b.cells = len(readers)
	return nil
}

func (b *Bucket) fold(delta []byte, readers *[]reader) error {
	version := uint64(0)
	wrong := func() error { return fmt.Errorf("got version %d of the form of state, want %d", version, deltaVersion) }
	err := fields(delta, func(number protowire.Number, v uint64, data []byte) error {
		if number == deltaFieldVersion {
			version = v
		}
		if version != deltaVersion {
			return wrong()
		}
		switch number {
		case deltaFieldVersion:
			return nil
		case deltaFieldCells:
			r, err := b.declared(data, len(*readers))
			*readers = append(*readers, r)
			return err
		case deltaFieldValues:
			return foldValues(data, *readers)
		case deltaFieldGone, deltaFieldTimers:
			return b.timers.fold(data, number == deltaFieldGone)
		}
		return unknown("StateDelta", number)
	})
	if err == nil && version != deltaVersion {
		err = wrong()
	}
	return err
}

// declared gives the reader for a cell that the log declares.
func (b *Bucket) declared(data []byte, number int) (reader, error) {
	var name, schema string
	written := false
	if err := fields(data, func(number protowire.Number, v uint64, data []byte) error {
		switch number {
		case cellFieldName:
			name = string(data)
		case cellFieldSchema:
			schema = string(data)
		case cellFieldWritten:
			written = v != 0
		default:
			return unknown("StateCell", number)
		}
		return nil
	}); err != nil {
		return reader{}, err
	}
	for _, s := range b.stores {
		if s.name() != name {
			continue
		}
		r, err := s.reader(schema, written)
		if err != nil {
			return r, &fault.RuntimeError{Detail: fault.Detail{
				Code: "state.cell_schema", Doing: "read the state " + name, Retry: fault.RetryNever, Err: err,
				Fix: fmt.Sprintf("it was stored as (%s), the flow now has (%s)", schema, s.schema()),
			}}
		}
		*s.number() = -1
		if schema == s.schema() && written == s.hasTTL() {
			*s.number() = number
		}
		return r, nil
	}
	return reader{}, &fault.RuntimeError{Detail: fault.Detail{
		Code: "state.cell_unknown", Doing: "restore state", Retry: fault.RetryNever,
		Err: fmt.Errorf("the checkpoint has the state %q, the step has %s", name, b.names()),
		Fix: "keep the cell of state in the step, or give the step a new name and drop its state with --allow-dropped",
	}}
}

func (b *Bucket) names() string {
	if len(b.stores) == 0 {
		return "none"
	}
	names := make([]string, len(b.stores))
	for i, s := range b.stores {
		names[i] = fmt.Sprintf("%q", s.name())
	}
	return strings.Join(names, ", ")
}

func foldValues(data []byte, readers []reader) error {
	var cell uint64
	var gone, set []byte
	var base int64
	if err := fields(data, func(number protowire.Number, v uint64, data []byte) error {
		switch number {
		case valuesFieldCell:
			cell = v
		case valuesFieldGone:
			gone = data
		case valuesFieldSet:
			set = data
		case valuesFieldBase:
			base = protowire.DecodeZigZag(v)
		default:
			return unknown("CellDelta", number)
		}
		return nil
	}); err != nil {
		return err
	}
	if cell >= uint64(len(readers)) {
		return fmt.Errorf("got values of cell %d, the log has declared %d", cell, len(readers))
	}
	if err := readers[cell].removed(gone); err != nil {
		return err
	}
	return readers[cell].set(set, base)
}

func (t *timers) fold(data []byte, gone bool) error {
	for len(data) > 0 {
		n := len(data)
		key, timer, rest, err := readTimer(data)
		if err != nil {
			return err
		}
		data = rest
		a := alarm{timer, string(key)}
		_, there := t.set[a]
		if gone != there {
			return fmt.Errorf("a timer is set twice or deleted without being set (key %x, time %d, tag %q)", key, timer.Time, timer.Tag)
		}
		if gone {
			delete(t.set, a)
			t.live -= int64(n - len(rest))
			continue
		}
		if t.set == nil {
			t.set = map[alarm]bool{}
		}
		t.set[a] = true
		t.live += int64(n - len(rest))
		t.plan(a)
	}
	return nil
}
