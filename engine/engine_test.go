package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event is what the tests' flows read.
type event struct {
	N    int64
	Key  string
	Time int64 // ms
}

// total is what their windows give.
type total struct {
	Key     string
	Start   int64
	Records int64
	Sum     int64
}

type sum struct{}

func (sum) New() total              { return total{} }
func (sum) Add(a *total, e event)   { a.Records++; a.Sum += e.N }
func (sum) Merge(a *total, b total) { a.Records += b.Records; a.Sum += b.Sum }
func (sum) Result(key string, w operators.Span, a total) total {
	return total{key, w.Start, a.Records, a.Sum}
}

// target is an exactly-once sink in memory, which outlives runs.
type target[T comparable] struct {
	mu       sync.Mutex
	records  []T
	progress map[sinks.Shard]int64
	fail     func() error // asked before each commit
}

func newTarget[T comparable]() *target[T] { return &target[T]{progress: map[sinks.Shard]int64{}} }

type exact[T comparable] struct {
	*target[T]
	codec *row.Codec[T]
}

func (t *target[T]) Sink(c *row.Codec[T]) (sinks.Any, error) {
	return sinks.EraseExact(exact[T]{t, c}), nil
}
func (e exact[T]) Encoder() sinks.Encoder[T] { return sinks.Records(e.codec) }
func (e exact[T]) Writer(context.Context, sinks.Shard, int64) (sinks.Writer[[]T], error) {
	return &targetWriter[T]{codec: e.codec}, nil
}
func (e exact[T]) Committer(context.Context) (sinks.Committer[[]T], error) {
	return targetCommitter[T]{e.target}, nil
}

type targetWriter[T comparable] struct {
	codec *row.Codec[T]
	all   []T
}

func (w *targetWriter[T]) Write(_ context.Context, part []byte) error {
	for b, err := range sinks.Batches(w.codec, part) {
		if err != nil {
			return err
		}
		w.all = append(w.all, b.Values...)
	}
	return nil
}
func (w *targetWriter[T]) Prepare(context.Context) ([]T, error) { return w.all, nil }
func (w *targetWriter[T]) Close() error                         { return nil }

type targetCommitter[T comparable] struct{ t *target[T] }

func (c targetCommitter[T]) Progress(_ context.Context, sh sinks.Shard) (int64, error) {
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if p, ok := c.t.progress[sh]; ok {
		return p, nil
	}
	return -1, nil
}

func (c targetCommitter[T]) Commit(ctx context.Context, m sinks.Committable[[]T]) error {
	last, _ := c.Progress(ctx, m.Shard)
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	if c.t.fail != nil {
		if err := c.t.fail(); err != nil {
			return err
		}
	}
	if due, err := m.Due(last); !due {
		return err
	}
	c.t.records = append(c.t.records, m.Value...)
	c.t.progress[m.Shard] = m.To
	return nil
}
func (targetCommitter[T]) Close() error { return nil }

func (t *target[T]) all() []T {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.records)
}

func (t *target[T]) sorted() []string {
	all := t.all()
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = fmt.Sprint(r)
	}
	slices.Sort(texts)
	return texts
}

func at(e event) time.Time { return time.UnixMilli(e.Time) }
func keyOf(e event) string { return e.Key }
func later(err string) error {
	return &fault.SourceError{Detail: fault.Detail{Retry: fault.RetryLater, Err: errors.New(err)}}
}

// events makes n numbered events in several splits, out of order by up to a second.
func events(splits, n int) [][]event {
	r := rand.New(rand.NewPCG(1, 2))
	all := make([][]event, splits)
	for i := range n {
		s := i % splits
		all[s] = append(all[s], event{int64(i), fmt.Sprintf("k%d", i%17), int64(i)*10 - r.Int64N(1000)})
	}
	return all
}

// expected is what windows of ten seconds over all events give.
func expected(all [][]event) []string {
	type key struct {
		key   string
		start int64
	}
	sums := map[key]total{}
	for _, split := range all {
		for _, e := range split {
			start := e.Time - ((e.Time%10_000)+10_000)%10_000
			k := key{e.Key, start}
			t := sums[k]
			sums[k] = total{e.Key, start, t.Records + 1, t.Sum + e.N}
		}
	}
	var texts []string
	for _, t := range sums {
		texts = append(texts, fmt.Sprint(t))
	}
	slices.Sort(texts)
	return texts
}

// windows is a flow of windows over a source.
func windows(src *memory.Source[event], out sinks.Sink[total], numbers sinks.Sink[event]) *adf.Flow {
	f := adf.New("windows")
	in := adf.From(f, "events", src).EventTime(at, 2*time.Second)
	totals := adf.Aggregate(adf.KeyBy(in, keyOf).Window(adf.Tumbling(10*time.Second)), "totals", sum{})
	totals.To("out", out)
	if numbers != nil {
		in.To("numbers", numbers)
	}
	return f
}

func TestWindows(t *testing.T) {
	all := events(5, 20_000)
	for _, parallelism := range []int{1, 2, 4} {
		out := newTarget[total]()
		r, err := engine.Run(t.Context(), windows(&memory.Source[event]{Splits: all}, out, nil), engine.Options{Parallelism: parallelism})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
			t.Errorf("parallelism %d: got %d results, want %d", parallelism, len(got), len(want))
		}
		if !r.Finished || r.Node("totals").In != 20_000 || r.Node("totals").Late != 0 || r.Node("events").Splits != 5 {
			t.Errorf("got %+v", r)
		}
	}
}

// A source that fails again and again in ways that pass: every record is there once.
func TestRestartsAreExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := events(4, 30_000)
		for _, parallelism := range []int{1, 3} {
			src := &memory.Source[event]{Splits: all, Batch: 100}
			for n := range 12 {
				src.Script = append(src.Script,
					memory.Step{Split: n % 4, At: int64(500 + 500*n), Delay: 15 * time.Millisecond, Err: later("a flaky line"), Times: 7})
			}
			out, numbers := newTarget[total](), newTarget[event]()
			failures := 0
			out.fail = func() error { // the target is out of reach now and then
				if failures++; failures%5 == 0 {
					return &fault.SinkError{Detail: fault.Detail{Retry: fault.RetryLater, Err: errors.New("no route to the target")}}
				}
				return nil
			}
			r, err := engine.Run(t.Context(), windows(src, out, numbers), engine.Options{Parallelism: parallelism, Interval: 5 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if r.Restarts == 0 {
				t.Error("nothing was restarted")
			}
			if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
				t.Errorf("parallelism %d: got %d results, want %d", parallelism, len(got), len(want))
			}
			checkNumbers(t, numbers, 30_000)
		}
	})
}

func checkNumbers(t *testing.T, numbers *target[event], want int) {
	t.Helper()
	seen := map[int64]int{}
	for _, e := range numbers.all() {
		seen[e.N]++
	}
	for n, times := range seen {
		if times != 1 {
			t.Fatalf("record %d is there %d times", n, times)
		}
	}
	if len(seen) != want {
		t.Fatalf("got %d records, want %d", len(seen), want)
	}
}

// A run that is cut off at any moment is taken up by the next one, at another parallelism too.
func TestCutOffRunsAreExact(t *testing.T) {
	all := events(6, 40_000)
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 4 {
		store := &checkpoint.Memory{}
		out, numbers := newTarget[total](), newTarget[event]()
		runs := 0
		for done := false; !done; runs++ {
			src := &memory.Source[event]{Splits: all, Batch: 200}
			for s := range 6 {
				for at := 500; at < 7000; at += 500 {
					src.Script = append(src.Script, memory.Step{Split: s, At: int64(at), Delay: time.Millisecond})
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(5+r.IntN(40))*time.Millisecond)
			if runs > 30 {
				cancel()
				ctx, cancel = context.WithCancel(t.Context())
			}
			result, err := engine.Run(ctx, windows(src, out, numbers), engine.Options{
				Store: store, Parallelism: 1 + r.IntN(4), Interval: 3 * time.Millisecond,
			})
			cancel()
			if err != nil && ctx.Err() == nil {
				t.Fatal(err)
			}
			done = err == nil && result.Finished
		}
		if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
			t.Errorf("round %d, %d runs: got %d results, want %d", round, runs, len(got), len(want))
		}
		checkNumbers(t, numbers, 40_000)
	}
}

func TestLateRecordsDoNotDependOnParallelism(t *testing.T) {
	all := events(5, 20_000)
	for s := range all { // every tenth record comes far too late
		for i := range all[s] {
			if i%10 == 9 {
				all[s][i].Time -= 60_000
			}
		}
	}
	var first []string
	for _, parallelism := range []int{1, 2, 4, 1, 2, 4} {
		out, late := newTarget[total](), newTarget[event]()
		f := adf.New("late")
		in := adf.From(f, "events", &memory.Source[event]{Splits: all}).EventTime(at, 2*time.Second)
		totals := adf.Aggregate(adf.KeyBy(in, keyOf).Window(adf.Tumbling(10*time.Second).AllowedLateness(3*time.Second)), "totals", sum{})
		totals.To("out", out)
		totals.Late().To("late", late)
		if _, err := engine.Run(t.Context(), f, engine.Options{Parallelism: parallelism}); err != nil {
			t.Fatal(err)
		}
		counted := int64(0)
		for _, r := range out.all() {
			counted += r.Records
		}
		if n := len(late.all()); n == 0 || counted+int64(n) != 20_000 {
			t.Errorf("got %d counted and %d late", counted, n)
		}
		got := append(out.sorted(), late.sorted()...)
		if first == nil {
			first = got
		}
		if !slices.Equal(got, first) {
			t.Errorf("parallelism %d gives something else", parallelism)
		}
	}
}

// What fails in a step, in a key's window or in a sink goes to the errors output when somebody reads it, and ends the run when nobody does.
func TestFailedRecords(t *testing.T) {
	all := events(3, 3_000)
	build := func(read bool) (*adf.Flow, *target[event], *letters) {
		f := adf.New("failing")
		out, dead := newTarget[event](), &letters{}
		checked := adf.Map(adf.From(f, "events", &memory.Source[event]{Splits: all}), "checked", func(e event) (event, error) {
			if e.N%100 == 7 {
				return e, errors.New("ends in 07")
			}
			return e, nil
		})
		checked.To("out", out)
		if read {
			f.Errors().To("dead", dead)
		}
		return f, out, dead
	}
	f, out, dead := build(true)
	if _, err := engine.Run(t.Context(), f, engine.Options{}); err != nil {
		t.Fatal(err)
	}
	if got := len(out.all()); got != 2_970 {
		t.Errorf("got %d records, want 2970", got)
	}
	all30 := dead.all
	if len(all30) != 30 || all30[0].Node != "checked" || all30[0].Error != "ends in 07" || !strings.Contains(all30[0].Record, `"N":`) {
		t.Errorf("got %d letters, the first %+v", len(all30), all30[0])
	}
	f, _, _ = build(false)
	_, err := engine.Run(t.Context(), f, engine.Options{})
	d, ok := fault.DetailOf(err)
	if !ok || d.Node != "checked" || d.Code != "record.failed" || fault.Retryable(err) || !strings.Contains(err.Error(), "on_error: emit") {
		t.Errorf("got %v", err)
	}
}

// letters is a direct sink of dead letters.
type letters struct {
	mu  sync.Mutex
	all []sinks.DeadLetter
}

func (l *letters) Sink(*row.Codec[sinks.DeadLetter]) (sinks.Any, error) {
	return sinks.EraseDirect(l), nil
}
func (l *letters) Guarantee() sinks.Guarantee { return sinks.AtLeastOnce }
func (l *letters) Writer(context.Context, sinks.WriterContext) (sinks.DirectWriter[sinks.DeadLetter], error) {
	return letterWriter{l}, nil
}

func TestAPanicIsAnErrorWithNodeAndStack(t *testing.T) {
	f := adf.New("panics")
	adf.Map(adf.From(f, "events", memory.Values(event{N: 1})), "bad", func(e event) (event, error) { panic("no such thing") }).To("out", newTarget[event]())
	_, err := engine.Run(t.Context(), f, engine.Options{})
	d, ok := fault.DetailOf(err)
	if !ok || d.Node != "bad" || d.Code != "user.panic" || !strings.Contains(d.Stack, "engine_test.go") || !strings.Contains(err.Error(), "no such thing") {
		t.Errorf("got %v", err)
	}
}

func TestRetriesHaveALimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &memory.Source[event]{Splits: events(1, 100), Script: []memory.Step{{At: 50, Err: later("down for good"), Times: 1000}}}
		_, err := engine.Run(t.Context(), windows(src, newTarget[total](), nil), engine.Options{Retries: 1})
		if err == nil || !strings.Contains(err.Error(), "down for good") {
			t.Errorf("got %v", err)
		}
	})
}

func TestAFinishedFlowReadsOnlyWhatIsNew(t *testing.T) {
	all := events(4, 4_000)
	store := &checkpoint.Memory{}
	out, numbers := newTarget[total](), newTarget[event]()
	run := func(splits [][]event, o engine.Options) engine.Result {
		t.Helper()
		o.Store = store
		r, err := engine.Run(t.Context(), windows(&memory.Source[event]{Splits: splits}, out, numbers), o)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := run(all[:3], engine.Options{})
	if !first.Finished || !first.FinishedBefore.IsZero() {
		t.Errorf("first: %+v", first)
	}
	again := run(all[:3], engine.Options{})
	if again.FinishedBefore.IsZero() || again.Node("events").Out != 0 {
		t.Errorf("again: %+v", again)
	}
	more := run(all, engine.Options{})
	if !more.FinishedBefore.IsZero() || more.Node("events").Out != 1_000 {
		t.Errorf("with a new split: %+v", more)
	}
	checkNumbers(t, numbers, 4_000)
	fresh := run(all, engine.Options{Fresh: true})
	if fresh.Node("events").Out != 4_000 {
		t.Errorf("fresh: %+v", fresh)
	}
}

// Until Idle windows stay open from run to run.
func TestIdleRunsKeepWindowsOpen(t *testing.T) {
	store := &checkpoint.Memory{}
	out := newTarget[total]()
	log := &memory.Log[event]{}
	run := func(until engine.Until) {
		t.Helper()
		if _, err := engine.Run(t.Context(), windows(&memory.Source[event]{Log: log}, out, nil), engine.Options{Store: store, Until: until}); err != nil {
			t.Fatal(err)
		}
	}
	log.Append(0, event{1, "a", 1_000}, event{2, "a", 9_000})
	run(engine.Idle)
	if got := out.sorted(); len(got) != 0 {
		t.Errorf("a window closed early: %v", got)
	}
	log.Append(1, event{3, "a", 9_500}, event{4, "a", 30_000})
	run(engine.Idle)
	if got, want := out.sorted(), []string{"{a 0 3 6}"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	run(engine.Drained)
	if got, want := out.sorted(), []string{"{a 0 3 6}", "{a 30000 1 4}"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestStateWithoutANodeIsRefused(t *testing.T) {
	store := &checkpoint.Memory{}
	flow := func(name string) *adf.Flow {
		f := adf.New("edited")
		in := adf.From(f, "events", &memory.Source[event]{Splits: events(1, 100)}).EventTime(at, time.Second)
		adf.Aggregate(adf.KeyBy(in, keyOf).Window(adf.Tumbling(10*time.Second)), name, sum{}).To("out", newTarget[total]())
		return f
	}
	if _, err := engine.Run(t.Context(), flow("old"), engine.Options{Store: store}); err != nil {
		t.Fatal(err)
	}
	_, err := engine.Run(t.Context(), flow("new"), engine.Options{Store: store})
	if d, ok := fault.DetailOf(err); !ok || d.Code != "checkpoint.dropped" || !strings.Contains(err.Error(), "old (keyed step)") {
		t.Errorf("got %v", err)
	}
	if _, err := engine.Run(t.Context(), flow("new"), engine.Options{Store: store, AllowDropped: true}); err != nil {
		t.Error(err)
	}
}

// The older of two runs finds its epoch taken, and commits nothing that the newer does not know of.
func TestTwoRunsAtOnce(t *testing.T) {
	all := events(4, 20_000)
	store := &checkpoint.Memory{}
	out, numbers := newTarget[total](), newTarget[event]()
	slow := func() *memory.Source[event] {
		src := &memory.Source[event]{Splits: all, Batch: 100}
		for s := range 4 {
			for at := 100; at < 5_000; at += 100 {
				src.Script = append(src.Script, memory.Step{Split: s, At: int64(at), Delay: 2 * time.Millisecond})
			}
		}
		return src
	}
	older := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		once := sync.OnceFunc(func() { close(started) })
		_, err := engine.Run(t.Context(), windows(slow(), out, numbers), engine.Options{
			Store: store, Interval: 5 * time.Millisecond, Parallelism: 2, Progress: func(p engine.Progress) {
				if p.Epoch > 3 {
					once()
				}
			},
		})
		once()
		older <- err
	}()
	<-started
	if _, err := engine.Run(t.Context(), windows(slow(), out, numbers), engine.Options{Store: store, Interval: 5 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	err := <-older
	if d, ok := fault.DetailOf(err); !ok || d.Code != "checkpoint.fenced" || fault.Retryable(err) {
		t.Errorf("the older run: %v", err)
	}
	if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
		t.Errorf("got %d results, want %d", len(got), len(want))
	}
	checkNumbers(t, numbers, 20_000)
}

// Stop ends a run in order: what was read is committed, and the next run goes on behind it.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory.Log[event]{}
		store := &checkpoint.Memory{}
		numbers := newTarget[event]()
		stop := make(chan struct{})
		ended := make(chan error, 1)
		build := func() *adf.Flow {
			f := adf.New("follow")
			adf.From(f, "events", &memory.Source[event]{Log: log, Follow: true, Discover: 10 * time.Millisecond}).To("numbers", numbers)
			return f
		}
		for n := range 1_000 {
			log.Append(n%3, event{N: int64(n)})
		}
		go func() {
			_, err := engine.Run(t.Context(), build(), engine.Options{Store: store, Stop: stop, Interval: 10 * time.Millisecond})
			ended <- err
		}()
		for len(numbers.all()) < 1_000 {
			time.Sleep(time.Millisecond)
		}
		for n := range 500 {
			log.Append(n%3, event{N: int64(1_000 + n)})
		}
		close(stop)
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if _, err := engine.Run(t.Context(), build(), engine.Options{Store: store, Until: engine.Idle}); err != nil {
			t.Fatal(err)
		}
		checkNumbers(t, numbers, 1_500)
	})
}

type letterWriter struct{ l *letters }

func (w letterWriter) Write(_ context.Context, b *record.Batch[sinks.DeadLetter], _ func(int, error)) error {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.all = append(w.l.all, b.Values...)
	return nil
}
func (letterWriter) Flush(context.Context) error { return nil }
func (letterWriter) Close() error                { return nil }
