//go:build integration

package flinkbridge

import (
	"context"
	"errors"
	"iter"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

func init() {
	Register("kept", func(_ context.Context, p map[string]string) (*adf.Flow, error) {
		rate, err := strconv.ParseFloat(p["rate"], 64)
		return gatedNumbers(rate, p["out"]), err
	})
}

// gatedNumbers keeps generated numbers, by a sink with a gate.
func gatedNumbers(rate float64, out string) *adf.Flow {
	f := adf.New("kept")
	all := adf.From(f, "numbers", &generate.Source[numbered]{
		Rate: rate, Splits: 4, Make: func(n int64) numbered { return numbered{n, time.UnixMilli(n)} },
	}).EventTime(func(x numbered) time.Time { return x.At }, time.Second)
	adf.Map(all, "number", func(x numbered) (justN, error) { return justN{x.N}, nil }).
		To("kept", &gated{&file.Sink[justN]{Path: out + "/kept", Format: "jsonl"}, out + "/closed"})
	return f
}

// gated is a sink that commits nothing while a file is there.
type gated struct {
	to   *file.Sink[justN]
	gate string
}

func (g *gated) Fields(b *connectors.Binder) { g.to.Fields(b) }

func (g *gated) Sink(c *row.Codec[justN]) (sinks.Any, error) {
	s, err := g.to.Sink(c)
	if err != nil {
		return nil, err
	}
	return &gatedExact{s.(sinks.AnyExact), g.gate}, nil
}

type gatedExact struct {
	sinks.AnyExact
	gate string
}

func (g *gatedExact) NewCommitter(ctx context.Context) (sinks.AnyCommitter, error) {
	c, err := g.AnyExact.NewCommitter(ctx)
	return &gatedCommitter{c, g.gate}, err
}

type gatedCommitter struct {
	sinks.AnyCommitter
	gate string
}

func (g *gatedCommitter) Commit(ctx context.Context, sh sinks.Shard, from int64, parts iter.Seq2[[]byte, error]) error {
	if _, err := os.Stat(g.gate); err == nil {
		return &fault.SinkError{Detail: fault.Detail{Code: "test.gate", Retry: fault.RetryLater, Err: errors.New("the gate is closed")}}
	}
	return g.AnyCommitter.Commit(ctx, sh, from, parts)
}

// stands is a flow that moves between Flink and the engine.
type stands struct {
	*testing.T
	ctx      context.Context
	client   *rest.Client
	rate     float64
	out, dir string
}

func (s *stands) submit(o SubmitOptions) (Submission, error) {
	s.Helper()
	began := time.Now()
	sub, err := Submit(s.ctx, s.client, gatedNumbers(s.rate, s.out), o)
	s.Logf("submitted: %+v, %v, after %s", sub, err, time.Since(began).Round(time.Millisecond))
	return sub, err
}

func (s *stands) must(sub Submission, err error) string {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
	return sub.Job
}

func (s *stands) stop(job string) (savepoint string) {
	s.Helper()
	savepoint, err := s.client.Stop(s.ctx, job, false, "")
	if err != nil {
		x, _ := s.client.Exceptions(s.ctx, job)
		s.Fatalf("%v: %s", err, x.Root)
	}
	return savepoint
}

// kept are the numbers that are there.
func (s *stands) kept() []int {
	s.Helper()
	var all []int
	for _, k := range read[struct{ N int }](s.T, s.out+"/kept") {
		all = append(all, k.N)
	}
	slices.Sort(all)
	return all
}

// await waits until there are so many more.
func (s *stands) await(more int) {
	s.Helper()
	for before := len(s.kept()); len(s.kept()) < before+more; time.Sleep(200 * time.Millisecond) {
		if s.ctx.Err() != nil {
			s.Fatalf("got %d numbers, want %d more than %d", len(s.kept()), more, before)
		}
	}
}

// exact: each number once, and none missing: each of the four splits has every fourth one, from its first on.
func (s *stands) exact() int {
	s.Helper()
	all := s.kept()
	next := [4]int{0, 1, 2, 3}
	for _, n := range all {
		if n != next[n%4] {
			s.Fatalf("got %d, want %d", n, next[n%4])
		}
		next[n%4] = n + 4
	}
	return len(all)
}

// engine runs the flow in this process until there are so many numbers more.
func (s *stands) engine(more int, o engine.Options) error {
	s.Helper()
	store, err := checkpoint.OpenDirectory(s.dir)
	if err != nil {
		s.Fatal(err)
	}
	stop := make(chan struct{})
	o.Store, o.Until, o.Interval, o.Stop, o.Parallelism = store, engine.Signal, time.Second, stop, 2
	before := len(s.kept())
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(done)
		for len(s.kept()) < before+more {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ended:
				return
			}
		}
		close(stop)
	}()
	r, err := engine.Run(s.ctx, gatedNumbers(s.rate, s.out), o)
	close(ended)
	<-done
	s.Logf("the engine: restored epoch %d, %d records, %v", r.RestoredEpoch, r.Node("numbers").Out, err)
	return err
}

// uncommitted says whether the positions are ahead of what the sink has.
func (s *stands) uncommitted() bool {
	s.Helper()
	store, err := checkpoint.OpenDirectory(s.dir)
	if err != nil {
		s.Fatal(err)
	}
	c, err := checkpoint.Newest(s.ctx, store, "kept")
	if err != nil {
		s.Fatal(err)
	}
	committer, err := built(s.T, gatedNumbers(s.rate, s.out)).Node("kept").Sink.(sinks.AnyExact).NewCommitter(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	defer committer.Close()
	for _, sh := range c.Sinks[0].Shards {
		last, err := committer.Progress(s.ctx, sinks.Shard{Flow: "kept", Node: "kept", Run: sh.Run, Shard: int(sh.Shard)})
		if err != nil {
			s.Fatal(err)
		}
		if c.PositionsOnly && last < sh.NextSeq-1 {
			return true
		}
	}
	return false
}

func (s *stands) refused(err error, code string) {
	s.Helper()
	d, ok := fault.DetailOf(err)
	if !ok || d.Code != code || fault.Retryable(err) {
		s.Fatalf("got %v, want it refused as %s", err, code)
	}
}

// TestFlinkPositions: a flow goes from Flink to the engine and back, each number once; older savepoints are refused; and so is the engine where the output of a
// job that was killed is missing.
func TestFlinkPositions(t *testing.T) {
	client, _, o := up(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	on := func(t *testing.T) (*stands, SubmitOptions) {
		s := &stands{T: t, ctx: ctx, client: client, rate: 2000, out: t.TempDir(), dir: t.TempDir()}
		o := o
		o.Builder, o.Params, o.Interval, o.Checkpoints = "kept", map[string]string{"rate": "2000", "out": s.out}, time.Second, s.dir
		return s, o
	}

	t.Run("there and back", func(t *testing.T) {
		s, o := on(t)
		job := s.must(s.submit(o))
		s.await(2000)
		savepoint := s.stop(job)
		t.Logf("%d numbers, stopped with %s", s.exact(), savepoint)
		if err := s.engine(3000, engine.Options{}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d numbers after the engine", s.exact())
		job = s.must(s.submit(o))
		s.await(2000)
		s.stop(job)
		before := s.exact()
		t.Logf("%d numbers after Flink again", before)

		// The savepoint from before the engine is behind.
		o.Savepoint = savepoint
		_, err := s.submit(o)
		s.refused(err, "bridge.behind")
		if got := s.exact(); got != before {
			t.Errorf("got %d numbers, want the %d from before", got, before)
		}
		o.Rewind, o.Checkpoints, o.AllowDropped = true, "", true // what waits to be saved as positions is dropped
		job = s.must(s.submit(o))
		s.await(2000)
		s.stop(job)
		all := s.kept()
		if once := slices.Compact(slices.Clone(all)); len(once) == len(all) {
			t.Errorf("got %d numbers, none of them twice, want those since the savepoint repeated", len(all))
		}
	})

	t.Run("killed", func(t *testing.T) {
		s, o := on(t)
		job := s.must(s.submit(o))
		s.await(1000)
		if err := os.WriteFile(s.out+"/closed", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		for !s.uncommitted() {
			if time.Sleep(100 * time.Millisecond); ctx.Err() != nil {
				t.Fatal("no positions are saved while the sink does not commit")
			}
		}
		if err := client.Cancel(ctx, job); err != nil {
			t.Fatal(err)
		}
		if _, err := client.WaitEnd(ctx, job); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(s.out + "/closed"); err != nil {
			t.Fatal(err)
		}
		s.refused(s.engine(1000, engine.Options{}), "checkpoint.uncommitted")
		_, err := s.submit(o)
		s.refused(err, "checkpoint.uncommitted")

		// What the message says: go on there, from the job's last checkpoint, and stop.
		k, err := client.Checkpoints(ctx, job)
		if err != nil {
			t.Fatal(err)
		}
		o.Savepoint = k.Latest.Completed.Path
		s.stop(s.must(s.submit(o)))
		before := s.exact()
		if err := s.engine(1000, engine.Options{}); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d numbers, and %d after the engine", before, s.exact())
	})
}
