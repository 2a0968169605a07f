package task

import (
	"context"
	"errors"
	"math"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/splits"
)

// Read is one lane of a source, with its chain: it polls batches, gives records their event time and the promise of their split, and pushes them.
// It is used from one goroutine.
type Read struct {
	Chain  *Chain
	node   *adf.Node
	reader splits.AnyReader
	fails  *failing
	batch  record.Any
	splits map[string]*promise
	noMore bool
	own    int64 // the lane's watermark, which never goes back
	done   int64 // the newest event time of the splits that ended
	open   bool
	drop   []int

	limited bool
	left    int64 // records, when it is limited

	polled int64 // when the last poll was, ms; 0: there was none
	waited int64 // how long the lane has been waiting for input, ms
	empty  int64 // waited, when it had a split last
}

// promise is what a split has promised so far.
type promise struct {
	newest int64 // event time, ms; record.NoTime before the first
	given  int64 // the largest watermark that the source itself has set, or what the lane had promised before it had the split
	active int64 // Read.waited, when it last had records
}

// NewRead opens a reader without splits, and the chain behind it. With open, the end of the input is not the end of time: more may come in the
// next run, and windows stay open.
func NewRead(ctx context.Context, env Env, n *adf.Node, rc splits.ReaderContext, open bool) (*Read, error) {
	within := func(err error) error { return fault.Within(err, env.Graph.Plan.Flow(), env.Run, n.Name) }
	chain, err := NewChain(ctx, env, n)
	if err != nil {
		return nil, err
	}
	var reader splits.AnyReader
	if err := Guard(n.Name, func() (err error) {
		if reader, err = n.Source.NewReader(ctx, rc); err != nil {
			return err
		}
		if err = reader.Start(ctx); err != nil {
			err = errors.Join(err, reader.Close())
		}
		return err
	}); err != nil {
		return nil, errors.Join(within(err), chain.Close())
	}
	return &Read{
		Chain: chain, node: n, reader: reader, fails: chain.failing(n, n.Out), batch: n.Out.NewBatch(), splits: map[string]*promise{},
		own: record.NoTime, done: record.NoTime, open: open,
	}, nil
}

// Add gives the lane splits, new ones or those of a checkpoint. They begin with what the lane has promised: whatever is older in them is late.
func (r *Read) Add(states ...*adfv1.ReadState) error {
	envelopes := make([]splits.Envelope, len(states))
	for i, s := range states {
		envelopes[i] = EnvelopeOf(s)
		p := &promise{newest: record.NoTime, given: r.own, active: r.waited}
		if s.NewestMs != nil {
			p.newest = *s.NewestMs
		}
		r.splits[s.Id] = p
	}
	r.fails.count.Splits.Add(int64(len(states)))
	return r.within(r.reader.AddSplits(envelopes))
}

// EnvelopeOf gives the split of a state.
func EnvelopeOf(s *adfv1.ReadState) splits.Envelope {
	return splits.Envelope{ID: s.Id, State: splits.State{Version: int(s.Version), Data: s.Data}}
}

// StateOf gives the state of a split that has not been read.
func StateOf(e splits.Envelope) *adfv1.ReadState {
	return &adfv1.ReadState{Id: e.ID, Version: uint32(e.Version), Data: e.Data}
}

// Splits is how many splits are not at their end.
func (r *Read) Splits() int { return len(r.splits) }

// Newest is the newest event time that was read of the splits that are not at their end; record.NoTime before the first.
func (r *Read) Newest() int64 {
	newest := record.NoTime
	for _, p := range r.splits {
		newest = max(newest, p.newest)
	}
	return newest
}

// Limit ends the input after n more records: what is polled beyond them is left out. It is for a run that ends before its input does.
func (r *Read) Limit(n int64) { r.left, r.limited = n, true }

// Limited says whether the limit is reached.
func (r *Read) Limited() bool { return r.limited && r.left == 0 }

// NoMoreSplits says that nothing more will be added.
func (r *Read) NoMoreSplits() {
	r.noMore = true
	r.reader.NoMoreSplits()
}

// Ready has a value when a poll that found nothing is worth repeating.
func (r *Read) Ready() <-chan struct{} { return r.reader.Ready() }

// Poll reads at most one batch and pushes it through the chain; now is in milliseconds.
func (r *Read) Poll(ctx context.Context, now int64) (splits.Status, error) {
	r.wait(now)
	var status splits.Status
	err := Guard(r.node.Name, func() (err error) {
		status, err = r.reader.Poll(r.batch)
		return err
	})
	if err == nil && (r.batch.Len() > 0 || len(r.batch.Rejections()) > 0) {
		err = r.push(ctx)
	}
	r.batch.Reset()
	if err != nil {
		return status, r.within(err)
	}
	for _, id := range r.reader.Finished() {
		if p := r.splits[id]; p != nil {
			r.done = max(r.done, r.reached(p))
			delete(r.splits, id)
			r.empty = r.waited
		}
	}
	return status, nil
}

// wait counts the time that the lane waits for input. A lane that was held up polls late, and its splits have records then that nobody has looked
// at: so one wait counts for less than what makes a split idle.
func (r *Read) wait(now int64) {
	if t := r.node.Time; t != nil && r.polled != 0 {
		r.waited += max(0, min(now-r.polled, (t.IdleAfter.Milliseconds()+1)/2))
	}
	r.polled = now
}

// push gives the batch at hand its times, and hands it on.
func (r *Read) push(ctx context.Context) error {
	f, b := r.fails, r.batch
	f.count.BytesIn.Add(b.BytesRead())
	split := b.SplitID()
	for _, x := range b.Rejections() {
		f.refuse(x.Raw, record.Meta{Time: record.NoTime, Watermark: record.NoTime, Position: x.Position}, split, x.Err)
	}
	r.drop = r.drop[:0]
	if t := r.node.Time; t != nil {
		f.in = b
		err := Guard(r.node.Name, func() error {
			return t.Set(b, func(i int, err error) {
				f.fail(i, err)
				r.drop = append(r.drop, i)
			})
		})
		f.in = nil
		if err != nil {
			return err
		}
	}
	if f.refused != nil {
		err := f.refused
		f.refused = nil
		return err
	}
	if len(r.drop) > 0 {
		b.Drop(r.drop)
	}
	r.cut()
	r.promise(split)
	if err := f.flush(ctx); err != nil {
		return err
	}
	f.count.Out.Add(int64(b.Len()))
	return r.Chain.Push(ctx, adf.Ref{Node: r.node.Name}, b)
}

// cut leaves out what is beyond the limit.
func (r *Read) cut() {
	if !r.limited {
		return
	}
	n := int64(r.batch.Len())
	if n > r.left {
		r.drop = r.drop[:0]
		for i := r.left; i < n; i++ {
			r.drop = append(r.drop, int(i))
		}
		r.batch.Drop(r.drop)
		n = r.left
	}
	r.left -= n
}

// promise gives every record the watermark of its split as it was when the record had been read: by the newest time seen, or what the
// source itself has promised in Meta.Watermark, whichever says more.
func (r *Read) promise(split string) {
	metas := r.batch.Meta()
	t := r.node.Time
	if t == nil {
		for i := range metas {
			metas[i].Time, metas[i].Watermark = record.NoTime, record.NoTime
		}
		return
	}
	p := r.splits[split]
	if p == nil { // a reader that reports a split's end before its last batch
		p = &promise{newest: r.done, given: r.own}
	}
	p.active = r.waited
	behind := t.OutOfOrderness.Milliseconds()
	for i := range metas {
		p.newest = max(p.newest, metas[i].Time)
		p.given = max(p.given, metas[i].Watermark)
		metas[i].Watermark = p.watermark(behind)
	}
}

func (p *promise) watermark(behind int64) int64 { return max(minus(p.newest, behind), p.given) }

func minus(t, d int64) int64 {
	if t == record.NoTime || t == record.MaxTime {
		return t
	}
	return t - d
}

// reached is the newest event time of a split, or the time that makes the same promise as its source has given; record.NoTime before the first record.
func (r *Read) reached(p *promise) int64 {
	if p.newest == record.NoTime {
		return record.NoTime
	}
	return max(p.newest, plus(p.given, r.node.Time.OutOfOrderness.Milliseconds()))
}

func plus(t, d int64) int64 {
	if t == record.NoTime || t > record.MaxTime-d {
		return t
	}
	return t + d
}

// Promised sets what the source had promised before this run; it comes before the first split.
func (r *Read) Promised(watermark int64) { r.own = watermark }

// Watermark is the lane's promise at now (milliseconds): nothing earlier comes from it. A bounded lane promises nothing until it knows all its splits,
// because one that nobody has opened may hold any time.
func (r *Read) Watermark(now int64) int64 {
	t := r.node.Time
	if t == nil {
		if len(r.splits) == 0 && r.noMore {
			return record.MaxTime
		}
		return r.own
	}
	behind, idle := t.OutOfOrderness.Milliseconds(), t.IdleAfter.Milliseconds()
	if len(r.splits) == 0 && r.noMore {
		if !r.open || r.done == record.NoTime {
			return record.MaxTime // nothing of this lane is to be waited for
		}
		r.own = max(r.own, minus(r.done, behind))
		return r.own
	}
	if r.node.Source.Boundedness() == splits.Bounded && !r.noMore {
		return r.own
	}
	isIdle := func(since int64) bool { return idle > 0 && r.waited-since >= idle }
	least := int64(math.MaxInt64)
	for _, p := range r.splits {
		w := p.watermark(behind)
		if isIdle(p.active) {
			w = max(w, now-behind)
		}
		least = min(least, w)
	}
	if len(r.splits) == 0 {
		least = r.own
		if isIdle(r.empty) {
			least = now - behind
		}
	}
	r.own = max(r.own, least)
	return r.own
}

// FollowsClock says whether the watermark can move by time alone.
func (r *Read) FollowsClock() bool { return r.node.Time != nil && r.node.Time.IdleAfter > 0 }

// Snapshot gives the lane's splits at their positions.
func (r *Read) Snapshot() ([]*adfv1.ReadState, error) {
	envelopes, err := r.reader.Snapshot()
	if err != nil {
		return nil, r.within(err)
	}
	states := make([]*adfv1.ReadState, len(envelopes))
	for i, e := range envelopes {
		states[i] = StateOf(e)
		if p := r.splits[e.ID]; p != nil {
			if reached := r.reached(p); reached != record.NoTime {
				states[i].NewestMs = &reached
			}
		}
	}
	return states, nil
}

// CheckpointComplete tells the reader that the states are part of a completed checkpoint.
func (r *Read) CheckpointComplete(ctx context.Context, states []*adfv1.ReadState) error {
	done := make([]splits.Envelope, len(states))
	for i, s := range states {
		done[i] = EnvelopeOf(s)
	}
	return r.within(r.reader.CheckpointComplete(ctx, done))
}

// Close closes the reader and the chain.
func (r *Read) Close() error {
	return errors.Join(r.within(Guard(r.node.Name, r.reader.Close)), r.Chain.Close())
}

func (r *Read) within(err error) error {
	return fault.Within(err, r.Chain.env.Graph.Plan.Flow(), r.Chain.env.Run, r.node.Name)
}
