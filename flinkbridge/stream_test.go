package flinkbridge

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/checkpoint"
)

// TestStreamingOnPrism runs the plan for input that does not end, for a while: numbers come in whole and once, and windows hold what they should.
func TestStreamingOnPrism(t *testing.T) {
	var out memory.Store[int64]
	var windows memory.Store[window[int64]]
	g := built(t, endless(2000, &out, &windows))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := specOf(ctx, g, Options{Parallelism: 2, Until: Until{Idle: true}})
	if err != nil {
		t.Fatal(err)
	}
	s.Streaming = true
	j := newJob(ctx, s, g, &checkpoint.Memory{}, slog.Default())
	defer keep(j)()
	p, err := unbounded(s, g)
	if err != nil {
		t.Fatal(err)
	}
	if err := runPrism(ctx, j, p); err == nil || ctx.Err() == nil {
		t.Errorf("got %v, want that time is up", err)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
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
