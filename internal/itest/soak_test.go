//go:build integration && soak

package itest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
)

func TestSoakKill(t *testing.T) {
	killed{records: 700_000, rate: 20_000, kills: 20, restored: 15}.run(t)
}

func TestSoakKillWithErrors(t *testing.T) {
	killed{records: 700_000, rate: 20_000, kills: 20, restored: 15, errors: true}.run(t)
}

// churn counts the records of each key; keys come, get a hundred records, and never come again. What is not written for ten seconds goes.
type churn struct{ count *state.Value[int64] }

func newChurn() operators.Processor[int64, int64, int64] {
	return &churn{state.NewValue[int64]("count", 10*time.Second)}
}

func (c *churn) State() []state.Cell                             { return []state.Cell{c.count} }
func (c *churn) Open(context.Context, operators.OpContext) error { return nil }
func (c *churn) Close() error                                    { return nil }
func (c *churn) OnTimer(context.Context, int64, operators.Timer, *operators.Ctx[int64]) error {
	return nil
}
func (c *churn) Process(_ context.Context, _ int64, v int64, _ record.Meta, out *operators.Ctx[int64]) error {
	n, _ := c.count.Get(out)
	c.count.Set(out, n+1)
	if n+1 == 100 {
		out.Emit(v)
	}
	return nil
}

// churning is a flow without an end whose keys change all the time.
func churning(rate float64) *adf.Flow {
	f := adf.New("churning")
	numbers := adf.From(f, "numbers", &generate.Source[int64]{Make: func(n int64) int64 { return n }, Rate: rate, Splits: 4})
	counted := adf.Process(adf.KeyBy(numbers, func(n int64) int64 { return n / 100 }), "counted", 0, newChurn)
	counted.To("out", &discard.Sink[int64]{})
	return f
}

// runFor runs the flow for a while and gives the records per second.
func runFor(t *testing.T, rate float64, d time.Duration, sample func(took time.Duration)) float64 {
	t.Helper()
	store, err := checkpoint.OpenDirectory(filepath.Join(t.TempDir(), "checkpoints"))
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	time.AfterFunc(d, func() { close(stop) })
	r, err := engine.Run(context.Background(), churning(rate), engine.Options{
		Store: store, Interval: time.Second, Stop: stop, Progress: func(p engine.Progress) { sample(p.Took) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return float64(r.Node("numbers").Out) / r.Took.Seconds()
}

var residentSize = regexp.MustCompile(`VmRSS:\s+([0-9]+) kB`)

// resident is the memory of this process, in bytes.
func resident(t *testing.T) float64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	kB, err := strconv.ParseFloat(string(residentSize.FindSubmatch(status)[1]), 64)
	if err != nil {
		t.Fatal(err)
	}
	return kB * 1024
}

// At half the rate that it can do, for ten minutes, memory stays level from the third minute on: its slope is below 1 % a minute.
func TestSoakMemoryStaysLevel(t *testing.T) {
	most := runFor(t, 0, 15*time.Second, func(time.Duration) {})
	debug.FreeOSMemory()
	var minutes, bytes []float64
	next := 3 * time.Minute
	got := runFor(t, most/2, 10*time.Minute, func(took time.Duration) {
		if took >= next {
			next += 2 * time.Second
			minutes, bytes = append(minutes, took.Minutes()), append(bytes, resident(t))
		}
	})
	slope, mean := line(minutes, bytes)
	report := fmt.Sprintf("%.0f records/s of %.0f: %.1f MB resident on average, %+.2f %% a minute over %d samples", got, most, mean/1e6, 100*slope/mean, len(bytes))
	t.Log(report)
	if slope/mean > 0.01 {
		t.Error(report)
	}
}

// line fits a line by least squares, and gives its slope and the mean.
func line(x, y []float64) (slope, mean float64) {
	var sx, sy, sxx, sxy float64
	for i := range x {
		sx, sy, sxx, sxy = sx+x[i], sy+y[i], sxx+x[i]*x[i], sxy+x[i]*y[i]
	}
	n := float64(len(x))
	return (n*sxy - sx*sy) / (n*sxx - sx*sx), sy / n
}
