package engine_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
)

// A run shows what every node does, for as long as it lasts; several flows may share a registry.
func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewPedanticRegistry()
		var runs []*started
		for _, name := range []string{"one", "two"} {
			log := &memory.Log[event]{}
			log.Append(0, event{1, "a", 1_000}, event{2, "a", 50_000}, event{3, "a", 2_000}, event{7, "a", 50_001})
			f := adf.New(name)
			in := adf.From(f, "events", following(log)).EventTime(at, time.Second)
			checked := adf.Map(in, "checked", func(e event) (event, error) {
				if e.N == 7 {
					return e, errors.New("seven")
				}
				return e, nil
			})
			adf.Aggregate(adf.KeyBy(checked, keyOf).Window(adf.Tumbling(10*time.Second)), "totals", sum{}).To("out", newTarget[total]())
			f.Errors().To("dead", &letters{})
			runs = append(runs, start(t, f, engine.Options{Metrics: reg, Parallelism: 1, Interval: time.Second}))
		}
		time.Sleep(3500 * time.Millisecond)
		const want = `
adf_bytes_in_total: Bytes that a source read, when it can tell, or that the shuffle of a keyed step carried.
adf_bytes_in_total{flow="one",node="events"} 0
adf_bytes_in_total{flow="one",node="totals"} 33
adf_bytes_in_total{flow="two",node="events"} 0
adf_bytes_in_total{flow="two",node="totals"} 33
adf_bytes_out_total: Bytes that were encoded for an exactly-once sink.
adf_bytes_out_total{flow="one",node="dead"} 0
adf_bytes_out_total{flow="one",node="out"} 130
adf_bytes_out_total{flow="two",node="dead"} 0
adf_bytes_out_total{flow="two",node="out"} 130
adf_checkpoint_epoch: The last saved checkpoint.
adf_checkpoint_epoch{flow="one"} 4
adf_checkpoint_epoch{flow="two"} 4
adf_parts_committed_total: Parts that an exactly-once sink committed.
adf_parts_committed_total{flow="one",node="dead"} 0
adf_parts_committed_total{flow="one",node="out"} 1
adf_parts_committed_total{flow="two",node="dead"} 0
adf_parts_committed_total{flow="two",node="out"} 1
adf_records_failed_total: Records that could not be read, failed in a step, or did not fit a sink.
adf_records_failed_total{flow="one",node="checked"} 1
adf_records_failed_total{flow="one",node="dead"} 0
adf_records_failed_total{flow="one",node="events"} 0
adf_records_failed_total{flow="one",node="out"} 0
adf_records_failed_total{flow="one",node="totals"} 0
adf_records_failed_total{flow="two",node="checked"} 1
adf_records_failed_total{flow="two",node="dead"} 0
adf_records_failed_total{flow="two",node="events"} 0
adf_records_failed_total{flow="two",node="out"} 0
adf_records_failed_total{flow="two",node="totals"} 0
adf_records_in_total: Records that a node took in.
adf_records_in_total{flow="one",node="checked"} 4
adf_records_in_total{flow="one",node="dead"} 1
adf_records_in_total{flow="one",node="events"} 0
adf_records_in_total{flow="one",node="out"} 1
adf_records_in_total{flow="one",node="totals"} 3
adf_records_in_total{flow="two",node="checked"} 4
adf_records_in_total{flow="two",node="dead"} 1
adf_records_in_total{flow="two",node="events"} 0
adf_records_in_total{flow="two",node="out"} 1
adf_records_in_total{flow="two",node="totals"} 3
adf_records_late_total: Records that came too late for their window.
adf_records_late_total{flow="one",node="totals"} 1
adf_records_late_total{flow="two",node="totals"} 1
adf_records_out_total: Records that a node gave out.
adf_records_out_total{flow="one",node="checked"} 3
adf_records_out_total{flow="one",node="dead"} 0
adf_records_out_total{flow="one",node="events"} 4
adf_records_out_total{flow="one",node="out"} 0
adf_records_out_total{flow="one",node="totals"} 1
adf_records_out_total{flow="two",node="checked"} 3
adf_records_out_total{flow="two",node="dead"} 0
adf_records_out_total{flow="two",node="events"} 4
adf_records_out_total{flow="two",node="out"} 0
adf_records_out_total{flow="two",node="totals"} 1
adf_restarts_total: How often the run went back to its last checkpoint.
adf_restarts_total{flow="one"} 0
adf_restarts_total{flow="two"} 0
adf_splits_opened_total: Splits that a source opened.
adf_splits_opened_total{flow="one",node="events"} 1
adf_splits_opened_total{flow="two",node="events"} 1
`
		if got := gathered(t, reg); got != strings.TrimPrefix(want, "\n") {
			t.Errorf("got\n%s", got)
		}
		for _, run := range runs {
			r := run.end()
			if got := r.Node("totals"); got.In != 3 || got.Late != 1 || !got.LateUnread || r.Node("checked").Errors != 1 {
				t.Errorf("got %+v", r)
			}
		}
		if got := gathered(t, reg); got != "" {
			t.Errorf("after the runs there are still\n%s", got)
		}
	})
}

// gathered is what a registry shows, as text.
func gathered(t *testing.T, reg *prometheus.Registry) string {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range families {
		fmt.Fprintf(&b, "%s: %s\n", f.GetName(), f.GetHelp())
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			fmt.Fprintf(&b, "%s{%s} %v\n", f.GetName(), strings.Join(labels, ","), m.GetCounter().GetValue()+m.GetGauge().GetValue())
		}
	}
	return b.String()
}

// Progress is told from the start to the end, and never goes back.
func TestProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &memory.Source[event]{Splits: events(2, 2_000)}
		src.Script = []memory.Step{{At: 500, Delay: time.Second}, {Split: 1, At: 100, Err: later("a flaky line"), Times: 6}}
		var all []engine.Progress
		r, err := engine.Run(t.Context(), windows(src, newTarget[total](), nil), engine.Options{
			Interval: 50 * time.Millisecond, Progress: func(p engine.Progress) { all = append(all, p) },
		})
		if err != nil || r.Restarts == 0 {
			t.Fatal(r.Restarts, err)
		}
		if len(all) < 3 {
			t.Fatalf("told %d times", len(all))
		}
		if !slices.IsSortedFunc(all, func(a, b engine.Progress) int {
			if a.Epoch > b.Epoch || a.Took > b.Took || a.Nodes[0].Out > b.Nodes[0].Out {
				return 1
			}
			return -1
		}) {
			t.Errorf("it goes back: %+v", all)
		}
		if last := all[len(all)-1]; last.Epoch != r.Epoch || fmt.Sprint(last.Nodes) != fmt.Sprint(r.Nodes) {
			t.Errorf("the last one is %+v, and the result %+v", last, r)
		}
	})
}

// A run whose context ends is over at once, wherever it is; goleak sees what it leaves behind.
func TestCancel(t *testing.T) {
	for name, build := range map[string]func(cancel func()) (*adf.Flow, engine.Options){
		"before it starts": func(cancel func()) (*adf.Flow, engine.Options) {
			cancel()
			return windows(memory.Values(event{}), newTarget[total](), nil), engine.Options{}
		},
		"while it waits for input": func(cancel func()) (*adf.Flow, engine.Options) {
			time.AfterFunc(time.Second, cancel)
			return windows(following(&memory.Log[event]{}), newTarget[total](), nil), engine.Options{}
		},
		"while a reader waits to try again": func(cancel func()) (*adf.Flow, engine.Options) {
			time.AfterFunc(time.Second, cancel)
			src := memory.Values(event{}, event{})
			src.Script = []memory.Step{{At: 1, Err: later("down"), Times: 1_000_000}}
			return windows(src, newTarget[total](), nil), engine.Options{Retries: 1_000}
		},
		"while it commits": func(cancel func()) (*adf.Flow, engine.Options) {
			out := newTarget[event]()
			out.fail = func() error { time.AfterFunc(time.Second, cancel); return later("down") }
			return windows(memory.Values(event{}), newTarget[total](), out), engine.Options{Retries: 1_000}
		},
		"while it saves": func(cancel func()) (*adf.Flow, engine.Options) {
			time.AfterFunc(time.Second, cancel)
			return windows(memory.Values(event{}), newTarget[total](), nil), engine.Options{
				Retries: 1_000, Store: &moody{Store: &checkpoint.Memory{}, fail: func(op string, n int) error {
					if op == "save" && n > 1 {
						return disk(fault.RetryLater)
					}
					return nil
				}},
			}
		},
		"while workers are busy": func(cancel func()) (*adf.Flow, engine.Options) {
			log := &memory.Log[event]{}
			for n := range 50_000 {
				log.Append(n%4, event{int64(n), fmt.Sprint(n % 1000), int64(n)})
			}
			f := windows(following(log), newTarget[total](), newTarget[event]())
			time.AfterFunc(time.Millisecond, cancel)
			return f, engine.Options{Parallelism: 4, Interval: time.Millisecond}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("enough")
			f, o := build(func() { cancel(why) })
			began := time.Now()
			_, err := engine.Run(ctx, f, o)
			if !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", name, err)
			}
			if took := time.Since(began); took > 40*time.Second {
				t.Errorf("%s: took %v", name, took)
			}
		})
	}
}

// A source without splits, input without records, and a single record.
func TestLittleInput(t *testing.T) {
	for _, c := range []struct {
		splits  [][]event
		results int
	}{
		{nil, 0}, {[][]event{{}}, 0}, {[][]event{{}, {}, {}}, 0}, {[][]event{{{1, "a", 1}}}, 1}, {[][]event{{}, {{1, "a", 1}}, {}}, 1},
	} {
		for _, parallelism := range []int{1, 4} {
			for _, until := range []engine.Until{engine.Drained, engine.Idle} {
				synctest.Test(t, func(t *testing.T) {
					store, out, numbers := &checkpoint.Memory{}, newTarget[total](), newTarget[event]()
					for again := range 2 {
						r, err := engine.Run(t.Context(), windows(&memory.Source[event]{Splits: c.splits}, out, numbers), engine.Options{
							Store: store, Parallelism: parallelism, Until: until,
						})
						if err != nil {
							t.Fatal(err)
						}
						if r.Finished != (until == engine.Drained) || (again == 1) != (r.RestoredEpoch > 0) || r.FinishedBefore.IsZero() == (r.Finished && again == 1) {
							t.Errorf("%v, until %v, run %d: got %+v", c.splits, until, again, r)
						}
					}
					want := c.results
					if until == engine.Idle {
						want = 0 // the window stays open
					}
					if len(out.all()) != want || len(numbers.all()) != c.results {
						t.Errorf("%v, until %v: got %v and %v", c.splits, until, out.all(), numbers.all())
					}
				})
			}
		}
	}
}

// Until a signal comes, input at its end is no end.
func TestUntilSignal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := events(2, 1_000)
		out, numbers := newTarget[total](), newTarget[event]()
		run := start(t, windows(&memory.Source[event]{Splits: all}, out, numbers), engine.Options{Until: engine.Signal, Interval: time.Second})
		time.Sleep(time.Minute)
		select {
		case <-run.done:
			t.Error("it has ended by itself")
		default:
		}
		checkNumbers(t, numbers, 1_000)
		if r := run.end(); r.Finished || r.Took < time.Minute {
			t.Errorf("got %+v", r)
		}
	})
}
