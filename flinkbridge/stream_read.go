package flinkbridge

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/engine/task"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/splits"
)

// A slice is what a lane reads at one firing of its timer: bundles stay short, and what they hold small. Where there is more to read than time for it, the longer a slice
// the more records of a key come together in it, and are one behind the shuffle.
const (
	sliceTime  = 200 * time.Millisecond
	sliceBytes = 4 << 20
	// slicePatience is how long a slice waits in all for a source that is at it: what is read in the background may be a moment late, and a new slice costs more.
	slicePatience = 10 * time.Millisecond
	// flushedBytes is what a slice gathers before it goes on its way, as a payload for each bucket.
	flushedBytes = sliceBytes / 4
)

// How long a lane waits when there is nothing to read: twice as long each time. A timer that is set can not be pulled forward.
const (
	waitLeast = 10 * time.Millisecond
	waitMost  = time.Second
)

// bundleGap is how long after the end of a bundle lanes read again at the earliest. Flink hands a watermark on a moment after a bundle, and not within the next one: without
// a gap, windows would close with checkpoints only.
const bundleGap = 5 * time.Millisecond

// mostRest is how much of that end is foreseen at most.
const mostRest = time.Second

// laneFn is a lane of a source: on a timer it reads a slice, hands it on, saves its splits at their positions, and sets the next timer, which holds the lane's watermark.
type laneFn struct {
	Job  []byte
	Node string

	State state.Value[[]byte] // adfv1.SourceState; Enumerator is the token
	Poll  timers.ProcessingTime
	// Acknowledged says that the lane's reader is told of completed checkpoints.
	Acknowledged bool

	held  map[string]*lane
	moved map[int]*adfv1.SourceState // where lanes stand that have moved in this bundle, when somebody wants to know
}

// lane is a reader that this process has.
type lane struct {
	key   string
	stage *stage
	read  *task.Read
	token []byte
	wait  time.Duration
	told  bool // somebody was told where it stands

	sliced time.Time     // when its last slice ended
	rest   time.Duration // how long the bundle of its last slice went on after that
}

func (l *lane) close() error { return l.stage.end() }

// ProcessElement takes what was assigned to the lane, into its state; the next timer takes it up.
func (f *laneFn) ProcessElement(_ context.Context, sp state.Provider, tp timers.Provider, key, assigned []byte, _ func([]byte, []byte)) error {
	data, there, err := f.State.Read(sp)
	if err != nil {
		return err
	}
	j, err := find(f.Job)
	if err != nil {
		return err
	}
	number, err := j.laneOf(key)
	if err != nil {
		return err
	}
	if len(assigned) == 0 { // a call
		if s := (&adfv1.SourceState{}); there && f.moved[number] == nil {
			err = proto.Unmarshal(data, s)
			f.tell(j, number, s)
		}
		return err
	}
	s, added := &adfv1.SourceState{}, &adfv1.SourceState{}
	if err := errors.Join(proto.Unmarshal(data, s), proto.Unmarshal(assigned[1:], added)); err != nil {
		return err
	}
	s.Splits = append(s.Splits, added.Splits...)
	if !there {
		s.WatermarkMs = added.WatermarkMs // what the source had promised before
	}
	s.EnumeratorVersion = 1 - uint32(assigned[0]) // 1: nothing more comes
	s.Enumerator = newToken()                     // a lane that is open does not know of them
	if data, err = proto.Marshal(s); err != nil {
		return err
	}
	if err := f.State.Write(sp, data); err != nil {
		return err
	}
	f.tell(j, number, s)
	if !there {
		f.Poll.Set(tp, time.Now(), timers.WithOutputTimestamp(longAgo))
	}
	return nil
}

// OnTimer reads a slice.
func (f *laneFn) OnTimer(ctx context.Context, sp state.Provider, tp timers.Provider, key []byte, _ timers.Context, emit func([]byte, []byte)) error {
	data, _, err := f.State.Read(sp)
	if err != nil {
		return err
	}
	j, err := find(f.Job)
	if err != nil {
		return err
	}
	s := &adfv1.SourceState{}
	if err := proto.Unmarshal(data, s); err != nil {
		return j.wrong("bridge.form", err, sameRelease)
	}
	l, err := f.take(ctx, j, key, s)
	if err != nil {
		return j.failing(err, f.Node)
	}
	if f.Acknowledged {
		if done, ok := j.acks.take(l.key); ok {
			if err := l.read.CheckpointComplete(l.stage.ctx, done); err != nil {
				return j.failing(err, f.Node)
			}
		}
	}
	moved, out, err := l.slice()
	if err != nil {
		return j.failing(err, f.Node)
	}
	now := time.Now()
	watermark := l.read.Watermark(now.UnixMilli())
	if moved || s.WatermarkMs == nil || *s.WatermarkMs != watermark {
		if s.Splits, err = l.read.Snapshot(); err != nil {
			return j.failing(err, f.Node)
		}
		l.token = newToken()
		s.Enumerator, s.WatermarkMs = l.token, &watermark
		if data, err = proto.Marshal(s); err != nil {
			return err
		}
		if err := f.State.Write(sp, data); err != nil {
			return err
		}
		f.tell(j, l.stage.env.Index, s)
	} else if !l.told { // perhaps nobody was when the job went on from here
		f.tell(j, l.stage.env.Index, s)
	}
	l.told = true
	l.sliced = now
	f.Poll.Set(tp, now.Add(max(l.wait, l.rest+bundleGap)), timers.WithOutputTimestamp(holding(watermark)))
	l.stage.count(ctx)
	j.observe(ctx, f.Node, string(key), laneView{l.read.Splits(), watermark, l.read.Newest(), now})
	send(out, emit)
	return nil
}

// tell notes where a lane stands, to be told at the end of the bundle.
func (f *laneFn) tell(j *job, lane int, s *adfv1.SourceState) {
	if !f.Acknowledged && j.Checkpoints == "" {
		return
	}
	if f.moved == nil {
		f.moved = map[int]*adfv1.SourceState{}
	}
	f.moved[lane] = &adfv1.SourceState{Node: f.Node, Splits: s.Splits, WatermarkMs: s.WatermarkMs}
}

// told gives what is told of the lanes that have moved.
func (f *laneFn) told(j *job) (out []pair, err error) {
	for i, s := range f.moved {
		if f.Acknowledged {
			value, err := proto.Marshal(s)
			if err != nil {
				return nil, err
			}
			out = append(out, pair{keyFor(acknowledgeName(f.Node), j.keys.lanes[i]), value})
		}
		if j.Checkpoints != "" {
			p, err := piece(pieceLane, i, s)
			if err != nil {
				return nil, err
			}
			out = append(out, p)
		}
	}
	clear(f.moved)
	return out, nil
}

// acknowledgeName stands for the step that tells a source's lanes of completed checkpoints; no node has it.
func acknowledgeName(source string) string { return "#acknowledge " + source }

// holding is the timestamp that holds a watermark.
func holding(watermark int64) time.Time {
	switch {
	case watermark == record.NoTime || watermark < longAgo.UnixMilli():
		return longAgo
	case watermark >= far.UnixMilli():
		return far
	}
	return time.UnixMilli(watermark)
}

// take gives the lane that belongs to the state.
func (f *laneFn) take(ctx context.Context, j *job, key []byte, s *adfv1.SourceState) (*lane, error) {
	number, err := j.laneOf(key)
	if err != nil {
		return nil, err
	}
	name := f.Node + string(key)
	if f.held == nil {
		f.held = map[string]*lane{}
	}
	l, ok := f.held[name]
	if !ok {
		l, ok = j.lanes.take(name)
	}
	if ok && bytes.Equal(l.token, s.Enumerator) {
		f.held[name] = l
		return l, nil
	}
	if ok {
		delete(f.held, name)
		if err := l.close(); err != nil {
			return nil, err
		}
	}
	st := newStage(context.WithoutCancel(ctx), j)
	st.streaming, st.env.Index, st.env.Bounded = true, number, false
	l = &lane{key: name, stage: st, token: s.Enumerator}
	if l.read, err = task.NewRead(st.ctx, st.env, j.node(f.Node), readerContext(st.env.Index), false); err != nil {
		_ = st.end()
		return nil, err
	}
	st.chain, st.close = l.read.Chain, l.read.Close
	f.held[name] = l
	if s.WatermarkMs != nil {
		l.read.Promised(*s.WatermarkMs)
	}
	if err := l.read.Add(s.Splits...); err != nil {
		return nil, err
	}
	if s.EnumeratorVersion == 1 {
		l.read.NoMoreSplits()
	}
	return l, nil
}

// slice reads until it is enough, and gives what comes of it.
func (l *lane) slice() (moved bool, out []pair, err error) {
	began, patience := time.Now(), slicePatience
	size := 0
	for now := began; ; now = time.Now() {
		before := l.read.Splits()
		status, err := l.read.Poll(l.stage.ctx, now.UnixMilli())
		if err != nil {
			return false, nil, err
		}
		moved = moved || status == splits.More || l.read.Splits() != before
		if status != splits.More {
			if l.read.Splits() > 0 && l.await(&patience) {
				continue
			}
			l.wait = min(max(2*l.wait, waitLeast), waitMost)
			if moved {
				l.wait = waitLeast
			}
			break
		}
		l.wait = 0
		if l.stage.chain.Buffered() >= flushedBytes {
			more, err := l.stage.flush()
			if err != nil {
				return false, nil, err
			}
			out = append(out, more...)
			for _, p := range more {
				size += len(p.value)
			}
		}
		if size >= sliceBytes || now.Sub(began) >= sliceTime {
			break
		}
	}
	if !moved {
		return false, nil, nil
	}
	more, err := l.stage.finish()
	return true, append(out, more...), err
}

// await waits until there is more to read, for as long as patience lasts, and takes what it has waited off it.
func (l *lane) await(patience *time.Duration) (more bool) {
	if *patience <= 0 {
		return false
	}
	began := time.Now()
	defer func() { *patience -= time.Since(began) }()
	timer := time.NewTimer(*patience)
	defer timer.Stop()
	select {
	case <-l.read.Ready():
		return true
	case <-timer.C:
	case <-l.stage.ctx.Done():
	}
	return false
}

// FinishBundle keeps the lanes for the next time, and tells where they stand.
func (f *laneFn) FinishBundle(_ context.Context, emit func([]byte, []byte)) error {
	var all []error
	if len(f.moved) > 0 {
		j, err := find(f.Job)
		if err != nil {
			return err
		}
		out, err := f.told(j)
		if err != nil {
			return err
		}
		send(out, emit)
	}
	for name, l := range f.held {
		l.rest = min(time.Since(l.sliced), mostRest)
		for _, old := range l.stage.job.lanes.put(name, l, time.Minute) {
			all = append(all, old.close())
		}
	}
	clear(f.held)
	return errors.Join(all...)
}

// Teardown closes what a bundle that failed has held.
func (f *laneFn) Teardown() error {
	var all []error
	for _, l := range f.held {
		all = append(all, l.close())
	}
	clear(f.held)
	return errors.Join(all...)
}
