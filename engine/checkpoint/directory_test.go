package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/errorfs"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ADF_CHECKPOINT_RACE"); dir != "" {
		raceChild(dir)
		return
	}
	goleak.VerifyTestMain(m)
}

var ctx = context.Background()

func openDirectory(t *testing.T, dir string, fsys errorfs.FS) *checkpoint.Directory {
	t.Helper()
	d, err := checkpoint.OpenDirectoryOn(dir, fsys)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// tree lists the files below a directory, with the nonces in their names made equal.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		all = append(all, nonce.ReplaceAllString(filepath.ToSlash(rel), "NONCE"))
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

var nonce = regexp.MustCompile(`[0-9a-f]{16}`)

func TestLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	d := openDirectory(t, dir, errorfs.OS{})
	if all, err := d.Epochs(ctx, "flights"); len(all) > 0 || err != nil {
		t.Fatal(all, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("looking made the directory")
	}
	if err := d.CreateEpoch(ctx, "flights", 42, []byte("epoch")); err != nil {
		t.Fatal(err)
	}
	writeBlob(t, d, "state-0000000001-0123456789abcdef")
	w, err := d.NewBlob(ctx, "flights", "parts-0000000001-0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"flights/.parts-0000000001-NONCE.blob", "flights/epoch-0000000042", "flights/state-0000000001-NONCE.blob"}
	if got := tree(t, dir); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	if got := tree(t, dir); !slices.Equal(got, want[1:]) {
		t.Fatalf("got %q, want %q", got, want[1:])
	}
	// Files of others are left alone, and counted as nothing.
	for _, name := range []string{"epoch-1", "epoch-00000000xx", "epoch-0000000043.bak", "notes.txt", ".hidden"} {
		if err := os.WriteFile(filepath.Join(dir, "flights", name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := d.Epochs(ctx, "flights"); !slices.Equal(all, []int64{42}) || err != nil {
		t.Fatal(all, err)
	}
	if all, err := d.Blobs(ctx, "flights"); !slices.Equal(all, []string{"state-0000000001-0123456789abcdef"}) || err != nil {
		t.Fatal(all, err)
	}
}

func writeBlob(t *testing.T, d *checkpoint.Directory, name string) {
	t.Helper()
	w, err := d.NewBlob(ctx, "flights", name)
	if err == nil {
		_, err = w.Write([]byte("blob"))
	}
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestNamesStayInTheirPlace(t *testing.T) {
	dir := t.TempDir()
	d := openDirectory(t, dir, errorfs.OS{})
	for _, bad := range []string{"", ".", "..", "a/b", "../a", ".a", "a b", "a\x00", "é", strings.Repeat("a", 201)} {
		_, e1 := d.Epochs(ctx, bad)
		_, e2 := d.ReadEpoch(ctx, bad, 1)
		_, e3 := d.NewBlob(ctx, bad, "b")
		_, e4 := d.NewBlob(ctx, "f", bad)
		_, e5 := d.ReadBlob(ctx, "f", bad, 0, 1)
		_, e6 := d.Blobs(ctx, bad)
		for i, err := range []error{e1, e2, e3, e4, e5, e6,
			d.CreateEpoch(ctx, bad, 1, nil), d.RemoveEpoch(ctx, bad, 1), d.RemoveBlob(ctx, bad, "b"), d.RemoveBlob(ctx, "f", bad),
		} {
			if det, ok := fault.DetailOf(err); !ok || det.Code != "checkpoint.name" || fault.Retryable(err) {
				t.Errorf("name %q, call %d: got %v", bad, i+1, err)
			}
		}
	}
	if got := tree(t, dir); len(got) > 0 {
		t.Fatal(got)
	}
	for _, good := range []string{"a", "A.b_c-d", "0", strings.Repeat("a", 200)} {
		if err := d.CreateEpoch(ctx, good, 1, nil); err != nil {
			t.Error(err)
		}
		writeBlob(t, d, good)
	}
}

func TestNotADirectory(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	message := func(err error) string { return strings.ReplaceAll(fmt.Sprint(err), dir, "DIR") }
	_, err := checkpoint.OpenDirectory(file)
	const want = "runtime: open the checkpoint directory: open DIR/file: not a directory [checkpoint.not_a_directory]; " +
		"choose another checkpoint directory, or move the file away"
	if got := message(err); got != want || fault.Retryable(err) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err = checkpoint.OpenDirectory(filepath.Join(file, "below")); message(err) !=
		"runtime: open the checkpoint directory: stat DIR/file/below: not a directory [checkpoint.not_a_directory]; "+
			"choose another checkpoint directory, or move the file away" {
		t.Error(message(err))
	}
	if _, err = checkpoint.OpenDirectory(""); message(err) !=
		"runtime: open the checkpoint directory: open : invalid argument [checkpoint.path]; choose another checkpoint directory" {
		t.Error(message(err))
	}
	// A file where the flow's directory should be.
	d := openDirectory(t, dir, errorfs.OS{})
	err = d.CreateEpoch(ctx, "file", 1, nil)
	if message(err) != "runtime: save epoch 1: mkdir DIR/file: not a directory (flow file) [checkpoint.not_a_directory]; "+
		"choose another checkpoint directory, or move the file away" || fault.Retryable(err) {
		t.Error(message(err))
	}
}

// TestMessages has every kind of failure once, with what it says.
func TestMessages(t *testing.T) {
	for _, c := range []struct {
		fault errorfs.Fault
		retry bool
		want  string
	}{
		{errorfs.Fault{Op: errorfs.OpWrite, Err: syscall.ENOSPC}, true,
			"write DIR/f/.epoch-0000000001.NONCE: no space left on device (flow f) [checkpoint.full]; free some space there: saving is tried again"},
		{errorfs.Fault{Op: errorfs.OpCreate, Err: syscall.EDQUOT}, true,
			"create DIR/f/.epoch-0000000001.NONCE: disk quota exceeded (flow f) [checkpoint.full]; free some space there: saving is tried again"},
		{errorfs.Fault{Op: errorfs.OpSync}, true,
			"sync DIR/f/.epoch-0000000001.NONCE: input/output error (flow f) [checkpoint.disk]"},
		{errorfs.Fault{Op: errorfs.OpMkdir, Err: syscall.EACCES}, false,
			"mkdir DIR/f: permission denied (flow f) [checkpoint.permission]; give this user the right to read and write there, or choose another checkpoint directory"},
		{errorfs.Fault{Op: errorfs.OpCreate, Err: syscall.EROFS}, false,
			"create DIR/f/.epoch-0000000001.NONCE: read-only file system (flow f) [checkpoint.permission]; " +
				"give this user the right to read and write there, or choose another checkpoint directory"},
		{errorfs.Fault{Op: errorfs.OpLink, Err: syscall.EPERM}, false,
			"link DIR/f/.epoch-0000000001.NONCE DIR/f/epoch-0000000001: operation not permitted (flow f) [checkpoint.link]; choose a checkpoint directory on a file system with hard links"},
		{errorfs.Fault{Op: errorfs.OpLink, Err: syscall.EOPNOTSUPP}, false,
			"link DIR/f/.epoch-0000000001.NONCE DIR/f/epoch-0000000001: operation not supported (flow f) [checkpoint.link]; choose a checkpoint directory on a file system with hard links"},
		{errorfs.Fault{Op: errorfs.OpCreate, Err: syscall.ENAMETOOLONG}, false,
			"create DIR/f/.epoch-0000000001.NONCE: file name too long (flow f) [checkpoint.path]; choose another checkpoint directory"},
	} {
		dir := t.TempDir()
		err := openDirectory(t, dir, errorfs.Wrap(errorfs.OS{}, c.fault)).CreateEpoch(ctx, "f", 1, []byte("content"))
		got := nonce.ReplaceAllString(strings.ReplaceAll(fmt.Sprint(err), dir, "DIR"), "NONCE")
		if want := "runtime: save epoch 1: " + c.want; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if fault.Retryable(err) != c.retry {
			t.Errorf("retryable is %v, want %v: %s", !c.retry, c.retry, got)
		}
	}
}

// TestTheOrderOfSteps holds what makes an epoch durable before it has its name, and a blob before it is renamed.
func TestTheOrderOfSteps(t *testing.T) {
	f := errorfs.Wrap(errorfs.OS{})
	d := openDirectory(t, t.TempDir(), f)
	if err := d.CreateEpoch(ctx, "flights", 1, []byte("epoch")); err != nil {
		t.Fatal(err)
	}
	writeBlob(t, d, "b")
	var got []string
	for _, s := range f.Steps() {
		got = append(got, nonce.ReplaceAllString(s.String(), "NONCE"))
	}
	want := []string{
		"mkdir flights", "syncdir 001",
		"create .epoch-0000000001.NONCE", "write .epoch-0000000001.NONCE", "sync .epoch-0000000001.NONCE",
		"link epoch-0000000001", "remove .epoch-0000000001.NONCE", "syncdir flights",
		"create .b.blob", "write .b.blob", "sync .b.blob", "rename b.blob", "syncdir flights",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// faults are the ways in which one step can fail.
func faults(n int) []errorfs.Fault {
	return []errorfs.Fault{
		{Nth: n, Err: syscall.ENOSPC},
		{Nth: n, Err: syscall.EIO},
		{Nth: n, Err: syscall.EIO, Partly: true},
		{Nth: n, Err: syscall.ENOSPC, Times: errorfs.Always},
		{Nth: n, Crash: true},
		{Nth: n, Crash: true, Partly: true},
	}
}

// TestEpochsUnderFaults lets every step of saving an epoch fail: it is there whole or not at all, and saving again succeeds.
func TestEpochsUnderFaults(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 1000)
	steps := func() int {
		f := errorfs.Wrap(errorfs.OS{})
		if err := openDirectory(t, t.TempDir(), f).CreateEpoch(ctx, "flights", 1, content); err != nil {
			t.Fatal(err)
		}
		return len(f.Steps())
	}()
	for n := 1; n <= steps; n++ {
		for _, x := range faults(n) {
			what := fmt.Sprintf("step %d of %d, %+v", n, steps, x)
			dir := t.TempDir()
			f := errorfs.Wrap(errorfs.OS{}, x)
			d := openDirectory(t, dir, f)
			err := d.CreateEpoch(ctx, "flights", 1, content)
			if err != nil && (errors.Is(err, checkpoint.ErrExists) || !fault.Retryable(err)) {
				t.Fatalf("%s: got %v, want an error that a retry helps against", what, err)
			}
			failed := err != nil
			// What another process finds now.
			other := openDirectory(t, dir, errorfs.OS{})
			got, err := other.ReadEpoch(ctx, "flights", 1)
			there := err == nil
			switch {
			case there && !bytes.Equal(got, content):
				t.Fatalf("%s: there are %d bytes of %d", what, len(got), len(content))
			case !there && !errors.Is(err, checkpoint.ErrNotFound):
				t.Fatalf("%s: %v", what, err)
			case !there && !failed:
				t.Fatalf("%s: it was saved, and is not there", what)
			}
			// The process tries again, or after a crash another one does.
			again := d
			if x.Crash {
				again = other
			}
			f.Heal()
			err = again.CreateEpoch(ctx, "flights", 1, content)
			if there != errors.Is(err, checkpoint.ErrExists) || !there && err != nil {
				t.Fatalf("%s: again: got %v, it was there: %v", what, err, there)
			}
			if got, err := other.ReadEpoch(ctx, "flights", 1); err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%s: after saving again: %d bytes, %v", what, len(got), err)
			}
			// What was left goes with its epoch.
			if err := other.RemoveEpoch(ctx, "flights", 1); err != nil {
				t.Fatal(err)
			}
			if left := tree(t, dir); len(left) > 0 {
				t.Fatalf("%s: left are %q", what, left)
			}
		}
	}
}

// TestBlobsUnderFaults lets every step of writing a blob fail: a committed one is whole, another one can be removed, and the next one succeeds.
func TestBlobsUnderFaults(t *testing.T) {
	content := bytes.Repeat([]byte("content "), 30_000) // several writes
	save := func(d *checkpoint.Directory, name string) error {
		w, err := d.NewBlob(ctx, "flights", name)
		if err != nil {
			return err
		}
		for p := range slices.Chunk(content, 10_000) {
			if _, err := w.Write(p); err != nil {
				return errors.Join(err, w.Abort())
			}
		}
		if err := w.Commit(); err != nil {
			return errors.Join(err, w.Abort())
		}
		return nil
	}
	steps := func() int {
		f := errorfs.Wrap(errorfs.OS{})
		if err := save(openDirectory(t, t.TempDir(), f), "b"); err != nil {
			t.Fatal(err)
		}
		return len(f.Steps())
	}()
	if steps < 8 {
		t.Fatalf("only %d steps", steps)
	}
	for n := 1; n <= steps; n++ {
		for _, x := range faults(n) {
			what := fmt.Sprintf("step %d of %d, %+v", n, steps, x)
			dir := t.TempDir()
			f := errorfs.Wrap(errorfs.OS{}, x)
			d := openDirectory(t, dir, f)
			err := save(d, "b")
			if err == nil || !fault.Retryable(err) {
				t.Fatalf("%s: got %v, want an error that a retry helps against", what, err)
			}
			other := openDirectory(t, dir, errorfs.OS{})
			if r, err := other.ReadBlob(ctx, "flights", "b", 0, int64(len(content))); err == nil {
				got := bytes.Buffer{}
				if _, err := got.ReadFrom(r); err != nil || !bytes.Equal(got.Bytes(), content) {
					t.Fatalf("%s: there are %d bytes of %d, %v", what, got.Len(), len(content), err)
				}
				_ = r.Close()
			} else if !errors.Is(err, checkpoint.ErrNotFound) {
				t.Fatalf("%s: %v", what, err)
			}
			again := d
			if x.Crash {
				again = other
			}
			f.Heal()
			if err := save(again, "b-2"); err != nil {
				t.Fatalf("%s: the next one: %v", what, err)
			}
			left, err := other.Blobs(ctx, "flights")
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range left {
				if err := other.RemoveBlob(ctx, "flights", b); err != nil {
					t.Fatal(err)
				}
			}
			if left := tree(t, dir); len(left) > 0 {
				t.Fatalf("%s: left are %q", what, left)
			}
		}
	}
}

// TestReadingUnderFaults has a disk that can not be read: that is not the same as nothing being there.
func TestReadingUnderFaults(t *testing.T) {
	dir := t.TempDir()
	d := openDirectory(t, dir, errorfs.OS{})
	if err := d.CreateEpoch(ctx, "flights", 1, []byte("epoch")); err != nil {
		t.Fatal(err)
	}
	writeBlob(t, d, "b")
	f := errorfs.Wrap(errorfs.OS{}, errorfs.Fault{Crash: true})
	d = openDirectory(t, dir, f)
	_ = f.Remove(filepath.Join(dir, "nothing"))
	_, e1 := d.Epochs(ctx, "flights")
	_, e2 := d.ReadEpoch(ctx, "flights", 1)
	_, e3 := d.ReadBlob(ctx, "flights", "b", 0, 1)
	_, e4 := d.Blobs(ctx, "flights")
	for i, err := range []error{e1, e2, e3, e4} {
		if err == nil || errors.Is(err, checkpoint.ErrNotFound) || !fault.Retryable(err) {
			t.Errorf("call %d: got %v, want an error that a retry helps against", i+1, err)
		}
	}
}

// TestProcessesRace lets several processes create the same epochs: each has one winner, and its content.
func TestProcessesRace(t *testing.T) {
	const processes = 4
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var children []*exec.Cmd
	var outs []*bytes.Buffer
	for range processes {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "ADF_CHECKPOINT_RACE="+dir)
		out := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = out, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		children, outs = append(children, cmd), append(outs, out)
	}
	winners := map[string]string{}
	for i, cmd := range children {
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(outs[i].String()) {
			epoch := strings.TrimSpace(line)
			if before, won := winners[epoch]; won {
				t.Errorf("epoch %s was won by processes %s and %d", epoch, before, cmd.Process.Pid)
			}
			winners[epoch] = fmt.Sprint(cmd.Process.Pid)
		}
	}
	if len(winners) != raceEpochs {
		t.Fatalf("%d epochs were won, want %d", len(winners), raceEpochs)
	}
	d := openDirectory(t, dir, errorfs.OS{})
	for e := int64(1); e <= raceEpochs; e++ {
		got, err := d.ReadEpoch(ctx, "flights", e)
		if err != nil || string(got) != strings.Repeat(winners[fmt.Sprint(e)], 1000) {
			t.Fatalf("epoch %d: %d bytes, %v", e, len(got), err)
		}
	}
	if left := tree(t, dir); len(left) != raceEpochs {
		t.Fatalf("there are %d files: %q", len(left), left)
	}
}

const raceEpochs = 50

// raceChild tries to create every epoch, and prints those it won.
func raceChild(dir string) {
	d, err := checkpoint.OpenDirectory(dir)
	for e := int64(1); e <= raceEpochs && err == nil; e++ {
		err = d.CreateEpoch(ctx, "flights", e, bytes.Repeat(fmt.Append(nil, os.Getpid()), 1000))
		switch {
		case err == nil:
			fmt.Println(e)
		case errors.Is(err, checkpoint.ErrExists):
			err = nil
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
