package state

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/activedataflow/adf/operators/state/table"
)

// Store is the values of one cell in one bucket.
type Store[V any] struct {
	b     *Bucket
	cell  *Value[V]
	write func(dst []byte, v *V) []byte
	own   func(V) V // copies a value with what it points to; nil when that is nothing
	log   int       // the cell's number in the bucket's log, or -1

	entries table.Table[held[V]]
	changed []uint32 // places of entries to be written, or moved
	gone    []byte   // entries to be removed from the log, encoded
	live    int64    // bytes of the entries in the log
	due     queue[moment]
	expiry  queue[moment]
}

// moved stands in changed for an entry that is gone.
const moved = ^uint32(0)

// held is a value with what the log knows of it.
type held[V any] struct {
	written int64  // when, by the clock; with TTL only
	changed uint32 // place in Store.changed, plus one; 0 when the log has the value
	size    uint32 // bytes in the log, 0 when it is not there
	waits   bool   // an item of Store.expiry stands for it
	v       V
}

// store is a Store whose type is erased.
type store interface {
	name() string
	schema() string
	enter(b *Bucket)
	number() *int
	reader(schema string, written bool) (reader, error)
	dirty() bool
	hasTTL() bool
	count() int
	bytes() int64
	appendDelta(dst []byte, whole bool, gone, set *[]byte) []byte
	nextDue() int64
	nextExpiry() int64
	expire(now int64)
}

// reader folds what a log has of a cell.
type reader struct {
	set     func(data []byte, base int64) error
	removed func(data []byte) error
}

func (s *Store[V]) name() string    { return s.cell.name }
func (s *Store[V]) schema() string  { return s.cell.format.Schema() }
func (s *Store[V]) enter(b *Bucket) { s.b = b }
func (s *Store[V]) number() *int    { return &s.log }
func (s *Store[V]) dirty() bool     { return len(s.changed) > 0 || len(s.gone) > 0 }
func (s *Store[V]) hasTTL() bool    { return s.cell.ttl > 0 }
func (s *Store[V]) count() int      { return s.entries.Len() }
func (s *Store[V]) bytes() int64    { return s.live }

// Len is the number of values.
func (s *Store[V]) Len() int { return s.entries.Len() }

func (s *Store[V]) expired(h *held[V]) bool {
	return s.cell.ttl > 0 && h.written+s.cell.ttl <= s.b.now
}

// Get gives the value of a key and namespace, or nil. hash is table.Hash(key). The pointer is good until the store is changed.
func (s *Store[V]) Get(hash uint64, key []byte, ns int64) *V {
	i := s.entries.Find(hash, key, ns)
	if i < 0 {
		return nil
	}
	h := &s.entries.At(i).Value
	if s.expired(h) {
		return nil
	}
	return &h.v
}

// Change gives the value of a key and namespace to be changed in place; fresh says that there was none, and that it is zero.
func (s *Store[V]) Change(hash uint64, key []byte, ns int64) (v *V, fresh bool) {
	i := s.entries.Find(hash, key, ns)
	var h *held[V]
	if i < 0 {
		i = s.entries.Len()
		h = s.insert(hash, string(key), ns)
		fresh = true
	} else {
		h = &s.entries.At(i).Value
		if s.expired(h) {
			var zero V
			h.v, fresh = zero, true
		}
	}
	if h.changed == 0 {
		s.changed = append(s.changed, uint32(i))
		h.changed = uint32(len(s.changed))
	}
	if s.cell.ttl > 0 {
		h.written = s.b.now
		s.wait(h, i)
	}
	return &h.v, fresh
}

func (s *Store[V]) insert(hash uint64, key string, ns int64) *held[V] {
	e := s.entries.Insert(hash, key, ns)
	if s.cell.due != nil {
		s.due.push(moment{s.cell.due(ns), key, ns})
	}
	return &e.Value
}

// wait plans that the value expires. An item is moved on when its time has come and the value was written since.
func (s *Store[V]) wait(h *held[V], i int) {
	if h.waits {
		return
	}
	h.waits = true
	e := s.entries.At(i)
	s.expiry.push(moment{h.written + s.cell.ttl, e.Key, e.NS})
	if len(s.expiry) > 2*s.entries.Len()+64 { // items of what was removed
		s.expiry = s.expiry[:0]
		for i := range s.entries.Len() {
			e := s.entries.At(i)
			e.Value.waits = true
			s.expiry = append(s.expiry, moment{e.Value.written + s.cell.ttl, e.Key, e.NS})
		}
		s.expiry.order()
	}
}

// Remove removes the value of a key and namespace.
func (s *Store[V]) Remove(hash uint64, key []byte, ns int64) {
	if i := s.entries.Find(hash, key, ns); i >= 0 {
		s.remove(i)
	}
}

func (s *Store[V]) remove(i int) {
	e := s.entries.At(i)
	if e.Value.size > 0 {
		s.gone = appendID(s.gone, e.Key, e.NS)
		s.live -= int64(e.Value.size)
	}
	if e.Value.changed > 0 {
		s.changed[e.Value.changed-1] = moved
	}
	s.entries.Remove(i)
	if i < s.entries.Len() { // the last entry has moved here
		if c := s.entries.At(i).Value.changed; c > 0 {
			s.changed[c-1] = uint32(i)
		}
	}
}

// Due gives the first entry that is due at a watermark, in order of time, then key, then namespace. It stays until it is removed.
func (s *Store[V]) Due(watermark int64) (key string, ns int64, v *V, ok bool) {
	for len(s.due) > 0 && s.due[0].time <= watermark {
		m := s.due[0]
		if i := s.find(m); i >= 0 {
			return m.key, m.ns, &s.entries.At(i).Value.v, true
		}
		s.due.pop()
	}
	return "", 0, nil, false
}

func (s *Store[V]) nextDue() int64 {
	if len(s.due) == 0 {
		return never
	}
	return s.due[0].time
}

func (s *Store[V]) find(m moment) int {
	key := bytesOf(m.key)
	return s.entries.Find(table.Hash(key), key, m.ns)
}

func (s *Store[V]) nextExpiry() int64 {
	if len(s.expiry) == 0 {
		return never
	}
	return s.expiry[0].time
}

func (s *Store[V]) expire(now int64) {
	for len(s.expiry) > 0 && s.expiry[0].time <= now {
		m := s.expiry[0]
		s.expiry.pop()
		i := s.find(m)
		if i < 0 {
			continue
		}
		h := &s.entries.At(i).Value
		if m.time = h.written + s.cell.ttl; m.time <= now {
			s.remove(i)
		} else {
			s.expiry.push(m)
		}
	}
}

// appendDelta appends the cell's CellDelta: what has changed, or all. From then on the log has it.
func (s *Store[V]) appendDelta(dst []byte, whole bool, gone, set *[]byte) []byte {
	*gone, *set = (*gone)[:0], (*set)[:0]
	if whole {
		for i := range s.entries.Len() {
			*set = s.appendEntry(*set, i)
		}
	} else {
		*gone = append(*gone, s.gone...)
		for _, i := range s.changed {
			if i != moved {
				*set = s.appendEntry(*set, int(i))
			}
		}
	}
	s.changed, s.gone = emptied(s.changed), emptied(s.gone)
	return appendCellDelta(dst, s.log, *gone, *set, s.base())
}

// base is the time that times of writes are written as differences to.
func (s *Store[V]) base() int64 {
	if s.cell.ttl > 0 {
		return s.b.now
	}
	return 0
}

func (s *Store[V]) appendEntry(dst []byte, i int) []byte {
	start := len(dst)
	e := s.entries.At(i)
	dst = appendID(dst, e.Key, e.NS)
	if s.cell.ttl > 0 {
		dst = binary.AppendVarint(dst, e.Value.written-s.base())
	}
	// Most values are short: one byte is left for the length, and the value moved when that is not enough.
	at := len(dst)
	dst = s.write(append(dst, 0), &e.Value.v)
	dst = fixLength(dst, at)
	s.live += int64(len(dst)-start) - int64(e.Value.size)
	e.Value.size, e.Value.changed = uint32(len(dst)-start), 0
	return dst
}

// reader makes what folds values of a schema.
func (s *Store[V]) reader(schema string, written bool) (reader, error) {
	read, err := s.cell.format.Reader(schema)
	if err != nil {
		return reader{}, err
	}
	set := func(data []byte, base int64) error {
		for len(data) > 0 {
			start := len(data)
			key, ns, rest, err := readID(data)
			if err != nil {
				return err
			}
			at := s.b.now
			if written {
				d, w := binary.Varint(rest)
				if w <= 0 {
					return errTruncated
				}
				at, rest = base+d, rest[w:]
			}
			value, rest, err := readBytes(rest)
			if err != nil {
				return err
			}
			hash := table.Hash(key)
			i := s.entries.Find(hash, key, ns)
			if i < 0 {
				i = s.entries.Len()
				s.insert(hash, string(key), ns)
			}
			h := &s.entries.At(i).Value
			if err := read(&h.v, value); err != nil {
				return err
			}
			data = rest
			s.live += int64(start-len(rest)) - int64(h.size)
			h.size = uint32(start - len(rest))
			if s.cell.ttl > 0 {
				h.written = at
				s.wait(h, i)
			}
		}
		return nil
	}
	removed := func(data []byte) error {
		for len(data) > 0 {
			key, ns, rest, err := readID(data)
			if err != nil {
				return err
			}
			i := s.entries.Find(table.Hash(key), key, ns)
			if i < 0 {
				return fmt.Errorf("an entry is removed that is not there (key %x, namespace %d)", key, ns)
			}
			s.remove(i)
			data = rest
		}
		s.gone = s.gone[:0]
		return nil
	}
	return reader{set, removed}, nil
}

var errTruncated = errors.New("the data ends in the middle of an entry")
