package flinkbridge

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/sinks"
)

// What is buffered in front of a shuffle goes on its way when it is this large. Nobody waits for it in a bounded run, and the larger a payload the better.
const flushBytes = 4 << 20

// A subtask of a batch job reads and gives all of its share in one bundle, and Beam's Flink runner looks at what a bundle gives only when it has ended: until then it is
// in the TaskManager's memory, in a hundred messages of 4 MB at most, and with one more both sides wait for ever. So what a bundle gives beyond mostGiven waits in staging,
// and only its place is sent.
const (
	mostGiven    = 32 << 20
	mostMessages = 96 * 4_000_000
)

// inStaging marks the number of the input of a payload that waits in staging; shuffled stands for a sink's name there.
const (
	inStaging = 0x80
	shuffled  = ""
)

// stage is one bundle of a DoFn that drives a chain. What the chain gives is for several consumers; it leaves the DoFn as pairs whose key begins with the name of
// the consumer, and a route DoFn in front of each consumer keeps what is its own.
type stage struct {
	job    *job
	ctx    context.Context // ends with the bundle, and when the run is given up
	cancel context.CancelCauseFunc
	env    task.Env
	counts map[string]*task.Counters // of this bundle
	writes map[string]*task.Write
	blobs  map[string]*checkpoint.Blob // for the large parts, by sink: they are removed with what is committed
	given  int                         // bytes of payloads
	token  string                      // names the bundle's attempt
	// streaming says that output is committed with each checkpoint: it goes to its sink's write stage, by shards.
	streaming bool
	stop      func() bool
	chain     *task.Chain
	close     func() error // of what drives the chain; nil until it is open
}

// newStage begins a bundle.
func newStage(ctx context.Context, j *job) *stage {
	nonce := make([]byte, 8)
	rand.Read(nonce) // never fails
	s := &stage{job: j, counts: map[string]*task.Counters{}, writes: map[string]*task.Write{}, blobs: map[string]*checkpoint.Blob{}, token: hex.EncodeToString(nonce)}
	ctx, s.cancel = context.WithCancelCause(ctx)
	s.stop = context.AfterFunc(j.ctx, func() { s.cancel(context.Cause(j.ctx)) })
	s.ctx = ctx
	s.env = task.Env{
		Graph: j.graph, Run: j.Run, Index: int(j.index.Add(1) - 1), Buckets: j.Buckets, Bounded: true, Log: j.log,
		Counters: s.counters,
		Write:    s.write,
	}
	return s
}

func (s *stage) counters(node string) *task.Counters {
	c := s.counts[node]
	if c == nil {
		c = &task.Counters{}
		s.counts[node] = c
	}
	return c
}

func (s *stage) write(node string) *task.Write {
	w := s.writes[node]
	if w == nil {
		w = task.NewWrite(s.job.node(node).Sink.(sinks.AnyExact), func(ctx context.Context, part []byte) (*adfv1.BlobRange, error) { return s.spill(ctx, node, part) })
		s.writes[node] = w
	}
	return w
}

// spill keeps a large part until the commit.
func (s *stage) spill(ctx context.Context, node string, part []byte) (*adfv1.BlobRange, error) {
	blob := s.blobs[node]
	if blob == nil {
		store, err := s.job.staged()
		if err != nil {
			return nil, err
		}
		if blob, err = checkpoint.NewBlob(ctx, store, s.job.stagedAs(s.job.Run), "parts"); err != nil {
			return nil, err
		}
		s.blobs[node] = blob
	}
	return blob.Append(part)
}

// pair is something for a consumer.
type pair struct{ key, value []byte }

// full says whether it is time to flush.
func (s *stage) full() bool { return s.chain.Buffered() >= flushBytes }

// flush gives what is buffered in front of the shuffles. It is emitted by the caller, outside of everything that could take a panic of Beam's for one of user code.
func (s *stage) flush() (out []pair, err error) {
	for _, sh := range s.chain.Shuffles() {
		ferr := sh.Flush(func(bucket int, payload []byte) {
			value, cerr := s.carry(payload, byte(sh.Input))
			err = cmp.Or(err, cerr)
			out = append(out, pair{keyFor(sh.Node.Name, s.job.keys.buckets[bucket]), value})
		})
		if err = cmp.Or(ferr, err); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// carry makes the value of a payload, or of its place.
func (s *stage) carry(payload []byte, input byte) ([]byte, error) {
	s.given += len(payload)
	switch {
	case s.streaming || s.given <= mostGiven || s.job.Staging == "" && s.job.staging != nil: // the last is a runner in this process
	case s.job.staging != nil:
		at, err := s.spill(s.ctx, shuffled, payload)
		if err != nil {
			return nil, err
		}
		value, err := proto.Marshal(at)
		return append(value, input|inStaging), err
	case s.given > mostMessages:
		return nil, s.job.wrong("bridge.staging", fmt.Errorf("a subtask gives more than %d MB to the next step, which Beam's runner can not hold", mostMessages/1_000_000),
			"give a directory that all workers share, where it waits (--staging), or run it as a streaming job (--mode streaming)")
	}
	return append(payload, input), nil
}

// payload gives what a value carries, and its input.
func (s *stage) payload(value []byte) ([]byte, int, error) {
	n := len(value) - 1
	if n < 0 {
		return nil, 0, s.job.wrong("bridge.form", errors.New("got an empty value, want a payload"), sameRelease)
	}
	if value[n]&inStaging == 0 {
		return value[:n:n], int(value[n]), nil
	}
	at := &adfv1.BlobRange{}
	if err := proto.Unmarshal(value[:n], at); err != nil {
		return nil, 0, s.job.wrong("bridge.form", err, sameRelease)
	}
	store, err := s.job.staged()
	if err != nil {
		return nil, 0, err
	}
	payload, err := checkpoint.ReadRange(s.ctx, store, s.job.stagedAs(s.job.Run), at, nil)
	return payload, int(value[n] &^ inStaging), err
}

// forward emits what is buffered.
func (s *stage) forward(emit func([]byte, []byte)) error {
	out, err := s.flush()
	if err == nil {
		send(out, emit)
	}
	return err
}

func send(out []pair, emit func([]byte, []byte)) {
	for _, p := range out {
		emit(p.key, p.value)
	}
}

// finish ends the bundle: sinks are flushed, and what waits to be committed is given to the commit.
func (s *stage) finish() ([]pair, error) {
	out, err := s.flush()
	if err != nil {
		return nil, err
	}
	if err := s.chain.FlushSinks(s.ctx); err != nil {
		return nil, err
	}
	for _, n := range s.job.graph.Nodes { // in a fixed order
		w := s.writes[n.Name]
		if w == nil {
			continue
		}
		parts, err := w.Take(s.ctx)
		if err != nil {
			return nil, fault.Within(err, s.job.Flow, s.job.Run, n.Name)
		}
		if len(parts) == 0 {
			continue
		}
		key := keyFor(commitName, nil)
		if s.streaming {
			key = keyFor(n.Name, s.job.keys.shards[s.env.Index%len(s.job.keys.shards)])
		}
		value, err := proto.Marshal(&adfv1.SinkState{Node: n.Name, Pending: []*adfv1.Committable{{Run: s.token, Parts: parts}}})
		if err != nil {
			return nil, err
		}
		out = append(out, pair{key, value})
	}
	if s.blobs[shuffled] != nil { // whoever commits removes it
		value, err := proto.Marshal(&adfv1.SinkState{})
		if err != nil {
			return nil, err
		}
		out = append(out, pair{keyFor(commitName, nil), value})
	}
	for node, blob := range s.blobs {
		if err := blob.Commit(); err != nil {
			return nil, err
		}
		delete(s.blobs, node)
	}
	return out, nil
}

// chained is what the DoFns with a chain have in common: a stage that opens with the first element of a bundle and ends with the bundle.
type chained struct{ stage *stage }

// element does the work of one element. When it fails, or when somebody behind it fails, which is a panic of the emitter, the bundle is given up.
func (c *chained) element(ctx context.Context, data []byte, open, work func(s *stage) error) (err error) {
	defer c.giveUp(&err)()
	if c.stage == nil {
		j, err := find(data)
		if err != nil {
			return err
		}
		c.stage = newStage(ctx, j)
		if err := open(c.stage); err != nil {
			return err
		}
	}
	return work(c.stage)
}

// giveUp gives what is to be deferred by whoever works on the bundle and gives back err.
func (c *chained) giveUp(err *error) func() {
	*err = errUnwinding
	return func() {
		if *err == nil || c.stage == nil {
			return
		}
		if !errors.Is(*err, errUnwinding) {
			c.stage.job.fail(*err)
			*err = marked(*err)
		}
		_ = c.stage.end() // the failure says more
		c.stage = nil
	}
}

// errUnwinding is the error while a panic goes through.
var errUnwinding = errors.New("a panic goes through")

// FinishBundle hands on what is left, closes everything, and counts what the bundle did.
func (c *chained) FinishBundle(ctx context.Context, emit func([]byte, []byte)) (err error) {
	if c.stage == nil {
		return nil
	}
	defer c.giveUp(&err)()
	out, failure := c.stage.finish()
	if failure != nil {
		return failure
	}
	send(out, emit)
	s := c.stage
	c.stage = nil
	if err := s.end(); err != nil {
		s.job.fail(err)
		return err
	}
	s.count(ctx)
	return nil
}

// Teardown closes what a bundle that was given up has left open.
func (c *chained) Teardown() error {
	if c.stage == nil {
		return nil
	}
	s := c.stage
	c.stage = nil
	return s.end()
}

// end closes everything.
func (s *stage) end() error {
	var all []error
	if s.close != nil {
		all = append(all, s.close())
	}
	s.stop()
	s.cancel(context.Canceled)
	for _, blob := range s.blobs {
		all = append(all, blob.Abort())
	}
	return errors.Join(all...)
}

// keyFor is the key of something for a consumer.
func keyFor(name string, rest []byte) []byte {
	key := make([]byte, 0, 1+len(name)+len(rest))
	key = append(key, byte(len(name)))
	return append(append(key, name...), rest...)
}

// commitName stands for the commit of all exactly-once sinks; no node has it.
const commitName = "#commit"

// forName takes the name off a key when it is the one given.
func forName(key []byte, name string) (rest []byte, ok bool) {
	if len(key) < 1+len(name) || int(key[0]) != len(name) || string(key[1:1+len(name)]) != name {
		return nil, false
	}
	return slices.Clip(key[1+len(name):]), true
}
