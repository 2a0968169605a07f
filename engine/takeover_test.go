package engine_test

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

// takeOver hands the flow to a run of another runtime.
func (f *forks) takeOver(dir, run string, resumed bool, o engine.Options) error {
	f.t.Helper()
	g, err := f.flow().Build(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	o.Store, o.Retain, o.Log = directory(f.t, dir), 3, slog.New(slog.NewTextHandler(io.Discard, nil))
	return engine.TakeOver(f.t.Context(), g, run, resumed, o)
}

// save saves positions in the name of a run: as the newest checkpoint has them, with so many parts of each shard.
func (f *forks) save(dir, run string, parts int64) {
	f.t.Helper()
	s, c, err := checkpoint.Open(f.t.Context(), directory(f.t, dir), "forks", run, checkpoint.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	c = &adfv1.Checkpoint{Sources: c.Sources, PositionsOnly: true}
	for _, sink := range []string{"a", "b"} {
		state := &adfv1.SinkState{Node: sink}
		for shard := range adf.DefaultShards {
			state.Shards = append(state.Shards, &adfv1.ShardState{Shard: uint32(shard), Run: run, NextSeq: parts})
		}
		c.Sinks = append(c.Sinks, state)
	}
	if err := s.Save(f.t.Context(), c); err != nil {
		f.t.Fatal(err)
	}
}

func refused(t *testing.T, err error, code, words string) {
	t.Helper()
	d, ok := fault.DetailOf(err)
	if !ok || d.Code != code || fault.Retryable(err) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want the code %s and %q", err, code, words)
	}
}

// TestAnotherRuntimeTakesOver and gives back: it goes on from where the engine was, and the engine from where it was, provided that its output is there.
func TestAnotherRuntimeTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, dir := newForks(t), t.TempDir()
		f.append(0, 300)
		f.ok(f.run(dir, engine.Options{}))
		older := copied(t, dir)
		f.ok(f.takeOver(dir, "flink1", false, engine.Options{}))
		if err := f.run(older, engine.Options{}); !behind(err) { // the sequences of the run before are sealed
			t.Errorf("got %v", err)
		}
		claimed := copied(t, dir)
		c, err := checkpoint.Newest(t.Context(), directory(t, dir), "forks")
		if err != nil || c.Run != "flink1" || len(c.Sources) != 1 || len(c.Sources[0].Splits) != 3 {
			t.Fatalf("got %v and %v, want a claim of the other run with the sources", c, err)
		}

		// Nothing was handed over and nothing committed: the engine goes on.
		f.save(dir, "flink1", 0)
		f.append(300, 400)
		killed := copied(t, dir)
		f.ok(f.run(dir, engine.Options{}))
		if got, want := fmt.Sprint(times(f.a)), "map[1:400]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		// The other run's sequences are sealed by that: it is too late to go on from what it had.
		refused(t, f.run(claimed, engine.Options{}), "checkpoint.behind", "go on from the newest checkpoint")
		refused(t, f.run(killed, engine.Options{}), "checkpoint.behind", "adf flink stop")

		// It has handed over more than is there.
		f.ok(f.takeOver(dir, "flink2", true, engine.Options{}))
		f.save(dir, "flink2", 5)
		refused(t, f.run(dir, engine.Options{}), "checkpoint.uncommitted", "the sink has 0")
		refused(t, f.run(dir, engine.Options{Rewind: true}), "checkpoint.uncommitted", "adf flink stop")
		refused(t, f.takeOver(dir, "flink3", false, engine.Options{}), "checkpoint.uncommitted", "run flink2")
	})
}

// TestTakeOverOfNothing: the run is in the claim, so that whoever comes next sees whether it has committed something.
func TestTakeOverOfNothing(t *testing.T) {
	f, dir := newForks(t), t.TempDir()
	f.ok(f.takeOver(dir, "flink", false, engine.Options{}))
	c, err := checkpoint.Newest(t.Context(), directory(t, dir), "forks")
	if err != nil || c.Run != "flink" || len(c.Sinks) != 2 || len(c.Sinks[0].Shards) != adf.DefaultShards || c.Sinks[0].Shards[1].Run != "flink" {
		t.Errorf("got %v and %v", c, err)
	}
}

// TestKeyedStateStays: it does not go along, in neither direction, unless it is given up.
func TestKeyedStateStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out, numbers, dir := newTarget[total](), newTarget[event](), t.TempDir()
		src := &memory.Source[event]{Splits: events(2, 500), Follow: true}
		run := func(o engine.Options) error {
			o.Store, o.Until, o.Parallelism = directory(t, dir), engine.Idle, 1
			_, err := engine.Run(t.Context(), windows(src, out, numbers), o)
			return err
		}
		if err := run(engine.Options{}); err != nil {
			t.Fatal(err)
		}
		g, err := windows(src, out, numbers).Build(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		take := func(o engine.Options) error {
			o.Store, o.Retain, o.Log = directory(t, dir), 3, slog.New(slog.NewTextHandler(io.Discard, nil))
			return engine.TakeOver(t.Context(), g, "flink", false, o)
		}
		refused(t, take(engine.Options{}), "checkpoint.keyed", "--allow-dropped")
		if err := take(engine.Options{AllowDropped: true}); err != nil {
			t.Fatal(err)
		}
		s, c, err := checkpoint.Open(t.Context(), directory(t, dir), g.Plan.Flow(), "flink", checkpoint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Keyed) > 0 {
			t.Errorf("got the keyed state %v, want none", c.Keyed)
		}
		if err := s.Save(t.Context(), &adfv1.Checkpoint{Sources: c.Sources, PositionsOnly: true}); err != nil {
			t.Fatal(err)
		}
		refused(t, run(engine.Options{}), "checkpoint.elsewhere", "adf flink submit --savepoint")
		if err := run(engine.Options{AllowDropped: true}); err != nil {
			t.Fatal(err)
		}
		if err := run(engine.Options{}); err != nil { // it was given up once for all
			t.Fatal(err)
		}
	})
}
