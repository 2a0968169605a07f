package flinkbridge

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/sinks"
)

// commit commits the output of all exactly-once sinks of a run, once. What came before may have been computed more than once, and another time it
// may be cut differently: so the first that gets here writes down what is to be committed, under the name of the run, and whoever comes later commits
// what is written there.
func commit(ctx context.Context, j *job, values func(*[]byte) bool) error {
	store, err := j.staged()
	if err != nil {
		return err
	}
	manifest, err := j.collect(values)
	if err != nil {
		return err
	}
	if manifest, err = settle(ctx, store, j.stagedAs(j.Run), manifest); err != nil {
		return j.within(err, "")
	}
	for _, s := range manifest.Sinks {
		if err := j.commitSink(ctx, s); err != nil {
			return j.within(err, s.Node)
		}
	}
	// The manifest stays: who comes later finds in it that everything is done.
	blobs, err := store.Blobs(ctx, j.stagedAs(j.Run))
	for _, name := range blobs {
		err = errors.Join(err, store.RemoveBlob(ctx, j.stagedAs(j.Run), name))
	}
	if err != nil {
		j.log.Warn("output that is committed could not be removed from staging", "error", err)
	}
	return nil
}

func (j *job) within(err error, node string) error {
	return lost(fault.Within(err, j.Flow, j.Run, node))
}

// collect puts the parts of all bundles into sequences: those of one bundle stay together and in order.
func (j *job) collect(values func(*[]byte) bool) (*adfv1.Checkpoint, error) {
	bundles := map[string][]*adfv1.Committable{}
	for value := []byte(nil); values(&value); {
		s := &adfv1.SinkState{}
		if err := proto.Unmarshal(value, s); err != nil {
			return nil, j.wrong("bridge.form", err, sameRelease)
		}
		bundles[s.Node] = append(bundles[s.Node], s.Pending...)
	}
	manifest := &adfv1.Checkpoint{Version: checkpoint.Version, Flow: j.Flow, Run: j.Run, PlanDigest: j.Digest, SavedAtMs: time.Now().UnixMilli(), Finished: true}
	for _, n := range j.graph.Nodes {
		of := bundles[n.Name]
		if len(of) == 0 {
			continue
		}
		slices.SortFunc(of, func(a, b *adfv1.Committable) int { return cmp.Compare(a.Run, b.Run) })
		s := &adfv1.SinkState{Node: n.Name}
		shards := min(j.graph.Plan.Shards(), len(of))
		for i := range shards {
			s.Pending = append(s.Pending, &adfv1.Committable{Run: j.Run, Shard: uint32(i)})
		}
		for i, c := range of {
			to := s.Pending[i%shards]
			to.Parts = append(to.Parts, c.Parts...)
		}
		manifest.Sinks = append(manifest.Sinks, s)
	}
	return manifest, nil
}

// settle creates the manifest, or gives the one that is there.
func settle(ctx context.Context, store checkpoint.Store, name string, m *adfv1.Checkpoint) (*adfv1.Checkpoint, error) {
	content, err := checkpoint.Encode(m)
	if err != nil {
		return nil, err
	}
	err = store.CreateEpoch(ctx, name, 1, content)
	if err == nil || !errors.Is(err, checkpoint.ErrExists) {
		return m, err
	}
	if content, err = store.ReadEpoch(ctx, name, 1); err != nil {
		return nil, err
	}
	return checkpoint.Decode(content)
}

func (j *job) commitSink(ctx context.Context, s *adfv1.SinkState) (err error) {
	to := &target{job: j, node: s.Node}
	defer func() { err = errors.Join(err, to.close()) }()
	for _, m := range s.Pending {
		if err := to.commit(ctx, m); err != nil {
			return err
		}
	}
	j.count(ctx, s.Node, &to.counters)
	return nil
}

// target is what a sink commits to. Its committer is opened when it is needed, and anew after a failure.
type target struct {
	job       *job
	node      string
	committer sinks.AnyCommitter
	counters  task.Counters
}

// commit commits parts that follow one another, as often as a retry can help.
func (t *target) commit(ctx context.Context, m *adfv1.Committable) error {
	if err := t.job.patiently(ctx, func() error {
		err := t.try(ctx, m)
		if err != nil {
			_ = t.close() // the failure says more
		}
		return err
	}); err != nil {
		return err
	}
	for _, p := range m.Parts {
		if p.GetBlob() != nil || len(p.GetValue()) > 0 { // and no seal
			t.counters.Parts.Add(1)
		}
	}
	return nil
}

// try commits what the target does not have yet. Another attempt may be at it: a worker whose runner has died goes on for a while. What it has committed it also removes
// from staging, so a failure counts only when the target has not moved on meanwhile.
func (t *target) try(ctx context.Context, m *adfv1.Committable) (err error) {
	if t.committer == nil {
		if t.committer, err = t.job.node(t.node).Sink.(sinks.AnyExact).NewCommitter(ctx); err != nil {
			t.committer = nil
			return err
		}
	}
	sh := sinks.Shard{Flow: t.job.Flow, Node: t.node, Run: m.Run, Shard: int(m.Shard)}
	had := int64(-1)
	for {
		last, perr := t.committer.Progress(ctx, sh)
		switch {
		case perr != nil:
			return cmp.Or(err, perr)
		case last >= m.From+int64(len(m.Parts))-1:
			return nil
		case err != nil && last <= had:
			return err
		}
		had = last
		rest := m
		if done := last + 1 - m.From; done > 0 {
			rest = &adfv1.Committable{Run: m.Run, Shard: m.Shard, From: last + 1, Parts: m.Parts[done:]}
		}
		var part []byte
		if err = task.Commit(ctx, t.committer, sh, rest, func(ctx context.Context, at *adfv1.BlobRange) ([]byte, error) {
			store, err := t.job.staged()
			if err == nil {
				part, err = checkpoint.ReadRange(ctx, store, t.job.stagedAs(m.Run), at, part)
			}
			return part, err
		}); err == nil {
			return nil
		}
	}
}

func (t *target) close() error {
	if t.committer == nil {
		return nil
	}
	c := t.committer
	t.committer = nil
	return c.Close()
}

// tries is how often a commit is tried that a retry can help, as many as the engine's default. A job that does not end tries for ever: to fail there means
// to start over from the last checkpoint, which costs more than to wait.
const tries = 11

// patiently does something until it succeeds, no retry can help, or it was tried often enough.
func (j *job) patiently(ctx context.Context, do func() error) error {
	for n := 0; ; n++ {
		err := do()
		if err == nil || ctx.Err() != nil || !fault.Retryable(err) || n == tries-1 && !j.Streaming {
			return err
		}
		wait := min(100*time.Millisecond<<min(n, 16), 30*time.Second)
		j.log.Warn("trying again", "doing", "commit", "error", err, "wait", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}
