package flinkbridge

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
)

// streamOnPrism runs the plan for input that does not end, until it is enough.
func streamOnPrism(t *testing.T, f *adf.Flow, enough func() bool) {
	t.Helper()
	g := built(t, f)
	ctx, cancel := context.WithTimeout(t.Context(), limited)
	defer cancel()
	go func() {
		for !enough() && ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond) // something too much would come now
		cancel()
	}()
	s := specified(t, g, Options{Parallelism: 2, Until: Until{Idle: true}})
	s.Streaming = true
	j := newJob(ctx, s, g, &checkpoint.Memory{}, slog.Default())
	defer keep(j)()
	p, err := unbounded(s, g)
	if err != nil {
		t.Fatal(err)
	}
	if err := runPrism(ctx, j, p); err == nil || ctx.Err() == nil {
		t.Errorf("got %v, want that it was given up", err)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
}

// TestStreamingOnPrism runs the plan for input that does not end, for a while: numbers come in whole and once, and windows hold what they should.
func TestStreamingOnPrism(t *testing.T) {
	var out memory.Store[int64]
	var windows memory.Store[window[int64]]
	streamOnPrism(t, endless(2000, &out, &windows), func() bool { return len(out.Records()) >= 5000 && len(windows.Records()) >= 2 })
	got := out.Records()
	slices.Sort(got)
	if len(got) < 2000 {
		t.Errorf("got %d records", len(got))
	}
	for i := 1; i < len(got); i++ {
		if got[i] == got[i-1] {
			t.Fatalf("got %d twice", got[i])
		}
	}
	ws := windows.Records()
	if len(ws) < 2 {
		t.Errorf("got the windows %v", ws)
	}
	for _, w := range ws {
		if w.Got != 1000 {
			t.Errorf("got %d records in the window from %d on, want 1000", w.Got, w.Start)
		}
	}
}

// bothFn sets a timer of each kind for the first record of a key, and tells when they fire.
type bothFn struct{ begun *state.Value[bool] }

func (p *bothFn) State() []state.Cell                             { return []state.Cell{p.begun} }
func (p *bothFn) Open(context.Context, operators.OpContext) error { return nil }
func (p *bothFn) Close() error                                    { return nil }
func (p *bothFn) Process(_ context.Context, _ int64, n int64, m record.Meta, c *operators.Ctx[string]) error {
	if begun, _ := p.begun.Get(c); begun {
		return nil
	}
	p.begun.Set(c, true)
	c.SetEventTimer(m.Time+500, "event")
	c.SetProcessingTimer(c.Now()+100, "clock")
	return nil
}

func (p *bothFn) OnTimer(_ context.Context, key int64, t operators.Timer, c *operators.Ctx[string]) error {
	c.Emit(fmt.Sprint(key, t.Tag))
	return nil
}

// TestTimersOfBothKinds: those of a step that has timers of event time and of the clock fire, each once.
func TestTimersOfBothKinds(t *testing.T) {
	var fired memory.Store[string]
	f := adf.New("timers")
	numbers := adf.From(f, "numbers", &generate.Source[numbered]{
		Rate: 1000, Splits: 2, Make: func(n int64) numbered { return numbered{n, time.UnixMilli(n)} },
	}).EventTime(func(x numbered) time.Time { return x.At }, 100*time.Millisecond)
	keyed := adf.KeyBy(adf.Map(numbers, "number", func(x numbered) (int64, error) { return x.N, nil }), func(n int64) int64 { return n % 3 })
	adf.Process(keyed, "both", 0, func() operators.Processor[int64, int64, string] {
		return &bothFn{state.NewValue[bool]("begun", 0)}
	}).To("out", memory.To(&fired))
	streamOnPrism(t, f, func() bool { return len(fired.Records()) >= 6 })
	got := fired.Records()
	slices.Sort(got)
	if want := []string{"0clock", "0event", "1clock", "1event", "2clock", "2event"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
