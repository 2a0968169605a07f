package operators

import (
	"fmt"
	"unsafe"

	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Aggregator folds the records of one key and window into one result. It must not matter in which order records are added and parts merged.
// The accumulator A travels and is stored by row.CodecOf[A], and evolves as rows do. Methods are called from several goroutines at once.
type Aggregator[T, K, A, R any] interface {
	New() A
	Add(acc *A, v T)
	// Merge adds other, which is not used afterwards.
	Merge(acc *A, other A)
	Result(key K, w Span, acc A) R
}

// Aggregate gives one result per key and window. Results have the event time of the window's last millisecond.
func Aggregate[T, K, A, R any](in *row.Codec[T], key func(T) K, w Window, agg Aggregator[T, K, A, R]) (AnyKeyed, error) {
	windows, err := w.windows()
	if err != nil {
		return nil, err
	}
	out, err := row.CodecOf[R]()
	if err != nil {
		return nil, fmt.Errorf("result: %w", err)
	}
	acc, err := row.CodecOf[A]()
	if err != nil {
		return nil, fmt.Errorf("accumulator: %w", err)
	}
	keys, err := row.CodecOf[K]()
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return newWindowed(in, out, windows, state.RowFormat(acc), func() folding[A] {
		return &typedFold[T, K, A, R]{key: key, keys: keyCoder[K]{codec: keys}, agg: agg}
	}), nil
}

// typedFold is folding by an Aggregator.
type typedFold[T, K, A, R any] struct {
	key   func(T) K
	keys  keyCoder[K]
	agg   Aggregator[T, K, A, R]
	batch *record.Batch[T]
	at    int
}

func (f *typedFold[T, K, A, R]) begin(b record.Any) { f.batch = b.(*record.Batch[T]) }

func (f *typedFold[T, K, A, R]) read(dst []byte, i int) ([]byte, error) {
	f.at = i
	return f.keys.append(dst, f.key(f.batch.Values[i])), nil
}

func (f *typedFold[T, K, A, R]) fresh(a *A) { *a = f.agg.New() }

func (f *typedFold[T, K, A, R]) add(a *A) { f.agg.Add(a, f.batch.Values[f.at]) }

func (f *typedFold[T, K, A, R]) merge(into, from *A) { f.agg.Merge(into, *from) }

func (f *typedFold[T, K, A, R]) result(out Output, key string, w Span, a *A, m record.Meta) error {
	k, err := f.keys.decode(key)
	if err != nil {
		return err
	}
	out.Out.(*record.Batch[R]).Append(f.agg.Result(k, w, *a), m)
	return nil
}

// keyCoder turns keys into their canonical bytes and back. It is used from one goroutine.
type keyCoder[K any] struct {
	codec *row.Codec[K]
	key   K
	vs    []row.Value
}

func (c *keyCoder[K]) append(dst []byte, k K) []byte {
	c.key = k // a local would be allocated
	c.vs = c.vs[:0]
	switch k := any(&c.key).(type) {
	case *string:
		c.vs = append(c.vs, row.String(*k))
	case *int64:
		c.vs = append(c.vs, row.Int(*k))
	case *int:
		c.vs = append(c.vs, row.Int(int64(*k)))
	default:
		c.vs = c.codec.Get(c.vs, &c.key)
	}
	return row.AppendKey(dst, c.vs...)
}

func (c *keyCoder[K]) decode(key string) (K, error) {
	var k K
	vs, err := row.DecodeKey(bytesOf(key), len(c.codec.Schema().Fields))
	if err == nil {
		err = c.codec.Set(&k, vs)
	}
	if err != nil {
		err = fmt.Errorf("the key %x: %w", key, err)
	}
	return k, err
}

// bytesOf gives a string's bytes without copying them; they must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
