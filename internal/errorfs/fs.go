package errorfs

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// FS is a file system. It is safe for concurrent use. Names are paths as package os takes them; errors are
// those of package os, so errors.Is finds fs.ErrExist, fs.ErrNotExist and the syscall.Errno.
type FS interface {
	// Open opens a file to read it.
	Open(name string) (File, error)
	// Create makes a new file to write; fs.ErrExist when the name is taken.
	Create(name string) (File, error)
	// Link gives a file a second name; fs.ErrExist when that is taken: create-if-absent, for a file that is whole.
	Link(old, new string) error
	// Rename moves a file onto a name, whatever had it before.
	Rename(old, new string) error
	Remove(name string) error
	// Mkdir makes a directory; fs.ErrExist when the name is taken.
	Mkdir(name string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(name string) ([]fs.DirEntry, error)
	Stat(name string) (fs.FileInfo, error)
	// SyncDir makes the names in a directory durable: files made, linked, renamed, removed.
	SyncDir(name string) error
}

// File is an open file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Closer
	// Sync makes what was written durable.
	Sync() error
	Stat() (fs.FileInfo, error)
}

// OS is the machine's file system. Files get the mode 0644 and directories 0755, less the umask.
type OS struct{}

// Open opens a file to read it.
func (OS) Open(name string) (File, error) { return file(os.Open(name)) }

// Create makes a new file to write.
func (OS) Create(name string) (File, error) {
	return file(os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644))
}

// file keeps a nil *os.File from becoming a File that is not nil.
func file(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Link gives a file a second name.
func (OS) Link(old, new string) error { return os.Link(old, new) }

// Rename moves a file onto a name.
func (OS) Rename(old, new string) error { return os.Rename(old, new) }

// Remove removes a file or an empty directory.
func (OS) Remove(name string) error { return os.Remove(name) }

// Mkdir makes a directory.
func (OS) Mkdir(name string) error { return os.Mkdir(name, 0o755) }

// ReadDir lists a directory.
func (OS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }

// Stat describes a file.
func (OS) Stat(name string) (fs.FileInfo, error) { return os.Stat(name) }

// SyncDir makes the names in a directory durable.
func (OS) SyncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil {
		_ = d.Close()
		return err
	}
	return d.Close()
}

// truncate takes back what a crash would have lost.
func (OS) truncate(name string, size int64) error { return os.Truncate(name, size) }

// MkdirAll makes a directory and those above it, and makes their names durable. A directory that is there already is fine.
func MkdirAll(fsys FS, name string) error {
	if name == "" {
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrInvalid}
	}
	name = filepath.Clean(name)
	if info, err := fsys.Stat(name); err == nil {
		if info.IsDir() {
			return nil
		}
		return &fs.PathError{Op: "mkdir", Path: name, Err: syscall.ENOTDIR}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	above := filepath.Dir(name)
	if err := MkdirAll(fsys, above); err != nil {
		return err
	}
	if err := fsys.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err // one that came in between is fine
	}
	return fsys.SyncDir(above)
}
