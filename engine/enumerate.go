package engine

import (
	"context"
	"sync"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/splits"
)

// enumerate drives the enumerator of one source. It is the enumerator's context.
type enumerate struct {
	a     *attempt
	node  *adf.Node
	lanes []*inbox

	mu   sync.Mutex // held while the enumerator is called, and by a checkpoint until it is saved
	enum splits.AnyEnumerator

	credit  sync.Mutex
	credits []int // requests not yet handed to the enumerator, by lane
	wake    chan struct{}
}

// inbox is where a lane finds what was assigned to it.
type inbox struct {
	mu     sync.Mutex
	splits []*adfv1.ReadState
	noMore bool
	wake   chan struct{}
}

func newEnumerate(a *attempt, n *adf.Node, lanes int) *enumerate {
	e := &enumerate{a: a, node: n, credits: make([]int, lanes), wake: make(chan struct{}, 1)}
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

// start restores or makes the enumerator; lanes get the splits that they had before, spread evenly.
func (e *enumerate) start(ctx context.Context, restored *adfv1.SourceState) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var state *splits.State
	if restored != nil {
		state = &splits.State{Version: int(restored.EnumeratorVersion), Data: restored.Enumerator}
		for i, s := range restored.Splits {
			in := e.lanes[i%len(e.lanes)]
			in.splits = append(in.splits, s)
		}
	}
	enum, err := e.node.Source.NewEnumerator(ctx, e, state)
	if err != nil {
		return e.within(err)
	}
	e.enum = enum
	if err := enum.Start(ctx); err != nil {
		return e.within(err)
	}
	for i := range e.lanes {
		if err := enum.AddReader(ctx, i); err != nil {
			return e.within(err)
		}
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
		err := e.handle(ctx)
		e.mu.Unlock()
		if err != nil {
			return e.within(err)
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
	s, err := e.enum.Snapshot(ctx)
	if err != nil {
		return nil, e.within(err)
	}
	return &adfv1.SourceState{Node: e.node.Name, EnumeratorVersion: uint32(s.Version), Enumerator: s.Data}, nil
}

func (e *enumerate) close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.enum == nil {
		return nil
	}
	return e.within(e.enum.Close())
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

// Assign puts splits into a lane's inbox.
func (e *enumerate) Assign(lane int, assigned ...splits.Envelope) {
	in := e.lanes[lane]
	in.mu.Lock()
	for _, s := range assigned {
		in.splits = append(in.splits, &adfv1.ReadState{Id: s.ID, Version: uint32(s.Version), Data: s.Data})
	}
	in.mu.Unlock()
	signal(in.wake)
}

// NoMoreSplits tells a lane that nothing more comes.
func (e *enumerate) NoMoreSplits(lane int) {
	in := e.lanes[lane]
	in.mu.Lock()
	in.noMore = true
	in.mu.Unlock()
	signal(in.wake)
}

// Every runs work in the background, and what it gives back under the enumerator's lock.
func (e *enumerate) Every(period time.Duration, work func(context.Context) (handle func() error)) {
	e.a.start(func(ctx context.Context) error {
		for {
			handle := work(ctx)
			if ctx.Err() != nil {
				return nil
			}
			e.mu.Lock()
			err := handle()
			e.mu.Unlock()
			if err != nil {
				return e.within(err)
			}
			if period <= 0 {
				return nil
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
