package splits_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/splits"
)

// asks counts requests.
type asks struct{ n int }

func (a *asks) Index() int    { return 0 }
func (a *asks) RequestSplit() { a.n++ }

// scripted opens splits that give batches of two until limit, and calls before each fetch.
type scripted struct {
	limit  int64
	open   func(part) error
	before func(ctx context.Context, p part) error
	close  func(part) error

	mu     sync.Mutex
	opened []string
	closes int
}

func (s *scripted) Open(_ context.Context, p part) (splits.SplitReader[int, part], error) {
	s.mu.Lock()
	s.opened = append(s.opened, fmt.Sprintf("%s@%d", p.ID, p.Next))
	s.mu.Unlock()
	if s.open != nil {
		if err := s.open(p); err != nil {
			return nil, err
		}
	}
	return &scriptedReader{s, p}, nil
}

type scriptedReader struct {
	s  *scripted
	at part
}

func (r *scriptedReader) Fetch(ctx context.Context, dst *record.Batch[int]) (part, bool, error) {
	if r.s.before != nil {
		if err := r.s.before(ctx, r.at); err != nil {
			dst.Append(-1, record.Meta{}) // what comes with an error does not count
			return r.at, false, err
		}
	}
	for i := 0; i < 2 && r.at.Next < r.s.limit; i++ {
		dst.Append(int(r.at.Next), record.Meta{Position: r.at.Next})
		r.at.Next++
	}
	return r.at, r.at.Next >= r.s.limit, nil
}

func (r *scriptedReader) Close() error {
	r.s.mu.Lock()
	r.s.closes++
	r.s.mu.Unlock()
	if r.s.close != nil {
		return r.s.close(r.at)
	}
	return nil
}

func start(t *testing.T, rc splits.ReaderContext, s *scripted, o splits.MultiplexOptions[part]) splits.Reader[int, part] {
	t.Helper()
	r := splits.Multiplex(rc, s.Open, o)
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// poll polls once there is something; it gives "ID: values", or the status.
func poll(t *testing.T, r splits.Reader[int, part]) (string, error) {
	t.Helper()
	for {
		b := &record.Batch[int]{}
		status, err := r.Poll(b)
		switch {
		case err != nil:
			return "", err
		case status == splits.End:
			return "end", nil
		case status == splits.More:
			return fmt.Sprintf("%s%v", b.Split, b.Values), nil
		}
		select {
		case <-r.Ready():
		case <-time.After(time.Hour): // of the bubble's clock
			return "nothing", nil
		}
	}
}

func TestMultiplexOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rc, s := &asks{}, &scripted{limit: 3}
		r := start(t, rc, s, splits.MultiplexOptions[part]{})
		defer r.Close()
		if got, _ := poll(t, r); got != "nothing" || rc.n != 1 {
			t.Errorf("without splits: got %s and %d requests, want nothing and 1", got, rc.n)
		}
		if err := r.AddSplits(parts("a", "b")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if s.opened[0] != "a@0" || len(s.opened) != 1 {
			t.Errorf("opened %q, want a alone", s.opened)
		}
		expect := func(want string, requests int, finished ...string) {
			t.Helper()
			got, err := poll(t, r)
			if got != want || err != nil || rc.n != requests {
				t.Errorf("got %s, %v and %d requests, want %s and %d", got, err, rc.n, want, requests)
			}
			if ids := r.Finished(); !slices.Equal(ids, finished) {
				t.Errorf("finished %q, want %q", ids, finished)
			}
		}
		snapshot := func(want string) {
			t.Helper()
			all, err := r.Snapshot()
			if got := fmt.Sprint(all); got != want || err != nil {
				t.Errorf("the snapshot is %s, %v, want %s", got, err, want)
			}
		}
		snapshot("[{a 0} {b 0}]") // whatever has been fetched
		expect("a[0 1]", 1)
		snapshot("[{a 2} {b 0}]")
		expect("a[2]", 1, "a")
		snapshot("[{b 0}]")
		expect("b[0 1]", 1)
		expect("b[2]", 2, "b") // its end asks for the next
		snapshot("[]")
		if err := r.AddSplits([]part{{"c", 1}}); err != nil {
			t.Fatal(err)
		}
		r.NoMoreSplits()
		expect("c[1 2]", 2, "c")
		expect("end", 2)
		// One that comes back after all is read too.
		if err := r.AddSplits([]part{{"a", 2}}); err != nil {
			t.Fatal(err)
		}
		expect("a[2]", 2, "a")
		expect("end", 2)
		if s.closes != 4 {
			t.Errorf("closed %d split readers, want 4", s.closes)
		}
	})
}

func TestMultiplexSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rc, s := &asks{}, &scripted{limit: 1_000_000}
		r := start(t, rc, s, splits.MultiplexOptions[part]{Active: 2})
		defer r.Close()
		if err := r.AddSplits(parts("a", "b", "c")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		seen := map[string]int{}
		for range 20 {
			got, err := poll(t, r)
			if err != nil {
				t.Fatal(err)
			}
			seen[got[:1]]++
			synctest.Wait()
		}
		if seen["a"] != 10 || seen["b"] != 10 || rc.n != 0 {
			t.Errorf("polled %v with %d requests, want a and b 10 times each and none", seen, rc.n)
		}

		all := start(t, rc, s, splits.MultiplexOptions[part]{Active: splits.All})
		defer all.Close()
		for i := range 20 {
			if err := all.AddSplits(parts(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := len(s.opened); n != 22 {
			t.Errorf("opened %d splits, want all 20 and the two before", n)
		}
	})
}

func TestMultiplexTwice(t *testing.T) {
	r := start(t, &asks{}, &scripted{limit: 9}, splits.MultiplexOptions[part]{})
	defer r.Close()
	err := r.AddSplits(parts("a", "b", "a"))
	const want = "runtime: add a split to a reader: the reader has it already (split a) [split.twice]"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestMultiplexRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failures := 0
		s := &scripted{limit: 6, before: func(_ context.Context, p part) error {
			if p.Next == 2 && failures < 3 {
				failures++
				return errors.New("the line is down")
			}
			return nil
		}}
		r := start(t, &asks{}, s, splits.MultiplexOptions[part]{Backoff: time.Second})
		defer r.Close()
		_ = r.AddSplits(parts("a"))
		r.NoMoreSplits()
		began := time.Now()
		for _, want := range []string{"a[0 1]", "a[2 3]", "a[4 5]", "end"} {
			if got, err := poll(t, r); got != want || err != nil {
				t.Errorf("got %s, %v, want %s", got, err, want)
			}
		}
		if took := time.Since(began); took != 7*time.Second {
			t.Errorf("took %v, want 1, 2 and 4 s of waiting", took)
		}
		if got := strings.Join(s.opened, " "); got != "a@0 a@2 a@2 a@2" || s.closes != 4 {
			t.Errorf("opened %s and closed %d, want a@0 a@2 a@2 a@2 and 4", got, s.closes)
		}
	})
}

func TestMultiplexErrors(t *testing.T) {
	permanent := &fault.SourceError{Detail: fault.Detail{
		Code: "test.gone", Doing: "read", Connector: "test", Retry: fault.RetryNever, Err: errors.New("it is gone"),
	}}
	passing := &fault.SourceError{Detail: fault.Detail{Code: "test.down", Doing: "read", Retry: fault.RetryLater, Err: errors.New("it is down")}}
	config := &fault.ConfigurationError{Detail: fault.Detail{Code: "test.config", Err: errors.New("no such option")}}
	fail := func(err error) func(context.Context, part) error {
		return func(context.Context, part) error { return err }
	}
	turn := 0
	for _, c := range []struct {
		name  string
		s     *scripted
		o     splits.MultiplexOptions[part]
		want  string
		opens int
		retry bool
	}{
		{"permanent", &scripted{before: fail(permanent)}, splits.MultiplexOptions[part]{},
			"source test: read: it is gone (split a) [test.gone]", 1, false},
		{"never tried again", &scripted{before: fail(passing)}, splits.MultiplexOptions[part]{Retries: -1},
			"source: read: it is down (split a) [test.down]", 1, true},
		{"tried again until it is enough", &scripted{before: fail(passing)}, splits.MultiplexOptions[part]{Retries: 2},
			"source: read a split, 3 times in a row: source: read: it is down [test.down] (split a) [split.retries]", 3, true},
		{"unclassified", &scripted{open: func(part) error { return errors.New("who knows") }}, splits.MultiplexOptions[part]{},
			"source: read a split, 6 times in a row: who knows (split a) [split.retries]", 6, true},
		{"of the configuration", &scripted{open: func(part) error { return config }}, splits.MultiplexOptions[part]{},
			"configuration: no such option [test.config]", 1, false},
		{"permanent after passing", &scripted{open: func(part) error {
			if turn++; turn == 1 {
				return passing
			}
			return permanent
		}}, splits.MultiplexOptions[part]{}, "source test: read: it is gone (split a) [test.gone]", 2, false},
		{"at the close", &scripted{close: func(part) error { return permanent }}, splits.MultiplexOptions[part]{},
			"source test: read: it is gone (split a) [test.gone]", 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := start(t, &asks{}, c.s, c.o)
				defer r.Close()
				_ = r.AddSplits(parts("a"))
				_, err := poll(t, r)
				if err == nil || err.Error() != c.want || fault.Retryable(err) != c.retry {
					t.Errorf("got  %v, retry %t\nwant %s, retry %t", err, fault.Retryable(err), c.want, c.retry)
				}
				if len(c.s.opened) != c.opens {
					t.Errorf("opened %d times, want %d", len(c.s.opened), c.opens)
				}
				if _, again := poll(t, r); again != err {
					t.Errorf("a second poll: got %v", again)
				}
			})
		})
	}
}

func TestMultiplexPanic(t *testing.T) {
	s := &scripted{limit: 4, before: func(_ context.Context, p part) error {
		if p.Next == 2 {
			panic("index out of range")
		}
		return nil
	}}
	r := start(t, &asks{}, s, splits.MultiplexOptions[part]{})
	defer r.Close()
	_ = r.AddSplits(parts("a"))
	if got, err := poll(t, r); got != "a[0 1]" || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	_, err := poll(t, r)
	const want = "runtime: read a split: panic: index out of range (split a) [split.panic]"
	if err == nil || err.Error() != want {
		t.Fatalf("got  %v\nwant %s", err, want)
	}
	if d, _ := fault.DetailOf(err); !strings.Contains(d.Stack, "multiplex_test.go") || s.closes != 1 {
		t.Errorf("the split reader was closed %d times, and the stack is %s", s.closes, d.Stack)
	}
}

// What has been fetched and not polled is bounded, whatever happens to the runtime.
func TestMultiplexBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetches int
		s := &scripted{limit: 1 << 40, before: func(context.Context, part) error { fetches++; return nil }}
		r := start(t, &asks{}, s, splits.MultiplexOptions[part]{})
		defer r.Close()
		_ = r.AddSplits(parts("a"))
		synctest.Wait()
		if fetches != 2 {
			t.Errorf("fetched %d batches ahead, want 2", fetches)
		}
		_, _ = poll(t, r)
		synctest.Wait()
		if fetches != 3 {
			t.Errorf("fetched %d batches after one poll, want 3", fetches)
		}
	})
}

// Close and the end of the context stop every fetch, also one that waits, one that waits to be tried again, and one whose batch nobody polls.
func TestMultiplexClose(t *testing.T) {
	for _, how := range []string{"close", "cancel"} {
		synctest.Test(t, func(t *testing.T) {
			s := &scripted{limit: 1 << 40, before: func(ctx context.Context, p part) error {
				switch {
				case p.ID == "waits" && p.Next == 2:
					<-ctx.Done()
					return ctx.Err()
				case p.ID == "fails":
					return errors.New("down")
				}
				return nil
			}}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			r := splits.Multiplex(&asks{}, s.Open, splits.MultiplexOptions[part]{Active: splits.All, Backoff: time.Hour, Retries: 1000})
			_ = r.Start(ctx)
			_ = r.AddSplits(parts("waits", "fails", "full"))
			for range 3 {
				_, _ = poll(t, r)
				synctest.Wait()
			}
			if how == "cancel" {
				cancel(errors.New("enough"))
				synctest.Wait()
				if _, err := poll(t, r); err == nil || err.Error() != "enough" {
					t.Errorf("got %v, want the cause of the end", err)
				}
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("a second Close: %v", err)
			}
		})
	}
	// Never started, closed all the same.
	if err := splits.Multiplex(&asks{}, (&scripted{}).Open, splits.MultiplexOptions[part]{}).Close(); err != nil {
		t.Error(err)
	}
}

func TestMultiplexAcknowledge(t *testing.T) {
	var got []part
	r := start(t, &asks{}, &scripted{}, splits.MultiplexOptions[part]{
		Acknowledge: func(_ context.Context, done []part) error { got = done; return nil },
	})
	defer r.Close()
	if err := r.CheckpointComplete(t.Context(), parts("x")); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}

// Batches go round between reader and runtime: nothing is allocated for each.
func BenchmarkMultiplex(b *testing.B) {
	for _, active := range []int{1, 4} {
		b.Run(fmt.Sprintf("active=%d", active), func(b *testing.B) {
			r := splits.Multiplex(&asks{}, openCounter(splits.BatchRecords), splits.MultiplexOptions[part]{Active: active})
			_ = r.Start(b.Context())
			defer r.Close()
			_ = r.AddSplits(parts("a", "b", "c", "d"))
			dst := &record.Batch[int]{}
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				for {
					dst.Reset()
					status, err := r.Poll(dst)
					if err != nil {
						b.Fatal(err)
					}
					if status == splits.More {
						n += dst.Len()
						break
					}
					<-r.Ready()
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
		})
	}
}
