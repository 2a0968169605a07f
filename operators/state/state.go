package state

import "time"

// Cell declares one named kind of state: a value per key and namespace (a window's start, 0 where there is none). Make one with
// [NewValue]. Its name is stable: a snapshot finds its values by it.
type Cell interface {
	Name() string
}

// Value is a cell of values of type V.
type Value[V any] struct{ name string }

// NewValue declares a cell whose values are of any type that row.CodecOf takes. A value that was not written for ttl is dropped;
// zero takes the step's TTL.
func NewValue[V any](name string, ttl time.Duration) *Value[V] { panic("being written") }

// Name is the cell's name.
func (v *Value[V]) Name() string { return v.name }

// Scope is a bucket at one key.
type Scope struct{ b *Bucket }

// In is what gives access to the state of the current key: the context of a processor.
type In interface{ scope() *Scope }

func (s *Scope) scope() *Scope { return s }

// Get gives the value of the current key; ok is false when it has none.
func (v *Value[V]) Get(in In) (x V, ok bool) { panic("being written") }

// Set sets the value of the current key.
func (v *Value[V]) Set(in In, x V) { panic("being written") }

// Clear removes the value of the current key.
func (v *Value[V]) Clear(in In) { panic("being written") }

// Bucket is the state of one bucket of one node. It is used from one goroutine at a time.
type Bucket struct {
}

// NewBucket makes an empty bucket.
func NewBucket(cells []Cell) *Bucket { return &Bucket{} }

// Load folds a log of deltas, into an empty bucket. It keeps nothing of log.
func (b *Bucket) Load(log [][]byte) error { panic("being written") }

// Delta gives what changed since the last call, nil when nothing did. whole says that it is all there is and replaces the log.
func (b *Bucket) Delta() (delta []byte, whole bool) { panic("being written") }

// NextTimer gives when the next timer of event time and of processing time is due, in milliseconds; math.MaxInt64 when there is none.
func (b *Bucket) NextTimer() (event, processing int64) { panic("being written") }

// Size is the size in bytes of the live state as it is encoded, at the last Load or Delta.
func (b *Bucket) Size() int64 { panic("being written") }
