package row

import "github.com/activedataflow/adf/record"

// Slab is the memory of the values of one batch of rows. It is recycled with its batch.
type Slab struct {
	values []Value
	used   int
}

// slabValues is the size of a slab's first block.
const slabValues = 1024

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

// Recycle makes the memory usable again.
func (s *Slab) Recycle() {
	clear(s.values[:s.used])
	if mangle {
		for i := range s.values[:s.used] {
			s.values[i] = String("value kept beyond its batch")
		}
		s.values = nil
	}
	s.used = 0
}
