package splittest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/activedataflow/adf/splits"
	"github.com/activedataflow/adf/splits/splitsrpc"
)

// jobVariable holds the job of a reader process: the test binary itself, started anew.
const jobVariable = "ADF_SPLITTEST_JOB"

// job is what a reader process shall do.
type job struct {
	Process, Address, Dir string
	Reader                int
	// Hang is the number of batches after which it only pretends to live.
	Hang int
}

// Child makes a process that the suite has started into a reader of one of the sources; it ends the process then, and does nothing in any other.
// Call it first in TestMain. The sources are erased ones over the input that Harness.Env tells of.
func Child(sources map[string]func() (splits.Any, error)) {
	text := os.Getenv(jobVariable)
	if text == "" {
		return
	}
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		if open := sources[j.Process]; open == nil {
			err = fmt.Errorf("got the process %q, want one of those given to Child: %q", j.Process, slices.Sorted(maps.Keys(sources)))
		} else {
			err = j.run(open)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// line is one line of what a reader process wrote down: a record, or the number of a report of all records before it.
type line struct {
	Split    string `json:",omitempty"`
	Position int64  `json:",omitempty"`
	Rejected bool   `json:",omitempty"`
	Data     []byte `json:",omitempty"`
	Report   int64  `json:",omitempty"`
}

// reportEvery is the number of batches between two reports.
const reportEvery = 2

func (j job) run(open func() (splits.Any, error)) error {
	src, err := open()
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(j.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx := context.Background()
	s, err := splitsrpc.Join(ctx, conn, "source", j.Reader)
	if err != nil {
		return err
	}
	defer s.Close()
	r, err := src.NewReader(ctx, s)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Start(ctx); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(j.Dir, fmt.Sprintf("session-%d", s.Number())))
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriter(f)
	lines := json.NewEncoder(out)

	b := src.Codec().NewBatch()
	batches, since, last, news := 0, 0, int64(0), false
	for {
		if err := s.Deliver(ctx, r); err != nil {
			return err
		}
		b.Reset()
		status, err := r.Poll(b)
		if err != nil {
			return err
		}
		if es := entries(src.Codec(), b); len(es) > 0 {
			batches++
			since++
			for _, e := range es {
				if err := lines.Encode(line{Split: b.SplitID(), Position: e.position, Rejected: e.rejected, Data: []byte(e.data)}); err != nil {
					return err
				}
			}
		}
		news = len(r.Finished()) > 0 || since > 0 || news
		hang := j.Hang > 0 && (batches >= j.Hang || status == splits.End)
		if since >= reportEvery || status != splits.More && news && !hang {
			if err := out.Flush(); err != nil {
				return err
			}
			if last, err = s.Report(r); err != nil {
				return err
			}
			if err := lines.Encode(line{Report: last}); err != nil {
				return err
			}
			since, news = 0, false
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if hang {
			if err := os.WriteFile(filepath.Join(j.Dir, "hangs"), nil, 0o644); err != nil {
				return err
			}
			select {} // until it is killed; heartbeats go on
		}
		switch status {
		case splits.End:
			if s.Acknowledged() >= last {
				return nil
			}
			<-s.Changed()
		case splits.Nothing:
			select {
			case <-r.Ready():
			case <-s.Changed():
			}
		}
	}
}

// processes: two readers in processes of their own over gRPC, of which one is killed in the middle. What it had goes to the other one, or
// to the process that takes its place, and what was read until each one's last acknowledged report is the input, each record once.
func (h Harness[T, S]) processes(tb TB) {
	for _, again := range []bool{false, true} {
		h.killOne(tb, again)
	}
}

func (h Harness[T, S]) killOne(tb TB, again bool) {
	in, src := h.input(tb)
	ref := h.read(tb, src, h.Enough)
	server, err := splitsrpc.NewServer(src, splitsrpc.Options{Parallelism: 2, Heartbeat: time.Second})
	if err != nil {
		tb.Fatalf("serve the splits: %v", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listen: %v", err)
	}
	g := grpc.NewServer()
	splitsrpc.Register(g, map[string]*splitsrpc.Server{"source": server})
	var serving sync.WaitGroup
	serving.Go(func() { _ = g.Serve(listener) })
	f := &family{tb: tb, job: job{Process: h.Process, Address: listener.Addr().String(), Dir: tb.TempDir()}, server: server, counted: map[int64]int64{}}
	if h.Env != nil {
		f.env = h.Env(in)
	}
	defer func() {
		f.kill()
		if err := server.Close(); err != nil {
			tb.Errorf("close the server: %v", err)
		}
		g.Stop()
		serving.Wait()
	}()

	victim := f.start(0, reportEvery+1)
	f.until("the first reader is in the middle", func() bool {
		_, err := os.Stat(filepath.Join(f.job.Dir, "hangs"))
		return err == nil
	})
	f.start(1, 0)
	if !again && src.Boundedness() == splits.Bounded { // the other one waits, with nothing left to read
		since := time.Now()
		f.until("the second reader has nothing left", func() bool {
			if r, ok := f.standing[1]; !ok || len(r.Splits) > 0 {
				since = time.Now()
			}
			return time.Since(since) > 100*time.Millisecond
		})
	}
	f.checkpoint()
	f.end(victim, true)
	if again {
		f.start(0, 0)
	}
	if src.Boundedness() == splits.Unbounded {
		f.until("everything is read", func() bool { return f.collect().covers(ref) })
	} else {
		over := make(chan error, 1)
		go func() { over <- server.Wait(context.Background()) }()
		f.until("every split is finished", func() bool {
			select {
			case err := <-over:
				if err != nil {
					tb.Errorf("the server failed: %v", err)
				}
				return true
			default:
				return false
			}
		})
		for _, c := range f.living() {
			f.end(c, false)
		}
	}
	same(tb, src, fmt.Sprintf("two processes, one killed, started again %t", again), f.collect(), ref)
}

// family is the processes of one read.
type family struct {
	tb      TB
	job     job
	env     []string
	server  *splitsrpc.Server
	counted map[int64]int64 // by session: the report up to which its records count
	// standing is where the readers stood at the last checkpoint.
	standing map[int]splitsrpc.ReaderState
	all      []*child
}

type child struct {
	cmd   *exec.Cmd
	said  bytes.Buffer
	ended chan struct{} // closed when err is set
	err   error
	over  bool // expected to have ended
}

func (f *family) start(reader, hang int) *child {
	f.tb.Helper()
	j := f.job
	j.Reader, j.Hang = reader, hang
	text, err := json.Marshal(j)
	if err != nil {
		f.tb.Fatalf("%v", err)
	}
	self, err := os.Executable()
	if err != nil {
		f.tb.Fatalf("%v", err)
	}
	c := &child{cmd: exec.Command(self), ended: make(chan struct{})}
	c.cmd.Env = append(append(os.Environ(), f.env...), jobVariable+"="+string(text))
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said
	if err := c.cmd.Start(); err != nil {
		f.tb.Fatalf("start a reader: %v", err)
	}
	f.all = append(f.all, c)
	go func() {
		defer close(c.ended)
		c.err = c.cmd.Wait()
	}()
	return c
}

func (f *family) living() []*child {
	return slices.DeleteFunc(slices.Clone(f.all), func(c *child) bool { return c.over })
}

// end waits for the end of a process, after SIGKILL if it is to be killed.
func (f *family) end(c *child, kill bool) {
	f.tb.Helper()
	c.over = true
	if kill {
		_ = c.cmd.Process.Kill()
		<-c.ended
		return
	}
	select {
	case <-c.ended:
		if c.err != nil {
			f.tb.Errorf("a reader ended with %v: %s", c.err, c.said.String())
		}
	case <-time.After(patience):
		f.tb.Errorf("a reader did not come to its end in %v", patience)
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

func (f *family) kill() {
	for _, c := range f.living() {
		f.end(c, true)
	}
}

// checkpoint acknowledges what the readers have reported.
func (f *family) checkpoint() {
	f.tb.Helper()
	err := f.server.Checkpoint(context.Background(), func(_ context.Context, c splitsrpc.Checkpoint) error {
		f.standing = map[int]splitsrpc.ReaderState{}
		for _, r := range c.Readers {
			f.counted[r.Session] = r.Snapshot
			f.standing[r.Reader] = r
		}
		return nil
	})
	if err != nil {
		f.tb.Fatalf("checkpoint: %v", err)
	}
}

// until takes checkpoints until something is so.
func (f *family) until(what string, so func() bool) {
	f.tb.Helper()
	for deadline := time.Now().Add(3 * patience); !so(); time.Sleep(5 * time.Millisecond) {
		for _, c := range f.living() {
			select {
			case <-c.ended:
				if c.err != nil {
					f.tb.Fatalf("a reader ended with %v: %s", c.err, c.said.String())
				}
			default:
			}
		}
		if time.Now().After(deadline) {
			f.tb.Fatalf("waited %v and it is not so that %s", 3*patience, what)
		}
		f.checkpoint()
	}
}

// collect gives all records that count, by split in the order of their positions.
func (f *family) collect() log {
	f.tb.Helper()
	all := log{}
	for session, until := range f.counted {
		if until == 0 {
			continue
		}
		file, err := os.Open(filepath.Join(f.job.Dir, fmt.Sprintf("session-%d", session)))
		if err != nil {
			f.tb.Fatalf("%v", err)
		}
		for dec := json.NewDecoder(bufio.NewReader(file)); ; {
			var l line
			// A process killed between a report and its line has written nothing behind it.
			if err := dec.Decode(&l); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || l.Report == until {
				break
			} else if err != nil {
				f.tb.Fatalf("%s: %v", file.Name(), err)
			}
			if l.Report == 0 {
				all[l.Split] = append(all[l.Split], entry{l.Position, l.Rejected, string(l.Data)})
			}
		}
		_ = file.Close()
	}
	for _, es := range all {
		slices.SortStableFunc(es, func(a, b entry) int { return int(a.position - b.position) })
	}
	return all
}
