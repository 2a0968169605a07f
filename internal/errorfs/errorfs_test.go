package errorfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// write makes a file through all steps.
func write(f FS, dir string) error {
	if err := MkdirAll(f, filepath.Join(dir, "a", "b")); err != nil {
		return err
	}
	w, err := f.Create(filepath.Join(dir, "a", "b", "temp"))
	if err != nil {
		return err
	}
	for _, p := range []string{"first ", "second"} {
		if _, err = io.WriteString(w, p); err != nil {
			break
		}
	}
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := f.Rename(filepath.Join(dir, "a", "b", "temp"), filepath.Join(dir, "a", "b", "final")); err != nil {
		return err
	}
	return f.SyncDir(filepath.Join(dir, "a", "b"))
}

func content(t *testing.T, dir, name string) string {
	t.Helper()
	c, err := os.ReadFile(filepath.Join(dir, "a", "b", name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(c)
}

func TestStepsAreCounted(t *testing.T) {
	f := Wrap(OS{})
	dir := t.TempDir()
	if err := write(f, dir); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range f.Steps() {
		got = append(got, s.String())
	}
	want := []string{"mkdir a", "syncdir " + filepath.Base(dir), "mkdir b", "syncdir a", "create temp", "write temp", "write temp", "sync temp", "rename final", "syncdir b"}
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if content(t, dir, "final") != "first second" {
		t.Fatal("the file is not what was written")
	}
}

func TestEachStepFailsOnce(t *testing.T) {
	for n := 1; n <= 10; n++ {
		f := Wrap(OS{}, Fault{Nth: n, Err: syscall.ENOSPC})
		dir := t.TempDir()
		if err := write(f, dir); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("step %d: got %v", n, err)
		}
		if err := f.Remove(filepath.Join(dir, "a", "b", "temp")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := write(f, dir); err != nil {
			t.Fatalf("step %d, again: %v", n, err)
		}
	}
}

func TestFaultsSelect(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		want  error
		temp  string // what is under the first name, "" when it has the second or is not there
	}{
		{Fault{Op: OpWrite}, syscall.EIO, ""},
		{Fault{Op: OpWrite, Nth: 2, Err: syscall.ENOSPC}, syscall.ENOSPC, "first "},
		{Fault{Op: OpWrite, Nth: 2, Partly: true}, syscall.EIO, "first sec"},
		{Fault{Op: OpRename, Name: "fin*"}, syscall.EIO, "first second"},
		{Fault{Op: OpRename, Name: "temp"}, nil, ""}, // it is the new name that counts
		{Fault{Op: OpRename, Partly: true}, syscall.EIO, ""},
		{Fault{Op: OpSync, Crash: true}, ErrCrashed, ""},
		{Fault{Op: OpRename, Crash: true}, ErrCrashed, "first second"},
		{Fault{Nth: 11}, nil, ""},
	} {
		f := Wrap(OS{}, c.fault)
		dir := t.TempDir()
		if err := write(f, dir); !errors.Is(err, c.want) {
			t.Errorf("%+v: got %v, want %v", c.fault, err, c.want)
		}
		if got := content(t, dir, "temp"); got != c.temp {
			t.Errorf("%+v: the file has %q, want %q", c.fault, got, c.temp)
		}
	}
}

func TestFaultsGoOnUntilHeal(t *testing.T) {
	f := Wrap(OS{}, Fault{Op: OpMkdir, Nth: 2, Times: 2}, Fault{Op: OpRemove, Times: Always})
	dir := t.TempDir()
	for i, fails := range []bool{false, true, true, false} {
		if err := f.Mkdir(filepath.Join(dir, string(rune('a'+i)))); (err != nil) != fails {
			t.Errorf("mkdir %d: got %v", i, err)
		}
	}
	for range 3 {
		if err := f.Remove(filepath.Join(dir, "a")); !errors.Is(err, syscall.EIO) {
			t.Errorf("got %v", err)
		}
	}
	f.Heal()
	if err := f.Remove(filepath.Join(dir, "a")); err != nil {
		t.Error(err)
	}
}

func TestNothingComesAfterACrash(t *testing.T) {
	dir := t.TempDir()
	f := Wrap(OS{}, Fault{Op: OpRemove, Crash: true})
	if err := write(f, dir); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "a", "b", "final")
	r, err := f.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	unsynced, err := f.Create(name + "-2")
	if err != nil {
		t.Fatal(err)
	}
	defer unsynced.Close()
	for _, p := range []string{"durable", ", lost"} {
		if _, err := io.WriteString(unsynced, p); err != nil {
			t.Fatal(err)
		}
		if p == "durable" {
			if err := unsynced.Sync(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Rename(name+"-2", name+"-3"); err != nil {
		t.Fatal(err)
	}
	_ = f.Remove(name)
	f.Heal()
	_, e1 := f.Open(name)
	_, e2 := f.Create(filepath.Join(dir, "new"))
	_, e3 := f.ReadDir(dir)
	_, e4 := f.Stat(dir)
	_, e5 := r.Read(make([]byte, 1))
	_, e6 := r.ReadAt(make([]byte, 1), 0)
	_, e7 := unsynced.Write([]byte("x"))
	for i, err := range []error{e1, e2, e3, e4, e5, e6, e7, unsynced.Sync(),
		f.Link(name, name+"-4"), f.Rename(name, name+"-4"), f.Mkdir(name + "-4"), f.SyncDir(dir), f.Remove(name)} {
		if !errors.Is(err, ErrCrashed) {
			t.Errorf("call %d after the crash: got %v", i+1, err)
		}
	}
	if got := content(t, dir, "final-3"); got != "durable" {
		t.Errorf("the crash left %q, want what was synced", got)
	}
	if got := content(t, dir, "final"); got != "first second" {
		t.Errorf("the crash left %q", got)
	}
}

func TestErrorsAreThoseOfTheSystem(t *testing.T) {
	dir := t.TempDir()
	f := Wrap(OS{}, Fault{Op: OpLink, Err: syscall.EPERM})
	a := filepath.Join(dir, "a")
	err := f.Link(a, a)
	var link *os.LinkError
	if !errors.As(err, &link) || !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(err.Error(), "link "+a) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(a, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, created := f.Create(a)
	for _, err := range []error{f.Link(a, a), created, f.Mkdir(a)} {
		if !errors.Is(err, fs.ErrExist) {
			t.Errorf("got %v, want fs.ErrExist", err)
		}
	}
	for _, bad := range []string{"", filepath.Join(a, "below"), a} {
		if err := MkdirAll(f, bad); err == nil {
			t.Errorf("MkdirAll(%q) succeeded", bad)
		}
	}
}
