package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// worker is one worker's life: asked for, its process forked, connected, asked to end, reaped.
type worker struct {
	key     key
	control endpoint
	o       Options
	log     *slog.Logger
	since   time.Time
	output  *output

	proc      atomic.Pointer[process] // nil before the fork
	connected chan struct{}           // closed when its control connection was seen
	ending    chan struct{}           // closed when it is to end
	done      chan struct{}           // closed when its process is reaped, and when it never had one
	exit      string                  // how its process ended; set before done is closed

	mu      sync.Mutex
	why     string // why it is to end
	reaping bool   // its process has ended: the id may soon be another's

	stopped bool // a StopWorker was for it; the pool's lock holds it
}

type process struct {
	pid    int
	binary string
}

// quick is the time between two looks at a connection that is about to come or go.
const quick = 20 * time.Millisecond

func newWorker(k key, control endpoint, o Options) *worker {
	return &worker{key: k, control: control, o: o, log: o.Log.With("worker", k.id, "control", k.control), since: time.Now(),
		connected: make(chan struct{}), ending: make(chan struct{}), done: make(chan struct{})}
}

func (w *worker) pid() int {
	if p := w.proc.Load(); p != nil {
		return p.pid
	}
	return 0
}

func (w *worker) binary() string {
	if p := w.proc.Load(); p != nil {
		return p.binary
	}
	return ""
}

func (w *worker) state() string {
	select {
	case <-w.ending:
		return "ending"
	case <-w.connected:
		return "running"
	default:
		return "starting"
	}
}

// holds says whether the worker is of use to its job: it is starting, or still connected.
func (w *worker) holds() bool {
	switch w.state() {
	case "starting":
		return true
	case "running":
		return w.control.held(w.pid())
	default:
		return false
	}
}

// end asks for the worker's end, and does not wait for it; the first reason stays.
func (w *worker) end(why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == "" {
		w.why = why
		close(w.ending)
	}
}

// reason is why the worker was to end; empty when nobody asked.
func (w *worker) reason() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.why
}

// fork starts the worker's process, in a group of its own. From then on two goroutines follow it until the pool's gone is called.
func (w *worker) fork(p *Pool, binary string, t *task) error {
	options, err := optionsFile(p.cache.dir, t.options)
	if err != nil {
		return failed(t.id, "flink.pool.dir", err)
	}
	defer options.Close()
	w.output = &output{}
	var cmd *exec.Cmd
	for attempt := 0; ; attempt++ {
		cmd = exec.Command(binary, t.args...)
		cmd.Env = append(t.environ(), "PIPELINE_OPTIONS_FILE=/dev/fd/3")
		cmd.ExtraFiles = []*os.File{options}
		cmd.Stdout, cmd.Stderr = w.output, w.output
		cmd.WaitDelay = time.Second
		cmd.SysProcAttr = ownGroup()
		err = p.forker.start(cmd)
		// A binary can be busy for a moment: a process that is being forked right now holds a copy of the file that it was just written to.
		if !errors.Is(err, syscall.ETXTBSY) || attempt == 20 {
			break
		}
		time.Sleep(quick)
	}
	if err != nil {
		return notRunnable(t.id, binary, err)
	}
	w.log = w.log.With("pid", cmd.Process.Pid)
	w.output.to(w.log)
	w.proc.Store(&process{pid: cmd.Process.Pid, binary: binary})
	w.log.Info("worker started", "binary", binary)
	p.mu.Lock()
	p.counts.started++
	p.mu.Unlock()
	go w.watch()
	go func() {
		err := reap(cmd, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.reaping = true
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what it started and left
		})
		w.output.flush()
		w.ended(exitText(cmd, err))
		p.gone(w)
	}()
	return nil
}

// watch looks at the worker's control connection, and ends the worker when that is gone.
func (w *worker) watch() {
	seen, missing, every := false, 0, quick
	tick := time.NewTimer(every)
	defer tick.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-w.ending:
			w.kill()
			return
		case <-tick.C:
		}
		switch held := w.control.held(w.pid()); {
		case held && !seen:
			seen, every = true, w.o.every
			close(w.connected)
		case held:
			missing = 0
		case seen:
			if missing++; missing == 2 { // once may be a worker that is just ending by itself: its own exit says more
				w.end("its control connection is gone")
			}
		}
		tick.Reset(every)
	}
}

// kill ends the process group: asks, and after the grace does not ask.
func (w *worker) kill() {
	w.log.Info("worker is ended", "reason", w.reason())
	w.signal(syscall.SIGTERM)
	select {
	case <-w.done:
		return
	case <-time.After(w.o.Grace):
	}
	w.log.Warn("worker did not end when asked: it is killed", "grace", w.o.Grace)
	w.signal(syscall.SIGKILL)
}

func (w *worker) signal(s syscall.Signal) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.reaping {
		_ = syscall.Kill(-w.pid(), s)
	}
}

// ended notes how the process ended, and says so.
func (w *worker) ended(exit string) {
	w.exit = exit
	switch reason := w.reason(); {
	case reason != "":
		w.log.Info("worker has ended", "reason", reason, "exit", exit)
	case exit == exitedWell:
		w.log.Info("worker has ended by itself")
	default:
		w.log.Error("worker has failed", "exit", exit, "uptime", time.Since(w.since).Round(time.Millisecond), "last", w.output.tail())
	}
}

// exitedWell is the exit of a process that had nothing to complain of.
const exitedWell = "exit status 0"

func exitText(cmd *exec.Cmd, err error) string {
	if cmd.ProcessState != nil {
		return cmd.ProcessState.String()
	}
	return err.Error()
}

// optionsFile is an open file without a name: whoever has the descriptor can read it as often as wanted, and nobody has to remove it.
func optionsFile(dir string, content []byte) (*os.File, error) {
	f, err := os.CreateTemp(dir, optionsFiles)
	if err != nil {
		return nil, err
	}
	if _, err = f.Write(content); err == nil {
		err = os.Remove(f.Name())
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// forker forks all of a pool's processes on one thread that stays: the system kills them when the thread that forked them ends, and Go ends threads.
type forker struct{ work chan func() }

func newForker() *forker {
	f := &forker{work: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for do := range f.work {
			do()
		}
	}()
	return f
}

func (f *forker) start(cmd *exec.Cmd) (err error) {
	done := make(chan struct{})
	f.work <- func() {
		defer close(done)
		err = cmd.Start()
	}
	<-done
	return err
}

func (f *forker) close() { close(f.work) }

// waitConnected waits for a forked worker to be of use.
func (w *worker) waitConnected(ctx context.Context) error {
	select {
	case <-w.connected:
		return nil
	case <-w.done:
		return failed(w.key.id, "flink.pool.worker.exited", fmt.Errorf("the worker ended before it connected to %s: %s%s", w.key.control, w.exit, w.output.last()))
	case <-w.ending:
		return failed(w.key.id, "flink.pool.worker.ended", errors.New(w.reason()))
	case <-ctx.Done():
		return failed(w.key.id, "flink.pool.worker.late", fmt.Errorf("the worker did not connect to %s: %w%s", w.key.control, context.Cause(ctx), w.output.last()))
	}
}
