package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/splits"
)

// enumerate drives the enumerator of one source. It is the enumerator's context.
type enumerate struct {
	a     *attempt
	node  *adf.Node
	lanes []*inbox

	mu      turn // held while the enumerator is called, and by a checkpoint until it is saved
	enum    splits.AnyEnumerator
	given   []assigned   // by lane, what the call at work has assigned
	looking atomic.Int32 // background work that has not come to its first result

	credit  sync.Mutex
	credits []int // requests not yet handed to the enumerator, by lane
	wake    chan struct{}
}

// turn is a mutex that is held for long: who waits for it is durably blocked, so that time goes on in testing/synctest.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

// assigned is what a lane is told.
type assigned struct {
	splits []*adfv1.ReadState
	noMore bool
}

// inbox is where a lane finds what was assigned to it.
type inbox struct {
	mu sync.Mutex
	assigned
	wake chan struct{}
}

// waiting says whether there are splits that the lane has not taken in.
func (in *inbox) waiting() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return len(in.splits) > 0
}

func newEnumerate(a *attempt, n *adf.Node, lanes int) *enumerate {
	e := &enumerate{a: a, node: n, mu: make(turn, 1), credits: make([]int, lanes), given: make([]assigned, lanes), wake: make(chan struct{}, 1)}
	for range lanes {
		e.lanes = append(e.lanes, &inbox{wake: make(chan struct{}, 1)})
	}
	return e
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// start restores or makes the enumerator.
func (e *enumerate) start(ctx context.Context, restored *adfv1.SourceState) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var state *splits.State
	if restored != nil {
		state = &splits.State{Version: int(restored.EnumeratorVersion), Data: restored.Enumerator}
	}
	return e.call(func() (err error) {
		if e.enum, err = e.node.Source.NewEnumerator(ctx, e, state); err != nil {
			return err
		}
		if err := e.enum.Start(ctx); err != nil {
			return err
		}
		for i := range e.lanes {
			if err := e.enum.AddReader(ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// call calls the enumerator, with the lock held. What it assigns takes effect when it returns, all at once: a lane that
// knew of some of its splits only would promise what the others do not keep.
func (e *enumerate) call(work func() error) error {
	if err := task.Guard(e.node.Name, work); err != nil {
		return e.within(err)
	}
	for i, in := range e.lanes {
		g := &e.given[i]
		if len(g.splits) == 0 && !g.noMore {
			continue
		}
		in.mu.Lock()
		in.splits, in.noMore = append(in.splits, g.splits...), in.noMore || g.noMore
		in.mu.Unlock()
		*g = assigned{}
		signal(in.wake)
	}
	return nil
}

// run hands the lanes' requests to the enumerator.
func (e *enumerate) run(ctx context.Context) error {
	for {
		select {
		case <-e.wake:
		case <-ctx.Done():
			return nil
		}
		e.mu.Lock()
		err := e.call(func() error { return e.handle(ctx) })
		e.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (e *enumerate) handle(ctx context.Context) error {
	for lane := range e.lanes {
		e.credit.Lock()
		n := e.credits[lane]
		e.credits[lane] = 0
		e.credit.Unlock()
		for range n {
			if err := e.enum.HandleSplitRequest(ctx, lane); err != nil {
				return err
			}
		}
	}
	return nil
}

// snapshot is called with the lock held.
func (e *enumerate) snapshot(ctx context.Context) (*adfv1.SourceState, error) {
	var s splits.State
	if err := e.call(func() (err error) {
		s, err = e.enum.Snapshot(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	return &adfv1.SourceState{Node: e.node.Name, EnumeratorVersion: uint32(s.Version), Enumerator: s.Data}, nil
}

func (e *enumerate) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.enum == nil {
		return nil
	}
	return e.within(task.Guard(e.node.Name, e.enum.Close))
}

func (e *enumerate) within(err error) error {
	return fault.Within(err, e.a.flow(), e.a.id, e.node.Name)
}

// request gives the enumerator a credit of a lane.
func (e *enumerate) request(lane int) {
	e.credit.Lock()
	e.credits[lane]++
	e.credit.Unlock()
	signal(e.wake)
}

// Parallelism is the number of lanes.
func (e *enumerate) Parallelism() int { return len(e.lanes) }

// Readers are all lanes: they are there before the enumerator starts.
func (e *enumerate) Readers() []int {
	all := make([]int, len(e.lanes))
	for i := range all {
		all[i] = i
	}
	return all
}

// Assign notes splits for a lane's inbox.
func (e *enumerate) Assign(lane int, envelopes ...splits.Envelope) {
	for _, s := range envelopes {
		e.given[lane].splits = append(e.given[lane].splits, task.StateOf(s))
	}
}

// NoMoreSplits notes that nothing more comes for a lane.
func (e *enumerate) NoMoreSplits(lane int) { e.given[lane].noMore = true }

// Every runs work in the background, and what it gives back under the enumerator's lock.
func (e *enumerate) Every(period time.Duration, work func(context.Context) (handle func() error)) {
	e.looking.Add(1)
	e.a.start(e.node.Name, func(ctx context.Context) error {
		for first := true; ; first = false {
			handle := work(ctx)
			if ctx.Err() != nil {
				return nil
			}
			e.mu.Lock()
			err := e.call(handle)
			if first {
				e.looking.Add(-1)
			}
			e.mu.Unlock()
			if err != nil || period <= 0 {
				return err
			}
			select {
			case <-time.After(period):
			case <-ctx.Done():
				return nil
			}
		}
	})
}

// readerContext is what a lane's reader sees of the enumerator.
type readerContext struct {
	e    *enumerate
	lane int
}

func (c readerContext) Index() int    { return c.lane }
func (c readerContext) RequestSplit() { c.e.request(c.lane) }
