package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/activedataflow/adf/fault"
)

// Options say where a pool listens and what it may use. The zero value is a pool for the TaskManager on this machine.
type Options struct {
	// Address is the host:port to listen on; a port of 0 is any free one. Default [DefaultAddress]. Other than loopback, whoever reaches it can run programs here.
	Address string
	// Dir holds the fetched worker binaries, and must allow execution. Several pools may share it. Default: [DefaultDir].
	Dir string
	// CacheBytes bounds the binaries kept in Dir; the least recently used ones go first. Default 2 GiB.
	CacheBytes int64
	// MaxWorkers is how many workers run at once, ending ones included. Default 64.
	MaxWorkers int
	// StartTimeout is how long a start may take, from the request to the worker's control connection. Default 2m.
	StartTimeout time.Duration
	// Grace is how long an ending worker has between being asked (SIGTERM) and being killed. Default 5s.
	Grace time.Duration
	// Log gets what happens and what the workers write, each line with the worker's id, control endpoint and process id. Default: nothing.
	Log *slog.Logger

	// every is the time between two looks at a worker's control connection.
	every time.Duration
}

// DefaultAddress is where a pool listens when not told: the port that Beam's worker pools use.
const DefaultAddress = "127.0.0.1:50000"

// complete fills what is zero and checks the rest.
func (o *Options) complete() error {
	o.Address = cmp.Or(o.Address, DefaultAddress)
	o.Dir = cmp.Or(o.Dir, DefaultDir())
	o.CacheBytes = cmp.Or(o.CacheBytes, 2<<30)
	o.MaxWorkers = cmp.Or(o.MaxWorkers, 64)
	o.StartTimeout = cmp.Or(o.StartTimeout, 2*time.Minute)
	o.Grace = cmp.Or(o.Grace, 5*time.Second)
	o.every = cmp.Or(o.every, time.Second)
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	var vs []fault.Violation
	if _, port, err := net.SplitHostPort(o.Address); err != nil || !isPort(port) {
		vs = append(vs, fault.Violation{Path: "address", Got: strconv.Quote(o.Address), Want: "host:port, as " + DefaultAddress, Code: "flink.pool.option"})
	}
	for _, n := range []struct {
		path string
		v    int64
	}{{"cache_bytes", o.CacheBytes}, {"max_workers", int64(o.MaxWorkers)}, {"start_timeout", int64(o.StartTimeout)}, {"grace", int64(o.Grace)}} {
		if n.v < 0 {
			vs = append(vs, fault.Violation{Path: n.path, Got: strconv.FormatInt(n.v, 10), Want: "a positive value", Code: "flink.pool.option"})
		}
	}
	return fault.Config(vs...)
}

func isPort(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil
}

// Serve runs a pool until the context ends, then ends its workers and returns nil; an error says why it could not begin or go on.
func Serve(ctx context.Context, o Options) error {
	p, err := Start(o)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-p.served:
	}
	p.Close()
	return p.err
}

// Check says whether a worker pool answers at an address. A pool of another make counts too.
func Check(ctx context.Context, address string) error {
	cc, err := dial(address)
	if err == nil {
		defer cc.Close()
		_, err = healthpb.NewHealthClient(cc).Check(ctx, &healthpb.HealthCheckRequest{})
	}
	if err == nil || unimplemented(err) {
		return nil
	}
	return &fault.RuntimeError{Detail: fault.Detail{Code: "flink.pool.unreachable", Doing: "ask the worker pool", At: address, Retry: fault.RetryLater,
		Fix: "start one next to each TaskManager: adf flink pool", Err: plain(err)}}
}

// Pool starts workers for the runners that ask it, and ends those that are done. It is safe for use by several goroutines.
type Pool struct {
	fnpb.UnimplementedBeamFnExternalWorkerPoolServer

	o        Options
	cache    *cache
	listener net.Listener
	server   *grpc.Server
	served   chan struct{} // closed when the server has ended; err is set before
	err      error
	ctx      context.Context // ends with the pool
	cancel   context.CancelFunc
	forker   *forker
	slots    chan struct{} // one entry per process
	closing  sync.Once

	mu      sync.Mutex
	closed  bool
	starts  sync.WaitGroup
	workers map[key]*worker
	ended   []Ended // the latest maxEnded, oldest first
	counts  struct{ started, failed int64 }
}

// key tells workers apart: their ids repeat from job to job ("1-1"), while each job has a control endpoint of its own.
type key struct{ control, id string }

// maxEnded is how many ended workers a pool remembers.
const maxEnded = 200

// Start makes a pool that serves until [Pool.Close].
func Start(o Options) (*Pool, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	c, err := openCache(o.Dir, o.CacheBytes)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", o.Address)
	if err != nil {
		return nil, &fault.RuntimeError{Detail: fault.Detail{Code: "flink.pool.listen", Doing: "listen for the Flink runner", At: o.Address, Retry: fault.RetryLater,
			Fix: "end what listens there, or give another address", Err: err}}
	}
	p := &Pool{o: o, cache: c, listener: l, server: grpc.NewServer(grpc.WaitForHandlers(true)), served: make(chan struct{}), forker: newForker(),
		slots: make(chan struct{}, o.MaxWorkers), workers: map[key]*worker{}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	fnpb.RegisterBeamFnExternalWorkerPoolServer(p.server, p)
	healthpb.RegisterHealthServer(p.server, health.NewServer())
	go func() {
		defer close(p.served)
		if err := p.server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			p.err = &fault.RuntimeError{Detail: fault.Detail{Code: "flink.pool.listen", Doing: "serve the Flink runner", At: p.Address(), Retry: fault.RetryLater, Err: err}}
		}
	}()
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		o.Log.Warn("the worker pool listens beyond loopback: whoever reaches it can run programs here", "address", p.Address())
	}
	o.Log.Info("worker pool is ready", "address", p.Address(), "dir", o.Dir, "max_workers", o.MaxWorkers)
	return p, nil
}

// Address is the host:port that the pool listens on.
func (p *Pool) Address() string { return p.listener.Addr().String() }

// Close ends all workers and the service, and returns when no process is left.
func (p *Pool) Close() {
	p.closing.Do(func() {
		p.mu.Lock()
		p.closed = true
		for _, w := range p.workers {
			w.end("the pool was closed")
		}
		p.mu.Unlock()
		p.cancel()
		p.server.Stop()
		p.starts.Wait()
		p.mu.Lock()
		left := make([]*worker, 0, len(p.workers))
		for _, w := range p.workers {
			left = append(left, w)
		}
		p.mu.Unlock()
		for _, w := range left {
			<-w.done
		}
		p.forker.close()
		<-p.served
		p.o.Log.Info("worker pool is closed", "address", p.Address())
	})
}

// Status is what a pool does now.
type Status struct {
	// Workers are those that have a process or are getting one, the oldest first.
	Workers []Worker
	// Ended are the latest of those that are gone, the oldest first.
	Ended []Ended
	// Started counts the processes started, Failed those that ended by themselves with an error or a signal.
	Started, Failed int64
}

// Worker is one worker of a pool.
type Worker struct {
	// ID is the runner's name for it; other jobs have workers of the same name. Control is the endpoint of its job.
	ID, Control string
	// State is "starting", "running" or "ending".
	State string
	// PID is its process and process group; 0 while its binary is fetched.
	PID int
	// Binary is the file it runs.
	Binary string
	// Since is when it was asked for, Uptime how long ago.
	Since  time.Time
	Uptime time.Duration
	// RSS is the resident memory in bytes; 0 where the system does not tell.
	RSS int64
}

// Ended is a worker that is gone.
type Ended struct {
	ID, Control string
	PID         int
	Since, At   time.Time
	// Reason says why the pool ended it; empty when it ended by itself.
	Reason string
	// Exit is how its process ended, as "exit status 1" or "signal: killed". Failed: by itself, and not with success.
	Exit   string
	Failed bool

	stopped bool // a StopWorker was for it
}

// Status tells what the pool does now.
func (p *Pool) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Status{Ended: slices.Clone(p.ended), Started: p.counts.started, Failed: p.counts.failed}
	for k, w := range p.workers {
		s.Workers = append(s.Workers, Worker{ID: k.id, Control: k.control, State: w.state(), PID: w.pid(), Binary: w.binary(), Since: w.since,
			Uptime: time.Since(w.since), RSS: resident(w.pid())})
	}
	slices.SortFunc(s.Workers, func(a, b Worker) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Control, b.Control), cmp.Compare(a.ID, b.ID))
	})
	return s
}

// StartWorker is the runner's call. It returns when the worker has connected to its control endpoint, so that what goes wrong on the way is the answer's error, which
// the runner makes the job's error: a runner that is told "started" waits for that connection for ever.
func (p *Pool) StartWorker(ctx context.Context, q *fnpb.StartWorkerRequest) (*fnpb.StartWorkerResponse, error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return &fnpb.StartWorkerResponse{Error: failed(q.GetWorkerId(), "flink.pool.closed", errors.New("the pool is being closed")).Error()}, nil
	}
	p.starts.Add(1)
	p.mu.Unlock()
	defer p.starts.Done()

	ctx, cancel := context.WithTimeoutCause(ctx, p.o.StartTimeout, fmt.Errorf("the worker was not ready within %v", p.o.StartTimeout))
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	if err := p.start(ctx, q); err != nil {
		p.o.Log.Error("worker did not start", "worker", q.GetWorkerId(), "control", q.GetControlEndpoint().GetUrl(), "error", err)
		return &fnpb.StartWorkerResponse{Error: err.Error()}, nil
	}
	return &fnpb.StartWorkerResponse{}, nil
}

func (p *Pool) start(ctx context.Context, q *fnpb.StartWorkerRequest) (err error) {
	asked := endpoints{control: q.GetControlEndpoint(), logging: q.GetLoggingEndpoint(), artifact: q.GetArtifactEndpoint(), provision: q.GetProvisionEndpoint()}
	t, err := provision(ctx, q.GetWorkerId(), asked)
	if err != nil {
		return err
	}
	w, err := p.reserve(ctx, t)
	if err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
	default:
		p.drop(w)
		return failed(t.id, "flink.pool.full", fmt.Errorf("%d workers run, which is all that this pool may have", p.o.MaxWorkers),
			"allow more (max workers), or give the cluster more TaskManagers with a pool each")
	}
	binary, err := p.cache.fetch(ctx, t)
	if err == nil {
		err = w.fork(p, binary, t)
	}
	if err != nil {
		<-p.slots
		p.drop(w)
		return err
	}
	if err := w.waitConnected(ctx); err != nil {
		w.end("its start failed")
		<-w.done
		return err
	}
	return nil
}

// reserve takes a worker's place in the pool. One that is there already goes when its connection has gone: its job has ended, and the endpoint's port was given to another one.
func (p *Pool) reserve(ctx context.Context, t *task) (*worker, error) {
	control, err := parseEndpoint(t.control)
	if err != nil {
		return nil, failed(t.id, "flink.pool.endpoint", err)
	}
	k := key{t.control, t.id}
	for {
		w := newWorker(k, control, p.o)
		p.mu.Lock()
		there, closed := p.workers[k], p.closed
		if there == nil && !closed {
			p.workers[k] = w
			p.mu.Unlock()
			return w, nil
		}
		p.mu.Unlock()
		switch {
		case closed:
			return nil, failed(t.id, "flink.pool.closed", errors.New("the pool is being closed"))
		case there.holds():
			return nil, failed(t.id, "flink.pool.running", fmt.Errorf("a worker of that name runs for %s already", t.control))
		}
		there.end("a new worker takes its place")
		select {
		case <-there.done:
		case <-ctx.Done():
			return nil, failed(t.id, "flink.pool.running", fmt.Errorf("the worker before it has not ended: %w", context.Cause(ctx)))
		}
	}
}

// drop takes a worker that never had a process out of the pool.
func (p *Pool) drop(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, w.key)
	close(w.done)
}

// gone takes a worker whose process has been reaped out of the pool.
func (p *Pool) gone(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, w.key)
	e := Ended{ID: w.key.id, Control: w.key.control, PID: w.pid(), Since: w.since, At: time.Now(), Reason: w.reason(), Exit: w.exit, stopped: w.stopped}
	e.Failed = e.Reason == "" && e.Exit != exitedWell
	if e.Failed {
		p.counts.failed++
	}
	if len(p.ended) == maxEnded {
		p.ended = slices.Delete(p.ended, 0, 1)
	}
	p.ended = append(p.ended, e)
	<-p.slots
	close(w.done)
}

// StopWorker is the runner's call. It names a worker by its id alone, which workers of several jobs can have. Beam's Flink runner has closed the control stream of
// the one it means, so that one is ended; another that is still connected is ended only when no other worker can be meant. A worker that is ended already is no error.
func (p *Pool) StopWorker(ctx context.Context, q *fnpb.StopWorkerRequest) (*fnpb.StopWorkerResponse, error) {
	const patience = 2 * time.Second
	for until := time.Now().Add(patience); ; {
		candidates, ended := p.named(q.GetWorkerId())
		for _, w := range candidates {
			if (!w.holds() || len(candidates) == 1 && !ended) && p.stop(w) {
				return &fnpb.StopWorkerResponse{}, nil
			}
		}
		switch {
		case ended && p.wasFor(q.GetWorkerId()):
			return &fnpb.StopWorkerResponse{}, nil
		case len(candidates) == 0:
			return &fnpb.StopWorkerResponse{Error: fmt.Sprintf("no worker %s runs in this pool", q.GetWorkerId())}, nil
		case time.Now().After(until):
			p.o.Log.Warn("the worker to stop cannot be told from others of its id: it ends with its control connection", "worker", q.GetWorkerId(), "of", len(candidates))
			return &fnpb.StopWorkerResponse{}, nil
		}
		select {
		case <-time.After(quick):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// stop ends a worker that a StopWorker is for; it says no when another StopWorker was for it.
func (p *Pool) stop(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.stopped {
		return false
	}
	w.stopped = true
	w.end("the runner stopped it")
	return true
}

// named gives the workers of an id that no StopWorker was for, and whether one of that id has ended.
func (p *Pool) named(id string) (workers []*worker, ended bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, w := range p.workers {
		if k.id == id && !w.stopped {
			workers = append(workers, w)
		}
	}
	return workers, slices.ContainsFunc(p.ended, func(e Ended) bool { return e.ID == id && !e.stopped })
}

// wasFor lets a StopWorker be for one of the ended workers of an id.
func (p *Pool) wasFor(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.ended, func(e Ended) bool { return e.ID == id && !e.stopped })
	if i >= 0 {
		p.ended[i].stopped = true
	}
	return i >= 0
}

// failed is the error of one worker's start.
func failed(id, code string, err error, fix ...string) error {
	d := fault.Detail{Code: code, Doing: "start worker " + id, Retry: fault.RetryLater, Err: err}
	if len(fix) > 0 {
		d.Fix = fix[0]
	}
	return &fault.RuntimeError{Detail: d}
}
