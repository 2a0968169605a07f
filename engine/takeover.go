package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/sinks"
)

// TakeOver claims a flow for a run of another runtime, which keeps state itself and saves positions. It is what a run does here when it starts: the checkpoint that is there is
// compared with the flow and its sinks, and what it has pending is committed. The claim is what the other runtime starts from: its sources. Keyed state does not go along.
// When the run is resumed from state that the other runtime has saved, the flow is claimed, and that is all.
//
// From then on the flow belongs to the run, in whose name the other runtime saves. Of the options Store, Retain, Retries, Rewind, AllowDropped and Log count.
func TakeOver(ctx context.Context, g *adf.Graph, run string, resumed bool, o Options) error {
	r := newRun(g, o)
	r.id, r.log = run, o.Log.With("flow", g.Plan.Flow(), "run", run)
	err := r.takeOver(ctx, resumed)
	var gave *gaveUp
	if errors.As(err, &gave) {
		err = gave.err
	}
	return r.within(err)
}

func (r *run) takeOver(ctx context.Context, resumed bool) (err error) {
	session, restored, err := checkpoint.Open(ctx, r.Store, r.flow(), r.id, checkpoint.Options{Retain: r.Retain, Admit: func(ctx context.Context, c *adfv1.Checkpoint) error {
		if !resumed {
			if err := r.leaveKeyed(c); err != nil {
				return err
			}
			if err := r.admit(ctx, c); err != nil {
				return err
			}
		}
		r.begin(c)
		return nil
	}})
	if err != nil {
		return err
	}
	if restored == nil {
		first := &adfv1.Checkpoint{}
		r.begin(first)
		return session.Save(ctx, first)
	}
	if resumed {
		return nil
	}
	r.session = session
	commits := committers{r: r, open: map[string]sinks.AnyCommitter{}}
	defer func() { err = errors.Join(err, commits.close()) }()
	return commits.commit(ctx, restored)
}

// leaveKeyed takes the keyed state out of a checkpoint.
func (r *run) leaveKeyed(c *adfv1.Checkpoint) error {
	var names []string
	for _, k := range c.Keyed {
		if len(k.Logs) > 0 {
			names = append(names, k.Node)
		}
	}
	if len(names) > 0 && !r.AllowDropped {
		return &fault.RuntimeError{Detail: fault.Detail{
			Code: "checkpoint.keyed", Doing: "hand the flow over", Retry: fault.RetryNever,
			Err: fmt.Errorf("epoch %d has state of %s, which can not go along to another runtime", c.Epoch, strings.Join(names, ", ")),
			Fix: "go on with adf run, or give that state up with --allow-dropped: open windows begin anew",
		}}
	}
	c.Keyed = nil
	return nil
}

// begin notes that the run begins the sequences of all shards. It may commit before it saves positions: then whoever comes next finds the sinks ahead of this.
func (r *run) begin(c *adfv1.Checkpoint) {
	for _, n := range r.graph.Nodes {
		if _, ok := n.Sink.(sinks.AnyExact); !ok {
			continue
		}
		state := sinkState(c, n.Name)
		if state == nil {
			state = &adfv1.SinkState{Node: n.Name}
			c.Sinks = append(c.Sinks, state)
		}
		for shard := range r.graph.Plan.Shards() {
			state.Shards = append(state.Shards, &adfv1.ShardState{Shard: uint32(shard), Run: r.id})
		}
	}
}
