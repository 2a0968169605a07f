package flinkbridge

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

// followed is a flow over a log that grows, whose source wants to know what is done with.
type followed struct {
	log *memory.Log[int64]
	out memory.Store[int64]

	mu    sync.Mutex
	acked map[int]int64 // by split, the furthest position
}

func (f *followed) flow() *adf.Flow {
	flow := adf.New("followed")
	in := adf.From(flow, "in", &memory.Source[int64]{Log: f.log, Follow: true, Acknowledged: func(done []memory.Split) {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, s := range done {
			f.acked[s.N] = max(f.acked[s.N], s.Next)
		}
	}})
	adf.Map(in, "same", func(n int64) (int64, error) { return n, nil }).To("out", memory.To(&f.out))
	return flow
}

func (f *followed) append(from, to int64) {
	for n := from; n < to; n++ {
		f.log.Append(int(n%3), n)
	}
}

// job makes a streaming job of the flow that saves positions, without running it.
func (f *followed) job(ctx context.Context, t *testing.T, store checkpoint.Store, dir string) *job {
	t.Helper()
	g := built(t, f.flow())
	s := specified(t, g, Options{Parallelism: 2, Until: Until{Idle: true}})
	s.Streaming, s.Until, s.Checkpoints = true, Until{}, dir
	j := newJob(ctx, s, g, &checkpoint.Memory{}, slog.Default())
	j.checkpoints = store
	return j
}

// TestPositionsMove: what the engine has read is not read on Beam, and positions and acknowledgements come of what is; then the engine goes on from those.
func TestPositionsMove(t *testing.T) {
	f, dir := &followed{log: &memory.Log[int64]{}, acked: map[int]int64{}}, t.TempDir()
	store, err := checkpoint.OpenDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	f.append(0, 600)
	if _, err := engine.Run(t.Context(), f.flow(), engine.Options{Store: store, Until: engine.Idle}); err != nil {
		t.Fatal(err)
	}
	f.append(600, 1500)

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	j := f.job(ctx, t, store, dir)
	defer keep(j)()
	if err := (SubmitOptions{Checkpoints: dir}).takeOver(ctx, j.graph, j.Run); err != nil {
		t.Fatal(err)
	}
	p, err := unbounded(j.spec, j.graph)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // until everything is read, committed, acknowledged and saved
		defer cancel()
		for ctx.Err() == nil {
			time.Sleep(50 * time.Millisecond)
			c, err := checkpoint.Newest(ctx, store, "followed")
			if err != nil || c.Claim || len(c.Sources[0].Splits) != 3 {
				continue
			}
			read := int64(0)
			for _, s := range c.Sources[0].Splits {
				var at memory.Split
				if at, err = (&memory.Source[int64]{}).Codec().Decode(int(s.Version), s.Data); err == nil {
					read += at.Next
				}
			}
			f.mu.Lock()
			acked := f.acked[0] + f.acked[1] + f.acked[2]
			f.mu.Unlock()
			if read == 1500 && acked == 1500 && len(f.out.Records()) == 1500 && committedUpTo(ctx, t, j, c) {
				return
			}
		}
	}()
	if err := runPrism(ctx, j, p); ctx.Err() == nil {
		t.Errorf("got %v, want that it goes on", err)
	}
	if err := j.close(); err != nil {
		t.Error(err)
	}
	f.append(1500, 1600)
	if _, err := engine.Run(t.Context(), f.flow(), engine.Options{Store: store, Until: engine.Idle}); err != nil {
		t.Fatal(err)
	}
	got := f.out.Records()
	slices.Sort(got)
	for i, n := range got {
		if n != int64(i) {
			t.Fatalf("got %d at place %d, want every number once", n, i)
		}
	}
	if len(got) != 1600 {
		t.Errorf("got %d numbers, want 1600", len(got))
	}

	// The job has lost the flow: it can neither save nor commit.
	_, err = j.owned(t.Context())
	if d, _ := fault.DetailOf(err); err == nil || d.Code != "bridge.fenced" || fault.Retryable(err) {
		t.Errorf("got %v, want that the job is fenced off", err)
	}
}

// committedUpTo says whether a sink has what a checkpoint says that was handed over. Prism commits at once, so the two meet when nothing comes any more.
func committedUpTo(ctx context.Context, t *testing.T, j *job, c *adfv1.Checkpoint) bool {
	for _, s := range c.Sinks {
		for _, sh := range s.Shards {
			seal, err := j.seal(ctx, s.Node, sh)
			if err != nil || len(seal) != 1 {
				return false
			}
		}
	}
	return len(c.Sinks) > 0
}

// TestPositionsAreSavedWhole: nothing is saved until everybody has said where they are; then the last word counts, and what is the same is not saved again.
func TestPositionsAreSavedWhole(t *testing.T) {
	f := &followed{log: &memory.Log[int64]{}}
	store := &checkpoint.Memory{}
	j := f.job(t.Context(), t, store, "memory")
	if err := engine.TakeOver(t.Context(), j.graph, j.Run, false, engine.Options{Store: store, Log: slog.Default()}); err != nil {
		t.Fatal(err)
	}
	say := func(kind byte, number int, m proto.Message) []byte {
		t.Helper()
		p, err := piece(kind, number, m)
		if err != nil {
			t.Fatal(err)
		}
		return p.value
	}
	lane := func(n int, id string, watermark int64) []byte {
		return say(pieceLane, n, &adfv1.SourceState{Node: "in", Splits: []*adfv1.ReadState{{Id: id}}, WatermarkMs: &watermark})
	}
	shard := func(n int, next int64) []byte {
		return say(pieceShard, n, &adfv1.SinkState{Node: "out", Shards: []*adfv1.ShardState{{Shard: uint32(n), Run: j.Run, NextSeq: next}}})
	}
	saved := func() *adfv1.Checkpoint {
		t.Helper()
		c, err := checkpoint.Newest(t.Context(), store, "followed")
		if err != nil {
			t.Fatal(err)
		}
		if c.Claim {
			return nil
		}
		return c
	}
	before := saved()
	for _, pieces := range [][][]byte{
		{lane(0, "a", 7), lane(1, "b", 5)},
		{say(pieceEnumerator, 0, &adfv1.SourceState{Node: "in", EnumeratorVersion: 1, Enumerator: []byte("all")})},
		{shard(0, 1), shard(1, 1), shard(2, 1)},
	} {
		if err := j.positions.save(t.Context(), j, pieces); err != nil {
			t.Fatal(err)
		}
		if c := saved(); !proto.Equal(c, before) {
			t.Errorf("got %v saved, which is not whole", c)
		}
	}
	if err := j.positions.save(t.Context(), j, [][]byte{shard(3, 4), lane(0, "a2", 9), lane(0, "a3", 10)}); err != nil {
		t.Fatal(err)
	}
	c := saved()
	if c == nil || !c.PositionsOnly || c.Run != j.Run || len(c.Sources) != 1 || len(c.Sources[0].Splits) != 2 || c.Sources[0].Splits[0].Id != "a3" ||
		c.Sources[0].GetWatermarkMs() != 5 || string(c.Sources[0].Enumerator) != "all" || len(c.Sinks) != 1 || len(c.Sinks[0].Shards) != 4 || c.Sinks[0].Shards[3].NextSeq != 4 {
		t.Fatalf("got %v", c)
	}
	if err := j.positions.save(t.Context(), j, [][]byte{shard(3, 4)}); err != nil || saved().Epoch != c.Epoch {
		t.Errorf("got epoch %d and %v, want %d: nothing has changed", saved().Epoch, err, c.Epoch)
	}

	// A process that comes later begins empty, and goes on in the name of the run.
	again := f.job(t.Context(), t, store, "memory")
	again.spec.Run = j.Run
	all := [][]byte{shard(0, 2), shard(1, 1), shard(2, 1), shard(3, 4), lane(0, "a4", 11), lane(1, "b", 5),
		say(pieceEnumerator, 0, &adfv1.SourceState{Node: "in", EnumeratorVersion: 1, Enumerator: []byte("all")})}
	if err := again.positions.save(t.Context(), again, all); err != nil || saved().Sinks[0].Shards[0].NextSeq != 2 {
		t.Errorf("got %v and %v", saved(), err)
	}

	// Another run takes the flow over.
	if _, _, err := checkpoint.Open(t.Context(), store, "followed", "other", checkpoint.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, j := range []*job{again, f.job(t.Context(), t, store, "memory")} {
		all[0] = say(pieceShard, 0, &adfv1.SinkState{Node: "out", Shards: []*adfv1.ShardState{{Run: j.Run, NextSeq: 3}}})
		for n := range 3 {
			all[1+n] = say(pieceShard, 1+n, &adfv1.SinkState{Node: "out", Shards: []*adfv1.ShardState{{Run: j.Run, Shard: uint32(1 + n)}}})
		}
		if err := j.positions.save(t.Context(), j, all); err == nil || fault.Retryable(err) {
			t.Errorf("got %v, want that the run has lost the flow", err)
		}
	}
}
