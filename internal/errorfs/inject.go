package errorfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
)

// Op is an operation that changes something.
type Op string

// The operations: OpWrite and OpSync are those of a File, the others those of an FS.
const (
	OpCreate  Op = "create"
	OpWrite   Op = "write"
	OpSync    Op = "sync"
	OpLink    Op = "link"
	OpRename  Op = "rename"
	OpRemove  Op = "remove"
	OpMkdir   Op = "mkdir"
	OpSyncDir Op = "syncdir"
)

// Step is one operation that was asked for: what, and the file's base name (of links and renames: the new one).
type Step struct {
	Op   Op
	Name string
}

func (s Step) String() string { return string(s.Op) + " " + s.Name }

// Fault says which operation fails, and how. The zero value: the first of all fails once, with EIO.
type Fault struct {
	// Op and Name select operations: empty is any; Name is a pattern for base names, as path/filepath.Match has them.
	Op   Op
	Name string
	// Nth is which of the selected operations fails, counted from 1 since the fault was set; 0 is the first.
	Nth int
	// Times is how many fail from there on: 0 is one, [Always] all until Heal.
	Times int
	// Err is the cause, as syscall.ENOSPC; nil is EIO.
	Err error
	// Partly carries a failing operation out: half of a write, all of another. The caller can not know.
	Partly bool
	// Crash ends everything: from this operation on every one fails with [ErrCrashed], reads too, and what was written and
	// not synced is gone. What is on the disk is then what another process would find.
	Crash bool
}

// Always is a Fault's Times without end.
const Always = -1

// ErrCrashed is the cause of every error after a crash.
var ErrCrashed = errors.New("the machine has stopped")

// Faulty is an FS that fails on request. It is safe for concurrent use.
type Faulty struct {
	under FS

	mu      sync.Mutex
	faults  []fault
	steps   []Step
	crashed bool
	unsaved map[*unsaved]struct{}
}

type fault struct {
	Fault
	seen int
}

// unsaved is a file with bytes that no sync has made durable.
type unsaved struct {
	name            string
	written, synced int64
}

// Wrap makes an FS that is under, but for the faults.
func Wrap(under FS, faults ...Fault) *Faulty {
	f := &Faulty{under: under, unsaved: map[*unsaved]struct{}{}}
	f.Inject(faults...)
	return f
}

// Inject replaces the faults; their counts start anew.
func (f *Faulty) Inject(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
	for _, x := range faults {
		f.faults = append(f.faults, fault{Fault: x})
	}
}

// Heal removes the faults; a crash stays.
func (f *Faulty) Heal() { f.Inject() }

// Steps are the operations that were asked for so far, those that failed too.
func (f *Faulty) Steps() []Step {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.steps)
}

// step counts an operation. An error means that it fails; partly, that it is to be carried out nevertheless.
func (f *Faulty) step(op Op, name string) (partly bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name = filepath.Base(name)
	f.steps = append(f.steps, Step{op, name})
	if f.crashed {
		return false, ErrCrashed
	}
	for i := range f.faults {
		x := &f.faults[i]
		if x.Op != "" && x.Op != op {
			continue
		}
		if x.Name != "" {
			if ok, err := filepath.Match(x.Name, name); err != nil {
				panic(fmt.Sprintf("errorfs: %v in %q", err, x.Name))
			} else if !ok {
				continue
			}
		}
		x.seen++
		first := max(x.Nth, 1)
		if x.seen < first || x.Times != Always && x.seen >= first+max(x.Times, 1) {
			continue
		}
		if x.Crash {
			f.crash()
			return x.Partly, ErrCrashed
		}
		if x.Err == nil {
			return x.Partly, syscall.EIO
		}
		return x.Partly, x.Err
	}
	return false, nil
}

// crash takes back what no sync has made durable.
func (f *Faulty) crash() {
	f.crashed = true
	disk, ok := f.under.(interface {
		truncate(name string, size int64) error
	})
	if !ok {
		return
	}
	for u := range f.unsaved {
		_ = disk.truncate(u.name, u.synced) // a file that is gone has nothing to lose
	}
}

func (f *Faulty) down() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.crashed
}

// change runs one operation. The error of a fault is what wrap makes of its cause.
func (f *Faulty) change(op Op, name string, wrap func(error) error, do func() error) error {
	partly, fails := f.step(op, name)
	if fails == nil {
		return do()
	}
	if partly {
		_ = do() // the caller hears of the fault alone
	}
	return wrap(fails)
}

// at makes the error of an operation on a name, between that of one on two.
func at(op Op, name string) func(error) error {
	return func(err error) error { return &fs.PathError{Op: string(op), Path: name, Err: err} }
}

func between(op Op, old, new string) func(error) error {
	return func(err error) error { return &os.LinkError{Op: string(op), Old: old, New: new, Err: err} }
}

// Open opens a file to read it.
func (f *Faulty) Open(name string) (File, error) {
	if f.down() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrCrashed}
	}
	file, err := f.under.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, u: &unsaved{name: name}}, nil
}

// Create makes a new file to write.
func (f *Faulty) Create(name string) (File, error) {
	var made File
	err := f.change(OpCreate, name, at(OpCreate, name), func() (err error) {
		made, err = f.under.Create(name)
		return err
	})
	if err != nil {
		if made != nil {
			_ = made.Close()
		}
		return nil, err
	}
	u := &unsaved{name: name}
	f.mu.Lock()
	f.unsaved[u] = struct{}{}
	f.mu.Unlock()
	return &faultyFile{File: made, fs: f, u: u}, nil
}

// Link gives a file a second name.
func (f *Faulty) Link(old, new string) error {
	return f.change(OpLink, new, between(OpLink, old, new), func() error {
		if err := f.under.Link(old, new); err != nil {
			return err
		}
		f.moved(old, new)
		return nil
	})
}

// Rename moves a file onto a name.
func (f *Faulty) Rename(old, new string) error {
	return f.change(OpRename, new, between(OpRename, old, new), func() error {
		if err := f.under.Rename(old, new); err != nil {
			return err
		}
		f.moved(old, new)
		return nil
	})
}

// moved follows a file to its new name, for a crash to find.
func (f *Faulty) moved(old, new string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for u := range f.unsaved {
		if u.name == old {
			u.name = new
		}
	}
}

// Remove removes a file or an empty directory.
func (f *Faulty) Remove(name string) error {
	return f.change(OpRemove, name, at(OpRemove, name), func() error { return f.under.Remove(name) })
}

// Mkdir makes a directory.
func (f *Faulty) Mkdir(name string) error {
	return f.change(OpMkdir, name, at(OpMkdir, name), func() error { return f.under.Mkdir(name) })
}

// SyncDir makes the names in a directory durable.
func (f *Faulty) SyncDir(name string) error {
	return f.change(OpSyncDir, name, at(OpSyncDir, name), func() error { return f.under.SyncDir(name) })
}

// ReadDir lists a directory.
func (f *Faulty) ReadDir(name string) ([]fs.DirEntry, error) {
	if f.down() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: ErrCrashed}
	}
	return f.under.ReadDir(name)
}

// Stat describes a file.
func (f *Faulty) Stat(name string) (fs.FileInfo, error) {
	if f.down() {
		return nil, &fs.PathError{Op: "stat", Path: name, Err: ErrCrashed}
	}
	return f.under.Stat(name)
}

type faultyFile struct {
	File
	fs *Faulty
	u  *unsaved
}

func (f *faultyFile) Write(p []byte) (n int, err error) {
	partly, fails := f.fs.step(OpWrite, f.u.name)
	if fails != nil && !partly {
		return 0, &fs.PathError{Op: "write", Path: f.u.name, Err: fails}
	}
	if fails != nil {
		p = p[:len(p)/2]
	}
	n, err = f.File.Write(p)
	f.fs.mu.Lock()
	f.u.written += int64(n)
	f.fs.mu.Unlock()
	if fails != nil {
		err = &fs.PathError{Op: "write", Path: f.u.name, Err: fails}
	}
	return n, err
}

func (f *faultyFile) Sync() error {
	return f.fs.change(OpSync, f.u.name, at(OpSync, f.u.name), func() error {
		if err := f.File.Sync(); err != nil {
			return err
		}
		f.fs.mu.Lock()
		defer f.fs.mu.Unlock()
		f.u.synced = f.u.written
		return nil
	})
}

func (f *faultyFile) Read(p []byte) (int, error) {
	if f.fs.down() {
		return 0, &fs.PathError{Op: "read", Path: f.u.name, Err: ErrCrashed}
	}
	return f.File.Read(p)
}

func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	if f.fs.down() {
		return 0, &fs.PathError{Op: "read", Path: f.u.name, Err: ErrCrashed}
	}
	return f.File.ReadAt(p, off)
}
