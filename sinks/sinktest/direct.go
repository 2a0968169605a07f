package sinktest

import (
	"context"
	"slices"
	"sync"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/sinks"
)

// DirectChecks gives the parts of the suite for a direct sink, to be run one by one.
func DirectChecks[T any](h DirectHarness[T]) []Check {
	checks := []Check{
		{"guarantee", h.guarantee},
		{"flush", h.flush},
		{"writers", h.writers},
		{"written again", h.writtenAgain},
		{"nothing", h.nothing},
		{"close", h.close},
		{"cancelled", h.cancelled},
	}
	if h.Refused != nil {
		checks = append(checks, Check{"refused", h.refused})
	}
	return checks
}

// directWriter is a writer and the test it is part of.
type directWriter[T any] struct {
	h  DirectHarness[T]
	tb TB
	w  sinks.DirectWriter[T]
}

func (h DirectHarness[T]) open(tb TB, t DirectTarget[T]) sinks.Direct[T] {
	tb.Helper()
	s, err := t.Open()
	if err != nil {
		tb.Fatalf("open the sink: %v", err)
	}
	return s
}

// start opens a writer in a process of its own; it is closed when the check is over, which is too late to save anything.
func (h DirectHarness[T]) start(tb TB, t DirectTarget[T], index int) *directWriter[T] {
	tb.Helper()
	w, err := h.open(tb, t).Writer(context.Background(), sinks.WriterContext{Flow: "flow", Node: "out", Run: "run-1", Index: index})
	if err != nil {
		tb.Fatalf("open a writer: %v", err)
	}
	tb.Cleanup(func() { _ = w.Close() })
	return &directWriter[T]{h, tb, w}
}

// write writes records as one batch, whose memory is then overwritten, and says which were refused.
func (w *directWriter[T]) write(vs []T) (refused []int) {
	w.tb.Helper()
	b := w.h.batch(w.tb, vs)
	defer b.Reset()
	if err := w.try(context.Background(), b, &refused); err != nil {
		w.tb.Fatalf("write: %v", err)
	}
	return refused
}

func (w *directWriter[T]) try(ctx context.Context, b *record.Batch[T], refused *[]int) error {
	return w.w.Write(ctx, b, func(i int, err error) {
		if err == nil {
			w.tb.Errorf("fail was called without an error")
		}
		*refused = append(*refused, i)
	})
}

func (w *directWriter[T]) flush() {
	w.tb.Helper()
	if err := w.w.Flush(context.Background()); err != nil {
		w.tb.Fatalf("flush: %v", err)
	}
}

// guarantee checks what the sink says of itself.
func (h DirectHarness[T]) guarantee(tb TB) {
	if g := h.open(tb, h.New(tb)).Guarantee(); g != sinks.AtLeastOnce && g != sinks.Idempotent {
		tb.Fatalf("the guarantee is %s, want at-least-once or idempotent: an exactly-once sink is a sinks.Exact", g)
	}
}

// flush writes, flushes, and leaves the writer without closing it.
func (h DirectHarness[T]) flush(tb TB) {
	t := h.New(tb)
	w := h.start(tb, t, 0)
	for i := range 20 {
		if refused := w.write(h.records(i*50, (i+1)*50)); len(refused) > 0 {
			tb.Fatalf("the writer refused records %v of the harness' Record", refused)
		}
		if i%5 == 4 {
			w.flush()
			h.expect(tb, t.Read, h.records(0, (i+1)*50), false, "after a flush")
		}
	}
	h.start(tb, t, 0).flush()
	h.expect(tb, t.Read, h.records(0, 1000), false, "after another process flushed nothing")
}

// writers has several writers at once.
func (h DirectHarness[T]) writers(tb TB) {
	const writers, each = 4, 200
	t := h.New(tb)
	s := h.open(tb, t)
	var done sync.WaitGroup
	errs := make([]error, writers)
	for n := range writers {
		w, err := s.Writer(context.Background(), sinks.WriterContext{Flow: "flow", Node: "out", Run: "run-1", Index: n})
		if err != nil {
			tb.Fatalf("open a writer: %v", err)
		}
		tb.Cleanup(func() { _ = w.Close() })
		batches := make([]*record.Batch[T], 0, each/10)
		for i := n * each; i < (n+1)*each; i += 10 {
			batches = append(batches, h.batch(tb, h.records(i, i+10)))
		}
		done.Go(func() {
			for i, b := range batches {
				if errs[n] == nil {
					errs[n] = w.Write(context.Background(), b, func(int, error) {})
				}
				b.Reset()
				if errs[n] == nil && i%7 == 6 {
					errs[n] = w.Flush(context.Background())
				}
			}
			if errs[n] == nil {
				errs[n] = w.Flush(context.Background())
			}
		})
	}
	done.Wait()
	for _, err := range errs {
		if err != nil {
			tb.Fatalf("write and flush: %v", err)
		}
	}
	h.expect(tb, t.Read, h.records(0, writers*each), false, "after all writers flushed")
}

// writtenAgain writes what a process had written that died before it flushed.
func (h DirectHarness[T]) writtenAgain(tb TB) {
	t := h.New(tb)
	w := h.start(tb, t, 0)
	w.write(h.records(0, 10))
	w.flush()
	w.write(h.records(10, 30))
	next := h.start(tb, t, 0)
	next.write(h.records(10, 30))
	next.write(h.records(30, 40))
	next.flush()
	once := h.open(tb, t).Guarantee() == sinks.Idempotent
	h.expect(tb, t.Read, h.records(0, 40), !once, "after another process wrote it again")
	if once {
		next.write(h.records(0, 40))
		next.flush()
		h.expect(tb, t.Read, h.records(0, 40), false, "after all was written again")
	}
}

// nothing flushes and closes without records.
func (h DirectHarness[T]) nothing(tb TB) {
	t := h.New(tb)
	w := h.start(tb, t, 0)
	w.flush()
	w.write(nil)
	w.flush()
	h.expect(tb, t.Read, nil, false, "after nothing was written")
	w.write(h.records(0, 3))
	w.flush()
	w.flush()
	h.expect(tb, t.Read, h.records(0, 3), false, "after a few records")
}

// close closes a writer that has flushed.
func (h DirectHarness[T]) close(tb TB) {
	t := h.New(tb)
	w := h.start(tb, t, 0)
	w.write(h.records(0, 10))
	w.flush()
	if err := w.w.Close(); err != nil {
		tb.Fatalf("close: %v", err)
	}
	h.expect(tb, t.Read, h.records(0, 10), false, "after Close")
	w = h.start(tb, t, 0)
	w.write(h.records(10, 20))
	w.flush()
	h.expect(tb, t.Read, h.records(0, 20), false, "after another writer")
}

// cancelled writes and flushes with a context that is over: what says that it failed is written again.
func (h DirectHarness[T]) cancelled(tb TB) {
	t := h.New(tb)
	w := h.start(tb, t, 0)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b := h.batch(tb, h.records(0, 10))
	var refused []int
	again := w.try(ctx, b, &refused) != nil
	b.Reset()
	if len(refused) > 0 {
		tb.Fatalf("a cancelled write refused records %v: they are lost", refused)
	}
	if !again {
		again = w.w.Flush(ctx) != nil
	}
	if again {
		w = h.start(tb, t, 0)
		w.write(h.records(0, 10))
		w.flush()
	}
	h.expect(tb, t.Read, h.records(0, 10), again && h.open(tb, t).Guarantee() == sinks.AtLeastOnce, "after a cancelled write")
}

// refused writes a record that the target does not take, first, last and between others.
func (h DirectHarness[T]) refused(tb TB) {
	t := h.New(tb)
	w := h.start(tb, t, 0)
	good, bad := h.records(0, 3), *h.Refused
	refused := w.write([]T{bad, good[0], bad, good[1], good[2], bad})
	slices.Sort(refused)
	if want := []int{0, 2, 5}; !slices.Equal(refused, want) {
		tb.Fatalf("the writer refused records %v, want %v", refused, want)
	}
	w.flush()
	h.expect(tb, t.Read, good, false, "after the others were flushed")
}
