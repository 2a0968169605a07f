package flinkbridge

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/engine/task"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/splits"
)

func init() {
	// Beam's register.DoFn would spare a microsecond of reflection for each call, and costs the compiler a minute and gigabytes: calls here are for whole payloads.
	for _, fn := range []any{
		enumerateFn{}, readFn{}, routeFn{}, keyedFn{}, commitFn{}, // input that ends
		clockFn{}, discoverFn{}, laneFn{}, bucketFn{}, sequenceFn{}, stableFn{}, acknowledgeFn{}, positionsFn{}, // input that does not
	} {
		beam.RegisterType(reflect.TypeOf(fn))
	}
	register.Emitter1[[]byte]()
	register.Emitter2[[]byte, []byte]()
	register.Iter1[[]byte]()
}

// enumerateFn finds the splits of a source.
type enumerateFn struct {
	Job  []byte
	Node string
}

// ProcessElement is called once.
func (f *enumerateFn) ProcessElement(ctx context.Context, _ []byte, emit func([]byte)) error {
	var found [][]byte
	if err := alone(ctx, f.Job, func(ctx context.Context, j *job) (err error) {
		found, err = enumerate(ctx, j, j.node(f.Node))
		return err
	}); err != nil {
		return err
	}
	for _, work := range found {
		emit(work)
	}
	return nil
}

// readFn reads splits, with the chain behind the source.
type readFn struct {
	Job  []byte
	Node string

	chained
	read *task.Read
}

// ProcessElement reads some splits to their end.
func (f *readFn) ProcessElement(ctx context.Context, work []byte, emit func([]byte, []byte)) error {
	return f.element(ctx, f.Job, f.open, func(s *stage) error { return f.process(s, work, emit) })
}

func (f *readFn) open(s *stage) (err error) {
	if f.read, err = task.NewRead(s.ctx, s.env, s.job.node(f.Node), readerContext(s.env.Index), false); err == nil {
		s.chain, s.close = f.read.Chain, f.read.Close
	}
	return err
}

// readerContext is what a reader sees of the runtime: nothing flows back to the enumerator.
type readerContext int

func (c readerContext) Index() int  { return int(c) }
func (readerContext) RequestSplit() {}

func (f *readFn) process(s *stage, work []byte, emit func([]byte, []byte)) error {
	state := &adfv1.SourceState{}
	if err := proto.Unmarshal(work, state); err != nil {
		return s.job.wrong("bridge.form", err, sameRelease)
	}
	end := s.job.endOf(f.Node)
	if end.Records > 0 {
		f.read.Limit(end.Records)
	}
	if err := f.read.Add(state.Splits...); err != nil {
		return err
	}
	began := time.Now()
	quiet := time.Time{} // since when there is nothing to read
	for f.read.Splits() > 0 && !f.read.Limited() {
		now := time.Now()
		if end.Span > 0 && now.Sub(began) >= end.Span {
			return nil
		}
		status, err := f.read.Poll(s.ctx, now.UnixMilli())
		if err == nil && s.ctx.Err() != nil {
			err = context.Cause(s.ctx)
		}
		if err == nil && s.full() {
			err = s.forward(emit)
		}
		if err != nil {
			return err
		}
		if status == splits.More {
			quiet = time.Time{}
			continue
		}
		if quiet.IsZero() {
			quiet = now
		}
		wait := time.Hour
		if end.Span > 0 {
			wait = end.Span - now.Sub(began)
		}
		if end.Idle {
			if wait = min(wait, idleFor-now.Sub(quiet)); wait <= 0 {
				return nil
			}
		}
		if f.read.Splits() > 0 {
			f.await(s.ctx, wait)
		}
	}
	return nil
}

// idleFor is how long there must be nothing to read before a source is idle, as in the engine.
const idleFor = time.Second

func (f *readFn) await(ctx context.Context, most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-f.read.Ready():
	case <-timer.C:
	case <-ctx.Done():
	}
}

// routeFn keeps what is for one consumer.
type routeFn struct{ To string }

// ProcessElement takes the name off the key.
func (f *routeFn) ProcessElement(key, value []byte, emit func([]byte, []byte)) {
	if rest, ok := forName(key, f.To); ok {
		emit(rest, value)
	}
}

// keyedFn is a keyed step behind its shuffle, with the chain behind it. A bucket comes whole.
type keyedFn struct {
	Job  []byte
	Node string

	chained
	keyed *task.Keyed
}

// ProcessElement takes one bucket to the end of time.
func (f *keyedFn) ProcessElement(ctx context.Context, key []byte, values func(*[]byte) bool, emit func([]byte, []byte)) error {
	return f.element(ctx, f.Job, f.open, func(s *stage) error { return f.process(s, key, values, emit) })
}

func (f *keyedFn) open(s *stage) (err error) {
	if f.keyed, err = task.NewKeyed(s.ctx, s.env, s.job.node(f.Node)); err == nil {
		s.chain, s.close = f.keyed.Chain, f.keyed.Close
	}
	return err
}

func (f *keyedFn) process(s *stage, key []byte, values func(*[]byte) bool, emit func([]byte, []byte)) error {
	bucket, ok := numberOf(key, s.job.Buckets)
	if !ok {
		return s.job.wrong("bridge.form", fmt.Errorf("got the key %x, want a bucket", key), sameRelease)
	}
	for value := []byte(nil); values(&value); {
		payload, input, err := s.payload(value)
		if err == nil {
			err = f.keyed.Process(s.ctx, bucket, input, payload)
		}
		if err == nil && s.ctx.Err() != nil {
			err = context.Cause(s.ctx)
		}
		if err != nil {
			return err
		}
	}
	err := f.keyed.Finish(s.ctx, bucket, time.Now().UnixMilli())
	if err == nil && s.full() {
		err = s.forward(emit)
	}
	return err
}

// commitFn commits the output of all exactly-once sinks.
type commitFn struct{ Job []byte }

// ProcessElement is called once: there is one key.
func (f *commitFn) ProcessElement(ctx context.Context, _ []byte, values func(*[]byte) bool) error {
	return alone(ctx, f.Job, func(ctx context.Context, j *job) error { return commit(ctx, j, values) })
}

// alone does the work of a DoFn without a chain.
func alone(ctx context.Context, data []byte, work func(ctx context.Context, j *job) error) error {
	j, err := find(data)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(context.Canceled)
	defer context.AfterFunc(j.ctx, func() { cancel(context.Cause(j.ctx)) })()
	if err := work(ctx, j); err != nil {
		j.fail(err)
		return marked(err)
	}
	return nil
}
