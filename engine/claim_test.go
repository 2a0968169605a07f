package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
)

// copied is a copy of a checkpoint directory as it is now.
func copied(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

func directory(t *testing.T, dir string) checkpoint.Store {
	t.Helper()
	s, err := checkpoint.OpenDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// forks is a flow with two exactly-once sinks over a log.
type forks struct {
	t    *testing.T
	log  *memory.Log[event]
	a, b *target[event]
}

func newForks(t *testing.T) *forks {
	return &forks{t, &memory.Log[event]{}, newTarget[event](), newTarget[event]()}
}

func (f *forks) append(from, to int) {
	for n := from; n < to; n++ {
		f.log.Append(n%3, event{N: int64(n)})
	}
}

func (f *forks) flow() *adf.Flow {
	flow := adf.New("forks")
	in := adf.From(flow, "events", &memory.Source[event]{Log: f.log, Follow: true})
	in.To("a", f.a)
	in.To("b", f.b)
	return flow
}

func (f *forks) run(dir string, o engine.Options) error {
	f.t.Helper()
	o.Store, o.Until, o.Parallelism = directory(f.t, dir), engine.Idle, 2
	_, err := engine.Run(f.t.Context(), f.flow(), o)
	return err
}

func (f *forks) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func behind(err error) bool {
	d, ok := fault.DetailOf(err)
	return ok && d.Code == "checkpoint.behind" && !fault.Retryable(err) && strings.Contains(err.Error(), "--rewind")
}

// times counts how often each record is there.
func times(t *target[event]) map[int]int {
	n := map[int64]int{}
	for _, e := range t.all() {
		n[e.N]++
	}
	counts := map[int]int{}
	for _, c := range n {
		counts[c]++
	}
	return counts
}

// A checkpoint that is older than the sink's output is refused; with Rewind the output since then is repeated, and nothing is missing.
func TestAnOlderCopyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, dir := newForks(t), t.TempDir()
		f.append(0, 300)
		f.ok(f.run(dir, engine.Options{}))
		older := copied(t, dir)
		f.append(300, 700)
		f.ok(f.run(dir, engine.Options{}))
		if err := f.run(older, engine.Options{}); !behind(err) {
			t.Fatalf("got %v", err)
		}
		f.ok(f.run(older, engine.Options{Rewind: true}))
		for _, s := range []*target[event]{f.a, f.b} {
			if got, want := fmt.Sprint(times(s)), "map[1:300 2:400]"; got != want {
				t.Errorf("got %s, want %s: 400 records are repeated", got, want)
			}
		}
		// What went on from the copy is the newest now, and a run after a rewind is as any other.
		f.append(700, 800)
		f.ok(f.run(older, engine.Options{}))
		if got, want := fmt.Sprint(times(f.a)), "map[1:400 2:400]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// Of two copies of one checkpoint only one can be gone on from, also when the first that did has written nothing.
func TestAForkIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, written := range []int{0, 50} {
			f, dir := newForks(t), t.TempDir()
			f.append(0, 300)
			f.ok(f.run(dir, engine.Options{}))
			fork := copied(t, dir)
			f.append(300, 300+written)
			f.ok(f.run(dir, engine.Options{}))
			if err := f.run(fork, engine.Options{}); !behind(err) {
				t.Errorf("after %d records more: got %v", written, err)
			}
			if got, want := fmt.Sprint(times(f.a)), fmt.Sprintf("map[1:%d]", 300+written); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

// Output that waits when a run dies is committed by the next one, to each sink once, whichever of them had it already.
func TestWaitingOutputIsCommittedByTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, dead := range []string{"a", "b"} {
			f, dir := newForks(t), t.TempDir()
			f.append(0, 300)
			f.ok(f.run(dir, engine.Options{}))
			f.append(300, 600)
			gone := &fault.SinkError{Detail: fault.Detail{Retry: fault.RetryNever, Err: errors.New("the target is gone")}}
			s := map[string]*target[event]{"a": f.a, "b": f.b}[dead]
			commits := 0
			s.fail = func() error {
				if commits++; commits > 5 { // the seals of the run before and one shard's output
					return gone
				}
				return nil
			}
			if err := f.run(dir, engine.Options{}); !errors.Is(err, gone.Err) {
				t.Fatalf("got %v", err)
			}
			s.fail = nil
			f.append(600, 650)
			f.ok(f.run(dir, engine.Options{}))
			for _, s := range []*target[event]{f.a, f.b} {
				if got, want := fmt.Sprint(times(s)), "map[1:650]"; got != want {
					t.Errorf("%s was dead: got %s, want %s", dead, got, want)
				}
			}
		}
	})
}

// slowStore takes its time to give an epoch, once.
type slowStore struct {
	checkpoint.Store
	once sync.Once
}

func (s *slowStore) ReadEpoch(ctx context.Context, flow string, epoch int64) ([]byte, error) {
	content, err := s.Store.ReadEpoch(ctx, flow, epoch)
	s.once.Do(func() { time.Sleep(5 * time.Second) })
	return content, err
}

// A run that takes over from one that is alive is not taken for one that starts from an older copy.
func TestTakingOverFromALiveRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForks(t)
		store := &checkpoint.Memory{}
		build := func() *adf.Flow {
			flow := adf.New("forks")
			adf.From(flow, "events", &memory.Source[event]{Log: f.log, Follow: true}).To("a", f.a)
			return flow
		}
		older := start(t, build(), engine.Options{Store: store, Interval: time.Second, Parallelism: 1})
		written := make(chan struct{})
		go func() {
			defer close(written)
			for n := range 20 {
				f.append(100*n, 100*(n+1))
				time.Sleep(500 * time.Millisecond)
			}
		}()
		time.Sleep(3 * time.Second)
		newer := start(t, build(), engine.Options{Store: &slowStore{Store: store}, Interval: time.Second, Parallelism: 1})
		<-written
		time.Sleep(3 * time.Second)
		newer.end()
		<-older.done
		if d, ok := fault.DetailOf(older.err); !ok || d.Code != "checkpoint.fenced" {
			t.Errorf("the older run: %v", older.err)
		}
		if got, want := fmt.Sprint(times(f.a)), "map[1:2000]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// A run that claims the flow and dies before its first checkpoint, again and again, loses nothing and repeats nothing.
func TestRunsThatOnlyClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, dir := newForks(t), t.TempDir()
		f.append(0, 300)
		f.ok(f.run(dir, engine.Options{}))
		f.append(300, 400)
		for range 4 {
			ctx, cancel := context.WithCancel(t.Context())
			s := &moody{Store: directory(t, dir), behind: func(string, int) error { cancel(); return nil }}
			flow := adf.New("forks")
			in := adf.From(flow, "events", &memory.Source[event]{Log: f.log, Follow: true})
			in.To("a", f.a)
			in.To("b", f.b)
			if _, err := engine.Run(ctx, flow, engine.Options{Store: s}); !errors.Is(err, context.Canceled) {
				t.Fatalf("got %v", err)
			}
			cancel()
		}
		f.ok(f.run(dir, engine.Options{}))
		for _, s := range []*target[event]{f.a, f.b} {
			if got, want := fmt.Sprint(times(s)), "map[1:400]"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

// A fresh start reads everything again, and says so by another run's sequences.
func TestFreshRepeatsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, dir := newForks(t), t.TempDir()
		f.append(0, 100)
		f.ok(f.run(dir, engine.Options{}))
		f.ok(f.run(dir, engine.Options{Fresh: true}))
		if got, want := fmt.Sprint(times(f.a)), "map[2:100]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		f.ok(f.run(dir, engine.Options{}))
		if got, want := fmt.Sprint(times(f.a)), "map[2:100]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// Whatever a node was, its state is refused when it is something else now.
func TestStateOfAnotherKindOfNode(t *testing.T) {
	build := func(kind string) *adf.Flow {
		f := adf.New("edited")
		in := adf.From(f, "events", memory.Values(event{1, "a", 1})).EventTime(at, time.Second)
		switch kind {
		case "keyed":
			adf.Aggregate(adf.KeyBy(in, keyOf).Window(adf.Tumbling(10*time.Second)), "node", sum{}).To("out", newTarget[total]())
		case "exact":
			in.To("node", newTarget[event]())
		case "direct":
			in.Filter("step", func(event) bool { return true }).To("node", hurtDirect{})
		case "step":
			in.Filter("node", func(event) bool { return true }).To("out", hurtDirect{})
		}
		return f
	}
	for _, c := range [][3]string{
		{"keyed", "exact", "node (was a keyed step, is a sink)"}, {"exact", "direct", "node (was an exactly-once sink, is a sink)"},
		{"exact", "step", "node (was an exactly-once sink, is a step)"}, {"keyed", "step", "node (was a keyed step, is a step)"},
	} {
		store := &checkpoint.Memory{}
		if _, err := engine.Run(t.Context(), build(c[0]), engine.Options{Store: store}); err != nil {
			t.Fatal(err)
		}
		_, err := engine.Run(t.Context(), build(c[1]), engine.Options{Store: store})
		if d, ok := fault.DetailOf(err); !ok || d.Code != "checkpoint.dropped" || !strings.Contains(err.Error(), c[2]) {
			t.Errorf("%v: got %v", c, err)
		}
		if _, err := engine.Run(t.Context(), build(c[1]), engine.Options{Store: store, AllowDropped: true}); err != nil {
			t.Errorf("%v: %v", c, err)
		}
	}
}

// A run is restored at any other parallelism, also when splits were in the middle and keys had state.
func TestRestoreAtAnotherParallelism(t *testing.T) {
	all := events(7, 14_000)
	store, out, numbers := &checkpoint.Memory{}, newTarget[total](), newTarget[event]()
	widths := []int{1, 8, 3, 128, 2, 200}
	for n := 0; ; n++ {
		src := &memory.Source[event]{Splits: all, Batch: 100, Active: 2}
		for i := range 140 {
			src.Script = append(src.Script, memory.Step{Split: i % 7, At: int64(100 * (i / 7)), Delay: time.Millisecond})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(15+5*n)*time.Millisecond)
		r, err := engine.Run(ctx, windows(src, out, numbers), engine.Options{Store: store, Parallelism: widths[n%len(widths)], Interval: 2 * time.Millisecond})
		cancel()
		if err == nil && r.Finished {
			break
		}
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
	}
	if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
		t.Errorf("got %d results, want %d", len(got), len(want))
	}
	checkNumbers(t, numbers, 14_000)
}
