package splits

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
)

// All as MultiplexOptions.Active reads every split that is assigned, side by side.
const All = math.MaxInt

// MultiplexOptions say how [Multiplex] reads. The zero value reads one split after the other.
type MultiplexOptions[S Split] struct {
	// Active is how many splits are read side by side, each by a goroutine of its own: 0 is 1, [All] all. The reader asks for as many, and for the
	// next one when one ends.
	Active int
	// Retries is how often in a row a split is opened again, at its last position, after an error that a retry can help; 0 is 5, below 0 never.
	// It counts anew after each batch. Then the error comes out of Poll.
	Retries int
	// Backoff is the wait before the first retry, 0 is 100 ms; it doubles with each, up to 10 s.
	Backoff time.Duration
	// Acknowledge, if set, is the reader's CheckpointComplete.
	Acknowledge func(ctx context.Context, done []S) error
}

const maxBackoff = 10 * time.Second

// mostAsked bounds the requests on their way, so that a reader of all splits leaves some to the others.
const mostAsked = 4

// ahead is how many batches of a split may be fetched that nobody has polled yet: one waits while the next is being fetched.
const ahead = 2

// Multiplex makes a reader of a function that opens one split at its position. Fetching is asynchronous and bounded: Poll hands over a
// batch that is there, by exchanging it with dst, so batches and the memory they own go round between reader and runtime. The context
// given to Start bounds everything the reader does; Close ends all fetches and waits for them.
//
// Splits (S) are values: Fetch returns a new one and does not change the one before.
func Multiplex[T any, S Split](
	rc ReaderContext, open func(ctx context.Context, s S) (SplitReader[T, S], error), o MultiplexOptions[S],
) Reader[T, S] {
	if o.Active == 0 {
		o.Active = 1
	}
	if o.Retries == 0 {
		o.Retries = 5
	}
	if o.Backoff == 0 {
		o.Backoff = 100 * time.Millisecond
	}
	return &multiplex[T, S]{rc: rc, open: open, o: o, ready: make(chan struct{}, 1)}
}

type multiplex[T any, S Split] struct {
	rc   ReaderContext
	open func(context.Context, S) (SplitReader[T, S], error)
	o    MultiplexOptions[S]

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // one for each fetcher
	ready  chan struct{}

	// Of the runtime's goroutine.
	active   []*fetcher[T, S]
	waiting  []S
	asked    int // requests not yet answered
	noMore   bool
	finished []string
	spare    []*record.Batch[T]
	err      error // what Poll failed with; it stays

	// Between the fetchers and Poll.
	mu     sync.Mutex
	queue  []fetched[T, S]
	head   int  // of the queue
	hungry bool // the last Poll found nothing
}

// fetcher reads one split.
type fetcher[T any, S Split] struct {
	id    string
	after S                     // behind the last batch polled; of the runtime's goroutine
	free  chan *record.Batch[T] // empty batches to fetch into
}

// fetched is what a fetcher hands to Poll: a batch, an end, or an error.
type fetched[T any, S Split] struct {
	from  *fetcher[T, S]
	batch *record.Batch[T]
	after S
	done  bool
	err   error
}

func (m *multiplex[T, S]) Start(ctx context.Context) error {
	m.ctx, m.cancel = context.WithCancel(ctx)
	m.fill()
	return nil
}

func (m *multiplex[T, S]) AddSplits(added []S) error {
	for _, s := range added {
		same := func(id string) bool { return id == s.SplitID() }
		if slices.ContainsFunc(m.active, func(f *fetcher[T, S]) bool { return same(f.id) }) ||
			slices.ContainsFunc(m.waiting, func(w S) bool { return same(w.SplitID()) }) {
			return &fault.RuntimeError{Detail: fault.Detail{
				Code: "split.twice", Doing: "add a split to a reader", Split: s.SplitID(), Retry: fault.RetryNever, Err: errors.New("the reader has it already"),
			}}
		}
		m.waiting = append(m.waiting, s)
	}
	m.asked = max(0, m.asked-len(added))
	m.fill()
	m.wake()
	return nil
}

func (m *multiplex[T, S]) NoMoreSplits() {
	m.noMore, m.asked = true, 0
	m.wake()
}

// fill starts fetchers for the splits that wait, as many as may be active.
func (m *multiplex[T, S]) fill() {
	if m.ctx == nil {
		return
	}
	for len(m.waiting) > 0 && len(m.active) < m.o.Active {
		s := m.waiting[0]
		m.waiting = m.waiting[1:]
		f := &fetcher[T, S]{s.SplitID(), s, make(chan *record.Batch[T], ahead)}
		for range ahead {
			b := &record.Batch[T]{}
			if n := len(m.spare); n > 0 {
				b, m.spare = m.spare[n-1], m.spare[:n-1]
			}
			f.free <- b
		}
		m.active = append(m.active, f)
		m.wg.Go(func() { m.run(f, s) })
	}
}

// ask requests splits for what may be active and is not. It is done by Poll, when restored splits have been added.
func (m *multiplex[T, S]) ask() {
	for !m.noMore && m.asked < min(m.o.Active-len(m.active)-len(m.waiting), mostAsked) {
		m.asked++
		m.rc.RequestSplit()
	}
}

func (m *multiplex[T, S]) Poll(dst *record.Batch[T]) (Status, error) {
	if m.err != nil {
		return Nothing, m.err
	}
	if m.ctx.Err() != nil {
		return Nothing, context.Cause(m.ctx)
	}
	got, ok := m.take()
	if !ok {
		m.ask()
		if m.noMore && len(m.active)+len(m.waiting) == 0 {
			return End, nil
		}
		return Nothing, nil
	}
	if got.err != nil {
		m.err = got.err
		return Nothing, m.err
	}
	f := got.from
	*dst, *got.batch = *got.batch, *dst
	dst.Split = f.id
	f.after = got.after
	f.free <- got.batch
	if got.done {
		m.end(f)
	}
	m.ask()
	return More, nil
}

// end takes a split out that is read to its end, and opens the next.
func (m *multiplex[T, S]) end(f *fetcher[T, S]) {
	m.finished = append(m.finished, f.id)
	m.active = slices.DeleteFunc(m.active, func(a *fetcher[T, S]) bool { return a == f })
	for len(f.free) > 0 {
		if b := <-f.free; len(m.spare) < ahead {
			m.spare = append(m.spare, b)
		}
	}
	m.fill()
}

func (m *multiplex[T, S]) take() (fetched[T, S], bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.head == len(m.queue) {
		m.hungry = true
		select {
		case <-m.ready: // what it announced has been polled
		default:
		}
		return fetched[T, S]{}, false
	}
	m.hungry = false
	got := m.queue[m.head]
	if m.head++; m.head == len(m.queue) {
		clear(m.queue)
		m.queue, m.head = m.queue[:0], 0
	}
	return got, true
}

func (m *multiplex[T, S]) push(f fetched[T, S]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.head > 0 && len(m.queue) == cap(m.queue) { // use the room of what has been polled
		n := copy(m.queue, m.queue[m.head:])
		clear(m.queue[n:])
		m.queue, m.head = m.queue[:n], 0
	}
	m.queue = append(m.queue, f)
	if m.hungry {
		m.hungry = false
		m.signal()
	}
}

func (m *multiplex[T, S]) wake() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.signal()
}

func (m *multiplex[T, S]) signal() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

func (m *multiplex[T, S]) Ready() <-chan struct{} { return m.ready }

func (m *multiplex[T, S]) Finished() []string {
	ids := m.finished
	m.finished = nil
	return ids
}

func (m *multiplex[T, S]) Snapshot() ([]S, error) {
	ss := make([]S, 0, len(m.active)+len(m.waiting))
	for _, f := range m.active {
		ss = append(ss, f.after)
	}
	return append(ss, m.waiting...), nil
}

func (m *multiplex[T, S]) CheckpointComplete(ctx context.Context, done []S) error {
	if m.o.Acknowledge == nil {
		return nil
	}
	return m.o.Acknowledge(ctx, done)
}

func (m *multiplex[T, S]) Close() error {
	if m.cancel != nil {
		m.cancel()
	}
	m.wg.Wait()
	return nil
}

// run reads a split from the position s to its end, to an error that stays, or until the reader is closed.
func (m *multiplex[T, S]) run(f *fetcher[T, S], s S) {
	defer func() {
		if p := recover(); p != nil {
			m.push(fetched[T, S]{from: f, err: &fault.RuntimeError{Detail: fault.Detail{
				Code: "split.panic", Doing: "read a split", Split: f.id, Retry: fault.RetryNever, Stack: string(debug.Stack()), Err: fmt.Errorf("panic: %v", p),
			}}})
		}
	}()
	backoff := m.o.Backoff
	for tries := 1; ; tries++ {
		done, read, err := m.read(f, &s)
		if done || m.ctx.Err() != nil {
			return
		}
		if read {
			tries, backoff = 1, m.o.Backoff
		}
		if tries > m.o.Retries || !fault.Retryable(err) {
			m.push(fetched[T, S]{from: f, err: locate(err, f.id, tries)})
			return
		}
		t := time.NewTimer(backoff)
		select {
		case <-t.C:
		case <-m.ctx.Done():
			t.Stop()
			return
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

// read opens a split at *s and fetches until its end, an error or the reader's end; *s stays behind the last batch.
func (m *multiplex[T, S]) read(f *fetcher[T, S], s *S) (done, read bool, err error) {
	r, err := m.open(m.ctx, *s)
	if err != nil {
		return false, false, err
	}
	closed := false
	defer func() {
		if !closed {
			if cerr := r.Close(); cerr != nil {
				err = errors.Join(err, cerr)
			}
		}
	}()
	for {
		var b *record.Batch[T]
		select {
		case b = <-f.free:
		case <-m.ctx.Done():
			return false, read, m.ctx.Err()
		}
		var after S
		for {
			after, done, err = r.Fetch(m.ctx, b)
			if err == nil && done {
				closed = true
				err = r.Close()
			}
			if err != nil { // what came with it is fetched again
				b.Reset()
				f.free <- b
				return false, read, err
			}
			if m.ctx.Err() != nil {
				return false, read, m.ctx.Err()
			}
			*s = after
			if done || b.Len() > 0 || len(b.Rejected) > 0 {
				break
			}
		}
		m.push(fetched[T, S]{from: f, batch: b, after: after, done: done})
		if done {
			return true, true, nil
		}
		read = true
	}
}

// locate completes an error with the split it is about and how often it was met.
func locate(err error, split string, tries int) error {
	if tries > 1 && fault.Retryable(err) {
		return &fault.SourceError{Detail: fault.Detail{
			Code: "split.retries", Doing: fmt.Sprintf("read a split, %d times in a row", tries), Split: split, Retry: fault.RetryLater, Err: err,
		}}
	}
	switch e := err.(type) {
	case *fault.SourceError:
		if e.Split == "" {
			d := e.Detail
			d.Split = split
			return &fault.SourceError{Detail: d}
		}
		return e
	case *fault.ConfigurationError:
		return e
	}
	return &fault.SourceError{Detail: fault.Detail{Code: "split.read", Doing: "read a split", Split: split, Err: err}}
}
