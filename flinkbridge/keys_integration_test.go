//go:build integration

package flinkbridge

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// TestPlacedByJava compares with the classes of Flink and of Beam's runner themselves.
func TestPlacedByJava(t *testing.T) {
	cache, err := filepath.Abs(".cache")
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cluster.RunnerJar(t.Context(), cluster.RunnerOptions{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	flink, err := filepath.Glob(filepath.Join(cache, "flink", cluster.FlinkVersion, "flink-dist-*.jar"))
	if err != nil || len(flink) != 1 {
		t.Fatalf("got %v and %v, want one flink-dist", flink, err)
	}
	type asked struct {
		key    searchedKey
		groups int
	}
	var all []asked
	var in bytes.Buffer
	for i := range 1000 {
		a := asked{groups: []int{128, 3, 32768, 1, 97}[i%5]}
		binary.BigEndian.PutUint64(a.key[:], uint64(i)*0x9e3779b97f4a7c15)
		all = append(all, a)
		fmt.Fprintf(&in, "%x %d\n", a.key, a.groups)
	}
	var problems strings.Builder
	java := exec.CommandContext(t.Context(), "java", "-cp", jar+string(os.PathListSeparator)+flink[0], "flinkbridge/testdata/Placed.java")
	java.Stdin, java.Stderr = &in, &problems
	out, err := java.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, problems.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(all) {
		t.Fatalf("got %d lines, want %d", len(lines), len(all))
	}
	for i, a := range all {
		got := fmt.Sprintln(placing{byBuffer, a.groups}.group(a.key), placing{byMurmur, a.groups}.group(a.key), placing{byArray, a.groups}.group(a.key))
		if strings.TrimSpace(got) != lines[i] {
			t.Errorf("the key %x of %d groups: got %s, want %s", a.key, a.groups, strings.TrimSpace(got), lines[i])
		}
	}
}

func init() {
	Register("spread", func(_ context.Context, p map[string]string) (*adf.Flow, error) {
		n, err := strconv.Atoi(p["splits"])
		if err != nil {
			return nil, err
		}
		return spread(n), nil
	})
}

// spread counts numbers by 4,000 keys.
func spread(splits int) *adf.Flow {
	f := adf.New("spread")
	numbers := adf.From(f, "numbers", &generate.Source[numbered]{
		Rate: 1000, Splits: splits, Make: func(n int64) numbered { return numbered{n, time.UnixMilli(n)} },
	}).EventTime(func(x numbered) time.Time { return x.At }, time.Second)
	readings := adf.Map(numbers, "reading", func(x numbered) (reading, error) {
		return reading{fmt.Sprintf("k%d", x.N%4000), x.At.UnixMilli(), 1}, nil
	})
	windows := adf.Aggregate(adf.KeyBy(readings, func(r reading) string { return r.Sensor }).Window(adf.Tumbling(time.Second)), "count", extent[int64]{
		fresh: func() int64 { return 0 }, add: func(a *int64, r reading) { *a += r.Value }, merge: func(a *int64, o int64) { *a += o },
	})
	adf.Map(windows.Stream, "flat", func(w window[int64]) (counted, error) { return counted{w.Key, w.Start, w.Got}, nil }).To("out", &discard.Sink[counted]{})
	return f
}

// TestFlinkSpread: at any parallelism each subtask has its share of lanes and buckets.
func TestFlinkSpread(t *testing.T) {
	client, _, o := up(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	o.Builder, o.Staging, o.Interval = "spread", "", 5*time.Second
	for _, x := range []struct{ parallelism, lanes int }{{2, 4}, {3, 7}, {4, 8}} {
		t.Run(fmt.Sprintf("%d lanes at parallelism %d", x.lanes, x.parallelism), func(t *testing.T) {
			o := o
			o.Parallelism, o.Lanes, o.Params = x.parallelism, x.lanes, map[string]string{"splits": fmt.Sprint(x.lanes)}
			sub, err := Submit(ctx, client, spread(x.lanes), o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := client.Cancel(ctx, sub.Job); err != nil {
					t.Error(err)
				}
			}()
			if len(sub.Notes) > 0 {
				t.Errorf("got the notes %v", sub.Notes)
			}
			// All lanes are told the same number of times: that they exist, and of their split, or both at once.
			lanes := records(ctx, t, client, sub.Job, "read numbers", x.parallelism, func(of []int64) bool { return sum(of) > 0 && sum(of)%int64(x.lanes) == 0 })
			times := sum(lanes) / int64(x.lanes)
			for subtask, n := range lanes {
				if n%times != 0 || n/times < int64(x.lanes/x.parallelism) || n/times > int64((x.lanes+x.parallelism-1)/x.parallelism) {
					t.Errorf("subtask %d has %d lanes of %d", subtask, n/times, x.lanes)
				}
			}
			// Buckets have about as many keys each. One subtask may be behind for a while.
			keyed := records(ctx, t, client, sub.Job, "aggregate count", x.parallelism, func(of []int64) bool {
				return sum(of) > 1000 && !slices.ContainsFunc(of, func(n int64) bool {
					share := float64(n) / float64(sum(of)) * float64(x.parallelism)
					return share < 0.85 || share > 1.15
				})
			})
			t.Logf("lanes were told %v, payloads %v", lanes, keyed)
		})
	}
}

func sum(of []int64) (all int64) {
	for _, n := range of {
		all += n
	}
	return all
}

// records are how many a step's subtasks got, when they are enough in sum.
func records(
	ctx context.Context, t *testing.T, client *rest.Client, job, step string, parallelism int, enough func(of []int64) bool,
) []int64 {
	t.Helper()
	j, err := client.Job(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(j.Vertices, func(v rest.Vertex) bool { return strings.Contains(v.Name, step) })
	if i < 0 {
		t.Fatalf("no such step in %v", j.Vertices)
	}
	names := make([]string, parallelism)
	for i := range names {
		names[i] = fmt.Sprintf("%d.numRecordsIn", i)
	}
	for {
		metrics, err := client.Metrics(ctx, job, j.Vertices[i].ID, names...)
		if err != nil {
			t.Fatal(err)
		}
		of := make([]int64, parallelism)
		for i, name := range names {
			of[i], _ = strconv.ParseInt(metrics[name], 10, 64) // not there yet
		}
		if enough(of) {
			return of
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s got %v", j.Vertices[i].Name, of)
		}
	}
}
