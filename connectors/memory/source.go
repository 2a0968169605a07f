package memory

import (
	"context"
	"sync"
	"time"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// Source reads values. It is safe for concurrent use once its fields are set; do not copy it.
type Source[T any] struct {
	// Splits are the records: one slice for each split, whose ids are "0", "1", ….
	Splits [][]T
	// Log, instead of Splits, is input that others append to.
	Log *Log[T]
	// Follow makes the source unbounded: at the end of a split it waits for more, and looks for new splits every Discover (0 is 100 ms).
	Follow   bool
	Discover time.Duration
	// Batch is the largest number of records in a batch; 0 is [splits.BatchRecords].
	Batch int
	// Active is how many splits a reader reads side by side; 0 is 1. Following, it reads all.
	Active int
	// Script is what goes wrong, in any order.
	Script []Step
	// RecordsCodec is that of the records; nil is row.CodecOf[T].
	RecordsCodec *row.Codec[T]
	// Acknowledged, if set, is called with the splits of each completed checkpoint.
	Acknowledged func(done []Split)

	once sync.Once
	log  *Log[T]
	mu   sync.Mutex
	past map[int]int // how often each step has happened
}

// Step is one scripted event: it happens when the record numbered At of a split would be read next.
type Step struct {
	Split int
	At    int64
	// Delay is how long the read is held up first.
	Delay time.Duration
	// Err, if set, is what the read fails with; its classification decides whether it is tried again.
	Err error
	// Times is how often the step happens, over all attempts and readers; 0 is once.
	Times int
}

// Values is a source with one split.
func Values[T any](vs ...T) *Source[T] { return &Source[T]{Splits: [][]T{vs}} }

func (s *Source[T]) input() *Log[T] {
	s.once.Do(func() {
		if s.log = s.Log; s.log == nil {
			s.log = &Log[T]{splits: s.Splits}
		}
		s.past = map[int]int{}
	})
	return s.log
}

// Acknowledges says whether somebody wants to know of completed checkpoints.
func (s *Source[T]) Acknowledges() bool { return s.Acknowledged != nil }

// Boundedness is Unbounded when the source follows its input.
func (s *Source[T]) Boundedness() splits.Boundedness {
	if s.Follow {
		return splits.Unbounded
	}
	return splits.Bounded
}

// Size is that of the first records, times their number.
func (s *Source[T]) Size(context.Context) (bytes int64, known bool) {
	c, err := s.RecordCodec()
	if err != nil || s.Follow {
		return 0, false
	}
	sample, all := &record.Batch[T]{}, 0
	for _, values := range s.input().all() {
		for _, v := range values[:min(len(values), splits.BatchRecords-sample.Len())] {
			sample.Append(v, record.Meta{})
		}
		all += len(values)
	}
	if all == 0 {
		return 0, true
	}
	return int64(float64(len(c.AppendBatch(nil, sample))) / float64(sample.Len()) * float64(all)), true
}

// Codec is that of the splits.
func (s *Source[T]) Codec() splits.Codec[Split] { return splits.JSON[Split]() }

// RecordCodec is that of the records.
func (s *Source[T]) RecordCodec() (*row.Codec[T], error) {
	if s.RecordsCodec != nil {
		return s.RecordsCodec, nil
	}
	return row.CodecOf[T]()
}

// Enumerator lists the splits.
func (s *Source[T]) Enumerator(_ context.Context, ec splits.EnumeratorContext[Split], restored *splits.State) (splits.Enumerator[Split], error) {
	log := s.input()
	o := splits.ListOptions[Split]{
		Codec: s.Codec(),
		Find: func(context.Context) ([]Split, error) {
			found := make([]Split, log.Splits())
			for i := range found {
				found[i].N = i
			}
			return found, nil
		},
	}
	if s.Follow {
		o.Spread = true
		if o.Every = s.Discover; o.Every == 0 {
			o.Every = 100 * time.Millisecond
		}
	}
	return splits.List(ec, restored, o)
}

// Reader reads splits.
func (s *Source[T]) Reader(_ context.Context, rc splits.ReaderContext) (splits.Reader[T, Split], error) {
	log := s.input()
	o := splits.MultiplexOptions[Split]{Active: s.Active, Backoff: 10 * time.Millisecond}
	if s.Follow {
		o.Active = splits.All
	}
	if s.Acknowledged != nil {
		o.Acknowledge = func(_ context.Context, done []Split) error { s.Acknowledged(done); return nil }
	}
	return splits.Multiplex(rc, func(_ context.Context, at Split) (splits.SplitReader[T, Split], error) {
		return &splitReader[T]{s, log, at}, nil
	}, o), nil
}

type splitReader[T any] struct {
	src *Source[T]
	log *Log[T]
	at  Split
}

func (r *splitReader[T]) Fetch(ctx context.Context, dst *record.Batch[T]) (Split, bool, error) {
	n := r.src.Batch
	if n == 0 {
		n = splits.BatchRecords
	}
	n, err := r.src.play(ctx, r.at, n)
	if err != nil {
		return r.at, false, err
	}
	vs, last, grown := r.log.read(r.at.N, r.at.Next, n)
	if len(vs) == 0 && r.src.Follow {
		t := time.NewTimer(splits.Linger)
		defer t.Stop()
		select {
		case <-grown:
		case <-t.C:
		case <-ctx.Done():
		}
		return r.at, false, nil
	}
	for _, v := range vs {
		dst.Append(v, record.Meta{Time: record.NoTime, Watermark: record.NoTime, Position: r.at.Next})
		r.at.Next++
	}
	return r.at, last && !r.src.Follow, nil
}

func (r *splitReader[T]) Close() error { return nil }

// play does what the script says about the record read next, and says how many of n records come before its next step.
func (s *Source[T]) play(ctx context.Context, at Split, n int) (int, error) {
	for i, step := range s.Script {
		if step.Split != at.N || step.At < at.Next || step.At-at.Next >= int64(n) {
			continue
		}
		s.mu.Lock()
		due := s.past[i] < max(1, step.Times)
		if due && step.At == at.Next {
			s.past[i]++
		}
		s.mu.Unlock()
		if !due {
			continue
		}
		if step.At > at.Next {
			n = int(step.At - at.Next)
			continue
		}
		if step.Delay > 0 {
			t := time.NewTimer(step.Delay)
			defer t.Stop()
			select {
			case <-t.C:
			case <-ctx.Done():
			}
		}
		if step.Err != nil {
			return 0, step.Err
		}
	}
	return n, nil
}
