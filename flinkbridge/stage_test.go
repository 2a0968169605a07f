package flinkbridge

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/checkpoint"
)

// countingStore counts the pieces that are read from staging.
type countingStore struct {
	checkpoint.Store
	pieces atomic.Int64
}

func (s *countingStore) ReadBlob(ctx context.Context, flow, name string, offset, length int64) (io.ReadCloser, error) {
	s.pieces.Add(1)
	return s.Store.ReadBlob(ctx, flow, name, offset, length)
}

// TestMuchIsGivenByStaging: what a bundle gives beyond mostGiven goes by the staging directory, comes whole to the keyed step, and is removed at the end.
func TestMuchIsGivenByStaging(t *testing.T) {
	const records = 120_000
	pad := strings.Repeat("x", 500)
	var out memory.Store[window[int64]]
	f := adf.New("much")
	all := adf.From(f, "numbers", &generate.Source[reading]{Records: records, Splits: 1, Make: func(n int64) reading {
		return reading{fmt.Sprint(pad, n), n, 1}
	}}).EventTime(func(r reading) time.Time { return time.UnixMilli(r.Time) }, time.Second)
	windows := adf.Aggregate(adf.KeyBy(all, func(r reading) string { return r.Sensor }).Window(adf.Tumbling(time.Hour)), "count", extent[int64]{
		fresh: func() int64 { return 0 }, add: func(a *int64, r reading) { *a += r.Value }, merge: func(a *int64, o int64) { *a += o },
	})
	windows.To("out", memory.To(&out))
	g := built(t, f)
	s := specified(t, g, Options{Staging: t.TempDir()})
	directory, err := checkpoint.OpenDirectory(s.Staging)
	if err != nil {
		t.Fatal(err)
	}
	store := &countingStore{Store: directory}
	p, err := bounded(s, g)
	if err != nil {
		t.Fatal(err)
	}
	j := newJob(t.Context(), s, g, store, slog.New(slog.DiscardHandler))
	defer keep(j)()
	initBeam()
	if err := runDirect(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range out.Records() {
		if c.Got != 1 || seen[c.Key] {
			t.Fatalf("got %d of a key, there before: %v", c.Got, seen[c.Key])
		}
		seen[c.Key] = true
	}
	if len(seen) != records || store.pieces.Load() == 0 {
		t.Errorf("got %d keys, %d pieces from staging", len(seen), store.pieces.Load())
	}
	if left, err := store.Blobs(t.Context(), j.stagedAs(j.Run)); err != nil || len(left) > 0 {
		t.Errorf("%v stay, %v", left, err)
	}
}

// TestMuchAndNoStaging: a worker without staging says what to do, where the runner would wait for ever.
func TestMuchAndNoStaging(t *testing.T) {
	var out memory.Store[int64]
	var windows memory.Store[window[int64]]
	g := built(t, endless(1, &out, &windows))
	s := specified(t, g, Options{Until: Until{Idle: true}})
	st := newStage(t.Context(), newJob(t.Context(), s, g, nil, slog.New(slog.DiscardHandler)))
	defer st.end()
	st.given = mostMessages - 1
	if _, err := st.carry([]byte("x"), 0); err != nil {
		t.Error(err)
	}
	if _, err := st.carry([]byte("x"), 0); err == nil || !strings.Contains(err.Error(), "gives more than 384 MB") || !strings.Contains(err.Error(), "--staging") {
		t.Errorf("got %v", err)
	}
}

// TestCommitWaitsForAll: what waits in staging is removed when every step has ended that may read it, those without exactly-once sinks behind them, too.
func TestCommitWaitsForAll(t *testing.T) {
	f := adf.New("direct")
	all := adf.From(f, "numbers", &generate.Source[reading]{Records: 1, Make: func(n int64) reading { return reading{"k", n, 1} }}).
		EventTime(func(r reading) time.Time { return time.UnixMilli(r.Time) }, time.Second)
	adf.Aggregate(adf.KeyBy(all, func(r reading) string { return r.Sensor }).Window(adf.Tumbling(time.Hour)), "count", extent[int64]{
		fresh: func() int64 { return 0 }, add: func(a *int64, r reading) { *a += r.Value }, merge: func(a *int64, o int64) { *a += o },
	}).To("out", &discard.Sink[window[int64]]{})
	g := built(t, f)
	for staging, want := range map[string][]string{"": nil, t.TempDir(): {"commit/from count", "commit/from numbers"}} {
		s := specified(t, g, Options{Staging: staging})
		pipeline := translated(t, bounded, s, g)
		var got []string
		for id := range pipeline.Components.Transforms {
			if strings.HasPrefix(id, "commit/from ") && !strings.HasSuffix(id, "/") {
				got = append(got, id)
			}
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("the commit gets %v, want %v", got, want)
		}
	}
}
