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
	part []byte // the bytes of the part at hand, used again for the next
}

// commit commits what is pending in a saved checkpoint, sink by sink, shard by shard.
func (c *committers) commit(ctx context.Context, cp *adfv1.Checkpoint) error {
	for _, s := range cp.Sinks {
		for _, m := range s.Pending {
			sh := sinks.Shard{Flow: c.r.flow(), Node: s.Node, Run: m.Run, Shard: int(m.Shard)}
			if err := c.r.patiently(ctx, "commit", func() error { return c.one(ctx, sh, m) }); err != nil {
				return err
			}
			c.r.counters[s.Node].Parts.Add(output(m))
		}
	}
	return nil
}

func (c *committers) one(ctx context.Context, sh sinks.Shard, m *adfv1.Committable) error {
	if c.open[sh.Node] == nil {
		if err := task.Guard(sh.Node, func() error {
			committer, err := c.r.graph.Node(sh.Node).Sink.(sinks.AnyExact).NewCommitter(ctx)
			if err == nil {
				c.open[sh.Node] = committer
			}
			return err
		}); err != nil {
			return fault.Within(err, sh.Flow, sh.Run, sh.Node)
		}
	}
	return task.Commit(ctx, c.open[sh.Node], sh, m, func(ctx context.Context, at *adfv1.BlobRange) ([]byte, error) {
		var err error
		c.part, err = c.r.session.ReadRange(ctx, at, c.part)
		return c.part, err
	})
}

func (c *committers) close() error {
	var all []error
	for node, o := range c.open {
		all = append(all, task.Guard(node, o.Close))
	}
	return errors.Join(all...)
}

// output is how many parts of a committable hold something; those that seal a sequence do not.
func output(m *adfv1.Committable) (n int64) {
	for _, p := range m.Parts {
		if p.GetBlob() != nil || len(p.GetValue()) > 0 {
			n++
		}
	}
	return n
}
