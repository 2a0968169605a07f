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
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/sinks"
)

// sequenceFn gives the parts of one shard of an exactly-once sink their numbers; it alone does, and the next number is its state.
type sequenceFn struct {
	Job  []byte
	Node string
	Next state.Value[[]byte] // the run, and behind it the number in 8 bytes
}

// ProcessElement numbers the parts of one bundle before.
func (f *sequenceFn) ProcessElement(_ context.Context, sp state.Provider, key, value []byte, emit func([]byte, []byte)) error {
	j, err := find(f.Job)
	if err != nil {
		return err
	}
	s := &adfv1.SinkState{}
	if err := proto.Unmarshal(value, s); err != nil {
		return j.wrong("bridge.form", err, sameRelease)
	}
	data, _, err := f.Next.Read(sp)
	if err != nil {
		return err
	}
	next := int64(0)
	if n := len(data) - 8; n >= 0 && string(data[:n]) == j.Run { // a new run begins at 0
		next = int64(binary.BigEndian.Uint64(data[n:]))
	}
	c := &adfv1.Committable{Run: j.Run, Shard: binary.BigEndian.Uint32(key), From: next}
	for _, p := range s.Pending {
		c.Parts = append(c.Parts, p.Parts...)
	}
	if err := f.Next.Write(sp, binary.BigEndian.AppendUint64([]byte(j.Run), uint64(next)+uint64(len(c.Parts)))); err != nil {
		return err
	}
	if value, err = proto.Marshal(c); err != nil {
		return err
	}
	emit(key, value)
	return nil
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
	committer, err := j.node(node).Sink.(sinks.AnyExact).NewCommitter(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, committer.Close()) }()
	count := &task.Counters{}
	for _, m := range whole {
		if err := j.commitOne(ctx, committer, node, m, count); err != nil {
			return err
		}
		j.unstage(ctx, m)
	}
	j.count(ctx, node, count)
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
