package engine_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/checkpoint/checkpointrpc"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// moody is a store that fails when it is asked to.
type moody struct {
	checkpoint.Store
	mu     sync.Mutex
	calls  map[string]int
	fail   func(op string, nth int) error // asked before each operation
	behind func(op string, nth int) error // asked after a checkpoint was saved
}

func (s *moody) ask(op string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls == nil {
		s.calls = map[string]int{}
	}
	s.calls[op]++
	if s.fail == nil {
		return nil
	}
	return s.fail(op, s.calls[op])
}

func (s *moody) CreateEpoch(ctx context.Context, flow string, epoch int64, content []byte) error {
	if err := s.ask("save"); err != nil {
		return err
	}
	if err := s.Store.CreateEpoch(ctx, flow, epoch, content); err != nil || s.behind == nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.behind("save", s.calls["save"])
}

func (s *moody) NewBlob(ctx context.Context, flow, name string) (checkpoint.BlobWriter, error) {
	if err := s.ask("blob"); err != nil {
		return nil, err
	}
	w, err := s.Store.NewBlob(ctx, flow, name)
	return moodyBlob{w, s}, err
}

func (s *moody) ReadBlob(ctx context.Context, flow, name string, offset, length int64) (io.ReadCloser, error) {
	if err := s.ask("read"); err != nil {
		return nil, err
	}
	return s.Store.ReadBlob(ctx, flow, name, offset, length)
}

type moodyBlob struct {
	checkpoint.BlobWriter
	s *moody
}

func (b moodyBlob) Write(p []byte) (int, error) {
	if err := b.s.ask("write"); err != nil {
		return 0, err
	}
	return b.BlobWriter.Write(p)
}

func (b moodyBlob) Commit() error {
	if err := b.s.ask("commit"); err != nil {
		return err
	}
	return b.BlobWriter.Commit()
}

func disk(retry fault.Retry) error {
	return &fault.RuntimeError{Detail: fault.Detail{Code: "test.disk", Doing: "write", Retry: retry, Err: errors.New("the disk is full")}}
}

// Whatever fails in the checkpoint store for a while, and also when a checkpoint was saved and nobody could say so: every record is there once.
func TestAStoreThatFailsForAWhile(t *testing.T) {
	every := func(op string, n int) func(string, int) error {
		return func(asked string, nth int) error {
			if asked == op && nth > 1 && nth%n < 2 {
				return disk(fault.RetryLater)
			}
			return nil
		}
	}
	for name, s := range map[string]*moody{
		"saving":             {fail: every("save", 4)},
		"saved all the same": {behind: every("save", 3)},
		"making a blob":      {fail: every("blob", 4)},
		"writing a blob":     {fail: every("write", 50)},
		"committing a blob":  {fail: every("commit", 4)},
	} {
		synctest.Test(t, func(t *testing.T) {
			all := events(4, 20_000)
			src := &memory.Source[event]{Splits: all, Batch: 100}
			for n := range 16 {
				src.Script = append(src.Script, memory.Step{Split: n % 4, At: int64(300 * (n + 1)), Delay: 20 * time.Millisecond})
			}
			s.Store = &checkpoint.Memory{}
			out, numbers := newTarget[total](), newTarget[event]()
			if _, err := engine.Run(t.Context(), windows(src, out, numbers), engine.Options{Store: s, Parallelism: 2, Interval: 5 * time.Millisecond, Retries: 5}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
				t.Errorf("%s: got %d results, want %d", name, len(got), len(want))
			}
			checkNumbers(t, numbers, 20_000)
		})
	}
}

// A store that fails for good ends the run, with its own error and after as many tries as are allowed; the next run goes on and is exact.
func TestAStoreThatFailsForGood(t *testing.T) {
	for _, c := range []struct {
		op      string
		retry   fault.Retry
		retries int
		tries   int
	}{
		{"save", fault.RetryLater, 3, 4}, {"save", fault.RetryLater, -1, 1}, {"save", fault.RetryNever, 3, 1},
		{"commit", fault.RetryLater, 2, 3}, {"commit", fault.RetryNever, 2, 1}, {"write", fault.RetryNever, 2, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			all := events(3, 6_000)
			build := func() *memory.Source[event] {
				src := &memory.Source[event]{Splits: all, Batch: 100}
				for n := range 9 {
					src.Script = append(src.Script, memory.Step{Split: n % 3, At: int64(150 * (n + 1)), Delay: 20 * time.Millisecond})
				}
				return src
			}
			failed := 0
			s := &moody{Store: &checkpoint.Memory{}, fail: func(op string, nth int) error {
				if op == c.op && nth > 3 {
					failed++
					return disk(c.retry)
				}
				return nil
			}}
			out, numbers := newTarget[total](), newTarget[event]()
			r, err := engine.Run(t.Context(), windows(build(), out, numbers), engine.Options{Store: s, Parallelism: 2, Interval: 5 * time.Millisecond, Retries: c.retries})
			d, ok := fault.DetailOf(err)
			if !ok || d.Code != "test.disk" || d.Flow != "windows" || d.Run != r.Run || failed != c.tries {
				t.Errorf("%+v: got %v after %d tries", c, err, failed)
			}
			if r.Finished {
				t.Errorf("%+v: the run says that it has finished", c)
			}
			s.fail = nil
			if _, err := engine.Run(t.Context(), windows(build(), out, numbers), engine.Options{Store: s, Parallelism: 3}); err != nil {
				t.Fatal(err)
			}
			if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
				t.Errorf("%+v: got %d results, want %d", c, len(got), len(want))
			}
			checkNumbers(t, numbers, 6_000)
		})
	}
}

// A commit that fails for good ends the run with an error of the sink, which names its node; what waits is committed by the next run.
func TestACommitThatFailsForGood(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		code string
	}{
		"never":        {&fault.SinkError{Detail: fault.Detail{Code: "target.gone", Doing: "commit", Retry: fault.RetryNever, Err: errors.New("the table was dropped")}}, "target.gone"},
		"for too long": {&fault.SinkError{Detail: fault.Detail{Code: "target.down", Doing: "commit", Retry: fault.RetryLater, Err: errors.New("no route")}}, "target.down"},
		"unclassified": {errors.New("it does not want to"), "sink.commit"},
	} {
		synctest.Test(t, func(t *testing.T) {
			all := events(2, 3_000)
			store := &checkpoint.Memory{}
			out, numbers := newTarget[total](), newTarget[event]()
			numbers.fail = func() error { return c.err }
			o := engine.Options{Store: store, Parallelism: 2, Interval: time.Millisecond, Retries: 2}
			r, err := engine.Run(t.Context(), windows(&memory.Source[event]{Splits: all, Batch: 50}, out, numbers), o)
			var s *fault.SinkError
			if !errors.As(err, &s) || s.Node != "numbers" || s.Code != c.code || s.Flow != "windows" || !errors.Is(err, errors.Unwrap(err)) {
				t.Errorf("%s: got %v", name, err)
			}
			if r.Finished || len(numbers.all()) != 0 {
				t.Errorf("%s: got %+v and %d records", name, r, len(numbers.all()))
			}
			numbers.fail = nil
			if _, err := engine.Run(t.Context(), windows(&memory.Source[event]{Splits: all, Batch: 50}, out, numbers), o); err != nil {
				t.Fatal(err)
			}
			if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
				t.Errorf("%s: got %d results, want %d", name, len(got), len(want))
			}
			checkNumbers(t, numbers, 3_000)
		})
	}
}

// Without retries the first failure ends the run, whatever it is.
func TestNoRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &breaking{Source: memory.Values(event{N: 1})}
		src.breaks.Store(true)
		f := adf.New("once")
		adf.From(f, "events", src).To("numbers", newTarget[event]())
		r, err := engine.Run(t.Context(), f, engine.Options{Retries: -1})
		if err == nil || !strings.Contains(err.Error(), "the line is cut") || r.Restarts != 0 {
			t.Errorf("got %v after %d restarts", err, r.Restarts)
		}
	})
}

// The checkpoint service keeps what a store keeps: a flow that is cut off goes on from it, large parts and state too.
func TestCheckpointsOverTheNetwork(t *testing.T) {
	all := events(4, 60_000)
	s, _ := listen(t, &checkpoint.Memory{})
	out, numbers := newTarget[total](), newTarget[event]()
	cut := 0
	for done := false; !done; {
		src := &memory.Source[event]{Splits: all}
		for n := range 40 {
			src.Script = append(src.Script, memory.Step{Split: n % 4, At: int64(1_000 * (n / 4)), Delay: 3 * time.Millisecond})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(20+10*cut)*time.Millisecond)
		r, err := engine.Run(ctx, windows(src, out, numbers), engine.Options{Store: s, Parallelism: 1 + cut%3, Interval: 4 * time.Millisecond})
		cancel()
		if err != nil && ctx.Err() == nil {
			t.Fatal(err)
		}
		if done = err == nil && r.Finished; !done {
			cut++
		}
	}
	if cut == 0 {
		t.Error("no run was cut off")
	}
	if got, want := out.sorted(), expected(all); !slices.Equal(got, want) {
		t.Errorf("got %d results, want %d", len(got), len(want))
	}
	checkNumbers(t, numbers, 60_000)
}

// hurt panics wherever it is told to.
type hurt struct{ at string }

func (h hurt) in(place string) {
	if h.at == place {
		panic("it hurts in " + place)
	}
}

type hurtSum struct{ hurt }

func (h hurtSum) New() total              { h.in("new"); return total{} }
func (h hurtSum) Add(a *total, e event)   { h.in("add"); sum{}.Add(a, e) }
func (h hurtSum) Merge(a *total, b total) { h.in("merge"); sum{}.Merge(a, b) }
func (h hurtSum) Result(k string, w operators.Span, a total) total {
	h.in("result")
	return sum{}.Result(k, w, a)
}

type hurtProcessor struct{ hurt }

func (h hurtProcessor) State() []state.Cell                             { return nil }
func (h hurtProcessor) Open(context.Context, operators.OpContext) error { h.in("open"); return nil }
func (h hurtProcessor) Close() error                                    { h.in("close"); return nil }
func (h hurtProcessor) OnTimer(context.Context, string, operators.Timer, *operators.Ctx[event]) error {
	h.in("timer")
	return nil
}
func (h hurtProcessor) Process(_ context.Context, _ string, e event, m record.Meta, c *operators.Ctx[event]) error {
	h.in("process")
	c.SetEventTimer(m.Time+1, "")
	c.Emit(e)
	return nil
}

type hurtSource struct {
	*memory.Source[event]
	hurt
}

type hurtReader struct {
	splits.Reader[event, memory.Split]
	hurt
}

func (s hurtSource) Enumerator(ctx context.Context, ec splits.EnumeratorContext[memory.Split], restored *splits.State) (splits.Enumerator[memory.Split], error) {
	s.in("enumerator")
	return splits.List(ec, restored, splits.ListOptions[memory.Split]{Codec: s.Codec(), Find: func(context.Context) ([]memory.Split, error) {
		s.in("find")
		return []memory.Split{{N: 0}}, nil
	}})
}

func (s hurtSource) Reader(ctx context.Context, rc splits.ReaderContext) (splits.Reader[event, memory.Split], error) {
	s.in("reader")
	r, err := s.Source.Reader(ctx, rc)
	if s.at == "fetch" {
		r = splits.Multiplex(rc, func(context.Context, memory.Split) (splits.SplitReader[event, memory.Split], error) {
			return hurtFetch{s.hurt}, nil
		}, splits.MultiplexOptions[memory.Split]{})
	}
	return hurtReader{r, s.hurt}, err
}
func (r hurtReader) Poll(dst *record.Batch[event]) (splits.Status, error) {
	r.in("poll")
	return r.Reader.Poll(dst)
}
func (r hurtReader) Snapshot() ([]memory.Split, error) {
	r.in("snapshot")
	return r.Reader.Snapshot()
}
func (r hurtReader) CheckpointComplete(ctx context.Context, done []memory.Split) error {
	r.in("complete")
	return r.Reader.CheckpointComplete(ctx, done)
}
func (r hurtReader) Close() error {
	err := r.Reader.Close()
	r.in("reader close")
	return err
}

type hurtFetch struct{ hurt }

func (f hurtFetch) Fetch(context.Context, *record.Batch[event]) (memory.Split, bool, error) {
	f.in("fetch")
	return memory.Split{}, true, nil
}
func (hurtFetch) Close() error { return nil }

// hurtExact is an exactly-once sink.
type hurtExact struct {
	exact[event]
	hurt
}

func (h hurtExact) Sink(c *row.Codec[event]) (sinks.Any, error) {
	h.codec = c
	return sinks.EraseExact[event, []event](h), nil
}
func (h hurtExact) Encoder() sinks.Encoder[event] { return hurtEncoder{h.exact.Encoder(), h.hurt} }
func (h hurtExact) Writer(ctx context.Context, sh sinks.Shard, from int64) (sinks.Writer[[]event], error) {
	h.in("writer")
	return h.exact.Writer(ctx, sh, from)
}
func (h hurtExact) Committer(ctx context.Context) (sinks.Committer[[]event], error) {
	h.in("committer")
	c, err := h.exact.Committer(ctx)
	return hurtCommitter{c, h.hurt}, err
}

type hurtEncoder struct {
	sinks.Encoder[event]
	hurt
}

func (h hurtEncoder) Encode(part []byte, b *record.Batch[event], fail func(int, error)) ([]byte, error) {
	h.in("encode")
	return h.Encoder.Encode(part, b, fail)
}

type hurtCommitter struct {
	sinks.Committer[[]event]
	hurt
}

func (h hurtCommitter) Commit(ctx context.Context, c sinks.Committable[[]event]) error {
	h.in("commit")
	return h.Committer.Commit(ctx, c)
}
func (h hurtCommitter) Close() error { h.in("committer close"); return h.Committer.Close() }

// hurtDirect is a sink that writes at once.
type hurtDirect struct{ hurt }

func (h hurtDirect) Sink(*row.Codec[event]) (sinks.Any, error) {
	return sinks.EraseDirect[event](h), nil
}
func (h hurtDirect) Guarantee() sinks.Guarantee { return sinks.AtLeastOnce }
func (h hurtDirect) Writer(context.Context, sinks.WriterContext) (sinks.DirectWriter[event], error) {
	h.in("open writer")
	return h, nil
}
func (h hurtDirect) Write(context.Context, *record.Batch[event], func(int, error)) error {
	h.in("write")
	return nil
}
func (h hurtDirect) Flush(context.Context) error { h.in("flush"); return nil }
func (h hurtDirect) Close() error                { h.in("writer close"); return nil }

type hurtOperator struct{ hurt }

func (h hurtOperator) Open(context.Context, operators.OpContext) error { h.in("op open"); return nil }
func (h hurtOperator) Process(_ context.Context, in, out *record.Batch[event], _ func(int, error)) error {
	h.in("op process")
	for i := range in.Values {
		out.Append(in.Values[i], in.Metas[i])
	}
	return nil
}
func (h hurtOperator) Close() error { h.in("op close"); return nil }

// A panic of user code, wherever it is, is an error with the node and the stack; the process goes on.
func TestPanics(t *testing.T) {
	for place, node := range map[string]string{
		"enumerator": "events", "find": "events", "reader": "events", "poll": "events", "fetch": "events", "snapshot": "events", "complete": "events",
		"reader close": "events", "time": "events",
		"filter": "filtered", "map": "mapped", "flat map": "flat", "op open": "through", "op process": "through", "op close": "through",
		"key": "totals", "new": "totals", "add": "totals", "merge": "totals", "result": "totals",
		"open": "processed", "process": "processed", "timer": "processed", "close": "processed",
		"encode": "exact", "writer": "exact", "committer": "exact", "commit": "exact", "committer close": "exact",
		"open writer": "direct", "write": "direct", "flush": "direct", "writer close": "direct",
	} {
		h := hurt{place}
		f := adf.New("hurt")
		src := &memory.Source[event]{Log: &memory.Log[event]{}, Batch: 1}
		for n := range 4 {
			src.Log.Append(0, event{int64(n), "a", int64(n)})
		}
		if place == "merge" { // of what crossed the shuffle at two times
			src.Script = []memory.Step{{At: 2, Delay: 150 * time.Millisecond}}
		}
		in := adf.From(f, "events", hurtSource{src, h}).EventTime(func(e event) time.Time { h.in("time"); return at(e) }, 0)
		filtered := in.Filter("filtered", func(event) bool { h.in("filter"); return true })
		mapped := adf.Map(filtered, "mapped", func(e event) (event, error) { h.in("map"); return e, nil })
		flat := adf.FlatMap(mapped, "flat", func(e event, emit func(event)) error { h.in("flat map"); emit(e); return nil })
		through := adf.Through(flat, "through", func() operators.Operator[event, event] { return hurtOperator{h} })
		key := func(e event) string { h.in("key"); return e.Key }
		adf.Aggregate(adf.KeyBy(through, key).Window(adf.Tumbling(10*time.Second)), "totals", hurtSum{h}).To("out", newTarget[total]())
		processed := adf.Process(adf.KeyBy(through, keyOf), "processed", 0, func() operators.Processor[event, string, event] { return hurtProcessor{h} })
		processed.To("exact", hurtExact{exact[event]{target: newTarget[event]()}, h})
		through.To("direct", hurtDirect{h})
		_, err := engine.Run(t.Context(), f, engine.Options{Parallelism: 1, Interval: time.Millisecond})
		d, ok := fault.DetailOf(err)
		for inner := d; ok && d.Stack == ""; d = inner { // the stack may be that of the cause
			if inner, ok = fault.DetailOf(d.Err); ok && inner.Node == "" {
				inner.Node = d.Node
			}
		}
		if !ok || d.Node != node || !strings.Contains(d.Stack, "failure_test.go") || !strings.Contains(err.Error(), "it hurts in "+place) || fault.Retryable(err) {
			t.Errorf("%s: got %v", place, err)
		}
	}
}

func listen(t *testing.T, s checkpoint.Store) (client checkpoint.Store, server *grpc.Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = checkpointrpc.NewServer(s)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		server.Stop()
		<-served
	})
	return checkpointrpc.NewClient(conn), server
}
