package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// stagedBytes is how much output may wait in staging before the epoch ends early.
const stagedBytes = 64 << 20

// rollbackTime is how long a failed attempt may take to remove its state, also when the run is being stopped.
const rollbackTime = 5 * time.Second

// idleFor is how long there must be nothing to read before a run until Idle ends.
const idleFor = time.Second

// attempt is one try of a run: everything live from one checkpoint to the first failure, or to the end.
type attempt struct {
	*run
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	enums   []*enumerate
	lanes   []*lane
	workers []*worker
	writes  map[string][]*shard
	commits committers

	changed chan struct{}                         // a lane has ended
	staged  atomic.Int64                          // bytes of output in staging
	full    chan struct{}                         // that is more than stagedBytes
	logs    map[string]map[int][]*adfv1.BlobRange // the saved logs, by keyed node and bucket

	committed chan error // the result of the commit under way; nil: there is none
}

func newAttempt(r *run) *attempt {
	return &attempt{
		run: r, writes: map[string][]*shard{}, commits: committers{r: r, open: map[string]sinks.AnyCommitter{}}, changed: make(chan struct{}, 1),
		full: make(chan struct{}, 1),
		logs: map[string]map[int][]*adfv1.BlobRange{},
	}
}

// start runs a node's part in a goroutine of its own; the first that fails ends the attempt.
func (a *attempt) start(node string, part func(ctx context.Context) error) {
	a.wg.Go(func() {
		if err := task.Guard(node, func() error { return part(a.ctx) }); err != nil {
			a.cancel(fault.Within(err, a.flow(), a.id, node))
		}
	})
}

func (a *attempt) try(ctx context.Context) (err error) {
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	defer func() {
		a.cancel(context.Canceled)
		a.wg.Wait()
		if a.committed != nil {
			<-a.committed
		}
		if cerr := a.close(); err == nil {
			err = cerr
		} else if cerr != nil {
			a.log.Debug("closing after a failure", "error", cerr)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackTime)
		defer cancel()
		if rerr := a.session.Rollback(ctx); rerr != nil {
			a.log.Warn("the state of the failed attempt stays in the checkpoint store until the next start", "error", rerr)
		}
	}()
	if err := a.commits.commit(a.ctx, a.saved); err != nil { // what the run before left
		return err
	}
	if err := a.build(); err != nil {
		return err
	}
	if err := a.restore(); err != nil {
		return err
	}
	for _, l := range a.lanes {
		a.start(l.node.Name, l.run)
	}
	for _, w := range a.workers {
		a.start(w.node.Name, w.run)
	}
	for _, e := range a.enums {
		a.start(e.node.Name, e.run)
	}
	return a.coordinate()
}

// parallelism is a node's number of lanes or workers; a step has no more workers than buckets.
func (a *attempt) parallelism(n *adf.Node) int {
	p := a.Parallelism
	if n.Parallelism > 0 {
		p = n.Parallelism
	}
	if n.Kind == adf.KindKeyed {
		p = min(p, a.graph.Plan.Buckets())
	}
	return p
}

// build makes lanes and workers, consumers first, since producers need the channels.
func (a *attempt) build() error {
	for _, n := range a.graph.Nodes {
		if exact, ok := n.Sink.(sinks.AnyExact); ok {
			for range a.graph.Plan.Shards() {
				a.writes[n.Name] = append(a.writes[n.Name], newShard(a, exact))
			}
		}
	}
	workers := map[*adf.Node][]*worker{}
	for _, n := range slices.Backward(a.graph.Nodes) {
		switch n.Kind {
		case adf.KindKeyed:
			p := a.parallelism(n)
			for i := range p {
				w := &worker{
					node: n, index: i, buckets: (a.graph.Plan.Buckets() + p - 1) / p, in: make(chan message, 2*p+2), open: a.Until != Drained, lowest: record.NoTime,
				}
				w.watermark.Store(record.NoTime)
				var err error
				if w.keyed, err = task.NewKeyed(a.ctx, a.env(), n); err != nil {
					return err
				}
				workers[n] = append(workers[n], w)
				a.workers = append(a.workers, w)
				w.outs = a.connect(w.keyed.Chain, workers)
			}
		case adf.KindSource:
			e := newEnumerate(a, n, a.parallelism(n))
			a.enums = append(a.enums, e)
			for i, in := range e.lanes {
				l := &lane{a: a, node: n, in: in, control: make(chan *barrier, 1), complete: make(chan []*adfv1.ReadState, 1)}
				l.watermark.Store(record.NoTime)
				var err error
				if l.read, err = task.NewRead(a.ctx, a.env(), n, readerContext{e, i}, a.Until != Drained); err != nil {
					return err
				}
				a.lanes = append(a.lanes, l)
				l.outs = a.connect(l.read.Chain, workers)
			}
		}
	}
	return nil
}

// env is that of the next lane or worker.
func (a *attempt) env() task.Env {
	index := len(a.lanes) + len(a.workers)
	return task.Env{
		Graph: a.graph, Run: a.id, Index: index, Log: a.log,
		Counters: func(node string) *task.Counters { return a.counters[node] },
		Write:    func(node string) *task.Write { shards := a.writes[node]; return shards[index%len(shards)].write },
	}
}

// connect makes the ways from a new producer to the keyed steps behind its chain.
func (a *attempt) connect(chain *task.Chain, workers map[*adf.Node][]*worker) outs {
	o := outs{chain: chain, flushed: time.Now(), sent: record.NoTime}
	for _, s := range chain.Shuffles() {
		if slices.ContainsFunc(o.ways, func(w *out) bool { return w.node == s.Node }) {
			continue // another input of the same step
		}
		to := workers[s.Node]
		o.ways = append(o.ways, &out{node: s.Node, workers: to, from: len(to[0].watermarks), items: make([][]item, len(to))})
		for _, w := range to {
			w.watermarks = append(w.watermarks, record.NoTime)
		}
	}
	return o
}

// restore puts everything where the last checkpoint says.
func (a *attempt) restore() error {
	for _, k := range a.saved.Keyed {
		a.logs[k.Node] = map[int][]*adfv1.BlobRange{}
		for _, b := range k.Logs {
			a.logs[k.Node][int(b.Bucket)] = b.Log
			for _, w := range a.workersOf(k.Node) {
				if int(b.Bucket)/w.buckets != w.index {
					continue
				}
				log := make([][]byte, len(b.Log))
				for i, piece := range b.Log {
					var err error
					if log[i], err = a.session.ReadRange(a.ctx, piece, nil); err != nil {
						return err
					}
				}
				if err := w.keyed.Restore(int(b.Bucket), log); err != nil {
					return err
				}
			}
		}
	}
	for _, s := range a.saved.Sinks {
		for _, sh := range s.Shards {
			if shards := a.writes[s.Node]; sh.Run == a.id && int(sh.Shard) < len(shards) {
				shards[sh.Shard].seq = sh.NextSeq
			}
		}
	}
	for _, e := range a.enums {
		var state *adfv1.SourceState
		for _, s := range a.saved.Sources {
			if s.Node == e.node.Name {
				state = s
			}
		}
		lanes := a.lanesOf(e.node.Name)
		for i, s := range state.GetSplits() {
			in := lanes[i%len(lanes)].in
			in.splits = append(in.splits, s)
		}
		for _, l := range lanes {
			l.read.Promised(a.promisedBefore(e.node.Name))
			if len(l.in.splits) > 0 { // what the checkpoint has is committed by now, and perhaps nobody was told
				l.complete <- slices.Clone(l.in.splits)
			}
		}
		if err := e.start(a.ctx, state); err != nil {
			return err
		}
	}
	return nil
}

func (a *attempt) lanesOf(node string) (of []*lane) {
	for _, l := range a.lanes {
		if l.node.Name == node {
			of = append(of, l)
		}
	}
	return of
}

func (a *attempt) workersOf(node string) (of []*worker) {
	for _, w := range a.workers {
		if w.node.Name == node {
			of = append(of, w)
		}
	}
	return of
}

// coordinate ends epochs until the run is over.
func (a *attempt) coordinate() error {
	epochs := time.NewTicker(a.Interval)
	defer epochs.Stop()
	quiet := time.NewTicker(idleFor / 10)
	defer quiet.Stop()
	if a.Until != Idle {
		quiet.Stop()
	}
	stop := a.Stop
	for {
		end := false
		select {
		case <-a.ctx.Done():
			return context.Cause(a.ctx)
		case err := <-a.committed:
			a.committed = nil
			if err != nil {
				return err
			}
			continue
		case <-epochs.C:
		case <-a.full:
		case <-stop:
			end = true
		case <-quiet.C:
			if !a.quiet(time.Now()) {
				continue
			}
			end = true
		case <-a.changed:
			if a.Until == Signal || !a.ended() {
				continue
			}
			end = true
		}
		if err := a.endEpoch(end); err != nil || end {
			return err
		}
	}
}

// ended says whether every lane has come to the end of its input.
func (a *attempt) ended() bool {
	return !slices.ContainsFunc(a.lanes, func(l *lane) bool { return !l.ended.Load() })
}

// quiet says whether there has been nothing to read for a while: bounded input is at its end then, and of other input everything has been found.
func (a *attempt) quiet(now time.Time) bool {
	return !slices.ContainsFunc(a.enums, func(e *enumerate) bool { return e.looking.Load() > 0 }) &&
		!slices.ContainsFunc(a.lanes, func(l *lane) bool {
			waiting, since := l.in.waiting(), l.quiet.Load()
			return waiting || since == 0 || now.UnixMilli()-since < idleFor.Milliseconds() || !l.ended.Load() && l.node.Source.Boundedness() == splits.Bounded
		})
}

// endEpoch pauses everything, takes the state of all parts, saves it, and lets everything go on, but for the last epoch of a run: that
// is over when its output is committed and every reader knows.
func (a *attempt) endEpoch(last bool) error {
	began := time.Now()
	finished := last && a.ended() && a.Until == Drained
	cp := &adfv1.Checkpoint{PlanDigest: a.graph.Plan.Digest(), Finished: finished}
	if finished {
		cp.FinishedAtMs = began.UnixMilli()
		if !a.before.IsZero() && a.nothingRead() {
			cp.FinishedAtMs = a.before.UnixMilli()
		}
	}
	// The enumerators first: what they give away from now on is in no lane's snapshot.
	sources := map[string]*adfv1.SourceState{}
	for _, e := range a.enums {
		e.mu.Lock()
		defer e.mu.Unlock()
		s, err := e.snapshot(a.ctx)
		if err != nil {
			return err
		}
		sources[e.node.Name] = s
		cp.Sources = append(cp.Sources, s)
	}
	acks := make(chan ack, len(a.lanes)+len(a.workers))
	b := &barrier{acks, make(chan struct{}), last}
	for _, l := range a.lanes {
		l.control <- b
	}
	deltas := map[string][]task.Delta{}
	promises := map[string][]int64{}
	var reads []ack
	for range cap(acks) {
		select {
		case k := <-acks:
			if k.lane != nil {
				node := k.lane.node.Name
				sources[node].Splits = append(sources[node].Splits, k.splits...)
				promises[node] = append(promises[node], k.watermark)
				reads = append(reads, k)
			} else {
				deltas[k.worker.node.Name] = append(deltas[k.worker.node.Name], k.deltas...)
			}
		case <-a.ctx.Done():
			return context.Cause(a.ctx)
		}
	}
	for node, s := range sources {
		// A promise stands also when a run has read nothing; at the end of time it is void.
		if w := max(promised(promises[node]), a.promisedBefore(node)); w != record.NoTime && !finished {
			s.WatermarkMs = &w
		}
	}
	if err := a.takeOutput(cp); err != nil {
		return err
	}
	a.staged.Store(0)
	// One epoch at a time waits for its commit.
	if err := a.awaitCommit(); err != nil {
		return err
	}
	if err := a.save(cp, deltas); err != nil {
		return err
	}
	a.log.Debug("checkpoint", "epoch", cp.Epoch, "took", time.Since(began))
	if !last {
		close(b.resume)
		a.commit(cp, reads)
		return nil
	}
	if err := a.commits.commit(a.ctx, cp); err != nil {
		return err
	}
	close(b.resume)
	for range a.lanes {
		select {
		case <-acks:
		case <-a.ctx.Done():
			return context.Cause(a.ctx)
		}
	}
	a.finished = finished
	return nil
}

// promisedBefore is what a source has promised up to the last checkpoint.
func (a *attempt) promisedBefore(node string) int64 {
	for _, s := range a.saved.Sources {
		if s.Node == node && s.WatermarkMs != nil {
			return *s.WatermarkMs
		}
	}
	return record.NoTime
}

func (a *attempt) nothingRead() bool {
	for _, n := range a.graph.Nodes {
		if c := a.counters[n.Name]; n.Kind == adf.KindSource && c.Out.Load()+c.Errors.Load() > 0 {
			return false
		}
	}
	return true
}

// takeOutput takes what exactly-once sinks wait to commit.
func (a *attempt) takeOutput(cp *adfv1.Checkpoint) error {
	for _, n := range a.graph.Nodes {
		shards := a.writes[n.Name]
		if len(shards) == 0 {
			continue
		}
		s := &adfv1.SinkState{Node: n.Name}
		for i, sh := range shards {
			parts, err := sh.take(a.ctx)
			if err != nil {
				return fault.Within(err, a.flow(), a.id, n.Name)
			}
			if len(parts) > 0 {
				s.Pending = append(s.Pending, &adfv1.Committable{Run: a.id, Shard: uint32(i), From: sh.seq, Parts: parts})
			}
			sh.seq += int64(len(parts))
			s.Shards = append(s.Shards, &adfv1.ShardState{Shard: uint32(i), Run: a.id, NextSeq: sh.seq})
		}
		cp.Sinks = append(cp.Sinks, s)
	}
	return nil
}

// save writes what changed in the buckets, and then the checkpoint.
func (a *attempt) save(cp *adfv1.Checkpoint, deltas map[string][]task.Delta) error {
	if err := a.patiently(a.ctx, "save state", func() error { return a.saveDeltas(deltas) }); err != nil {
		return err
	}
	for _, n := range a.graph.Nodes {
		if n.Kind != adf.KindKeyed {
			continue
		}
		k := &adfv1.KeyedState{Node: n.Name, Buckets: uint32(a.graph.Plan.Buckets())}
		for bucket := range a.graph.Plan.Buckets() {
			if log := a.logs[n.Name][bucket]; len(log) > 0 {
				k.Logs = append(k.Logs, &adfv1.BucketState{Bucket: uint32(bucket), Log: log})
			}
		}
		cp.Keyed = append(cp.Keyed, k)
	}
	if err := a.patiently(a.ctx, "save checkpoint", func() error { return a.session.Save(a.ctx, cp) }); err != nil {
		return err
	}
	if err := a.session.Unpruned(); err != nil {
		a.log.Warn("old checkpoints could not be removed; the next one tries again", "error", err)
	}
	a.saved, a.failures = cp, 0
	a.epoch.Store(cp.Epoch)
	return nil
}

// saveDeltas appends the deltas to the buckets' logs, all in one blob; the logs change only when it is written.
func (a *attempt) saveDeltas(deltas map[string][]task.Delta) error {
	type piece struct {
		node  string
		delta task.Delta
		at    *adfv1.BlobRange
	}
	var pieces []piece
	var blob *checkpoint.Blob
	for node, ds := range deltas {
		for _, d := range ds {
			p := piece{node: node, delta: d}
			if len(d.Data) > 0 {
				var err error
				if blob == nil {
					if blob, err = a.session.NewBlob(a.ctx, "state"); err != nil {
						return err
					}
				}
				if p.at, err = blob.Append(d.Data); err != nil {
					return errors.Join(err, blob.Abort())
				}
			}
			pieces = append(pieces, p)
		}
	}
	if blob != nil {
		if err := blob.Commit(); err != nil {
			return errors.Join(err, blob.Abort())
		}
	}
	for _, p := range pieces {
		logs := a.logs[p.node]
		if logs == nil {
			logs = map[int][]*adfv1.BlobRange{}
			a.logs[p.node] = logs
		}
		if p.delta.Whole {
			logs[p.delta.Bucket] = nil
		}
		if p.at != nil {
			logs[p.delta.Bucket] = append(slices.Clip(logs[p.delta.Bucket]), p.at)
		}
	}
	return nil
}

// commit commits a saved checkpoint's output in the background, and then tells the lanes that the input up to there is done with.
func (a *attempt) commit(cp *adfv1.Checkpoint, reads []ack) {
	done := make(chan error, 1)
	a.committed = done
	go func() {
		err := a.commits.commit(a.ctx, cp)
		for _, k := range reads {
			if err != nil {
				break
			}
			select {
			case <-k.lane.complete: // not yet taken in: the newer one says it all
			default:
			}
			k.lane.complete <- k.splits
		}
		done <- err
	}()
}

// awaitCommit waits for the commit under way.
func (a *attempt) awaitCommit() error {
	if a.committed == nil {
		return nil
	}
	select {
	case err := <-a.committed:
		a.committed = nil
		return err
	case <-a.ctx.Done():
		return context.Cause(a.ctx)
	}
}

func (a *attempt) close() error {
	var all []error
	for _, l := range a.lanes {
		all = append(all, l.read.Close())
	}
	for _, w := range a.workers {
		all = append(all, w.keyed.Close())
	}
	for _, e := range a.enums {
		all = append(all, e.close())
	}
	for _, shards := range a.writes {
		for _, s := range shards {
			all = append(all, s.abort())
		}
	}
	all = append(all, a.commits.close())
	return errors.Join(all...)
}
