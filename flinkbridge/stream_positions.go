package flinkbridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/splits"
)

// acknowledgeFn hears of completed checkpoints, and tells the lanes of a source, which are in the same process: its keys are theirs. As with stableFn, its
// state is never touched.
type acknowledgeFn struct {
	Job   []byte
	Node  string
	Keyed state.Value[[]byte]

	waiting map[string][]*adfv1.ReadState
}

// ProcessElement takes the splits of a lane; the last ones count.
func (f *acknowledgeFn) ProcessElement(_ context.Context, _ state.Provider, key, value []byte) error {
	s := &adfv1.SourceState{}
	if err := proto.Unmarshal(value, s); err != nil {
		return fmt.Errorf("%s: read what a lane has read: %w", f.Node, err)
	}
	if f.waiting == nil {
		f.waiting = map[string][]*adfv1.ReadState{}
	}
	f.waiting[f.Node+string(key)] = s.Splits
	return nil
}

// FinishBundle puts the splits where the lanes find them at their next slice.
func (f *acknowledgeFn) FinishBundle(context.Context) error {
	if len(f.waiting) == 0 {
		return nil
	}
	j, err := find(f.Job)
	if err != nil {
		return err
	}
	for lane, read := range f.waiting {
		j.acks.put(lane, read, 10*time.Minute)
	}
	clear(f.waiting)
	return nil
}

// acknowledges says whether a source's readers are to be told of completed checkpoints, which costs something. Those of a source that does not say are.
func acknowledges(n *adf.Node) bool {
	s, ok := n.Source.(splits.Acknowledger)
	return !ok || s.Acknowledges()
}

// positionsFn saves where the flow stands with each completed checkpoint, so that another runtime can go on from there. Everything that one checkpoint has comes in one bundle.
// As with stableFn, its state is never touched.
type positionsFn struct {
	Job   []byte
	Keyed state.Value[[]byte]

	waiting [][]byte
}

// ProcessElement takes a piece.
func (f *positionsFn) ProcessElement(_ context.Context, _ state.Provider, _, piece []byte) error {
	f.waiting = append(f.waiting, piece)
	return nil
}

// FinishBundle puts the pieces together and saves.
func (f *positionsFn) FinishBundle(ctx context.Context) error {
	waiting := f.waiting
	f.waiting = nil
	if len(waiting) == 0 {
		return nil
	}
	return alone(ctx, f.Job, func(ctx context.Context, j *job) error {
		return j.within(j.positions.save(ctx, j, waiting), "")
	})
}

// The pieces of where a flow stands: who says it, its number, and a message.
const (
	pieceEnumerator = 'e' // adfv1.SourceState, without splits
	pieceLane       = 'l' // adfv1.SourceState, with the splits of one lane and its watermark
	pieceShard      = 's' // adfv1.SinkState, with one shard
)

// positionsName stands for the positions of the flow; no node has it.
const positionsName = "#positions"

// piece makes a piece of where the flow stands.
func piece(kind byte, number int, m proto.Message) (pair, error) {
	value, err := proto.MarshalOptions{}.MarshalAppend(binary.BigEndian.AppendUint32([]byte{kind}, uint32(number)), m)
	return pair{keyFor(positionsName, []byte("all")), value}, err
}

// positions is where the flow stood at the last completed checkpoint, as this process knows it. It begins empty and is saved only when it is whole: everybody tells
// where they are when they change, and every few seconds.
type positions struct {
	mu      sync.Mutex
	enums   map[string]*adfv1.SourceState
	lanes   map[string]*adfv1.SourceState // by source and lane
	shards  map[string]*adfv1.ShardState  // by sink and shard
	session *checkpoint.Session
	saved   *adfv1.Checkpoint
}

func part(node string, number int) string { return fmt.Sprintf("%s/%d", node, number) }

// save takes pieces in, and saves where the flow stands.
func (p *positions) save(ctx context.Context, j *job, pieces [][]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, piece := range pieces {
		if err := p.take(piece); err != nil {
			return j.wrong("bridge.form", err, sameRelease)
		}
	}
	cp := p.whole(j)
	if cp == nil || proto.Equal(cp, p.saved) {
		return nil
	}
	saved := proto.CloneOf(cp)
	if err := j.patiently(ctx, func() (err error) {
		if p.session == nil {
			if p.session, _, err = checkpoint.Open(ctx, j.checkpoints, j.Flow, j.Run, checkpoint.Options{Admit: func(_ context.Context, c *adfv1.Checkpoint) error {
				return j.fenced(c)
			}}); err != nil {
				return err
			}
		}
		return p.session.Save(ctx, cp)
	}); err != nil {
		return err
	}
	p.saved = saved
	return nil
}

func (p *positions) take(piece []byte) error {
	if len(piece) < 5 {
		return fmt.Errorf("got a piece of %d bytes", len(piece))
	}
	if p.enums == nil {
		p.enums, p.lanes, p.shards = map[string]*adfv1.SourceState{}, map[string]*adfv1.SourceState{}, map[string]*adfv1.ShardState{}
	}
	kind, number, data := piece[0], int(binary.BigEndian.Uint32(piece[1:])), piece[5:]
	source, sink := &adfv1.SourceState{}, &adfv1.SinkState{}
	switch kind {
	case pieceEnumerator:
		if err := proto.Unmarshal(data, source); err != nil {
			return err
		}
		p.enums[source.Node] = source
	case pieceLane:
		if err := proto.Unmarshal(data, source); err != nil {
			return err
		}
		p.lanes[part(source.Node, number)] = source
	case pieceShard:
		if err := proto.Unmarshal(data, sink); err != nil {
			return err
		}
		for _, sh := range sink.Shards {
			p.shards[part(sink.Node, number)] = sh
		}
	default:
		return fmt.Errorf("got a piece of kind %q", kind)
	}
	return nil
}

// whole gives where the flow stands as a checkpoint; nil when not everybody has said it.
func (p *positions) whole(j *job) *adfv1.Checkpoint {
	cp := &adfv1.Checkpoint{PlanDigest: j.Digest, PositionsOnly: true}
	for _, n := range j.graph.Nodes {
		if n.Kind != adf.KindSource {
			continue
		}
		enum := p.enums[n.Name]
		if enum == nil {
			return nil
		}
		s := &adfv1.SourceState{Node: n.Name, EnumeratorVersion: enum.EnumeratorVersion, Enumerator: enum.Enumerator}
		promised := record.MaxTime
		for i := range j.Lanes {
			lane := p.lanes[part(n.Name, i)]
			if lane == nil {
				return nil
			}
			s.Splits = append(s.Splits, lane.Splits...)
			own := record.NoTime
			if lane.WatermarkMs != nil {
				own = *lane.WatermarkMs
			}
			promised = min(promised, own)
		}
		if promised != record.MaxTime && promised != record.NoTime {
			s.WatermarkMs = &promised
		}
		cp.Sources = append(cp.Sources, s)
	}
	sinks := map[string]*adfv1.SinkState{}
	if err := j.eachShard(func(n *adf.Node, shard int) error {
		sh := p.shards[part(n.Name, shard)]
		if sh == nil || sh.Run != j.Run {
			return errNotWhole
		}
		s := sinks[n.Name]
		if s == nil {
			s = &adfv1.SinkState{Node: n.Name}
			sinks[n.Name] = s
			cp.Sinks = append(cp.Sinks, s)
		}
		s.Shards = append(s.Shards, sh)
		return nil
	}); err != nil {
		return nil
	}
	return cp
}

var errNotWhole = errors.New("not everybody has said where they are")

// fenced refuses a checkpoint that another run has saved: it has taken the flow over.
func (s spec) fenced(c *adfv1.Checkpoint) error {
	if c.GetRun() == s.Run {
		return nil
	}
	by := "is gone"
	if c != nil {
		by = fmt.Sprintf("is that of run %s, which has taken the flow over at %s", c.Run, time.UnixMilli(c.SavedAtMs).UTC().Format(time.RFC3339))
	}
	return &fault.RuntimeError{Detail: fault.Detail{
		Code: "bridge.fenced", Doing: "save where the flow stands", Flow: s.Flow, Run: s.Run, Retry: fault.RetryNever,
		Err: fmt.Errorf("the newest checkpoint in %s %s", s.Checkpoints, by),
		Fix: "cancel this job: its output is exact up to where the other run went on; run a flow once at a time",
	}}
}

// owned gives the newest checkpoint of the flow, which has to be this run's: before something is committed, and to start from.
func (j *job) owned(ctx context.Context) (c *adfv1.Checkpoint, err error) {
	err = j.patiently(ctx, func() (err error) {
		if c, err = checkpoint.Newest(ctx, j.checkpoints, j.Flow); err == nil {
			err = j.fenced(c)
		}
		return err
	})
	return c, err
}

// starting gives what a source starts from in a job that is not resumed: where the checkpoint has it; nil: from its beginning.
func (j *job) starting(ctx context.Context, source string) (*adfv1.SourceState, error) {
	if j.Checkpoints == "" {
		return nil, nil
	}
	c, err := j.owned(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range c.Sources {
		if s.Node == source {
			return s, nil
		}
	}
	return nil, nil
}
