//go:build integration

package flinkbridge

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// disturbed is a job of the counting flow whose cluster is disturbed: processes are killed at random moments, plain savepoints are taken, and the target is away for a
// while.
type disturbed struct {
	counting
	testCluster
	kills int // of each kind
	away  time.Duration

	job string
	lag []time.Duration // by how much checkpoints were complete after the commit step had given its part
}

// between is the time between two checkpoints.
const between = 2 * time.Second

// submit starts the flow, or goes on from a savepoint.
func (d *disturbed) submit(ctx context.Context, t *testing.T, parallelism int, savepoint string) {
	t.Helper()
	began := time.Now()
	o := d.options
	o.Builder, o.Params, o.Interval, o.Parallelism, o.Lanes, o.Savepoint = "counting", d.params(), between, parallelism, 4, savepoint
	sub, err := Submit(ctx, d.client, d.flow(), o)
	if err != nil {
		t.Fatal(err)
	}
	d.job = sub.Job
	t.Logf("parallelism %d, edits %v: runs after %s", parallelism, d.edits, time.Since(began).Round(100*time.Millisecond))
}

// stop ends the job with a savepoint, and gives its path.
func (d *disturbed) stop(ctx context.Context, t *testing.T) string {
	t.Helper()
	path, err := d.client.Stop(ctx, d.job, false, "")
	if err != nil {
		t.Fatalf("%v: %s", err, d.why(ctx))
	}
	return path
}

// disturb does all of it, one thing after another, and sees that the job goes on after each.
func (d *disturbed) disturb(ctx context.Context, t *testing.T) {
	t.Helper()
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("the seed is %d", seed)
	all := []string{"outage"}
	for range d.kills {
		all = append(all, cluster.TaskManager(1), "worker", cluster.JobManager)
	}
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, what := range all {
		d.look(ctx, t)
		if _, err := d.client.Savepoint(ctx, d.job, ""); err != nil {
			t.Fatalf("%v: %s", err, d.why(ctx))
		}
		time.Sleep(time.Duration(random.Int64N(int64(2 * between))))
		began := time.Now()
		switch what {
		case "outage":
			d.outage(t, d.away)
		case "worker":
			d.killWorker(t, random)
		default:
			if err := d.cluster.Kill(ctx, what); err != nil {
				t.Fatal(err)
			}
			if err := d.cluster.Start(what); err != nil {
				t.Fatal(err)
			}
		}
		d.goesOn(ctx, t)
		t.Logf("%s: commits again after %s", what, time.Since(began).Round(100*time.Millisecond))
	}
	d.look(ctx, t)
	slices.Sort(d.lag)
	if n := len(d.lag); n == 0 || d.lag[n-1] < 200*time.Millisecond {
		t.Errorf("checkpoints were complete so long after the commit steps: %v; the pace source is to delay them by up to half a second", d.lag)
	} else {
		t.Logf("%d checkpoints were complete %s to %s after the commit step had given its part, half of them after %s or more", n, d.lag[0], d.lag[n-1], d.lag[n/2])
	}
}

// goesOn waits until all tasks run and two more commits are made.
func (d *disturbed) goesOn(ctx context.Context, t *testing.T) {
	t.Helper()
	began := time.Now()
	if err := d.cluster.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := d.client.WaitRunning(ctx, d.job); err != nil {
		t.Fatal(err)
	}
	for before := d.commits(); d.commits() < before+2; {
		time.Sleep(100 * time.Millisecond)
		if time.Since(began) > 3*time.Minute {
			t.Fatalf("nothing is committed any more: %s", d.why(ctx))
		}
	}
}

// why is what the cluster has to say.
func (d *disturbed) why(ctx context.Context) string {
	x, err := d.client.Exceptions(ctx, d.job)
	if err != nil {
		return err.Error()
	}
	k, err := d.client.Checkpoints(ctx, d.job)
	return fmt.Sprintf("%s; checkpoints: %+v %v", rest.Cause(x.Root), k, err)
}

// bounded: each RocksDB of the TaskManager has the bound of its manifest that the job brings.
func (d *disturbed) bounded(t *testing.T) {
	t.Helper()
	options, err := filepath.Glob(filepath.Join(d.cluster.Dir(), "tmp", "*", "tmp", "job_"+d.job+"_*", "db", "OPTIONS-*"))
	if err != nil || len(options) == 0 {
		t.Fatalf("got %v, %v, want options of RocksDB", options, err)
	}
	for _, file := range options {
		if all, err := os.ReadFile(file); err == nil && !strings.Contains(string(all), "max_manifest_file_size=32768\n") {
			t.Errorf("%s has no bound of the manifest", file)
		}
	}
}

// killWorker kills one of the pool's processes.
func (d *disturbed) killWorker(t *testing.T, random *rand.Rand) {
	t.Helper()
	all := d.pool.Status().Workers
	if len(all) == 0 {
		t.Fatal("the pool has no worker")
	}
	if err := syscall.Kill(all[random.IntN(len(all))].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// look notes how long the last checkpoints took from the moment at which the commit step had given its part.
func (d *disturbed) look(ctx context.Context, t *testing.T) {
	t.Helper()
	job, err := d.client.Job(ctx, d.job)
	if err != nil {
		t.Fatal(err)
	}
	k, err := d.client.Checkpoints(ctx, d.job)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range k.History {
		if c.Status != "COMPLETED" {
			continue
		}
		var detail struct {
			Tasks map[string]struct {
				Acked rest.Millis `json:"latest_ack_timestamp"`
			}
		}
		d.get(ctx, t, fmt.Sprintf("/jobs/%s/checkpoints/details/%d", d.job, c.ID), &detail)
		for _, v := range job.Vertices {
			if strings.Contains(v.Name, "commit kept") {
				d.lag = append(d.lag, time.Duration(c.Acked-detail.Tasks[v.ID].Acked)*time.Millisecond)
			}
		}
	}
}

func (d *disturbed) get(ctx context.Context, t *testing.T, path string, to any) {
	t.Helper()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, d.cluster.Address()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if err := json.NewDecoder(a.Body).Decode(to); err != nil {
		t.Fatal(err)
	}
}

// visible is how many final files each run of a sink has.
func (d *disturbed) visible(t *testing.T) map[string]int {
	t.Helper()
	runs := map[string]int{}
	for _, sink := range []string{"kept", "spilled", "windows", "totals"} {
		for _, f := range d.files(t, sink) {
			runs[f.run]++
		}
	}
	return runs
}

// resumption is how a job goes on.
type resumption struct {
	parallelism int
	edits       []string
}

// resume stops the job again and again, and goes on in another way each time. What a run has given is all there when stop returns: nothing of it comes later.
func (d *disturbed) resume(ctx context.Context, t *testing.T, all []resumption) {
	t.Helper()
	path := d.stop(ctx, t)
	for _, r := range all {
		stopped := d.visible(t)
		d.edits = r.edits
		d.submit(ctx, t, r.parallelism, path)
		d.goesOn(ctx, t)
		path = d.stop(ctx, t)
		now := d.visible(t)
		for run, n := range stopped {
			if now[run] != n {
				t.Errorf("a run of a sink had %d files when it was stopped, and has %d later", n, now[run])
			}
		}
	}
}

// TestFlinkStreaming kills one process of each kind, takes the target away for a while, and then goes on from savepoints with other parallelisms and edits: all in all
// each number is there once, and windows and counts that were open are whole.
func TestFlinkStreaming(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	d := disturbed{counting: counting{out: t.TempDir(), rate: 1000}, kills: 1, away: 10 * time.Second, testCluster: upWith(t, cluster.Options{HighAvailability: true})}
	d.target(t)
	d.submit(ctx, t, 2, "")
	d.goesOn(ctx, t)
	d.bounded(t)
	d.disturb(ctx, t)
	d.resume(ctx, t, []resumption{
		{1, nil},
		{3, []string{"steps"}},
		{4, []string{"steps", "wide"}},
		{2, []string{"wide", "config"}},
	})
	t.Logf("up to %v", d.check(t))
}
