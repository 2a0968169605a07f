package flinkbridge

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/splits"
)

// enumerate asks a source's enumerator for all its splits, and gives them in pieces that are read each by one reader: one by one, or all together when the source
// does not end by itself, so that where it ends is one decision. Readers do not ask for splits here: every lane asks as long as something comes.
func enumerate(ctx context.Context, j *job, n *adf.Node) ([][]byte, error) {
	endless := n.Source.Boundedness() == splits.Unbounded
	lanes := j.Lanes
	if n.Parallelism > 0 {
		lanes = n.Parallelism
	}
	if endless {
		lanes = 1
	}
	p := &pushing{lanes: lanes, done: make([]bool, lanes)}
	if err := task.Guard(n.Name, func() error { return p.run(ctx, n.Source, endless) }); err != nil {
		return nil, fault.Within(err, j.Flow, j.Run, n.Name)
	}
	var pieces [][]*adfv1.ReadState
	for _, s := range p.found {
		pieces = append(pieces, []*adfv1.ReadState{s})
	}
	if endless && len(p.found) > 0 {
		pieces = [][]*adfv1.ReadState{p.found}
	}
	work := make([][]byte, len(pieces))
	for i, piece := range pieces {
		var err error
		if work[i], err = proto.Marshal(&adfv1.SourceState{Node: n.Name, Splits: piece}); err != nil {
			return nil, err
		}
	}
	return work, nil
}

// pushing is the context of an enumerator that is asked until it has no more.
type pushing struct {
	lanes      int
	registered int
	found      []*adfv1.ReadState
	done       []bool // lanes that get nothing more
	background []background
}

// background is what the enumerator does besides; here it is done in between.
type background struct {
	period time.Duration
	work   func(context.Context) (handle func() error)
}

func (p *pushing) run(ctx context.Context, source splits.Any, endless bool) (err error) {
	enum, err := source.NewEnumerator(ctx, p, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, enum.Close()) }()
	if err := enum.Start(ctx); err != nil {
		return err
	}
	for i := range p.lanes {
		p.registered++
		if err := enum.AddReader(ctx, i); err != nil {
			return err
		}
	}
	for {
		shortest, err := p.inBetween(ctx)
		if err != nil {
			return err
		}
		if err := p.ask(ctx, enum); err != nil {
			return err
		}
		switch {
		case p.ended(), endless: // what is found of an endless source later is not part of a run that ends
			return nil
		case shortest == 0:
			return &fault.SourceError{Detail: fault.Detail{
				Code: "bridge.enumerator", Doing: "find splits", Retry: fault.RetryNever,
				Err: errors.New("the enumerator of a source that ends neither assigns a split nor says that there are no more"),
			}}
		}
		select {
		case <-time.After(shortest):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// ask gives every lane credit as long as splits come.
func (p *pushing) ask(ctx context.Context, enum splits.AnyEnumerator) error {
	for came := true; came; {
		before := len(p.found)
		for i := range p.lanes {
			if p.done[i] {
				continue
			}
			if err := enum.HandleSplitRequest(ctx, i); err != nil {
				return err
			}
		}
		came = len(p.found) > before
	}
	return nil
}

func (p *pushing) ended() bool {
	for _, d := range p.done {
		if !d {
			return false
		}
	}
	return true
}

// inBetween does what was to be done in the background, once, and gives the shortest period that is to be waited before it is done again; 0: there is none.
func (p *pushing) inBetween(ctx context.Context) (shortest time.Duration, err error) {
	todo := p.background
	p.background = nil
	for _, b := range todo {
		handle := b.work(ctx)
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err := handle(); err != nil {
			return 0, err
		}
		if b.period > 0 {
			p.background = append(p.background, b)
			if shortest == 0 || b.period < shortest {
				shortest = b.period
			}
		}
	}
	return shortest, nil
}

// Parallelism is the number of lanes.
func (p *pushing) Parallelism() int { return p.lanes }

// Readers are the lanes that have been added.
func (p *pushing) Readers() []int {
	all := make([]int, p.registered)
	for i := range all {
		all[i] = i
	}
	return all
}

// Assign takes splits; who reads them is the runner's choice.
func (p *pushing) Assign(_ int, assigned ...splits.Envelope) {
	for _, e := range assigned {
		p.found = append(p.found, task.StateOf(e))
	}
}

// NoMoreSplits ends a lane.
func (p *pushing) NoMoreSplits(lane int) { p.done[lane] = true }

// Every notes what is to be done in between.
func (p *pushing) Every(period time.Duration, work func(context.Context) (handle func() error)) {
	p.background = append(p.background, background{period, work})
}
