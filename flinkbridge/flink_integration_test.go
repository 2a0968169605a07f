//go:build integration

package flinkbridge

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/pool"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

func init() {
	Register("numbers", func(_ context.Context, p map[string]string) (*adf.Flow, error) {
		records, err := strconv.ParseInt(p["records"], 10, 64)
		if err != nil {
			return nil, err
		}
		rate, err := strconv.ParseFloat(p["rate"], 64)
		if err != nil {
			return nil, err
		}
		return numbers(records, rate, p["out"]), nil
	})
}

// numbers keeps generated numbers, and counts them in windows by a key that a closure makes.
func numbers(records int64, rate float64, out string) *adf.Flow {
	keys := int64(10)
	f := adf.New("numbers")
	all := adf.From(f, "numbers", &generate.Source[numbered]{
		Records: records, Rate: rate, Splits: 4, Make: func(n int64) numbered { return numbered{n, time.UnixMilli(n)} },
	}).EventTime(func(x numbered) time.Time { return x.At }, time.Second)
	adf.Map(all, "number", func(x numbered) (justN, error) { return justN{x.N}, nil }).To("kept", &file.Sink[justN]{Path: out + "/kept", Format: "jsonl"})
	readings := adf.Map(all, "reading", func(x numbered) (reading, error) {
		return reading{fmt.Sprintf("k%d", x.N%keys), x.At.UnixMilli(), 1}, nil
	})
	windows := adf.Aggregate(adf.KeyBy(readings, func(r reading) string { return r.Sensor }).Window(adf.Tumbling(time.Second)), "count", extent[int64]{
		fresh: func() int64 { return 0 }, add: func(a *int64, r reading) { *a += r.Value }, merge: func(a *int64, o int64) { *a += o },
	})
	adf.Map(windows.Stream, "flat", func(w window[int64]) (counted, error) { return counted{w.Key, w.Start, w.Got}, nil }).
		To("windows", &file.Sink[counted]{Path: out + "/windows", Format: "jsonl"})
	return f
}

// testCluster is a cluster with a pool, and how jobs are submitted there.
type testCluster struct {
	client  *rest.Client
	cluster *cluster.Cluster
	pool    *pool.Pool
	options SubmitOptions
}

// up starts a cluster with a pool.
func up(t *testing.T) (*rest.Client, *cluster.Cluster, SubmitOptions) {
	t.Helper()
	c := upWith(t, cluster.Options{})
	return c.client, c.cluster, c.options
}

// upWith starts a cluster as the options say, with a pool.
func upWith(t *testing.T, o cluster.Options) testCluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cache, err := filepath.Abs(".cache")
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cluster.RunnerJar(ctx, cluster.RunnerOptions{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	p, err := pool.Start(pool.Options{Address: "127.0.0.1:0", Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		t.Fatal(err)
	}
	o.Dir, o.Cache, o.Note = t.TempDir(), cache, func(s string) { t.Log(s) }
	c, err := cluster.Up(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, q := range c.Processes() {
				if log, err := os.ReadFile(q.Log); err == nil {
					t.Logf("%s: %s", q.Name, tail(string(log)))
				}
			}
		}
		if err := c.Down(context.Background()); err != nil {
			t.Error(err)
		}
		p.Close()
	})
	client, err := rest.New(rest.Config{Address: c.Address()})
	if err != nil {
		t.Fatal(err)
	}
	return testCluster{client, c, p, SubmitOptions{Builder: "numbers", RunnerJar: jar, Pool: p.Address(), Staging: t.TempDir(), Parallelism: 2}}
}

func tail(log string) string { return log[max(0, len(log)-6000):] }

// read gives the lines of all files in a folder.
func read[T any](t *testing.T, dir string) (all []T) {
	t.Helper()
	files, _ := filepath.Glob(dir + "/*.jsonl")
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			var v T
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			all = append(all, v)
		}
	}
	return all
}

// check: numbers from 0 on without a gap and once, windows that are whole.
func check(t *testing.T, out string, least int) {
	t.Helper()
	kept := read[struct{ N int }](t, out+"/kept")
	slices.SortFunc(kept, func(a, b struct{ N int }) int { return a.N - b.N })
	double := 0
	for i := 1; i < len(kept); i++ {
		if kept[i].N == kept[i-1].N {
			double++
		}
	}
	// Four splits end each at a place of its own: so the last numbers have gaps, and nothing before.
	missing := 0
	for i, next := 0, 0; i < len(kept); i, next = i+1, kept[i].N+1 {
		if kept[i].N > next && kept[i].N < len(kept)-10000 {
			missing += kept[i].N - next
		}
	}
	if len(kept) < least || double > 0 || missing > 0 {
		t.Errorf("got %d numbers, %d of them twice, and %d missing, want at least %d", len(kept), double, missing, least)
	}
	windows := read[struct {
		Key          string
		Start, Count int64
	}](t, out+"/windows")
	seen := map[string]bool{}
	for _, w := range windows {
		id := fmt.Sprint(w.Key, w.Start)
		if w.Count != 100 || seen[id] {
			t.Errorf("got the window %+v, twice: %v, want 100 once", w, seen[id])
		}
		seen[id] = true
	}
	t.Logf("%d numbers, %d windows", len(kept), len(windows))
}

func TestFlink(t *testing.T) {
	client, _, o := up(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()

	t.Run("batch", func(t *testing.T) {
		out := t.TempDir()
		o := o
		o.Params = map[string]string{"records": "100000", "rate": "0", "out": out}
		began := time.Now()
		sub, err := Submit(ctx, client, numbers(100000, 0, out), o)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%+v after %s", sub, time.Since(began))
		status, err := client.WaitEnd(ctx, sub.Job)
		if err != nil || status != rest.Finished {
			x, _ := client.Exceptions(ctx, sub.Job)
			t.Fatalf("got %s and %v: %s", status, err, x.Root)
		}
		t.Logf("finished after %s", time.Since(began))
		check(t, out, 100000)
	})
}
