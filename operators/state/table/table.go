// Package table is the hash table under keyed state and under what is combined before a shuffle: from the bytes of a key and a number
// (its namespace) to a value.
//
// The one idea: entries lie densely in chunks that never move while the table grows, so a lookup takes bytes and allocates nothing, a
// pointer to an entry stays good until one is removed, entries come in a fixed order, and what is removed frees its memory.
//
// It imports xxhash only.
package table

import "github.com/cespare/xxhash/v2"

// Table maps (key, namespace) to values of type V. The zero Table is empty. It is used from one goroutine.
type Table[V any] struct {
	slots  []slot // open addressing, linear probing; as many as a power of two
	shift  uint8  // 32 less the number of bits of a place in slots
	chunks []*[chunk]Entry[V]
	n      int
}

// chunk is how many entries are allocated at once.
const chunk = 32

type slot struct {
	hash uint32
	at   uint32 // place of the entry, plus one; 0 is free
}

// Entry is one key and namespace with its value.
type Entry[V any] struct {
	Key   string
	NS    int64
	hash  uint32
	Value V
}

// Hash is the hash of a key. Its remainder by the number of buckets is the key's bucket, so it never changes.
func Hash(key []byte) uint64 { return xxhash.Sum64(key) }

// mix spreads the hash of a key and its namespace. All keys of one bucket have some low bits in common.
func mix(hash uint64, ns int64) uint32 {
	return uint32((hash ^ uint64(ns)*0x9e3779b97f4a7c15) * 0xd6e8feb86659fd93 >> 32)
}

// Len is the number of entries; their places are 0 to Len-1.
func (t *Table[V]) Len() int { return t.n }

// At is the entry at a place.
func (t *Table[V]) At(i int) *Entry[V] { return &t.chunks[uint(i)/chunk][uint(i)%chunk] }

// Find gives the place of a key and namespace, or -1. hash is Hash(key).
func (t *Table[V]) Find(hash uint64, key []byte, ns int64) int {
	if t.n == 0 {
		return -1
	}
	h, mask := mix(hash, ns), uint32(len(t.slots)-1)
	for p := h >> t.shift; ; p++ {
		s := t.slots[p&mask]
		if s.at == 0 {
			return -1
		}
		if s.hash == h {
			if e := t.At(int(s.at - 1)); e.NS == ns && e.Key == string(key) {
				return int(s.at - 1)
			}
		}
	}
}

// Insert adds an entry for a key and namespace that are not there, at the last place. It keeps key. Its value is zero, or what Clear has left.
func (t *Table[V]) Insert(hash uint64, key string, ns int64) *Entry[V] {
	if 4*(t.n+1) > 3*len(t.slots) {
		t.resize(max(8, 2*len(t.slots)))
	}
	if t.n == len(t.chunks)*chunk {
		t.chunks = append(t.chunks, new([chunk]Entry[V]))
	}
	h := mix(hash, ns)
	t.put(slot{h, uint32(t.n + 1)})
	e := t.At(t.n)
	e.Key, e.NS, e.hash = key, ns, h
	t.n++
	return e
}

// Remove removes the entry at a place, which the last entry takes.
func (t *Table[V]) Remove(i int) {
	last := t.n - 1
	t.free(t.slotOf(i))
	if i != last {
		t.slots[t.slotOf(last)].at = uint32(i + 1)
		*t.At(i) = *t.At(last)
	}
	*t.At(last) = Entry[V]{}
	t.n--
	if keep := t.n/chunk + 2; keep < len(t.chunks) {
		clear(t.chunks[keep:])
		t.chunks = t.chunks[:keep]
	}
	if len(t.slots) > 8 && 8*t.n < len(t.slots) {
		t.resize(len(t.slots) / 2)
	}
}

// Clear removes all entries. Their values stay where they are, for Insert; memory that was not needed since the last call is freed by and by.
func (t *Table[V]) Clear() {
	if keep := 2 * (t.n/chunk + 1); keep < len(t.chunks)/2 {
		clear(t.chunks[len(t.chunks)/2:])
		t.chunks = t.chunks[:len(t.chunks)/2]
	}
	if n := len(t.slots); n > 8 && 8*t.n < n {
		t.slots = make([]slot, n/2)
		t.shift++
	} else {
		clear(t.slots)
	}
	t.n = 0
}

// slotOf finds the slot of the entry at a place.
func (t *Table[V]) slotOf(i int) uint32 {
	mask := uint32(len(t.slots) - 1)
	p := t.At(i).hash >> t.shift
	for t.slots[p&mask].at != uint32(i+1) {
		p++
	}
	return p & mask
}

// put takes the first free slot from where one belongs.
func (t *Table[V]) put(s slot) {
	mask := uint32(len(t.slots) - 1)
	p := s.hash >> t.shift
	for t.slots[p&mask].at != 0 {
		p++
	}
	t.slots[p&mask] = s
}

// free empties a slot and moves up those behind it that a lookup would not find any more.
func (t *Table[V]) free(p uint32) {
	mask := uint32(len(t.slots) - 1)
	for q := (p + 1) & mask; t.slots[q].at != 0; q = (q + 1) & mask {
		home := t.slots[q].hash >> t.shift
		if (q-home)&mask >= (q-p)&mask {
			t.slots[p] = t.slots[q]
			p = q
		}
	}
	t.slots[p] = slot{}
}

func (t *Table[V]) resize(n int) {
	old := t.slots
	t.slots = make([]slot, n)
	t.shift = 32
	for ; n > 1; n /= 2 {
		t.shift--
	}
	for _, s := range old {
		if s.at != 0 {
			t.put(s)
		}
	}
}
