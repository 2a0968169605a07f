package task

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// Env is what a driver gives the tasks of one lane or worker.
type Env struct {
	Graph *adf.Graph
	Run   string
	// Index is the lane's or worker's number; no two of a run have the same, since a node may be in chains behind several others.
	Index int
	// Buckets is how many buckets keys are spread over; 0 means what the plan says. Only a driver that keeps no state beyond the run may choose.
	Buckets int
	// Bounded says that the run's input ends, also that of sources that would not end by themselves.
	Bounded bool
	// Log carries flow and run already.
	Log *slog.Logger
	// Counters gives those of a node.
	Counters func(node string) *Counters
	// Write gives the write task that an exactly-once sink's records go to from here.
	Write func(node string) *Write
}

func (e Env) opContext(n *adf.Node) operators.OpContext {
	return operators.OpContext{
		Flow: e.Graph.Plan.Flow(), Node: n.Name, Run: e.Run, Index: e.Index, Log: e.Log.With("node", n.Name),
		Bounded: e.Bounded || e.Graph.Bounded(n),
	}
}

func (e Env) buckets() int {
	if e.Buckets > 0 {
		return e.Buckets
	}
	return e.Graph.Plan.Buckets()
}

// Chain is what is fused behind a source or a keyed step: steps, direct sinks, the write side of exactly-once sinks, and the half of keyed steps
// before the shuffle. It is used from one goroutine.
type Chain struct {
	env      Env
	outlets  map[adf.Ref][]outlet
	direct   []*directOutlet
	shuffles []*Shuffle
	closers  []func() error
}

// outlet takes the batches of one output.
type outlet interface {
	push(ctx context.Context, b record.Any) error
}

// NewChain opens everything fused behind root.
func NewChain(ctx context.Context, env Env, root *adf.Node) (*Chain, error) {
	c := &Chain{env: env, outlets: map[adf.Ref][]outlet{}}
	made := map[*adf.Node]outlet{} // one instance, however many of its inputs are in this chain
	var follow func(n *adf.Node, ports ...string) error
	follow = func(n *adf.Node, ports ...string) error {
		for _, port := range ports {
			ref := adf.Ref{Node: n.Name, Port: port}
			for _, to := range env.Graph.Consumers(ref) {
				o, opened, err := c.outlet(ctx, to, made)
				if err != nil {
					return fault.Within(err, env.Graph.Plan.Flow(), env.Run, to.Node.Name)
				}
				c.outlets[ref] = append(c.outlets[ref], o)
				switch {
				case !opened:
				case to.Node.Kind == adf.KindKeyed: // its results come out behind the shuffle
					if made[to.Node] == nil { // once for all of its inputs
						made[to.Node] = o
						err = follow(to.Node, adf.PortLate, adf.PortErrors)
					}
				default:
					err = follow(to.Node, allPorts...)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := follow(root, allPorts...); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

var allPorts = []string{adf.PortMain, adf.PortLate, adf.PortErrors}

// outlet finds or opens what takes batches for a consumer; each input of a keyed step has a shuffle of its own.
func (c *Chain) outlet(ctx context.Context, to adf.Consumer, made map[*adf.Node]outlet) (o outlet, opened bool, err error) {
	if to.Node.Kind == adf.KindKeyed {
		for _, s := range c.shuffles {
			if s.Node == to.Node && s.Input == to.Input {
				return s, false, nil
			}
		}
		o, err = c.shuffle(to)
		return o, true, err
	}
	if o := made[to.Node]; o != nil {
		return o, false, nil
	}
	o, err = c.open(ctx, to.Node)
	made[to.Node] = o
	return o, true, err
}

func (c *Chain) open(ctx context.Context, n *adf.Node) (outlet, error) {
	switch n.Kind {
	case adf.KindOp:
		s := &stepOutlet{failing: c.failing(n, n.Op.In()), op: n.Op.Instance(), out: n.Out.NewBatch()}
		if err := Guard(n.Name, func() error { return s.op.Open(ctx, c.env.opContext(n)) }); err != nil {
			return nil, err
		}
		c.closers = append(c.closers, func() error { return Guard(n.Name, s.op.Close) })
		return s, nil
	case adf.KindSink:
		if _, ok := n.Sink.(sinks.AnyExact); ok {
			return &writeOutlet{c.failing(n, n.Out), c.env.Write(n.Name)}, nil
		}
		var w sinks.AnyDirectWriter
		if err := Guard(n.Name, func() (err error) {
			w, err = n.Sink.(sinks.AnyDirect).NewWriter(ctx, sinks.WriterContext{Flow: c.env.Graph.Plan.Flow(), Node: n.Name, Run: c.env.Run, Index: c.env.Index})
			return err
		}); err != nil {
			return nil, err
		}
		d := &directOutlet{c.failing(n, n.Out), w}
		c.direct = append(c.direct, d)
		c.closers = append(c.closers, func() error { return Guard(n.Name, w.Close) })
		return d, nil
	}
	panic(fmt.Sprintf("a %s can not be in a chain", n.Kind))
}

func (c *Chain) shuffle(to adf.Consumer) (*Shuffle, error) {
	n := to.Node
	half, err := n.Keyed.Shuffle(to.Input, c.env.opContext(n), c.env.buckets())
	if err != nil {
		return nil, err
	}
	codec := n.Keyed.Inputs()[to.Input]
	s := &Shuffle{Node: n, Input: to.Input, failing: c.failing(n, codec), half: half, late: codec.NewBatch(), codec: codec}
	c.shuffles = append(c.shuffles, s)
	c.closers = append(c.closers, half.Close)
	return s, nil
}

// Push hands a batch to whoever reads an output of the chain's root, and whatever comes of it further on. The batch is the caller's again afterwards.
func (c *Chain) Push(ctx context.Context, of adf.Ref, b record.Any) error {
	if b.Len() == 0 {
		return nil
	}
	for _, o := range c.outlets[of] {
		if err := o.push(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// Shuffles are the chain's ends at keyed steps.
func (c *Chain) Shuffles() []*Shuffle { return c.shuffles }

// Buffered is the approximate number of bytes that wait in the shuffles.
func (c *Chain) Buffered() int {
	n := 0
	for _, s := range c.shuffles {
		n += s.half.Buffered()
	}
	return n
}

// FlushSinks returns when everything written to direct sinks is safe.
func (c *Chain) FlushSinks(ctx context.Context) error {
	for _, d := range c.direct {
		if err := Guard(d.node.Name, func() error { return d.w.Flush(ctx) }); err != nil {
			return fault.Within(ofSink("flush", err), c.env.Graph.Plan.Flow(), c.env.Run, d.node.Name)
		}
	}
	return nil
}

// Close closes everything in the chain.
func (c *Chain) Close() error {
	var all []error
	for i := len(c.closers) - 1; i >= 0; i-- {
		all = append(all, c.closers[i]())
	}
	c.closers = nil
	return errors.Join(all...)
}

// stepOutlet is a stateless step.
type stepOutlet struct {
	*failing
	op  operators.Instance
	out record.Any
}

func (s *stepOutlet) push(ctx context.Context, in record.Any) error {
	s.out.SetSplitID(in.SplitID())
	err := s.run(ctx, in, func() error { return s.op.Process(ctx, in, s.out, s.fail) })
	if err == nil {
		s.count.Out.Add(int64(s.out.Len()))
		err = s.chain.Push(ctx, adf.Ref{Node: s.node.Name}, s.out)
	}
	s.out.Reset()
	return err
}

// directOutlet is a sink that is written as records come.
type directOutlet struct {
	*failing
	w sinks.AnyDirectWriter
}

func (d *directOutlet) push(ctx context.Context, in record.Any) error {
	return d.run(ctx, in, func() error { return ofSink("write", d.w.Write(ctx, in, d.fail)) })
}

// writeOutlet is the way to an exactly-once sink.
type writeOutlet struct {
	*failing
	w *Write
}

func (w *writeOutlet) push(ctx context.Context, in record.Any) error {
	return w.run(ctx, in, func() error {
		size, err := w.w.Add(ctx, in, w.fail)
		w.count.BytesOut.Add(int64(size))
		return err
	})
}

// Shuffle is the half of a keyed step before the shuffle, for one of its inputs.
type Shuffle struct {
	*failing
	Node  *adf.Node
	Input int
	half  operators.Shuffle
	codec row.AnyCodec
	late  record.Any
}

func (s *Shuffle) push(ctx context.Context, in record.Any) error {
	read := len(s.chain.env.Graph.Consumers(adf.Ref{Node: s.node.Name, Port: adf.PortLate})) > 0
	s.late.SetSplitID(in.SplitID())
	err := s.run(ctx, in, func() error {
		return s.half.Add(in, func(i int) {
			s.count.Late.Add(1)
			if read {
				s.codec.CopyRecord(s.late, in, i)
			}
		}, s.fail)
	})
	if err == nil && s.late.Len() > 0 {
		err = s.chain.Push(ctx, adf.Ref{Node: s.node.Name, Port: adf.PortLate}, s.late)
	}
	s.late.Reset()
	return err
}

// Flush emits what is buffered, one payload per bucket, in ascending order of buckets. A payload belongs to the callee.
func (s *Shuffle) Flush(emit func(bucket int, payload []byte)) error {
	err := Guard(s.node.Name, func() error {
		return s.half.Flush(func(bucket int, payload []byte) {
			s.count.BytesIn.Add(int64(len(payload)))
			emit(bucket, payload)
		})
	})
	return fault.Within(err, s.chain.env.Graph.Plan.Flow(), s.chain.env.Run, s.node.Name)
}

// failing is what every node of a chain does about records that fail.
type failing struct {
	chain *Chain
	node  *adf.Node
	count *Counters
	codec row.AnyCodec // of what the node reads

	in      record.Any // while run runs
	refused error
	letters record.Any
}

func (c *Chain) failing(n *adf.Node, codec row.AnyCodec) *failing {
	return &failing{chain: c, node: n, count: c.env.Counters(n.Name), codec: codec, letters: c.env.Graph.Errors.NewBatch()}
}

// run does a node's work on a batch, and takes care of panics and of the records that fail meanwhile.
func (f *failing) run(ctx context.Context, in record.Any, work func() error) error {
	f.in = in
	f.count.In.Add(int64(in.Len()))
	err := Guard(f.node.Name, work)
	f.in = nil
	if err == nil {
		err, f.refused = f.refused, nil
	}
	if err != nil {
		return fault.Within(err, f.chain.env.Graph.Plan.Flow(), f.chain.env.Run, f.node.Name)
	}
	return f.flush(ctx)
}

// fail notes that record i of the batch at hand failed.
func (f *failing) fail(i int, err error) {
	m := f.in.Meta()[i]
	f.refuse(f.codec.AppendJSON(nil, f.in, i), m, f.in.SplitID(), err)
}

// refuse takes a failed record to the errors output, or notes the error that ends the run.
func (f *failing) refuse(text []byte, m record.Meta, split string, err error) {
	f.count.Errors.Add(1)
	if !f.node.Emit {
		if f.refused == nil {
			f.refused = f.recordError(text, m, split, err)
		}
		return
	}
	letter := sinks.DeadLetter{
		Flow: f.chain.env.Graph.Plan.Flow(), Node: f.node.Name, Split: split, Position: m.Position, Error: err.Error(), Record: string(text),
	}
	if d, ok := fault.DetailOf(err); ok {
		letter.Code = d.Code
	}
	if m.Time != record.NoTime {
		t := time.UnixMilli(m.Time).UTC()
		letter.Time = &t
	}
	if err := f.chain.env.Graph.Errors.AppendRecord(f.letters, sinks.DeadLetters().Get(nil, &letter), m); err != nil && f.refused == nil {
		f.refused = err // the form of a dead letter is ours: this is a mistake of this package
	}
}

// flush pushes the records that failed.
func (f *failing) flush(ctx context.Context) error {
	if f.letters.Len() == 0 {
		return nil
	}
	defer f.letters.Reset()
	return f.chain.Push(ctx, adf.Ref{Node: f.node.Name, Port: adf.PortErrors}, f.letters)
}

// shown cuts a record's text to what fits an error message.
func shown(text []byte) string {
	const most = 300
	if len(text) > most {
		return string(text[:most]) + "…"
	}
	return string(text)
}

func (f *failing) recordError(text []byte, m record.Meta, split string, err error) error {
	d := fault.Detail{
		Code: "record.failed", Doing: "process record " + shown(text), Split: split, At: fmt.Sprintf("position %d", m.Position), Retry: fault.RetryNever, Err: err,
		Fix: "mend the record or the step, or let such records go to " + f.node.Name + ".errors with on_error: emit",
	}
	if inner, ok := fault.DetailOf(err); ok {
		d.Retry = inner.Retry
		if f.node.Kind == adf.KindSource {
			d.Doing = "read record" // the inner error shows the text and the place
			d.At, d.Split = "", ""
		}
	}
	switch f.node.Kind {
	case adf.KindSource:
		d.Fix = "mend the input, or let such records go to " + f.node.Name + ".errors with on_error: emit"
		return &fault.SourceError{Detail: d}
	case adf.KindSink:
		d.Doing = "write record " + shown(text)
		return &fault.SinkError{Detail: d}
	}
	return &fault.RuntimeError{Detail: d}
}

// Guard turns a panic of user code into an error.
func Guard(node string, work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &fault.RuntimeError{Detail: fault.Detail{
				Code: "user.panic", Doing: "run user code", Node: node, Retry: fault.RetryNever, Stack: string(debug.Stack()), Err: fmt.Errorf("panic: %v", p),
				Fix: "the stack in the log shows where",
			}}
		}
	}()
	return work()
}
