//go:build integration && soak

package flinkbridge

import (
	"context"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
)

var (
	soakFor  = flag.Duration("soak-for", 15*time.Minute, "how long TestSoakFlinkTTL runs")
	soakJobs = flag.Int("soak-jobs", 50, "how many jobs TestSoakFlinkJobs submits")
)

// TestSoakFlinkKill is the first half of TestFlinkStreaming, five times over and with a longer outage.
func TestSoakFlinkKill(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	d := disturbed{counting: counting{out: t.TempDir(), rate: 2000}, kills: 5, away: time.Minute, testCluster: upWith(t, cluster.Options{HighAvailability: true})}
	d.target(t)
	d.submit(ctx, t, 2, "")
	d.goesOn(ctx, t)
	d.disturb(ctx, t)
	d.stop(ctx, t)
	t.Logf("up to %v", d.check(t))
}

// ttl is how long state lives that is not written any more, in the flow below.
const ttl = 30 * time.Second

func init() {
	Register("churning", func(_ context.Context, p map[string]string) (*adf.Flow, error) {
		rate, err := strconv.ParseFloat(p["rate"], 64)
		return churning(rate), err
	})
}

// churning counts the records of keys of which there are always new ones: a key has ten records, and its state goes when it is not written any more.
func churning(rate float64) *adf.Flow {
	f := adf.New("churning")
	all := adf.From(f, "numbers", &generate.Source[numbered]{Rate: rate, Splits: dealt, Make: func(n int64) numbered { return numbered{n, time.UnixMilli(n)} }})
	read := adf.Map(all, "read", func(x numbered) (wide, error) { return wide{fmt.Sprintf("k%d", x.N/10), 1, nil}, nil })
	adf.Process(adf.KeyBy(read, func(m wide) string { return m.Key }), "total", ttl, func() operators.Processor[wide, string, counted] {
		return &total[wide, wideSum]{sum: state.NewValue[wideSum]("sum", 0), add: func(a *wideSum, m wide) int64 {
			a.Count += m.One
			return a.Count
		}}
	}).To("nowhere", &discard.Sink[counted]{})
	return f
}

// TestSoakFlinkTTL: when the time of state has passed once, checkpoints and processes stay as large as they are.
func TestSoakFlinkTTL(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), *soakFor+10*time.Minute)
	defer cancel()
	c := upWith(t, cluster.Options{})
	const rate = 2000
	o := c.options
	o.Builder, o.Params, o.Interval = "churning", map[string]string{"rate": strconv.Itoa(rate)}, 5*time.Second
	sub, err := Submit(ctx, c.client, churning(rate), o)
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]*series{}
	began := time.Now()
	for time.Since(began) < *soakFor {
		time.Sleep(5 * time.Second)
		k, err := c.client.Checkpoints(ctx, sub.Job)
		if err != nil {
			t.Fatal(err)
		}
		if time.Since(began) < max(2*ttl, *soakFor/3) { // heaps and memory tables fill first
			continue
		}
		now := map[string]int64{"checkpoint": k.Latest.Completed.Size, "JobManager": c.resident(t, cluster.JobManager), "TaskManager": c.resident(t, cluster.TaskManager(1))}
		for _, w := range c.pool.Status().Workers {
			now["worker"] += w.RSS
		}
		for name, size := range now {
			if sizes[name] == nil {
				sizes[name] = &series{}
			}
			sizes[name].add(time.Since(began), size)
		}
	}
	k, err := c.client.Checkpoints(ctx, sub.Job)
	if err != nil {
		t.Fatal(err)
	}
	if k.Counts.Failed > 3 || k.Counts.Restored > 0 {
		t.Errorf("of %d checkpoints %d failed, and the job started again %d times", k.Counts.Total, k.Counts.Failed, k.Counts.Restored)
	}
	t.Logf("%d checkpoints", k.Counts.Completed)
	for name, s := range sizes {
		s.level(t, name, 0.15)
	}
	if err := c.client.Cancel(ctx, sub.Job); err != nil {
		t.Error(err)
	}
}

// TestSoakFlinkJobs: jobs that were submitted and cancelled leave no worker behind, and no memory.
func TestSoakFlinkJobs(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	c := upWith(t, cluster.Options{})
	o := c.options
	o.Builder, o.Params, o.Interval = "churning", map[string]string{"rate": "100"}, time.Second
	sizes := map[string]*series{"JobManager": {}, "TaskManager": {}, "this process, with the pool": {}}
	began := time.Now()
	for n := range *soakJobs {
		sub, err := Submit(ctx, c.client, churning(100), o)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(c.pool.Status().Workers); got != 1 {
			t.Errorf("job %d: got %d workers, want 1", n, got)
		}
		if err := c.client.Cancel(ctx, sub.Job); err != nil {
			t.Fatal(err)
		}
		if status, err := c.client.WaitEnd(ctx, sub.Job); err != nil {
			t.Fatal(status, err)
		}
		for since := time.Now(); len(c.pool.Status().Workers) > 0; time.Sleep(50 * time.Millisecond) {
			if time.Since(since) > time.Minute {
				t.Fatalf("job %d: its worker does not end: %+v", n, c.pool.Status().Workers)
			}
		}
		if n < *soakJobs/3 { // classes and heaps come to their size
			continue
		}
		sizes["JobManager"].add(time.Since(began), c.resident(t, cluster.JobManager))
		sizes["TaskManager"].add(time.Since(began), c.resident(t, cluster.TaskManager(1)))
		sizes["this process, with the pool"].add(time.Since(began), residentOf(t, os.Getpid()))
	}
	t.Logf("%d jobs in %s", *soakJobs, time.Since(began).Round(time.Second))
	for name, s := range sizes {
		s.level(t, name, 0.15)
	}
}

// resident is the memory of a process of the cluster.
func (c testCluster) resident(t *testing.T, name string) int64 {
	t.Helper()
	all := c.cluster.Processes()
	return residentOf(t, all[slices.IndexFunc(all, func(p cluster.Process) bool { return p.Name == name })].PID)
}

var residentSize = regexp.MustCompile(`VmRSS:\s+([0-9]+) kB`)

func residentOf(t *testing.T, pid int) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := residentSize.FindSubmatch(status)
	if m == nil {
		t.Fatalf("process %d has no resident size: %s", pid, status)
	}
	kB, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kB << 10
}

// series is how a size goes over time.
type series struct{ at, size []float64 }

func (s *series) add(at time.Duration, size int64) {
	s.at, s.size = append(s.at, at.Minutes()), append(s.size, float64(size))
}

// level: the line through the sizes rises by no more than a share of their mean, from the first to the last.
func (s *series) level(t *testing.T, name string, share float64) {
	t.Helper()
	var sx, sy, sxx, sxy float64
	for i, x := range s.at {
		y := s.size[i]
		sx, sy, sxx, sxy = sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	n := float64(len(s.at))
	if n < 5 {
		t.Errorf("%s: got %.0f sizes, want 5 or more", name, n)
		return
	}
	mean, rise := sy/n, (n*sxy-sx*sy)/(n*sxx-sx*sx)*(s.at[len(s.at)-1]-s.at[0])
	text := fmt.Sprintf("%s: %.1f MB on average, %+.1f %% from the first to the last of %d (%.1f to %.1f MB)", name, mean/1e6, 100*rise/mean, len(s.at), s.size[0]/1e6, s.size[len(s.size)-1]/1e6)
	t.Log(text)
	if rise > share*mean {
		t.Error(text + fmt.Sprintf(", want no more than %.0f %%", 100*share))
	}
}
