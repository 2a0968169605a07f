package flinkbridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

func built(t *testing.T, f *adf.Flow) *adf.Graph {
	t.Helper()
	g, err := f.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// specified gives the spec of a graph's job.
func specified(t *testing.T, g *adf.Graph, o Options) spec {
	t.Helper()
	s, err := specOf(t.Context(), g, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// numbered is what generate makes for the flows below.
type numbered struct {
	N  int64     `adf:"n"`
	At time.Time `adf:"at"`
}

// endless counts generated records, in windows too.
func endless(rate float64, out *memory.Store[int64], windows *memory.Store[window[int64]]) *adf.Flow {
	f := adf.New("endless")
	numbers := adf.From(f, "numbers", &generate.Source[numbered]{
		Rate: rate, Splits: 3, Make: func(n int64) numbered { return numbered{n, time.UnixMilli(n)} },
	}).EventTime(func(x numbered) time.Time { return x.At }, time.Second)
	adf.Map(numbers, "number", func(x numbered) (int64, error) { return x.N, nil }).To("out", memory.To(out))
	readings := adf.Map(numbers, "reading", func(x numbered) (reading, error) { return reading{"all", x.At.UnixMilli(), 1}, nil })
	adf.Aggregate(adf.KeyBy(readings, func(r reading) string { return r.Sensor }).Window(adf.Tumbling(time.Second)), "count", extent[int64]{
		fresh: func() int64 { return 0 }, add: func(a *int64, r reading) { *a += r.Value }, merge: func(a *int64, o int64) { *a += o },
	}).To("windows", memory.To(windows))
	return f
}

// TestUntil ends a source that does not end by itself.
func TestUntil(t *testing.T) {
	for _, runner := range []Runner{Direct, Prism} {
		for _, c := range []struct {
			until string
			rate  float64
			check func(n int, took time.Duration) bool
		}{
			{"records=2500", 0, func(n int, _ time.Duration) bool { return n == 2500 }},
			{"300ms", 2000, func(n int, took time.Duration) bool { return n > 100 && n < 2000 && took >= 300*time.Millisecond }},
		} {
			t.Run(string(runner)+" "+c.until, func(t *testing.T) {
				until, err := ParseUntil(c.until)
				if err != nil {
					t.Fatal(err)
				}
				var out memory.Store[int64]
				var windows memory.Store[window[int64]]
				ctx, cancel := context.WithTimeout(t.Context(), limited)
				defer cancel()
				r, err := Run(ctx, built(t, endless(c.rate, &out, &windows)), RunOptions{Runner: runner, Until: until})
				if err != nil {
					t.Fatal(err)
				}
				got := out.Records()
				if !c.check(len(got), r.Took) {
					t.Errorf("got %d records in %s", len(got), r.Took)
				}
				sum := 0
				for _, w := range windows.Records() {
					sum += int(w.Got)
				}
				if sum != len(got) {
					t.Errorf("got %d records in windows, want %d: they close at the end", sum, len(got))
				}
			})
		}
	}
}

// TestUntilIdle ends when nothing comes for a second.
func TestUntilIdle(t *testing.T) {
	log := &memory.Log[int64]{}
	log.Append(0, 1, 2, 3)
	var out memory.Store[int64]
	f := adf.New("idle")
	adf.From(f, "in", &memory.Source[int64]{Log: log, Follow: true}).To("out", memory.To(&out))
	g := built(t, f)
	if _, err := Run(t.Context(), g, RunOptions{}); code(err) != "configuration" && !strings.Contains(fmt.Sprint(err), "a source that does not end") {
		t.Errorf("got %v, want a refusal: nothing says when it ends", err)
	}
	began := time.Now()
	if _, err := Run(t.Context(), g, RunOptions{Until: Until{Idle: true}}); err != nil {
		t.Fatal(err)
	}
	if got := out.Records(); len(got) != 3 || time.Since(began) < idleFor {
		t.Errorf("got %v after %s, want three records after a second", got, time.Since(began))
	}
}

func TestParseUntil(t *testing.T) {
	for text, want := range map[string]Until{"idle": {Idle: true}, "30s": {Span: 30 * time.Second}, "records=7": {Records: 7}} {
		if got, err := ParseUntil(text); err != nil || got != want {
			t.Errorf("%s: got %+v and %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "idly", "-1s", "0s", "records=", "records=0", "records=-1", "records=x"} {
		if got, err := ParseUntil(text); err == nil {
			t.Errorf("%q: got %+v, want an error", text, got)
		}
	}
}

// TestGivenUp: a run that is given up ends soon, commits nothing, and leaves nothing behind (TestMain looks for goroutines).
func TestGivenUp(t *testing.T) {
	for _, runner := range []Runner{Direct, Prism} {
		t.Run(string(runner), func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			var out memory.Store[int64]
			var windows memory.Store[window[int64]]
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			began := time.Now()
			r, err := Run(ctx, built(t, endless(1000, &out, &windows)), RunOptions{Runner: runner, Until: Until{Span: time.Hour}})
			if !errors.Is(err, context.DeadlineExceeded) || r.Finished {
				t.Errorf("got %+v and %v, want the deadline", r, err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
			if got := out.Records(); len(got) > 0 {
				t.Errorf("got %d records, want nothing committed", len(got))
			}
			if left, _ := filepath.Glob(os.Getenv("TMPDIR") + "/*"); len(left) > 0 {
				t.Errorf("files are left: %v", left)
			}
			jobs.Lock()
			defer jobs.Unlock()
			if jobs.of[r.Run] != nil {
				t.Error("the run is still known")
			}
		})
	}
}

// TestCommitFails: a failure that a retry helps against is tried again in place, another ends the run.
func TestCommitFails(t *testing.T) {
	for _, runner := range []Runner{Direct, Prism} {
		var out memory.Store[int64]
		var calls atomic.Int64
		flow := func(fail func() error) *adf.Graph {
			f := adf.New("commits")
			adf.From(f, "in", memory.Values[int64](1, 2, 3)).To("out", &memory.Sink[int64]{Store: &out, Before: func(context.Context) error { return fail() }})
			return built(t, f)
		}
		if _, err := Run(t.Context(), flow(func() error { return refusal("no", fault.RetryNever) }), RunOptions{Runner: runner}); code(err) != "test" || nodeOf(err) != "out" {
			t.Errorf("%s: got %v, want the failure of the sink", runner, err)
		}
		if _, err := Run(t.Context(), flow(func() error {
			if calls.Add(1) < 3 {
				return refusal("not now", fault.RetryLater)
			}
			return nil
		}), RunOptions{Runner: runner}); err != nil || len(out.Records()) != 3 {
			t.Errorf("%s: got %v and %v, want three records after two failures", runner, out.Records(), err)
		}
	}
}

func refusal(text string, retry fault.Retry) error {
	return &fault.SinkError{Detail: fault.Detail{Code: "test", Retry: retry, Err: errors.New(text)}}
}

// TestManifest: what is committed once is what a repetition of the last stage commits, whatever came to it the second time.
func TestManifest(t *testing.T) {
	var out memory.Store[int64]
	f := adf.New("repeated")
	adf.From(f, "in", memory.Values[int64](1)).To("out", memory.To(&out))
	g := built(t, f)
	store, err := checkpoint.OpenDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := specified(t, g, Options{})
	j := newJob(t.Context(), s, g, store, slog.Default())
	attempt := func(large bool, bundles ...[]int64) func(*[]byte) bool {
		var values [][]byte
		for _, records := range bundles {
			value, err := proto.Marshal(&adfv1.SinkState{Node: "out", Pending: []*adfv1.Committable{partsOf(t, j, large, records...)}})
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value)
		}
		return func(to *[]byte) bool {
			if len(values) == 0 {
				return false
			}
			*to, values = values[0], values[1:]
			return true
		}
	}
	if err := commit(t.Context(), j, attempt(true, []int64{1, 2}, []int64{3}, []int64{4}, []int64{5}, []int64{6})); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := commit(t.Context(), j, attempt(true, []int64{1, 2, 3, 4}, []int64{5, 6})); err != nil {
			t.Fatal(err)
		}
	}
	got := out.Records()
	slices.Sort(got)
	if !slices.Equal(got, []int64{1, 2, 3, 4, 5, 6}) {
		t.Errorf("got %v, want each record once", got)
	}
	if blobs, err := store.Blobs(t.Context(), j.stagedAs(j.Run)); err != nil || len(blobs) > 0 {
		t.Errorf("got %v and %v, want no part left in staging", blobs, err)
	}
}

// TestForeignWorker: a worker that builds another plan, or knows no builder, says so.
func TestForeignWorker(t *testing.T) {
	var out memory.Store[int64]
	made := func(name string) *adf.Flow {
		f := adf.New("foreign")
		adf.From(f, name, memory.Values[int64](1)).To("out", memory.To(&out))
		return f
	}
	node := "here"
	Register("TestForeignWorker", func(context.Context, map[string]string) (*adf.Flow, error) { return made(node), nil })
	g := built(t, made("here"))
	look := func(o Options) error {
		s := specified(t, g, o)
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		_, err = find(data)
		return err
	}
	if err := look(Options{Builder: "TestForeignWorker"}); err != nil {
		t.Errorf("got %v, want the flow", err)
	}
	node = "there"
	err := look(Options{Builder: "TestForeignWorker"})
	if code(err) != "bridge.digest" || !strings.Contains(err.Error(), g.Plan.Digest()) || !strings.Contains(err.Error(), built(t, made("there")).Plan.Digest()) {
		t.Errorf("got %v, want both digests", err)
	}
	if err := look(Options{}); code(err) != "bridge.builder" {
		t.Errorf("got %v, want that there is no builder", err)
	}
	if _, err := Pipeline(t.Context(), made("here"), Options{Builder: "nobody"}); err == nil || !strings.Contains(err.Error(), "registered builder") {
		t.Errorf("got %v, want that the builder is not there", err)
	}
}

// TestProgress: progress is told, at the end in full.
func TestProgress(t *testing.T) {
	var out memory.Store[int64]
	var windows memory.Store[window[int64]]
	var last engine.Progress
	var log bytes.Buffer
	r, err := Run(t.Context(), built(t, endless(0, &out, &windows)), RunOptions{
		Until: Until{Records: 1000}, Progress: func(p engine.Progress) { last = p }, Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil || len(last.Nodes) != len(r.Nodes) || last.Nodes[0].Out != 1000 {
		t.Errorf("got %+v and %v, want 1000 records", last, err)
	}
	if !strings.Contains(log.String(), "flow=endless run="+r.Run) {
		t.Errorf("got the log %s", log.String())
	}
}
