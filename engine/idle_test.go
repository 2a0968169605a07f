package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/splits"
)

// started is a run in the background.
type started struct {
	t    *testing.T
	stop chan struct{}
	done chan struct{}
	r    engine.Result
	err  error
}

func start(t *testing.T, f *adf.Flow, o engine.Options) *started {
	s := &started{t: t, stop: make(chan struct{}), done: make(chan struct{})}
	o.Stop = s.stop
	go func() {
		defer close(s.done)
		s.r, s.err = engine.Run(t.Context(), f, o)
	}()
	return s
}

// end stops the run in order.
func (s *started) end() engine.Result {
	s.t.Helper()
	close(s.stop)
	<-s.done
	if s.err != nil {
		s.t.Fatal(s.err)
	}
	return s.r
}

// live is a flow of windows over a log that grows.
func live(src splits.Source[event, memory.Split], idle time.Duration, out *target[total], late *target[event]) *adf.Flow {
	f := adf.New("live")
	in := adf.From(f, "events", src).EventTime(at, time.Second)
	if idle > 0 {
		in = in.IdleAfter(idle)
	}
	totals := adf.Aggregate(adf.KeyBy(in, keyOf).Window(adf.Tumbling(10*time.Second)), "totals", sum{})
	totals.To("out", out)
	if late != nil {
		totals.Late().To("late", late)
	}
	return f
}

func following(log *memory.Log[event]) *memory.Source[event] {
	return &memory.Source[event]{Log: log, Follow: true, Discover: 50 * time.Millisecond}
}

// A split that is idle, and a lane that has none, hold nobody back once idle_after has passed; before that, and without it, they do.
func TestIdleSplitsFollowTheClock(t *testing.T) {
	for _, c := range []struct {
		idle        time.Duration
		parallelism int
		closed      bool
	}{
		{3 * time.Second, 1, true}, {3 * time.Second, 4, true}, {0, 1, false}, {0, 4, false}, {time.Hour, 2, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			log := &memory.Log[event]{}
			now := time.Now().Truncate(10 * time.Second).UnixMilli()
			log.Append(0, event{1, "a", now}) // and then nothing more
			log.Append(1, event{2, "a", now + 1})
			out := newTarget[total]()
			run := start(t, live(following(log), c.idle, out, nil), engine.Options{Parallelism: c.parallelism, Until: engine.Signal, Interval: time.Second})
			time.Sleep(5 * time.Second)
			if got := out.all(); len(got) != 0 {
				t.Errorf("%+v: a window closed early: %v", c, got)
			}
			time.Sleep(15 * time.Second)
			if got := len(out.all()) == 1; got != c.closed {
				t.Errorf("%+v: got closed %v", c, got)
			}
			if r := run.end(); r.Node("totals").Late != 0 || r.Finished {
				t.Errorf("%+v: got %+v", c, r)
			}
		})
	}
}

// Input that waits is not idle: when the clock moved the watermark past it, it would be gone.
func TestABacklogIsNotLate(t *testing.T) {
	for _, parallelism := range []int{1, 2, 5} {
		synctest.Test(t, func(t *testing.T) {
			log := &memory.Log[event]{}
			for n := range 3_000 { // from long ago
				log.Append(n%3, event{int64(n), "a", int64(n) * 100})
			}
			out := newTarget[total]()
			src := following(log)
			for s := range 3 {
				src.Script = append(src.Script, memory.Step{Split: s, At: 520, Delay: 3 * time.Second})
			}
			run := start(t, live(slowly{src, 2 * time.Second}, 10*time.Second, out, nil), engine.Options{
				Parallelism: parallelism, Until: engine.Signal, Interval: time.Second,
			})
			time.Sleep(30 * time.Second)
			if r := run.end(); r.Node("totals").Late != 0 {
				t.Errorf("parallelism %d: %d records of the backlog were late", parallelism, r.Node("totals").Late)
			}
			for _, r := range out.all() {
				if r.Records != 100 {
					t.Errorf("parallelism %d: a window has %d of its 100 records", parallelism, r.Records)
				}
			}
		})
	}
}

// A run that is held up by its sink does not take the splits for idle that it could not read.
func TestHeldUpIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory.Log[event]{}
		out := newTarget[total]()
		slow := sync.OnceFunc(func() { time.Sleep(time.Minute) })
		out.fail = func() error { slow(); return nil }
		run := start(t, live(following(log), 5*time.Second, out, nil), engine.Options{Parallelism: 1, Until: engine.Signal, Interval: time.Second})
		n := int64(0)
		for range 1_500 {
			for s := range 3 {
				n++
				log.Append(s, event{n, "a", time.Now().UnixMilli()})
			}
			time.Sleep(100 * time.Millisecond)
		}
		r := run.end()
		if r.Node("totals").Late != 0 {
			t.Errorf("%d of %d records were late", r.Node("totals").Late, n)
		}
		if len(out.all()) < 10 {
			t.Errorf("got only %d windows", len(out.all()))
		}
	})
}

// piecemeal is a source whose enumerator takes its time between one assignment and the next.
type piecemeal struct{ *memory.Source[event] }

type piecemealEnumerator struct {
	ec     splits.EnumeratorContext[memory.Split]
	splits int
}

func (s piecemeal) Enumerator(_ context.Context, ec splits.EnumeratorContext[memory.Split], _ *splits.State) (splits.Enumerator[memory.Split], error) {
	return &piecemealEnumerator{ec, s.Log.Splits()}, nil
}

func (e *piecemealEnumerator) Start(context.Context) error {
	e.ec.Every(0, func(context.Context) ([]memory.Split, error) { return nil, nil }, func([]memory.Split, error) error {
		for n := range e.splits {
			e.ec.Assign(n%e.ec.Parallelism(), memory.Split{N: n})
			time.Sleep(time.Second)
		}
		return nil
	})
	return nil
}
func (e *piecemealEnumerator) AddReader(context.Context, int) error          { return nil }
func (e *piecemealEnumerator) HandleSplitRequest(context.Context, int) error { return nil }
func (e *piecemealEnumerator) AddSplitsBack(context.Context, []memory.Split, int) error {
	return nil
}
func (e *piecemealEnumerator) Snapshot(context.Context) (splits.State, error) {
	return splits.State{Version: 1}, nil
}
func (e *piecemealEnumerator) Close() error { return nil }

// What a call of an enumerator assigns is assigned all at once: a lane that knew only some of its splits would promise what the others do not keep.
func TestAssignmentsTakeEffectTogether(t *testing.T) {
	for _, parallelism := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			log := &memory.Log[event]{}
			for n := range 4_000 {
				log.Append(n%4, event{int64(n), "a", int64(n) * 100})
			}
			out, late := newTarget[total](), newTarget[event]()
			run := start(t, live(piecemeal{following(log)}, 0, out, late), engine.Options{Parallelism: parallelism, Interval: 100 * time.Millisecond})
			time.Sleep(10 * time.Second)
			run.end()
			if n := len(late.all()); n != 0 {
				t.Errorf("parallelism %d: %d records are late", parallelism, n)
			}
			if got := out.all(); len(got) != 39 || slices.ContainsFunc(got, func(t total) bool { return t.Records != 100 }) {
				t.Errorf("parallelism %d: got %v", parallelism, got)
			}
		})
	}
}

// slowly is a source that takes its time to list.
type slowly struct {
	*memory.Source[event]
	takes time.Duration
}

func (s slowly) Enumerator(_ context.Context, ec splits.EnumeratorContext[memory.Split], restored *splits.State) (splits.Enumerator[memory.Split], error) {
	o := splits.ListOptions[memory.Split]{Codec: s.Codec(), Spread: s.Follow, Find: func(ctx context.Context) ([]memory.Split, error) {
		time.Sleep(s.takes)
		found := make([]memory.Split, s.Log.Splits())
		for n := range found {
			found[n].N = n
		}
		return found, nil
	}}
	if s.Follow {
		o.Every = time.Minute
	}
	return splits.List(ec, restored, o)
}

// Until Idle a run waits for a slow listing, and for bounded splits that are slow to read.
func TestIdleIsNotSlow(t *testing.T) {
	for _, follow := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			log := &memory.Log[event]{}
			for n := range 1_000 {
				log.Append(n%2, event{int64(n), "a", int64(n)})
			}
			src := slowly{&memory.Source[event]{Log: log, Follow: follow}, 7 * time.Second}
			if !follow {
				src.Script = []memory.Step{{Split: 1, At: 200, Delay: 5 * time.Second}}
			}
			numbers := newTarget[event]()
			f := adf.New("slow")
			adf.From(f, "events", src).To("numbers", numbers)
			began := time.Now()
			if _, err := engine.Run(t.Context(), f, engine.Options{Until: engine.Idle, Parallelism: 3}); err != nil {
				t.Fatal(err)
			}
			checkNumbers(t, numbers, 1_000)
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("follow %v: took %v", follow, took)
			}
		})
	}
}

// A promise is kept from run to run: what comes behind it is late, and is in the late output.
func TestPromisesOutliveRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory.Log[event]{}
		store := &checkpoint.Memory{}
		out, late := newTarget[total](), newTarget[event]()
		run := func(parallelism int, until engine.Until) engine.Result {
			t.Helper()
			r, err := engine.Run(t.Context(), live(&memory.Source[event]{Log: log}, 0, out, late), engine.Options{
				Store: store, Until: until, Parallelism: parallelism,
			})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		log.Append(0, event{1, "a", 1_000}, event{2, "a", 30_000})
		run(1, engine.Idle)
		run(3, engine.Idle) // nothing new
		log.Append(1, event{3, "a", 2_000}, event{4, "a", 31_000})
		r := run(2, engine.Idle)
		if got, want := out.sorted(), []string{"{a 0 1 1}"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		if got, want := late.sorted(), []string{"{3 a 2000}"}; !slices.Equal(got, want) || r.Node("totals").Late != 1 {
			t.Errorf("late: got %v (%d counted), want %v", got, r.Node("totals").Late, want)
		}
		run(1, engine.Drained)
		if got, want := out.sorted(), []string{"{a 0 1 1}", "{a 30000 2 6}"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// breaking is a source whose readers fail once when it is told to.
type breaking struct {
	*memory.Source[event]
	breaks atomic.Bool
}

type breakingReader struct {
	splits.Reader[event, memory.Split]
	src *breaking
}

func (s *breaking) Reader(ctx context.Context, rc splits.ReaderContext) (splits.Reader[event, memory.Split], error) {
	r, err := s.Source.Reader(ctx, rc)
	return breakingReader{r, s}, err
}

func (r breakingReader) Poll(dst *record.Batch[event]) (splits.Status, error) {
	if r.src.breaks.CompareAndSwap(true, false) {
		return splits.Nothing, later("the line is cut")
	}
	return r.Reader.Poll(dst)
}

// A window that the clock has closed gives no second result after a restart.
func TestClosedByTheClockIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory.Log[event]{}
		now := time.Now().Truncate(10 * time.Second).UnixMilli()
		log.Append(0, event{1, "a", now})
		src := &breaking{Source: following(log)}
		out := newTarget[total]()
		run := start(t, live(src, 3*time.Second, out, nil), engine.Options{Parallelism: 2, Until: engine.Drained, Interval: time.Second})
		time.Sleep(20 * time.Second)
		src.breaks.Store(true)
		time.Sleep(time.Second)
		log.Append(0, event{2, "a", now + 1})
		time.Sleep(20 * time.Second)
		r := run.end()
		if r.Restarts == 0 {
			t.Error("nothing was restarted")
		}
		if got := out.all(); len(got) != 1 || r.Node("totals").Late == 0 {
			t.Errorf("got %v, and %d late", got, r.Node("totals").Late)
		}
	})
}

// unceasing is a source that always has more at once: its reader never finds nothing.
type unceasing struct{ *memory.Source[event] }

type unceasingReader struct {
	splits.Reader[event, memory.Split]
	n int64
}

func (s unceasing) Reader(ctx context.Context, rc splits.ReaderContext) (splits.Reader[event, memory.Split], error) {
	r, err := s.Source.Reader(ctx, rc)
	return &unceasingReader{Reader: r}, err
}
func (r *unceasingReader) AddSplits([]memory.Split) error { return nil }
func (r *unceasingReader) Poll(dst *record.Batch[event]) (splits.Status, error) {
	dst.Split = "0"
	dst.Append(event{r.n, "a", r.n * 1000}, record.Meta{Time: record.NoTime, Watermark: record.NoTime, Position: r.n})
	r.n++
	return splits.More, nil
}
func (r *unceasingReader) Snapshot() ([]memory.Split, error) { return []memory.Split{{Next: r.n}}, nil }

// Promises go on their way also when a step in between keeps nothing.
func TestPromisesPassEmptySteps(t *testing.T) {
	log := &memory.Log[event]{}
	log.Append(0, event{})
	out := newTarget[total]()
	f := adf.New("sparse")
	in := adf.From(f, "events", unceasing{following(log)}).EventTime(at, time.Second).Filter("first", func(e event) bool { return e.N < 5 })
	adf.Aggregate(adf.KeyBy(in, keyOf).Window(adf.Tumbling(10*time.Second)), "totals", sum{}).To("out", out)
	run := start(t, f, engine.Options{Parallelism: 1, Until: engine.Signal, Interval: 50 * time.Millisecond})
	for range 300 {
		if len(out.all()) > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	run.end()
	if got, want := fmt.Sprint(out.all()), "[{a 0 5 10}]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Every reader is told of each checkpoint whose output is committed: of the last one before the run ends, of a restored one after it began.
func TestReadersLearnOfCheckpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory.Log[event]{}
		store := &checkpoint.Memory{}
		numbers := newTarget[event]()
		var mu sync.Mutex
		var told []int64
		heard := func(when string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if want := []int64{1_000}; !slices.Equal(told, want) {
				t.Errorf("%s: told of %v, want %v", when, told, want)
			}
			told = nil
		}
		build := func() *adf.Flow {
			src := following(log)
			src.Acknowledged = func(done []memory.Split) {
				mu.Lock()
				defer mu.Unlock()
				for _, s := range done {
					if n := int64(len(numbers.all())); s.Next > n {
						t.Errorf("told of %d records, and %d are committed", s.Next, n)
					}
					told = append(told, s.Next)
				}
			}
			f := adf.New("told")
			adf.From(f, "events", src).To("numbers", numbers)
			return f
		}
		for n := range 1_000 {
			log.Append(0, event{N: int64(n)})
		}
		o := engine.Options{Store: store, Until: engine.Signal, Interval: time.Hour, Parallelism: 2}
		run := start(t, build(), o)
		time.Sleep(time.Second)
		run.end()
		heard("before the end")
		run = start(t, build(), o)
		time.Sleep(time.Second)
		heard("after the start")
		run.end()
		checkNumbers(t, numbers, 1_000)
	})
}

// What a source finds is told by its errors, also those of listing.
func TestListingFails(t *testing.T) {
	f := adf.New("unlisted")
	adf.From(f, "events", unlisted{memory.Values(event{})}).To("numbers", newTarget[event]())
	_, err := engine.Run(t.Context(), f, engine.Options{})
	if d, ok := fault.DetailOf(err); !ok || d.Node != "events" || !errors.Is(err, errUnlisted) {
		t.Errorf("got %v", err)
	}
}

var errUnlisted = errors.New("there is no list")

type unlisted struct{ *memory.Source[event] }

func (s unlisted) Enumerator(_ context.Context, ec splits.EnumeratorContext[memory.Split], restored *splits.State) (splits.Enumerator[memory.Split], error) {
	return splits.List(ec, restored, splits.ListOptions[memory.Split]{Codec: s.Codec(), Find: func(context.Context) ([]memory.Split, error) {
		return nil, &fault.SourceError{Detail: fault.Detail{Retry: fault.RetryNever, Err: errUnlisted}}
	}})
}
