package checkpointrpc_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/checkpoint/checkpointrpc"
	"github.com/activedataflow/adf/engine/checkpoint/storetest"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/errorfs"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ADF_CHECKPOINT_SERVER"); dir != "" {
		serve(dir, os.Getenv("ADF_CHECKPOINT_ADDRESS"))
		return
	}
	goleak.VerifyTestMain(m)
}

var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// listen serves a store in this process.
func listen(t *testing.T, store checkpoint.Store) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s := checkpointrpc.NewServer(store)
	done := make(chan error)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); must(t, <-done) })
	return l.Addr().String()
}

// dial makes a client.
func dial(t *testing.T, address string) checkpoint.Store {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close()) })
	return checkpointrpc.NewClient(conn)
}

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() checkpoint.Store {
		address := listen(t, &checkpoint.Memory{})
		return func() checkpoint.Store { return dial(t, address) }
	})
}

func TestDirectory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() checkpoint.Store {
		dir := t.TempDir()
		return func() checkpoint.Store { // each client has a server of its own
			d, err := checkpoint.OpenDirectory(dir)
			must(t, err)
			return dial(t, listen(t, d))
		}
	})
}

func TestErrorsComeThrough(t *testing.T) {
	dir := t.TempDir()
	disk := errorfs.Wrap(errorfs.OS{})
	d, err := checkpoint.OpenDirectoryOn(dir, disk)
	must(t, err)
	c := dial(t, listen(t, d))
	must(t, c.CreateEpoch(ctx, "flow", 1, nil))
	blob := func() error {
		w, err := c.NewBlob(ctx, "flow", fmt.Sprint("b-", len(disk.Steps())))
		if err != nil {
			return err
		}
		for range 3 {
			if _, err = w.Write(make([]byte, 100_000)); err != nil {
				break
			}
		}
		if err == nil {
			err = w.Commit()
		}
		return errors.Join(err, w.Abort())
	}
	for _, x := range []struct {
		fault errorfs.Fault
		do    func() error
		retry bool
		want  string
	}{
		{errorfs.Fault{Op: errorfs.OpWrite, Err: syscall.ENOSPC}, func() error { return c.CreateEpoch(ctx, "flow", 2, []byte("x")) }, true, "no space left on device"},
		{errorfs.Fault{Op: errorfs.OpWrite, Err: syscall.ENOSPC}, blob, true, "no space left on device"},
		{errorfs.Fault{Op: errorfs.OpCreate, Err: fs.ErrPermission}, blob, false, "give this user the right to read and write there"},
		{errorfs.Fault{Op: errorfs.OpRename}, blob, true, "input/output error"},
		{errorfs.Fault{}, func() error { return c.CreateEpoch(ctx, "../flow", 2, nil) }, false, "got \"../flow\", want up to 200 letters"},
		{errorfs.Fault{}, func() error { _, err := c.Blobs(ctx, ".."); return err }, false, "got \"..\", want up to 200 letters"},
	} {
		disk.Inject(x.fault)
		err := x.do()
		disk.Heal()
		d, ok := fault.DetailOf(err)
		if !ok || d.Code != "checkpoint.service" || fault.Retryable(err) != x.retry || !strings.Contains(err.Error(), x.want) {
			t.Errorf("got %v (a retry helps: %v), want %q, %v", err, fault.Retryable(err), x.want, x.retry)
		}
	}
	left, err := c.Blobs(ctx, "flow")
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left are %q", left)
	}
	must(t, blob())
}

// TestAClientThatGoes leaves a blob in the middle: nothing of it stays.
func TestAClientThatGoes(t *testing.T) {
	dir := t.TempDir()
	d, err := checkpoint.OpenDirectory(dir)
	must(t, err)
	address := listen(t, d)
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	must(t, err)
	w, err := checkpointrpc.NewClient(conn).NewBlob(ctx, "flow", "half")
	must(t, err)
	_, err = w.Write(make([]byte, 3<<20))
	must(t, err)
	for waited := time.Now(); len(files(t, dir)) == 0; time.Sleep(time.Millisecond) {
		if time.Since(waited) > 10*time.Second {
			t.Fatal("the server has not begun the blob")
		}
	}
	must(t, conn.Close())
	for waited := time.Now(); len(files(t, dir)) > 0; time.Sleep(time.Millisecond) {
		if time.Since(waited) > 10*time.Second {
			t.Fatalf("left are %q", files(t, dir))
		}
	}
}

func files(t *testing.T, dir string) (all []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // gone while walking
		}
		if err == nil && !e.IsDir() {
			all = append(all, filepath.Base(path))
		}
		return err
	}))
	return all
}

func TestCancelledCallsEnd(t *testing.T) {
	c := dial(t, listen(t, &checkpoint.Memory{}))
	ctx, cancel := context.WithCancel(ctx)
	w, err := c.NewBlob(ctx, "flow", "b")
	must(t, err)
	cancel()
	if err := w.Commit(); err == nil {
		t.Error("a cancelled blob was committed")
	}
	if err := c.CreateEpoch(ctx, "flow", 1, nil); err == nil || errors.Is(err, checkpoint.ErrExists) {
		t.Errorf("got %v", err)
	}
}

// process is a server in a process of its own.
type process struct {
	cmd     *exec.Cmd
	address string
}

// start starts a server on a directory; an empty address is any.
func start(t *testing.T, dir, address string) *process {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "ADF_CHECKPOINT_SERVER="+dir, "ADF_CHECKPOINT_ADDRESS="+address)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	p := &process{cmd: cmd}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	p.address = strings.TrimSpace(line)
	return p
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func serve(dir, address string) {
	if address == "" {
		address = "127.0.0.1:0"
	}
	d, err := checkpoint.OpenDirectory(dir)
	if err == nil {
		var l net.Listener
		if l, err = net.Listen("tcp", address); err == nil {
			fmt.Println(l.Addr())
			err = checkpointrpc.NewServer(d).Serve(l)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// eventually repeats what a runtime would repeat.
func eventually(t *testing.T, do func() error) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := do()
		if err == nil {
			return
		}
		if !fault.Retryable(err) || time.Since(began) > 20*time.Second {
			t.Fatal(err)
		}
	}
}

// TestKilledServer kills the server's process in the middle of a blob and of saves: the client hears of it, nothing is there by half, and the session goes
// on with the next server.
func TestKilledServer(t *testing.T) {
	dir := t.TempDir()
	server := start(t, dir, "")
	store := dial(t, server.address)
	session, restored, err := checkpoint.Open(ctx, store, "flow", "run-1", checkpoint.Options{})
	must(t, err)
	if restored != nil {
		t.Fatal("restored something")
	}
	piece := bytes.Repeat([]byte("state "), 50_000)
	save := func(text string) func() error {
		return func() error {
			b, err := session.NewBlob(ctx, "state")
			if err != nil {
				return err
			}
			r, err := b.Append(piece)
			if err == nil {
				err = b.Commit()
			}
			if err != nil {
				return errors.Join(err, b.Abort())
			}
			return session.Save(ctx, &adfv1.Checkpoint{
				PlanDigest: text,
				Keyed:      []*adfv1.KeyedState{{Node: "step", Logs: []*adfv1.BucketState{{Log: []*adfv1.BlobRange{r}}}}},
			})
		}
	}
	must(t, save("before")())

	b, err := session.NewBlob(ctx, "state")
	must(t, err)
	for range 5 {
		_, err = b.Append(piece)
		must(t, err)
	}
	for waited := time.Now(); !has(files(t, filepath.Join(dir, "flow")), "."); time.Sleep(time.Millisecond) {
		if time.Since(waited) > 10*time.Second {
			t.Fatal("the server has not begun the blob")
		}
	}
	server.kill()
	for err = nil; err == nil; _, err = b.Append(piece) {
	}
	if !fault.Retryable(err) {
		t.Fatalf("got %v, want an error that a retry helps against", err)
	}
	if err := b.Commit(); err == nil || !fault.Retryable(err) {
		t.Fatalf("commit: got %v, want an error that a retry helps against", err)
	}
	must(t, b.Abort())
	if err := save("meanwhile")(); err == nil || !fault.Retryable(err) || !strings.Contains(err.Error(), "check that the checkpoint service runs and can be reached") {
		t.Fatalf("save: got %v, want an error that a retry helps against", err)
	}
	for _, f := range files(t, dir) { // whole blobs have whole content, and what is not whole has no name yet
		if strings.HasSuffix(f, ".blob") && !strings.HasPrefix(f, ".") {
			if info, err := os.Stat(filepath.Join(dir, "flow", f)); err != nil || info.Size() != int64(len(piece)) {
				t.Fatalf("%s is there by half: %v, %v", f, info, err)
			}
		}
	}

	// Servers come and go while the session saves.
	const saves = 30
	stop := make(chan struct{})
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			next := start(t, dir, server.address)
			select {
			case <-time.After(150 * time.Millisecond):
				next.kill()
			case <-stop:
				return
			}
		}
	}()
	for i := range saves {
		eventually(t, save(fmt.Sprint("save ", i)))
	}
	close(stop)
	<-gone

	var next *checkpoint.Session
	eventually(t, func() (err error) {
		next, restored, err = checkpoint.Open(ctx, store, "flow", "run-2", checkpoint.Options{})
		return err
	})
	if restored.Run != "run-1" || restored.PlanDigest != fmt.Sprint("save ", saves-1) || restored.Epoch != session.Epoch() {
		t.Fatalf("restored %v of epoch %d", restored.PlanDigest, restored.Epoch)
	}
	at := restored.Keyed[0].Logs[0].Log[0]
	r, err := store.ReadBlob(ctx, "flow", at.Blob, at.Offset, at.Length)
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, errors.Join(err, r.Close()))
	if !bytes.Equal(got, piece) {
		t.Fatal("the state came back changed")
	}
	must(t, next.Unpruned())
	if err := save("too late")(); err == nil || fault.Retryable(err) {
		t.Fatalf("got %v, want to be fenced off", err)
	}
	// Of what the killed servers left nothing is there but what the retained epochs need.
	names, err := store.Blobs(ctx, "flow")
	must(t, err)
	if len(names) > 4 { // three epochs, and the blob of the run that was too late
		t.Fatalf("left are %q", names)
	}
}

func has(names []string, prefix string) bool {
	for _, n := range names {
		if strings.HasPrefix(n, prefix) {
			return true
		}
	}
	return false
}
