package row

import "github.com/activedataflow/adf/record"

// Slab is the memory of the values of one batch of rows. It is recycled with its batch.
type Slab struct {
	values  []Value
	used    int
	entries []Entry
	usedEnt int
}

// slabValues and slabEntries are the sizes of a slab's first blocks.
const (
	slabValues  = 1024
	slabEntries = 256
)

// SlabOf gives the slab that a batch owns, made at the first call.
func SlabOf(b *record.Batch[Row]) *Slab {
	if s, ok := b.Owned.(*Slab); ok {
		return s
	}
	s := &Slab{}
	b.Owned = s
	return s
}

// Values gives n nulls that live until the batch is reset.
func (s *Slab) Values(n int) []Value {
	if s.used+n > len(s.values) {
		// Rows handed out before keep the old block; only the new one is reused.
		s.values = make([]Value, max(slabValues, 2*len(s.values), n))
		s.used = 0
	}
	vs := s.values[s.used : s.used+n : s.used+n]
	s.used += n
	return vs
}

// Entries gives n empty map entries that live until the batch is reset.
func (s *Slab) Entries(n int) []Entry {
	if s.usedEnt+n > len(s.entries) {
		s.entries = make([]Entry, max(slabEntries, 2*len(s.entries), n))
		s.usedEnt = 0
	}
	es := s.entries[s.usedEnt : s.usedEnt+n : s.usedEnt+n]
	s.usedEnt += n
	return es
}

// Copy gives a value that lives until the batch is reset, whatever becomes of the slab v lives in.
func (s *Slab) Copy(v Value) Value {
	switch v.kind {
	case KindList, KindRow:
		vs := s.Values(int(v.num))
		for i, e := range v.List() {
			vs[i] = s.Copy(e)
		}
		w := List(vs)
		w.kind = v.kind
		return w
	case KindMap:
		es := s.Entries(int(v.num))
		for i, e := range v.Map() {
			es[i] = Entry{e.Key, s.Copy(e.Value)}
		}
		return Map(es)
	}
	return v
}

// Recycle makes the memory usable again.
func (s *Slab) Recycle() {
	if mangle {
		kept := String("value kept beyond its batch")
		for i := range s.values[:s.used] {
			s.values[i] = kept
		}
		for i := range s.entries[:s.usedEnt] {
			s.entries[i] = Entry{"key kept beyond its batch", kept}
		}
		s.values, s.entries = nil, nil
	}
	clear(s.values[:min(s.used, len(s.values))])
	clear(s.entries[:min(s.usedEnt, len(s.entries))])
	s.used, s.usedEnt = 0, 0
}
