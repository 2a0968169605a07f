package pool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"
)

func TestStartAndStop(t *testing.T) {
	job := newRunner(t, "tell")
	job.info.RunnerCapabilities = []string{"beam:a:v1", "beam:b:v1"}
	job.info.StatusEndpoint = &pipepb.ApiServiceDescriptor{Url: "localhost:1"}
	p, c, log := newPool(t, nil)
	job.mustStart(c, "1-1")
	s := p.Status()
	if len(s.Workers) != 1 || s.Started != 1 {
		t.Fatalf("got status %+v, want one worker", s)
	}
	w := s.Workers[0]
	if w.ID != "1-1" || w.Control != job.control || w.State != "running" || !alive(w.PID) || w.Uptime <= 0 || filepath.Base(w.Binary) != "worker-"+job.sum {
		t.Errorf("got worker %+v, want 1-1 of %s running", w, job.control)
	}
	if runtime.GOOS == "linux" && w.RSS < 1<<20 {
		t.Errorf("got %d bytes of resident memory", w.RSS)
	}
	if pgid, err := syscall.Getpgid(w.PID); err != nil || pgid != w.PID {
		t.Errorf("got process group %d (%v), want the worker's own, %d", pgid, err, w.PID)
	}
	told := fmt.Sprintf(`args ["--worker=true" "--id=1-1" "--logging_endpoint=%s" "--control_endpoint=%s"] capabilities "beam:a:v1 beam:b:v1" status "localhost:1"`,
		job.others, job.control)
	told = strconv.Quote(told)
	eventually(t, "the worker's line is logged", func() bool { return strings.Contains(log.String(), told) })
	for line := range strings.Lines(log.String()) {
		if strings.Contains(line, "worker says") && !strings.Contains(line, fmt.Sprintf("worker=1-1 control=%s pid=%d", job.control, w.PID)) {
			t.Errorf("got %q, want the worker's id, control endpoint and process", line)
		}
	}
	if err := stop(t, c, "1-1"); err != "" {
		t.Error(err)
	}
	eventually(t, "the worker ends", func() bool { return len(p.Status().Workers) == 0 })
	if alive(w.PID) {
		t.Error("the worker's process is left")
	}
	if e := p.Status().Ended; len(e) != 1 || e[0].Reason != "the runner stopped it" || e[0].Exit != "signal: terminated" || e[0].Failed {
		t.Errorf("got %+v, want one that the runner stopped", e)
	}
	if got, want := stop(t, c, "1-1"), "no worker 1-1 runs in this pool"; got != want {
		t.Errorf("stop once more: got %q, want %q", got, want)
	}
}

// Worker ids repeat from job to job: what ends one job's worker leaves the other's alone.
func TestTwoJobsWithOneID(t *testing.T) {
	a, b := newRunner(t, ""), newRunner(t, "")
	p, c, log := newPool(t, nil)
	a.mustStart(c, "1-1")
	b.mustStart(c, "1-1")
	if got, want := a.start(c, "1-1"), "a worker of that name runs for "+a.control+" already"; !strings.Contains(got, want) {
		t.Errorf("start again: got %q, want %q", got, want)
	}
	workers := p.Status().Workers
	if len(workers) != 2 {
		t.Fatalf("got %+v, want two workers", workers)
	}
	if err := stop(t, c, "1-1"); err != "" || len(p.Status().Workers) != 2 || !strings.Contains(log.String(), "cannot be told from others") {
		t.Errorf("got %q and %d workers, want none ended when any could be meant", err, len(p.Status().Workers))
	}
	a.closeControl("1-1") // and at once, as the Flink runner does:
	if err := stop(t, c, "1-1"); err != "" {
		t.Error(err)
	}
	eventually(t, "one ends", func() bool { return len(p.Status().Workers) == 1 })
	if left := p.Status().Workers[0]; left.Control != b.control || !alive(left.PID) {
		t.Errorf("got %+v left, want the other job's", left)
	}
	a.mustStart(c, "1-1") // the job's next attempt
	eventually(t, "both run", func() bool { return len(p.Status().Workers) == 2 })
}

// A StopWorker that comes after its worker has ended is not for another job's.
func TestStopIsForTheEndedOne(t *testing.T) {
	a, b := newRunner(t, ""), newRunner(t, "")
	p, c, _ := newPool(t, nil)
	a.mustStart(c, "1-1")
	a.closeControl("1-1")
	eventually(t, "it ends", func() bool { return len(p.Status().Workers) == 0 })
	b.mustStart(c, "1-1")
	if err := stop(t, c, "1-1"); err != "" {
		t.Error(err)
	}
	time.Sleep(300 * time.Millisecond)
	if s := p.Status(); len(s.Workers) != 1 || s.Workers[0].State != "running" {
		t.Errorf("got %+v, want the second job's worker running", s.Workers)
	}
}

func TestControlStreamCloses(t *testing.T) {
	for _, c := range []struct{ mode, reason, exit string }{
		{"", "its control connection is gone", "signal: terminated"},
		{"stubborn", "its control connection is gone", "signal: killed"},
		{"child", "its control connection is gone", "signal: terminated"},
	} {
		t.Run("mode "+c.mode, func(t *testing.T) {
			job := newRunner(t, c.mode)
			p, to, log := newPool(t, func(o *Options) { o.Grace = 500 * time.Millisecond })
			job.mustStart(to, "1-1")
			child := 0
			if c.mode == "child" {
				child = childIn(t, log)
			}
			begin := time.Now()
			job.closeControl("1-1")
			eventually(t, "the worker ends", func() bool { return len(p.Status().Workers) == 0 })
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if e := p.Status().Ended[0]; e.Reason != c.reason || e.Exit != c.exit || e.Failed {
				t.Errorf("got %+v", e)
			}
			if !strings.Contains(log.String(), "Worker exited successfully!") {
				t.Error("the worker had not noticed: the test shows nothing")
			}
			if child > 0 {
				eventually(t, "the worker's child ends", func() bool { return !alive(child) })
			}
		})
	}
}

// A worker that says why it ends is heard, also when that is because of the runner's death.
func TestRunnerDies(t *testing.T) {
	job := newRunner(t, "")
	p, c, log := newPool(t, func(o *Options) { o.every = 500 * time.Millisecond })
	job.mustStart(c, "1-1")
	job.stream("1-1")
	job.die()
	eventually(t, "the worker ends", func() bool { return len(p.Status().Workers) == 0 })
	if e := p.Status().Ended[0]; !e.Failed || e.Exit != "exit status 1" {
		t.Errorf("got %+v, want the worker's own exit", e)
	}
	eventually(t, "its words are logged", func() bool {
		return strings.Contains(log.String(), "worker has failed") && strings.Contains(log.String(), "Worker failed: ")
	})
}

func TestWorkerFails(t *testing.T) {
	for _, c := range []struct{ mode, code, want string }{
		{"crash", "flink.pool.worker.exited", "runtime: start worker 1-1: the worker ended before it connected to CONTROL: exit status 3; its last words:\npanic: boom [flink.pool.worker.exited]"},
		{"mute", "flink.pool.worker.late", "runtime: start worker 1-1: the worker did not connect to CONTROL: the worker was not ready within 1.5s; it said nothing [flink.pool.worker.late]"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			job := newRunner(t, c.mode)
			p, to, log := newPool(t, func(o *Options) { o.StartTimeout = 1500 * time.Millisecond })
			if got, want := job.start(to, "1-1"), strings.ReplaceAll(c.want, "CONTROL", job.control); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			if n := len(p.Status().Workers); n != 0 {
				t.Errorf("got %d workers left", n)
			}
			if !strings.Contains(log.String(), "worker did not start") {
				t.Error("not logged")
			}
		})
	}
	t.Run("later", func(t *testing.T) {
		job := newRunner(t, "child")
		p, c, log := newPool(t, nil)
		job.mustStart(c, "1-1")
		child := childIn(t, log)
		job.stream("1-1").instruct <- struct{}{}
		eventually(t, "it fails", func() bool { return p.Status().Failed == 1 })
		if e := p.Status().Ended[0]; e.Exit != "exit status 4" || !e.Failed || e.Reason != "" {
			t.Errorf("got %+v", e)
		}
		if text := log.String(); !strings.Contains(text, `level=ERROR msg="worker has failed"`) || !strings.Contains(text, `dying on the job"`) {
			t.Errorf("got log %s", text)
		}
		eventually(t, "what it started ends too", func() bool { return !alive(child) })
	})
}

// childIn gives the process that a worker of mode "child" says it has started.
func childIn(t *testing.T, log *logged) (pid int) {
	t.Helper()
	eventually(t, "the child is told", func() bool {
		_, text, ok := strings.Cut(log.String(), `text="child `)
		text, _, _ = strings.Cut(text, `"`)
		pid, _ = strconv.Atoi(text)
		return ok && pid > 0
	})
	return pid
}

// A fork that happens while a binary is written holds it open for writing until its exec: the binary's start is tried again.
func TestBinaryIsBusy(t *testing.T) {
	job := newRunner(t, "")
	p, c, _ := newPool(t, func(o *Options) { o.Dir = t.TempDir() })
	job.mustStart(c, "1-1")
	f, err := os.OpenFile(p.Status().Workers[0].Binary, os.O_WRONLY, 0)
	if errors.Is(err, syscall.ETXTBSY) { // it runs: try when it does not
		stop(t, c, "1-1")
		eventually(t, "it ends", func() bool { return len(p.Status().Workers) == 0 })
		f, err = os.OpenFile(filepath.Join(p.o.Dir, "worker-"+job.sum), os.O_WRONLY, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	closed := time.AfterFunc(100*time.Millisecond, func() { f.Close() })
	defer closed.Stop()
	job.mustStart(c, "1-2")
}

// A runner that does not wait for its worker any more has no use for it.
func TestStartIsGivenUp(t *testing.T) {
	job := newRunner(t, "mute")
	p, c, _ := newPool(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for p.Status().Started == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if _, err := c.StartWorker(ctx, job.request("1-1")); err == nil {
		t.Fatal("no error")
	}
	eventually(t, "the worker ends", func() bool { return len(p.Status().Workers) == 0 })
}

func TestRefused(t *testing.T) {
	script := filepath.Join(t.TempDir(), "worker")
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(script, []byte("just text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	elf, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	elf[0x12], elf[0x13] = 8, 0 // e_machine: MIPS
	if err := os.WriteFile(other, elf, 0o600); err != nil {
		t.Fatal(err)
	}
	const zeros = "0000000000000000000000000000000000000000000000000000000000000000"
	for _, c := range []struct {
		name   string
		change func(*runner, *fnpb.StartWorkerRequest)
		want   string
	}{
		{"checksum", func(r *runner, _ *fnpb.StartWorkerRequest) { r.give(script); r.says(zeros) },
			"runtime: start worker 1-1: the worker binary from OTHERS: its SHA-256 is SUM, and should be " + zeros +
				" [flink.pool.checksum]; submit the job again: its job JAR or the way to it is damaged"},
		{"no checksum", func(r *runner, _ *fnpb.StartWorkerRequest) { r.give(script); r.says("../../etc/passwd") },
			`runtime: start worker 1-1: fetch the worker binary from OTHERS: got SHA-256 "../../etc/passwd", want 64 hexadecimal digits [flink.pool.artifact]`},
		{"architecture", func(r *runner, _ *fnpb.StartWorkerRequest) { r.give(other) },
			"runtime: start worker 1-1: the worker binary is an ELF program for mips, and this machine is PLATFORM: fork/exec BINARY: exec format error" +
				" [flink.pool.worker.architecture]; build the program that is submitted for this machine: GOOS=OS GOARCH=ARCH"},
		{"no program", func(r *runner, _ *fnpb.StartWorkerRequest) { r.give(script) },
			"runtime: start worker 1-1: the worker binary is no program, and this machine is PLATFORM: fork/exec BINARY: exec format error" +
				" [flink.pool.worker.architecture]; build the program that is submitted for this machine: GOOS=OS GOARCH=ARCH"},
		{"not there", func(r *runner, _ *fnpb.StartWorkerRequest) { r.binary = "/nowhere"; r.says(zeros) },
			"runtime: start worker 1-1: fetch the worker binary from OTHERS: NotFound: artifact not found [flink.pool.artifact]"},
		{"no binary", func(r *runner, _ *fnpb.StartWorkerRequest) { r.info.Dependencies = nil },
			"runtime: start worker 1-1: the job brings no worker binary (an artifact of role beam:artifact:role:go_worker_binary:v1), but 0 artifacts []" +
				" [flink.pool.artifact]; submit the job with adf, which adds its own binary"},
		{"no id", func(_ *runner, q *fnpb.StartWorkerRequest) { q.WorkerId = "" },
			`runtime: start worker : got worker id "" and provision endpoint "OTHERS", want both [flink.pool.request]`},
		{"no control", func(_ *runner, q *fnpb.StartWorkerRequest) { q.ControlEndpoint = nil },
			`runtime: start worker 1-1: the runner names no control endpoint [flink.pool.request]`},
		{"control", func(_ *runner, q *fnpb.StartWorkerRequest) { q.ControlEndpoint.Url = "unix:///tmp/x" },
			`runtime: start worker 1-1: got control endpoint "unix:///tmp/x", want host:port [flink.pool.endpoint]`},
		{"authentication", func(_ *runner, q *fnpb.StartWorkerRequest) {
			q.LoggingEndpoint.Authentication = &pipepb.AuthenticationSpec{Urn: "beam:x"}
		},
			"runtime: start worker 1-1: the runner wants authentication at its logging endpoint, which Beam's Go workers do not have [flink.pool.request]"},
		{"no runner", func(_ *runner, q *fnpb.StartWorkerRequest) { q.ProvisionEndpoint.Url = "127.0.0.1:1" },
			`runtime: start worker 1-1: ask 127.0.0.1:1 what to run: Unavailable: connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused"` +
				" [flink.pool.provision]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			job := newRunner(t, "")
			p, to, _ := newPool(t, func(o *Options) { o.Dir = t.TempDir() })
			q := job.request("1-1")
			c.change(job, q)
			answer, err := to.StartWorker(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			sum, _ := sums.Load(job.binary)
			want := strings.NewReplacer("OTHERS", job.others, "is SUM", "is "+fmt.Sprint(sum), "PLATFORM", runtime.GOOS+"/"+runtime.GOARCH, "GOOS=OS", "GOOS="+runtime.GOOS,
				"GOARCH=ARCH", "GOARCH="+runtime.GOARCH, "BINARY", filepath.Join(p.o.Dir, "worker-"+fmt.Sprint(sum))).Replace(c.want)
			if answer.Error != want {
				t.Errorf("got  %s\nwant %s", answer.Error, want)
			}
			if n := len(p.Status().Workers); n != 0 {
				t.Errorf("got %d workers left", n)
			}
			if len(p.slots) != 0 {
				t.Error("a slot is taken")
			}
		})
	}
}

func TestPoolIsFull(t *testing.T) {
	job := newRunner(t, "")
	p, c, _ := newPool(t, func(o *Options) { o.MaxWorkers = 2 })
	job.mustStart(c, "1-1", "1-2")
	got := job.start(c, "1-3")
	if want := "2 workers run, which is all that this pool may have"; !strings.Contains(got, want) || !strings.Contains(got, "[flink.pool.full]") {
		t.Errorf("got %q, want %q", got, want)
	}
	stop(t, c, "1-1")
	eventually(t, "it ends", func() bool { return len(p.Status().Workers) == 1 })
	job.mustStart(c, "1-3")
}

// Workers of a pool that is killed are killed with it.
func TestPoolIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Log("this system does not tie a process to its parent")
		return
	}
	job := newRunner(t, "")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, sharedDir)
	cmd.Env = append(os.Environ(), roleVariable+"=pool")
	log := &logged{}
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err, log.String())
	}
	c := client(t, strings.TrimSpace(address))
	job.mustStart(c, "1-1", "1-2", "1-3")
	var pids []int
	for line := range strings.Lines(log.String()) {
		if _, text, ok := strings.Cut(line, " pid="); ok && strings.Contains(line, "worker started") {
			text, _, _ = strings.Cut(text, " ")
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	if len(pids) != 3 {
		t.Fatalf("got workers %v in %s", pids, log.String())
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		eventually(t, "the worker dies", func() bool { return !alive(pid) })
	}
}

// Fifty jobs leave nothing behind.
func TestNothingIsLeft(t *testing.T) {
	job := newRunner(t, "")
	p, c, _ := newPool(t, func(o *Options) { o.every = 20 * time.Millisecond })
	round := func(i int) {
		id := "1-" + strconv.Itoa(i)
		job.mustStart(c, id)
		if i%2 == 0 {
			job.closeControl(id)
		} else if err := stop(t, c, id); err != "" {
			t.Fatal(err)
		}
		eventually(t, "the worker ends", func() bool { return len(p.Status().Workers) == 0 })
		noProcesses(t)
	}
	round(0)
	files, goroutines := openFiles(t), runtime.NumGoroutine()
	for i := range 50 {
		round(1 + i)
	}
	if job.fetches.Load() > 1 {
		t.Errorf("got %d fetches of one binary", job.fetches.Load())
	}
	// The runner's side of the last connection may still be closing.
	eventually(t, fmt.Sprintf("files %d and goroutines %d as before", files, goroutines), func() bool {
		return openFiles(t) <= files && runtime.NumGoroutine() <= goroutines
	})
	if s := p.Status(); s.Started != 51 || len(s.Ended) != 51 || s.Failed != 0 {
		t.Errorf("got %d started, %d ended, %d failed", s.Started, len(s.Ended), s.Failed)
	}
	left, err := filepath.Glob(filepath.Join(sharedDir, "[of]*-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	l, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

func TestClose(t *testing.T) {
	job := newRunner(t, "")
	mute := newRunner(t, "mute")
	p, c, _ := newPool(t, nil)
	job.mustStart(c, "1-1", "1-2")
	answer := make(chan error, 1)
	go func() {
		_, err := c.StartWorker(context.Background(), mute.request("1-1"))
		answer <- err
	}()
	eventually(t, "three processes", func() bool { return p.Status().Started == 3 })
	p.Close()
	noProcesses(t)
	<-answer
	if s := p.Status(); len(s.Workers) != 0 || len(s.Ended) != 3 {
		t.Errorf("got %+v", s)
	}
	p.Close()
}

func TestServe(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Address: l.Addr().String(), Dir: t.TempDir()}
	if err := Serve(ctx, o); code(err) != "flink.pool.listen" {
		t.Errorf("got %v, want that the address is taken", err)
	}
	l.Close()
	if err := Check(ctx, o.Address); code(err) != "flink.pool.unreachable" {
		t.Errorf("got %v, want that nothing is there", err)
	}
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, o) }()
	eventually(t, "the pool answers", func() bool { return Check(ctx, o.Address) == nil })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Check takes any gRPC server for a pool: others have no health service.
func TestCheckOtherPool(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	defer s.Stop()
	go s.Serve(l)
	if err := Check(t.Context(), l.Addr().String()); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	_, err := Start(Options{Address: "here", MaxWorkers: -1, Grace: -time.Second})
	want := `address: got "here", want host:port, as 127.0.0.1:50000
max_workers: got -1, want a positive value
grace: got -1000000000, want a positive value`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Mkdir(open, 0o700), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	_, err = Start(Options{Address: "127.0.0.1:0", Dir: open})
	if want := "runtime: use the directory for worker binaries: " + open + ": others can write to it (drwxrwxrwx) [flink.pool.dir]; give a directory of this user's own"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
