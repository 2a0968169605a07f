package adftest_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/adftest"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
)

type reading struct {
	Sensor string
	At     time.Time
	Value  int64
}

// A sensor that falls silent does not hold its window open: after a minute the clock moves the watermark. What comes for the window later is late.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := adf.New("silence")
		readings := adf.From(f, "readings", &memory.Source[reading]{Follow: true}).
			EventTime(func(r reading) time.Time { return r.At }, 5*time.Second).IdleAfter(time.Minute)
		bySensor := adf.KeyBy(readings, func(r reading) string { return r.Sensor })
		adf.Aggregate(bySensor.Window(adf.Tumbling(10*time.Second)), "sums", sums{}).To("out", &discard.Sink[int64]{})

		began := time.Now() // the clock of the bubble
		r := adftest.Run(t, f,
			adftest.In("readings", reading{"a", began, 1}),
			adftest.Sleep(time.Hour),
			adftest.In("readings", reading{"a", began.Add(time.Second), 10}, reading{"a", began.Add(time.Hour), 100}))

		if got := adftest.Arrivals[int64](r, "out"); fmt.Sprint(got) != "[{1m0s 1} {1h0m0s 100}]" {
			t.Errorf("got %v, want a result after a minute, and one at the end", got)
		}
		if r.Late("sums") != 1 {
			t.Errorf("got %d late, want the one that came after an hour", r.Late("sums"))
		}
	})
}

// sums adds values up.
type sums struct{}

func (sums) New() int64                                         { return 0 }
func (sums) Add(sum *int64, r reading)                          { *sum += r.Value }
func (sums) Merge(sum *int64, other int64)                      { *sum += other }
func (sums) Result(_ string, _ operators.Span, sum int64) int64 { return sum }

// guard tells which sensor was silent for an hour, and after how many readings. It forgets after three hours.
type guard struct{}

var readings = state.NewValue[int64]("readings", 3*time.Hour)

func (guard) State() []state.Cell                             { return []state.Cell{readings} }
func (guard) Open(context.Context, operators.OpContext) error { return nil }
func (guard) Close() error                                    { return nil }

func (guard) Process(_ context.Context, _ string, _ reading, _ record.Meta, c *operators.Ctx[string]) error {
	n, _ := readings.Get(c)
	readings.Set(c, n+1)
	c.SetProcessingTimer(c.Now()+time.Hour.Milliseconds(), "silent")
	return nil
}

func (guard) OnTimer(_ context.Context, sensor string, _ operators.Timer, c *operators.Ctx[string]) error {
	n, _ := readings.Get(c)
	c.Emit(fmt.Sprintf("%s is silent after %d readings", sensor, n))
	return nil
}

// Timers of processing time, and state that is dropped after a while, take their hours on the clock of the bubble.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := adf.New("guard")
		bySensor := adf.KeyBy(adf.From(f, "readings", &memory.Source[reading]{Follow: true}), func(r reading) string { return r.Sensor })
		adf.Process(bySensor, "guard", 0, func() operators.Processor[reading, string, string] { return guard{} }).To("out", &discard.Sink[string]{})

		r := adftest.Run(t, f,
			adftest.In("readings", reading{Sensor: "a"}, reading{Sensor: "a"}),
			adftest.Sleep(2*time.Hour),
			adftest.In("readings", reading{Sensor: "a"}),
			adftest.Sleep(4*time.Hour),
			adftest.In("readings", reading{Sensor: "a"}),
			adftest.Sleep(time.Hour)) // for the last timer

		const want = "[{1h0m0s a is silent after 2 readings} {3h0m0s a is silent after 3 readings} {7h0m0s a is silent after 1 readings}]"
		if got := fmt.Sprint(adftest.Arrivals[string](r, "out")); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}
