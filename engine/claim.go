package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/sinks"
)

// claim takes the flow over and finds what to go on from.
//
// The sequences of the run before are sealed: one empty part more is pending in the claim. It is committed with everything else that the run before left, and from then
// on the target shows that somebody went on from here: whoever starts from an older copy of the checkpoint finds the target ahead of it.
func (r *run) claim(ctx context.Context) error {
	session, restored, err := checkpoint.Open(ctx, r.Store, r.flow(), r.id, checkpoint.Options{Retain: r.Retain, Fresh: r.Fresh, Admit: r.admit})
	if err != nil {
		return err
	}
	r.session = session
	r.epoch.Store(session.Epoch())
	if restored == nil {
		r.log.Info("started", "epoch", session.Epoch())
		r.saved = &adfv1.Checkpoint{}
		return nil
	}
	r.saved, r.restored = restored, restored.Epoch
	if restored.Finished {
		r.before = time.UnixMilli(restored.FinishedAtMs)
	}
	r.log.Info("restored", "epoch", restored.Epoch, "of_run", restored.Run, "saved", time.UnixMilli(restored.SavedAtMs).UTC())
	return nil
}

// admit looks at a checkpoint before it is claimed, and makes it the claim's content.
func (r *run) admit(ctx context.Context, c *adfv1.Checkpoint) error {
	if err := r.match(c); err != nil {
		return err
	}
	for _, n := range r.graph.Nodes {
		exact, ok := n.Sink.(sinks.AnyExact)
		state := sinkState(c, n.Name)
		if !ok || state == nil {
			continue
		}
		if err := task.Guard(n.Name, func() error { return r.compareProgress(ctx, n, exact, state, c) }); err != nil {
			return err
		}
		for _, sh := range state.Shards {
			state.Pending = append(state.Pending, &adfv1.Committable{
				Run: sh.Run, Shard: sh.Shard, From: sh.NextSeq, Parts: []*adfv1.Part{{Content: &adfv1.Part_Value{}}},
			})
			sh.NextSeq++
		}
	}
	c.PositionsOnly = false // what was not in it is given up, and what has to be committed is
	return nil
}

func sinkState(c *adfv1.Checkpoint, node string) *adfv1.SinkState {
	for _, s := range c.Sinks {
		if s.Node == node {
			return s
		}
	}
	return nil
}

// compareProgress refuses a checkpoint that is behind what its own run committed later, and positions that are ahead of what their run has committed.
func (r *run) compareProgress(ctx context.Context, n *adf.Node, exact sinks.AnyExact, state *adfv1.SinkState, c *adfv1.Checkpoint) error {
	committer, err := exact.NewCommitter(ctx)
	if err != nil {
		return fault.Within(err, r.flow(), r.id, n.Name)
	}
	defer committer.Close()
	for _, sh := range state.Shards {
		last, err := committer.Progress(ctx, sinks.Shard{Flow: r.flow(), Node: n.Name, Run: sh.Run, Shard: int(sh.Shard)})
		if err != nil {
			return fault.Within(err, r.flow(), r.id, n.Name)
		}
		if c.PositionsOnly && last < sh.NextSeq-1 {
			return &fault.RuntimeError{Detail: fault.Detail{
				Code: "checkpoint.uncommitted", Doing: "compare the checkpoint with the sink", Node: n.Name, Retry: fault.RetryNever,
				Err: fmt.Errorf("run %s has read on behind %d parts of shard %d, and the sink has %d: the job was killed before it had committed the rest, which only its own checkpoints have",
					sh.Run, sh.NextSeq, sh.Shard, last+1),
				Fix: resumeThere + "; or start over with --fresh",
			}}
		}
		if last < sh.NextSeq {
			continue
		}
		if epochs, err := r.Store.Epochs(ctx, r.flow()); err != nil {
			return err
		} else if len(epochs) > 0 && epochs[len(epochs)-1] > c.Epoch {
			return nil // another run is alive and has gone on meanwhile: its number is taken, and the next one to look at is newer
		}
		if r.Rewind {
			r.log.Warn("rewinding: the sink is ahead of this checkpoint, output since then will be repeated", "node", n.Name, "epoch", c.Epoch, "of_run", sh.Run)
			// What the run before had pending is committed already, and its sequence can not be sealed any more.
			state.Shards = nil
			state.Pending = nil
			return nil
		}
		fix := "go on from the newest checkpoint"
		if c.PositionsOnly {
			fix = resumeThere
		}
		return &fault.RuntimeError{Detail: fault.Detail{
			Code: "checkpoint.behind", Doing: "compare the checkpoint with the sink", Node: n.Name, Retry: fault.RetryNever,
			Err: fmt.Errorf("epoch %d of run %s knows %d parts of shard %d, and the sink has %d: the checkpoint is an older copy, or another run went on from it", c.Epoch, sh.Run, sh.NextSeq, sh.Shard, last+1),
			Fix: fix + "; or start with --rewind, which repeats the output since this one",
		}}
	}
	return nil
}

// resumeThere is what helps when a job has ended otherwise than by a stop.
const resumeThere = "submit the flow to Flink again from the job's last checkpoint (adf flink submit --savepoint), and end it with adf flink stop"

// match compares a checkpoint with the flow, node by node.
func (r *run) match(c *adfv1.Checkpoint) error {
	if c.PositionsOnly && !r.AllowDropped {
		if keyed := r.keyedSteps(); len(keyed) > 0 {
			return &fault.RuntimeError{Detail: fault.Detail{
				Code: "checkpoint.elsewhere", Doing: "match the flow with its checkpoint", Retry: fault.RetryNever,
				Err: fmt.Errorf("epoch %d has the positions of a job of Flink; the state of %s is in the job's savepoint", c.Epoch, strings.Join(keyed, ", ")),
				Fix: "go on from the savepoint (adf flink submit --savepoint), or give that state up with --allow-dropped: open windows begin anew",
			}}
		}
	}
	state := map[string]string{} // node → what there is of it
	for _, s := range c.Sources {
		state[s.Node] = "source"
	}
	for _, k := range c.Keyed {
		state[k.Node] = "keyed step"
	}
	for _, s := range c.Sinks {
		state[s.Node] = "exactly-once sink"
	}
	var dropped []string
	for _, name := range slices.Sorted(maps.Keys(state)) {
		n := r.graph.Node(name)
		switch {
		case n == nil:
			dropped = append(dropped, name+" ("+state[name]+")")
		case kindOf(n) != state[name]:
			dropped = append(dropped, fmt.Sprintf("%s (was %s, is %s)", name, article(state[name]), article(n.Kind.String())))
		}
	}
	if len(dropped) > 0 && !r.AllowDropped {
		return &fault.RuntimeError{Detail: fault.Detail{
			Code: "checkpoint.dropped", Doing: "match the flow with its checkpoint", Retry: fault.RetryNever,
			Err: fmt.Errorf("epoch %d has state of nodes that the flow does not have: %s", c.Epoch, strings.Join(dropped, ", ")),
			Fix: "give the nodes their old names back, or drop their state with --allow-dropped, or start over with --fresh",
		}}
	}
	keep := func(name, kind string) bool { n := r.graph.Node(name); return n != nil && kindOf(n) == kind }
	c.Sources = slices.DeleteFunc(c.Sources, func(s *adfv1.SourceState) bool { return !keep(s.Node, "source") })
	c.Keyed = slices.DeleteFunc(c.Keyed, func(s *adfv1.KeyedState) bool { return !keep(s.Node, "keyed step") })
	c.Sinks = slices.DeleteFunc(c.Sinks, func(s *adfv1.SinkState) bool { return !keep(s.Node, "exactly-once sink") })
	for _, k := range c.Keyed {
		if int(k.Buckets) != r.graph.Plan.Buckets() {
			return &fault.RuntimeError{Detail: fault.Detail{
				Code: "checkpoint.buckets", Doing: "match the flow with its checkpoint", Node: k.Node, Retry: fault.RetryNever,
				Err: fmt.Errorf("the checkpoint has %d buckets, the flow %d", k.Buckets, r.graph.Plan.Buckets()), Fix: "the number of buckets is fixed for a flow's life",
			}}
		}
	}
	return nil
}

func (r *run) keyedSteps() (names []string) {
	for _, n := range r.graph.Nodes {
		if n.Kind == adf.KindKeyed {
			names = append(names, n.Name)
		}
	}
	return names
}

func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an " + noun
	}
	return "a " + noun
}

func kindOf(n *adf.Node) string {
	if n.Kind == adf.KindSink {
		if _, ok := n.Sink.(sinks.AnyExact); ok {
			return "exactly-once sink"
		}
	}
	return n.Kind.String()
}
