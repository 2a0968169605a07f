package operators

import "github.com/activedataflow/adf/record/row"

// Aggregator folds the records of one key and window into one result. It must not matter in which order records are added and parts merged.
// The accumulator A travels and is stored by row.CodecOf[A].
type Aggregator[T, K, A, R any] interface {
	New() A
	Add(acc *A, v T)
	// Merge adds other, which is not used afterwards.
	Merge(acc *A, other A)
	Result(key K, w Span, acc A) R
}

// Aggregate gives one result per key and window.
func Aggregate[T, K, A, R any](in *row.Codec[T], key func(T) K, w Window, agg Aggregator[T, K, A, R]) (AnyKeyed, error) {
	panic("being written")
}
