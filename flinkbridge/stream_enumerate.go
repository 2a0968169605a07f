package flinkbridge

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/task"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/splits"
)

// discoverFn drives a source's enumerator for as long as the job lives: on a timer it gives every lane credit, and what is assigned travels in the data to the lanes.
// Nothing flows back from them. Its state is the enumerator's snapshot behind a token.
type discoverFn struct {
	Job  []byte
	Node string

	State state.Value[[]byte]
	Tick  timers.ProcessingTime

	held *enumerator
}

// How often an enumerator is asked: while it looks for its first splits, and later.
const (
	tickLooking = 20 * time.Millisecond
	tickLater   = time.Second
)

// ProcessElement begins, once for ever.
func (f *discoverFn) ProcessElement(_ context.Context, sp state.Provider, tp timers.Provider, _, _ []byte, _ func([]byte, []byte)) error {
	_, begun, err := f.State.Read(sp)
	if err != nil || begun {
		return err
	}
	if err := f.State.Write(sp, []byte{}); err != nil {
		return err
	}
	f.Tick.Set(tp, time.Now(), timers.WithOutputTimestamp(longAgo))
	return nil
}

// OnTimer asks the enumerator, and hands on what it assigns.
func (f *discoverFn) OnTimer(
	ctx context.Context, sp state.Provider, tp timers.Provider, _ []byte, _ timers.Context, emit func([]byte, []byte),
) error {
	data, _, err := f.State.Read(sp)
	if err != nil {
		return err
	}
	j, err := find(f.Job)
	if err != nil {
		return err
	}
	first := len(data) == 0
	var from *adfv1.SourceState // of a checkpoint
	if first {
		if from, err = j.starting(ctx, f.Node); err == nil && from != nil {
			data, err = startingState(from)
		}
		if err != nil {
			return j.failing(err, f.Node)
		}
	}
	e, err := f.take(j, data)
	if err != nil {
		return j.failing(err, f.Node)
	}
	f.held = e
	var promised *int64
	if from != nil {
		promised = from.WatermarkMs
		for i, s := range from.Splits {
			g := &e.given[i%e.lanes]
			g.splits = append(g.splits, s)
		}
	}
	given, err := e.ask(ctx)
	if err != nil {
		return j.failing(err, f.Node)
	}
	if first { // all lanes are there from the beginning, and promise nothing until they know better
		for i := range given {
			given[i].told = true
		}
	}
	for i, g := range given {
		if !g.told {
			continue
		}
		value, err := proto.Marshal(&adfv1.SourceState{Node: f.Node, Splits: g.splits, WatermarkMs: promised})
		if err != nil {
			return err
		}
		more := byte(1)
		if g.noMore {
			more = 0
		}
		emit(keyFor(f.Node, j.keys.lanes[i]), append([]byte{more}, value...))
	}
	if e.changed || first {
		snapshot, err := e.snapshot(ctx)
		if err != nil {
			return j.failing(err, f.Node)
		}
		e.token, e.changed = newToken(), false
		data = append(e.token[:len(e.token):len(e.token)], snapshot...)
		if err := f.State.Write(sp, data); err != nil {
			return err
		}
		if err := e.tell(data, emit); err != nil {
			return err
		}
	}
	if err := e.call(data, emit); err != nil {
		return err
	}
	e.tick(emit)
	wait, hold := tickLater, far
	if e.looking() {
		wait = tickLooking
	}
	if !e.assigned {
		hold = longAgo
	}
	f.Tick.Set(tp, time.Now().Add(wait), timers.WithOutputTimestamp(hold))
	return nil
}

// FinishBundle keeps the enumerator for the next time.
func (f *discoverFn) FinishBundle(context.Context, func([]byte, []byte)) error {
	if f.held != nil {
		f.held.job.enumerators.put(f.Node, f.held, 0)
		f.held = nil
	}
	return nil
}

// Teardown closes what a bundle that failed has held.
func (f *discoverFn) Teardown() error {
	if f.held == nil {
		return nil
	}
	defer func() { f.held = nil }()
	return f.held.close()
}

// take gives the enumerator that belongs to the state.
func (f *discoverFn) take(j *job, data []byte) (*enumerator, error) {
	if f.held != nil { // a second timer in one bundle
		return f.held, nil
	}
	if e, ok := j.enumerators.take(f.Node); ok {
		if len(data) >= 8 && bytes.Equal(e.token, data[:8]) {
			return e, nil
		}
		if err := e.close(); err != nil {
			return nil, err
		}
	}
	return openEnumerator(j, j.node(f.Node), data)
}

// enumerator is a source's enumerator with its context.
type enumerator struct {
	job    *job
	node   *adf.Node
	enum   splits.AnyEnumerator
	ctx    context.Context
	cancel context.CancelFunc
	token  []byte

	lanes    int
	called   time.Time // when all shards were called last
	ticked   time.Time // when all buckets were
	given    []gift
	asked    []int // requests without an answer, by lane
	changed  bool  // since the last snapshot
	assigned bool  // something was, once

	mu       sync.Mutex
	wg       sync.WaitGroup
	handles  []func() error // results of background work, to be taken in
	searches int            // background work that has not come to its first result
}

// gift is what a lane is told.
type gift struct {
	told   bool
	splits []*adfv1.ReadState
	noMore bool
}

// openEnumerator restores an enumerator; data is a token with the snapshot behind it, or empty.
func openEnumerator(j *job, n *adf.Node, data []byte) (*enumerator, error) {
	e := &enumerator{job: j, node: n, lanes: j.Lanes, given: make([]gift, j.Lanes), asked: make([]int, j.Lanes)}
	e.ctx, e.cancel = context.WithCancel(j.ctx)
	var restored *splits.State
	if len(data) > 8 {
		s := &adfv1.SourceState{}
		if err := proto.Unmarshal(data[8:], s); err != nil {
			return nil, j.wrong("bridge.form", err, sameRelease)
		}
		if err := j.sameLayout(s.Layout); err != nil {
			return nil, err
		}
		restored = &splits.State{Version: int(s.EnumeratorVersion), Data: s.Enumerator}
		e.token, e.assigned = data[:8], s.WatermarkMs != nil
	}
	err := task.Guard(n.Name, func() (err error) {
		if e.enum, err = n.Source.NewEnumerator(e.ctx, e, restored); err != nil {
			return err
		}
		if err = e.enum.Start(e.ctx); err != nil {
			return err
		}
		for i := range e.lanes {
			if err = e.enum.AddReader(e.ctx, i); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		_ = e.close()
		return nil, err
	}
	return e, nil
}

// layout is how many keys of each kind the job has.
func (j *job) layout() *adfv1.Layout {
	return &adfv1.Layout{Lanes: uint32(j.Lanes), Buckets: uint32(j.Buckets)}
}

// sameLayout refuses state of other keys than the job has: there would be nobody to read it. State that comes from elsewhere has no layout.
func (j *job) sameLayout(of *adfv1.Layout) error {
	if of == nil || proto.Equal(of, j.layout()) {
		return nil
	}
	return j.wrong("bridge.layout", fmt.Errorf("the savepoint has %d lanes and %d buckets, and the job was submitted with %d and %d", of.Lanes, of.Buckets, j.Lanes, j.Buckets),
		fmt.Sprintf("they stay for a flow's life, whatever its parallelism: submit with --lanes %d --buckets %d", of.Lanes, of.Buckets))
}

// ask takes in what was found in the background, and gives every lane credit as long as splits come.
func (e *enumerator) ask(ctx context.Context) ([]gift, error) {
	e.mu.Lock()
	handles := e.handles
	e.handles = nil
	e.mu.Unlock()
	err := task.Guard(e.node.Name, func() error {
		for _, handle := range handles {
			e.changed = true
			if err := handle(); err != nil {
				return err
			}
		}
		for came := true; came; {
			came = false
			for i := range e.lanes {
				if e.asked[i] > 0 || e.given[i].noMore {
					continue
				}
				e.asked[i]++
				if err := e.enum.HandleSplitRequest(ctx, i); err != nil {
					return err
				}
				came = came || e.asked[i] == 0
			}
		}
		return nil
	})
	given := make([]gift, e.lanes)
	for i := range e.given {
		given[i] = e.given[i]
		e.given[i] = gift{noMore: e.given[i].noMore}
	}
	return given, err
}

// callEvery is how often everybody is called who has something to say to where the flow stands.
const callEvery = 5 * time.Second

// call calls all shards of all exactly-once sinks, which the flow's first source does, since something is always at work there; and, when positions are
// saved, the source's lanes.
func (e *enumerator) call(data []byte, emit func([]byte, []byte)) error {
	now := time.Now()
	if now.Sub(e.called) < callEvery {
		return nil
	}
	e.called = now
	if e.job.Checkpoints != "" {
		for i := range e.lanes {
			emit(keyFor(e.node.Name, e.job.keys.lanes[i]), nil)
		}
		if err := e.tell(data, emit); err != nil {
			return err
		}
	}
	if e.node != e.job.graph.Nodes[0] {
		return nil
	}
	return e.job.eachShard(func(n *adf.Node, shard int) error {
		value, err := proto.Marshal(&adfv1.SinkState{Node: n.Name})
		emit(keyFor(n.Name, e.job.keys.shards[shard]), value)
		return err
	})
}

// tick calls all buckets of the steps that have timers of the clock, which the flow's first source does, too.
func (e *enumerator) tick(emit func([]byte, []byte)) {
	now := time.Now()
	if e.node != e.job.graph.Nodes[0] || now.Sub(e.ticked) < tickLater {
		return
	}
	e.ticked = now
	for _, n := range e.job.graph.Nodes {
		if n.Kind != adf.KindKeyed || n.Keyed.EventTime() {
			continue
		}
		for bucket := range e.job.Buckets {
			emit(keyFor(n.Name, e.job.keys.buckets[bucket]), nil)
		}
	}
}

// tell tells where the enumerator stands.
func (e *enumerator) tell(data []byte, emit func([]byte, []byte)) error {
	if e.job.Checkpoints == "" {
		return nil
	}
	s := &adfv1.SourceState{}
	if err := proto.Unmarshal(data[8:], s); err != nil {
		return err
	}
	p, err := piece(pieceEnumerator, 0, &adfv1.SourceState{Node: e.node.Name, EnumeratorVersion: s.EnumeratorVersion, Enumerator: s.Enumerator})
	emit(p.key, p.value)
	return err
}

// startingState is the state of a source that goes on from a checkpoint, behind a token.
func startingState(from *adfv1.SourceState) ([]byte, error) {
	s := &adfv1.SourceState{Node: from.Node, EnumeratorVersion: from.EnumeratorVersion, Enumerator: from.Enumerator}
	if len(from.Splits) > 0 {
		s.WatermarkMs = proto.Int64(0)
	}
	return proto.MarshalOptions{}.MarshalAppend(newToken(), s)
}

func (e *enumerator) looking() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.searches > 0 || len(e.handles) > 0
}

func (e *enumerator) snapshot(ctx context.Context) (data []byte, err error) {
	var s splits.State
	if err := task.Guard(e.node.Name, func() error {
		s, err = e.enum.Snapshot(ctx)
		return err
	}); err != nil {
		return nil, err
	}
	state := &adfv1.SourceState{Node: e.node.Name, EnumeratorVersion: uint32(s.Version), Enumerator: s.Data, Layout: e.job.layout()}
	if e.assigned {
		state.WatermarkMs = proto.Int64(0) // the lanes promise now; the value says nothing
	}
	return proto.Marshal(state)
}

func (e *enumerator) close() error {
	e.cancel()
	e.wg.Wait()
	if e.enum == nil {
		return nil
	}
	return e.enum.Close()
}

// Parallelism is the number of lanes.
func (e *enumerator) Parallelism() int { return e.lanes }

// Readers are all lanes: they are there before the enumerator starts.
func (e *enumerator) Readers() []int {
	all := make([]int, e.lanes)
	for i := range all {
		all[i] = i
	}
	return all
}

// Assign notes splits for a lane.
func (e *enumerator) Assign(lane int, assigned ...splits.Envelope) {
	g := &e.given[lane]
	for _, s := range assigned {
		g.splits = append(g.splits, task.StateOf(s))
	}
	g.told, e.changed, e.assigned = true, true, true
	e.asked[lane] = 0
}

// NoMoreSplits notes that nothing more comes for a lane.
func (e *enumerator) NoMoreSplits(lane int) {
	g := &e.given[lane]
	g.told, g.noMore, e.assigned = true, true, true
}

// Every runs work in the background; what it gives back waits for the next tick, which is the enumerator's own goroutine here.
func (e *enumerator) Every(period time.Duration, work func(context.Context) (handle func() error)) {
	e.mu.Lock()
	e.searches++
	e.mu.Unlock()
	e.wg.Go(func() {
		for first := true; ; first = false {
			var handle func() error
			if err := task.Guard(e.node.Name, func() error {
				handle = work(e.ctx)
				return nil
			}); err != nil {
				handle = func() error { return err }
			}
			if e.ctx.Err() != nil {
				return
			}
			e.mu.Lock()
			e.handles = append(e.handles, handle)
			if first {
				e.searches--
			}
			e.mu.Unlock()
			if period <= 0 {
				return
			}
			select {
			case <-time.After(period):
			case <-e.ctx.Done():
				return
			}
		}
	})
}
