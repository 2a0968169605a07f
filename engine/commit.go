package engine

import (
	"context"
	"errors"

	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/sinks"
)

// committers are the committers of a flow's exactly-once sinks.
type committers struct {
	r    *run
	open map[string]sinks.AnyCommitter
}

// commit commits what is pending in a saved checkpoint, sink by sink, shard by shard.
func (c *committers) commit(ctx context.Context, cp *adfv1.Checkpoint) error {
	for _, s := range cp.Sinks {
		for _, m := range s.Pending {
			sh := sinks.Shard{Flow: c.r.flow(), Node: s.Node, Run: m.Run, Shard: int(m.Shard)}
			if err := c.r.patiently(ctx, "commit", func() error { return c.one(ctx, sh, m) }); err != nil {
				return err
			}
			c.r.counters[s.Node].Parts.Add(int64(len(m.Parts)))
		}
	}
	return nil
}

func (c *committers) one(ctx context.Context, sh sinks.Shard, m *adfv1.Committable) error {
	if c.open[sh.Node] == nil {
		committer, err := c.r.graph.Node(sh.Node).Sink.(sinks.AnyExact).NewCommitter(ctx)
		if err != nil {
			return fault.Within(err, sh.Flow, sh.Run, sh.Node)
		}
		c.open[sh.Node] = committer
	}
	return task.Commit(ctx, c.open[sh.Node], sh, m, c.r.session.ReadRange)
}

func (c *committers) close() error {
	var all []error
	for _, o := range c.open {
		all = append(all, o.Close())
	}
	return errors.Join(all...)
}
