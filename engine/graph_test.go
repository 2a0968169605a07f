package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/sinks"
)

// sumOfSums adds totals up, over all keys.
type sumOfSums struct{}

func (sumOfSums) New() total              { return total{} }
func (sumOfSums) Add(a *total, t total)   { a.Records += t.Records; a.Sum += t.Sum }
func (sumOfSums) Merge(a *total, b total) { a.Records += b.Records; a.Sum += b.Sum }
func (sumOfSums) Result(key string, w operators.Span, a total) total {
	return total{key, w.Start, a.Records, a.Sum}
}

// A window behind a window: no result of the first is late for the second, however late the first takes records, and whenever a run is cut off.
func TestWindowsBehindWindows(t *testing.T) {
	all := events(5, 20_000)
	for s := range all { // some records come after their window's end, within the allowed lateness
		for i := range all[s] {
			if i%50 == 7 {
				all[s][i].Time -= 4_000
			}
		}
	}
	r := rand.New(rand.NewPCG(5, 6))
	for _, size := range []time.Duration{10 * time.Second, 30 * time.Second} {
		sums := map[int64]total{}
		for _, split := range all {
			for _, e := range split {
				ms := size.Milliseconds()
				start := e.Time - ((e.Time%ms)+ms)%ms
				s := sums[start]
				sums[start] = total{"all", start, s.Records + 1, s.Sum + e.N}
			}
		}
		var want []string
		for _, s := range sums {
			want = append(want, fmt.Sprint(s))
		}
		slices.Sort(want)
		for round := range 6 {
			parallelism := []int{1, 2, 4}[round%3]
			store, out := &checkpoint.Memory{}, newTarget[total]()
			for runs := 0; ; runs++ {
				src := &memory.Source[event]{Splits: all, Batch: 200}
				if round >= 3 {
					for n := range 60 {
						src.Script = append(src.Script, memory.Step{Split: n % 5, At: int64(300 * (n / 5)), Delay: time.Millisecond})
					}
				}
				f := adf.New("twice")
				in := adf.From(f, "events", src).EventTime(at, 2*time.Second)
				first := adf.Aggregate(adf.KeyBy(in, keyOf).Window(adf.Tumbling(10*time.Second).AllowedLateness(5*time.Second)), "first", sum{})
				second := adf.Aggregate(adf.KeyBy(first.Stream, func(total) string { return "all" }).Window(adf.Tumbling(size)), "second", sumOfSums{})
				second.To("out", out)
				ctx, cancel := t.Context(), func() {}
				if round >= 3 && runs < 20 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(4+r.IntN(20))*time.Millisecond)
				}
				result, err := engine.Run(ctx, f, engine.Options{Store: store, Parallelism: parallelism, Interval: 3 * time.Millisecond})
				cancel()
				if err != nil && ctx.Err() == nil {
					t.Fatal(err)
				}
				if late := result.Node("first").Late + result.Node("second").Late; late != 0 {
					t.Fatalf("%s windows, parallelism %d: %d records are late", size, parallelism, late)
				}
				if err == nil && result.Finished {
					break
				}
			}
			if got := out.sorted(); !slices.Equal(got, want) {
				t.Errorf("%s windows, parallelism %d: got %d results, want %d", size, parallelism, len(got), len(want))
			}
		}
	}
}

// Branches of one stream that meet again in a keyed step, and late records that meet the results' way.
func TestBranchesMeetAgain(t *testing.T) {
	all := events(4, 10_000)
	for _, parallelism := range []int{1, 3} {
		f := adf.New("diamond")
		in := adf.From(f, "events", &memory.Source[event]{Splits: all}).EventTime(at, 2*time.Second)
		even := in.Filter("even", func(e event) bool { return e.N%2 == 0 })
		odd := adf.FlatMap(in.Filter("odd", func(e event) bool { return e.N%2 == 1 }), "same", func(e event, emit func(event)) error { emit(e); return nil })
		totals := adf.Aggregate(adf.KeyBy(adf.Union(even, odd), keyOf).Window(adf.Tumbling(10*time.Second)), "totals", sum{})
		out, numbers := newTarget[total](), newTarget[event]()
		totals.To("out", out)
		adf.Union(even, odd, totals.Late()).To("numbers", numbers) // one sink at the end of three ways
		r, err := engine.Run(t.Context(), f, engine.Options{Parallelism: parallelism})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
			t.Errorf("parallelism %d: got %d results, want %d", parallelism, len(got), len(want))
		}
		checkNumbers(t, numbers, 10_000)
		if n := r.Node("totals").In; n != 10_000 {
			t.Errorf("parallelism %d: totals took in %d records", parallelism, n)
		}
	}
}

// Two sources of their own pace into one keyed step: neither's watermark runs ahead of the other.
func TestTwoSourcesIntoOneStep(t *testing.T) {
	all := events(6, 12_000)
	slow := &memory.Source[event]{Splits: all[3:], Batch: 100}
	for n := range 15 {
		slow.Script = append(slow.Script, memory.Step{Split: n % 3, At: int64(n * 100), Delay: 2 * time.Millisecond})
	}
	f := adf.New("two")
	a := adf.From(f, "a", &memory.Source[event]{Splits: all[:3]}).EventTime(at, 2*time.Second).Parallelism(3)
	b := adf.From(f, "b", slow).EventTime(at, 2*time.Second).Parallelism(1)
	out, numbers := newTarget[total](), newTarget[event]()
	adf.Aggregate(adf.KeyBy(adf.Union(a, b), keyOf).Window(adf.Tumbling(10*time.Second)), "totals", sum{}).To("out", out)
	adf.Union(a, b).To("numbers", numbers)
	r, err := engine.Run(t.Context(), f, engine.Options{Parallelism: 2})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := out.sorted(), expected(all); !slices.Equal(got, want) || r.Node("totals").Late != 0 {
		t.Errorf("got %d results and %d late, want %d", len(got), r.Node("totals").Late, len(want))
	}
	checkNumbers(t, numbers, 12_000)
}

// failures counts failed records per node.
type failures struct{}

func (failures) New() int64                       { return 0 }
func (failures) Add(n *int64, _ sinks.DeadLetter) { *n++ }
func (failures) Merge(n *int64, more int64)       { *n += more }
func (failures) Result(node string, w operators.Span, n int64) total {
	return total{node, w.Start, n, 0}
}

// Failed records keep their time, so that they can be counted in windows.
func TestErrorsInWindows(t *testing.T) {
	all := events(3, 9_000)
	for s := range all {
		for i := range all[s] {
			all[s][i].Time = all[s][i].N * 10
		}
	}
	f := adf.New("failing")
	checked := adf.Map(adf.From(f, "events", &memory.Source[event]{Splits: all}).EventTime(at, time.Second), "checked", func(e event) (event, error) {
		if e.N%100 == 7 {
			return e, errors.New("ends in 07")
		}
		return e, nil
	})
	numbers, out := newTarget[event](), newTarget[total]()
	checked.To("numbers", numbers)
	node := func(d sinks.DeadLetter) string { return d.Node }
	adf.Aggregate(adf.KeyBy(f.Errors(), node).Window(adf.Tumbling(30*time.Second)), "failures", failures{}).To("out", out)
	if _, err := engine.Run(t.Context(), f, engine.Options{Parallelism: 2, Interval: 2 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	if got, want := out.sorted(), []string{"{checked 0 30 0}", "{checked 30000 30 0}", "{checked 60000 30 0}"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	checkNumbers(t, numbers, 8_910)
}

// indexes notes which instances of a node are opened.
type indexes struct {
	mu  sync.Mutex
	all []int
}

type indexed struct{ *indexes }

func (i indexed) Open(_ context.Context, oc operators.OpContext) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = append(i.all, oc.Index)
	return nil
}
func (indexed) Process(_ context.Context, in, out *record.Batch[event], _ func(int, error)) error {
	for i := range in.Values {
		out.Append(in.Values[i], in.Metas[i])
	}
	return nil
}
func (indexed) Close() error { return nil }

// A node's own parallelism goes before that of the run, and no two instances of a node have the same number.
func TestParallelismOfNodes(t *testing.T) {
	f := adf.New("wide")
	a := adf.From(f, "a", &memory.Source[event]{Splits: events(7, 700)}).Parallelism(5)
	b := adf.From(f, "b", &memory.Source[event]{Splits: events(7, 700)})
	counted := &indexes{}
	adf.Through(adf.Union(a, b), "through", func() operators.Operator[event, event] { return indexed{counted} }).To("numbers", newTarget[event]())
	if _, err := engine.Run(t.Context(), f, engine.Options{Parallelism: 2}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(counted.all)
	if n := len(slices.Compact(slices.Clone(counted.all))); n != 7 || len(counted.all) != 7 {
		t.Errorf("got the instances %v, want seven different ones", counted.all)
	}
}

// visits counts each key's records, tells after a while without one how many there were, and forgets.
type visits struct{}

var visited = state.NewValue[int64]("n", 0)

func (visits) State() []state.Cell                             { return []state.Cell{visited} }
func (visits) Open(context.Context, operators.OpContext) error { return nil }
func (visits) Close() error                                    { return nil }
func (visits) Process(_ context.Context, _ string, _ event, _ record.Meta, c *operators.Ctx[total]) error {
	n, _ := visited.Get(c)
	visited.Set(c, n+1)
	c.DeleteTimer(operators.Timer{Time: c.Now() / 60_000 * 60_000, Processing: true, Tag: "tell"})
	c.SetProcessingTimer(c.Now()/60_000*60_000+60_000, "tell")
	return nil
}
func (visits) OnTimer(_ context.Context, key string, timer operators.Timer, c *operators.Ctx[total]) error {
	n, _ := visited.Get(c)
	c.Emit(total{key, timer.Time, n, 0})
	return nil
}

// Timers of the clock fire when it says so, also when nothing is read and when the run was stopped meanwhile; state lives for its TTL.
func TestTimersAndTTL(t *testing.T) {
	for _, parallelism := range []int{1, 3} {
		synctest.Test(t, func(t *testing.T) {
			log := &memory.Log[event]{}
			store, out := &checkpoint.Memory{}, newTarget[total]()
			build := func() *adf.Flow {
				f := adf.New("visits")
				in := adf.From(f, "events", following(log))
				adf.Process(adf.KeyBy(in, keyOf), "visits", 5*time.Minute, func() operators.Processor[event, string, total] { return visits{} }).To("out", out)
				return f
			}
			begin := time.Now().UnixMilli() // midnight
			o := engine.Options{Store: store, Parallelism: parallelism, Until: engine.Signal, Interval: time.Second}
			run := start(t, build(), o)
			log.Append(0, event{1, "a", 0}, event{2, "b", 0}, event{3, "a", 0})
			expect := func(when string, want ...string) {
				t.Helper()
				time.Sleep(2 * time.Second) // for the next checkpoint
				if got := out.sorted(); !slices.Equal(got, want) {
					t.Errorf("parallelism %d, %s: got %v, want %v", parallelism, when, got, want)
				}
			}
			time.Sleep(57 * time.Second)
			expect("before it is time")
			time.Sleep(2 * time.Second)
			first := []string{fmt.Sprintf("{a %d 2 0}", begin+60_000), fmt.Sprintf("{b %d 1 0}", begin+60_000)}
			expect("after a minute", first...)

			log.Append(0, event{4, "a", 0})
			time.Sleep(time.Second)
			run.end() // with a timer set
			time.Sleep(2 * time.Minute)
			expect("while it is stopped", first...)
			o.Parallelism++
			run = start(t, build(), o)
			second := append(slices.Clone(first), fmt.Sprintf("{a %d 3 0}", begin+120_000))
			slices.Sort(second)
			expect("when it goes on", second...)

			time.Sleep(10 * time.Minute) // a and b are forgotten
			log.Append(0, event{5, "a", 0})
			time.Sleep(2 * time.Minute)
			run.end()
			got := out.sorted()
			if n := len(got); n != 4 || out.all()[3].Records != 1 {
				t.Errorf("parallelism %d: after the TTL: got %v", parallelism, got)
			}
		})
	}
}

// overdue sets timers for a time that has been reached.
type overdue struct{}

func (overdue) State() []state.Cell                             { return nil }
func (overdue) Open(context.Context, operators.OpContext) error { return nil }
func (overdue) Close() error                                    { return nil }
func (overdue) Process(_ context.Context, _ string, e event, m record.Meta, c *operators.Ctx[event]) error {
	c.SetEventTimer(m.Time-5_000, "overdue")
	return nil
}
func (overdue) OnTimer(_ context.Context, key string, timer operators.Timer, c *operators.Ctx[event]) error {
	c.Emit(event{1, key, timer.Time})
	return nil
}

// A timer for a time that has been reached is called at once, and not when time moves on.
func TestTimersForThePast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &memory.Log[event]{}
		out := newTarget[event]()
		f := adf.New("overdue")
		in := adf.From(f, "events", following(log)).EventTime(at, time.Second)
		adf.Process(adf.KeyBy(in, keyOf), "overdue", 0, func() operators.Processor[event, string, event] { return overdue{} }).To("out", out)
		run := start(t, f, engine.Options{Parallelism: 1, Until: engine.Signal, Interval: time.Second})
		log.Append(0, event{1, "a", 100_000})
		time.Sleep(5 * time.Second)
		log.Append(0, event{2, "b", 100_000}) // the watermark stays where it is
		time.Sleep(5 * time.Second)
		run.end()
		if got, want := out.sorted(), []string{"{1 a 95000}", "{1 b 95000}"}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}
