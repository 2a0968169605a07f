package record

import "math"

// NoTime is the event time of a record that has none, and the watermark before anything is promised.
const NoTime int64 = math.MinInt64

// MaxTime is the watermark that says: nothing at all comes any more.
const MaxTime int64 = math.MaxInt64

// Meta is what every record carries besides its value.
type Meta struct {
	// Time is the event time in milliseconds since the epoch, or NoTime.
	Time int64
	// Watermark is the promise of the record's own split when this record had been read, in milliseconds:
	// whether the record is late is decided by it alone, so the answer is the same on every runtime.
	Watermark int64
	// Position orders the records of one split: byte offset, record number or log offset.
	Position int64
}

// Batch is a run of records of one split, or the output of an operator for such a run.
//
// Ownership: who passes a batch on owns it again when the call returns, and will reset it. Whoever wants to
// keep a value beyond the call copies it (row.Row: Clone); Go strings and byte slices inside values may be kept as they are.
type Batch[T any] struct {
	Values []T
	// Metas has one entry per value, always.
	Metas []Meta
	// Split is the id of the split the records come from.
	Split string
	// Rejected are the records a source could not decode; the runtime takes them to the errors output or ends the run.
	Rejected []Rejection
	// Bytes is how many bytes the source has read for the batch; 0 when it does not tell.
	Bytes int64
	// Owned is the memory the values live in, or nil; Reset recycles it with the batch.
	Owned Recycler
}

// Rejection is one record that a source read but could not decode.
type Rejection struct {
	// Position is where it stands in its split, as in Meta.
	Position int64
	// Raw is the text as it was found, cut to a sensible length; it may be kept.
	Raw []byte
	// Err says what is wrong and where.
	Err error
}

// Recycler is memory that a batch owns.
type Recycler interface{ Recycle() }

// Len is the number of records.
func (b *Batch[T]) Len() int { return len(b.Values) }

// Append adds one record.
func (b *Batch[T]) Append(v T, m Meta) {
	b.Values = append(b.Values, v)
	b.Metas = append(b.Metas, m)
}

// Reset empties the batch and recycles the memory it owns; capacity stays.
func (b *Batch[T]) Reset() {
	clear(b.Values)
	clear(b.Rejected)
	b.Values, b.Metas, b.Rejected, b.Split, b.Bytes = b.Values[:0], b.Metas[:0], b.Rejected[:0], "", 0
	if b.Owned != nil {
		b.Owned.Recycle()
	}
}

// SplitID is the id of the split the records come from.
func (b *Batch[T]) SplitID() string { return b.Split }

// SetSplitID sets the id of the split the records come from.
func (b *Batch[T]) SetSplitID(id string) { b.Split = id }

// BytesRead is how many bytes the source has read for the batch; 0 when it does not tell.
func (b *Batch[T]) BytesRead() int64 { return b.Bytes }

// Meta gives all metas, to read and to change in place.
func (b *Batch[T]) Meta() []Meta { return b.Metas }

// Rejections gives the records that could not be decoded.
func (b *Batch[T]) Rejections() []Rejection { return b.Rejected }

// Drop removes the records at the given places, which are ascending.
func (b *Batch[T]) Drop(places []int) {
	kept := 0
	for i := range b.Values {
		if len(places) > 0 && places[0] == i {
			places = places[1:]
			continue
		}
		b.Values[kept], b.Metas[kept] = b.Values[i], b.Metas[i]
		kept++
	}
	clear(b.Values[kept:])
	b.Values, b.Metas = b.Values[:kept], b.Metas[:kept]
}

// Any is a batch whose element type is erased. Its only implementation is *Batch[T].
type Any interface {
	Len() int
	Reset()
	SplitID() string
	SetSplitID(string)
	BytesRead() int64
	Meta() []Meta
	Rejections() []Rejection
	Drop(places []int)
}
