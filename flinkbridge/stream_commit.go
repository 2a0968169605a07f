package flinkbridge

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/sinks"
)

// sequenceFn gives the parts of one shard of an exactly-once sink their numbers; it alone does, and the next number is its state. Every shard is called now and then by
// something without parts, so that a run which goes on from a savepoint looks at all of them, and not only at those that get output.
type sequenceFn struct {
	Job  []byte
	Node string
	Next state.Value[[]byte] // the run, and behind it the number in 8 bytes
}

// ProcessElement numbers the parts of one bundle before.
func (f *sequenceFn) ProcessElement(ctx context.Context, sp state.Provider, key, value []byte, emit func([]byte, []byte)) error {
	j, err := find(f.Job)
	if err != nil {
		return err
	}
	shard, ok := numberOf(key, len(j.keys.shards))
	if !ok {
		return j.wrong("bridge.form", fmt.Errorf("got the key %x, want a shard", key), sameRelease)
	}
	s := &adfv1.SinkState{}
	if err := proto.Unmarshal(value, s); err != nil {
		return j.wrong("bridge.form", err, sameRelease)
	}
	data, _, err := f.Next.Read(sp)
	if err != nil {
		return err
	}
	run, next := "", int64(0)
	if n := len(data) - 8; n >= 0 {
		run, next = string(data[:n]), int64(binary.BigEndian.Uint64(data[n:]))
	}
	c := &adfv1.Committable{Run: j.Run, Shard: uint32(shard), From: next}
	var out []*adfv1.Committable
	if run != j.Run {
		seal, err := j.seal(ctx, f.Node, &adfv1.ShardState{Shard: c.Shard, Run: run, NextSeq: next})
		if err != nil {
			return j.failing(err, f.Node)
		}
		c.From = 0 // a new run begins there
		out = append(out, seal...)
	}
	for _, p := range s.Pending {
		c.Parts = append(c.Parts, p.Parts...)
	}
	if len(c.Parts) > 0 {
		out = append(out, c)
	} else if run == j.Run {
		return f.tell(j, c, emit)
	}
	if err := f.Next.Write(sp, binary.BigEndian.AppendUint64([]byte(j.Run), uint64(c.From)+uint64(len(c.Parts)))); err != nil {
		return err
	}
	for _, c := range out {
		if value, err = proto.Marshal(c); err != nil {
			return err
		}
		emit(keyFor(f.Node, key), value)
	}
	return f.tell(j, c, emit)
}

// tell tells where the shard stands.
func (f *sequenceFn) tell(j *job, c *adfv1.Committable, emit func([]byte, []byte)) error {
	if j.Checkpoints == "" {
		return nil
	}
	p, err := piece(pieceShard, int(c.Shard), &adfv1.SinkState{
		Node: f.Node, Shards: []*adfv1.ShardState{{Shard: c.Shard, Run: j.Run, NextSeq: c.From + int64(len(c.Parts))}},
	})
	emit(p.key, p.value)
	return err
}

// seal ends the sequence of the run before, from whose savepoint this one goes on, by an empty part. When that is committed the target shows that somebody went on from
// there: whoever starts from the same savepoint later finds the target ahead of it, as this run does if somebody was here before it.
func (j *job) seal(ctx context.Context, node string, before *adfv1.ShardState) (seal []*adfv1.Committable, err error) {
	if before.Run == "" {
		return nil, nil
	}
	last := int64(0)
	if err := j.patiently(ctx, func() (err error) {
		return task.Guard(node, func() error {
			c, err := j.node(node).Sink.(sinks.AnyExact).NewCommitter(ctx)
			if err != nil {
				return err
			}
			last, err = c.Progress(ctx, sinks.Shard{Flow: j.Flow, Node: node, Run: before.Run, Shard: int(before.Shard)})
			return errors.Join(err, c.Close())
		})
	}); err != nil {
		return nil, err
	}
	switch {
	case last < before.NextSeq:
		return []*adfv1.Committable{{Run: before.Run, Shard: before.Shard, From: before.NextSeq, Parts: []*adfv1.Part{{Content: &adfv1.Part_Value{}}}}}, nil
	case j.Rewind:
		j.log.Warn("rewinding: the sink is ahead of this savepoint, output since then will be repeated", "node", node, "of_run", before.Run)
		return nil, nil
	}
	return nil, &fault.RuntimeError{Detail: fault.Detail{
		Code: "bridge.behind", Doing: "compare the savepoint with the sink", Retry: fault.RetryNever,
		Err: fmt.Errorf("the savepoint, of run %s, knows %d parts of shard %d, and the sink has %d: it is older than the output, or another run went on from it",
			before.Run, before.NextSeq, before.Shard, last+1),
		Fix: "go on from the newest savepoint or checkpoint; or submit with --rewind, which repeats the output since this one",
	}}
}

// stableFn commits what a completed checkpoint has. The runner keeps its input back until then (requires_stable_input). Its state is there to make it keyed and is
// never touched: the runner holds the lock of the state while the bundle runs. For the same reason it sets no timers.
type stableFn struct {
	Job   []byte
	Node  string
	Keyed state.Value[[]byte]

	waiting []*adfv1.Committable
}

// ProcessElement takes what is to be committed; nothing is done yet.
func (f *stableFn) ProcessElement(_ context.Context, _ state.Provider, _, value []byte) error {
	c := &adfv1.Committable{}
	if err := proto.Unmarshal(value, c); err != nil {
		return fmt.Errorf("%s: read a committable: %w", f.Node, err)
	}
	f.waiting = append(f.waiting, c)
	return nil
}

// FinishBundle commits, each shard's parts as one.
func (f *stableFn) FinishBundle(ctx context.Context) error {
	waiting := f.waiting
	f.waiting = nil
	if len(waiting) == 0 {
		return nil
	}
	return alone(ctx, f.Job, func(ctx context.Context, j *job) error {
		if j.checkpoints != nil {
			if _, err := j.owned(ctx); err != nil {
				return err
			}
		}
		return j.within(j.commitAll(ctx, f.Node, waiting), f.Node)
	})
}

// commitAll commits what has come for a sink, in order, and removes its parts from staging.
func (j *job) commitAll(ctx context.Context, node string, waiting []*adfv1.Committable) (err error) {
	slices.SortStableFunc(waiting, func(a, b *adfv1.Committable) int {
		return cmp.Or(cmp.Compare(a.Run, b.Run), cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.From, b.From))
	})
	var whole []*adfv1.Committable
	for _, c := range waiting {
		if n := len(whole) - 1; n >= 0 && whole[n].Run == c.Run && whole[n].Shard == c.Shard && whole[n].From+int64(len(whole[n].Parts)) == c.From {
			whole[n].Parts = append(whole[n].Parts, c.Parts...)
			continue
		}
		whole = append(whole, c)
	}
	to := &target{job: j, node: node}
	defer func() { err = errors.Join(err, to.close()) }()
	for _, m := range whole {
		if err := to.commit(ctx, m); err != nil {
			return err
		}
		j.unstage(ctx, m)
	}
	j.count(ctx, node, &to.counters)
	return nil
}

// unstage removes the parts of what is committed.
func (j *job) unstage(ctx context.Context, m *adfv1.Committable) {
	gone := map[string]bool{}
	for _, p := range m.Parts {
		name := p.GetBlob().GetBlob()
		if name == "" || gone[name] {
			continue
		}
		gone[name] = true
		store, err := j.staged()
		if err == nil {
			err = store.RemoveBlob(ctx, j.stagedAs(m.Run), name)
		}
		if err != nil {
			j.log.Warn("output that is committed could not be removed from staging", "error", err)
		}
	}
}
