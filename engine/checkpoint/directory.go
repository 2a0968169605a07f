package checkpoint

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/errorfs"
)

// Directory keeps checkpoints in files, for one machine or a file system that several share (it needs hard links):
//
//	DIR/FLOW/epoch-0000000042     an epoch
//	DIR/FLOW/NAME.blob            a blob
//	DIR/FLOW/.…                   being written; what a crash leaves is removed by later runs
//
// An epoch is written under a name of its own, made durable, and only then linked to its final name, which fails when that is
// taken. So it is there whole or not at all, and one of several processes wins it.
type Directory struct {
	fs  errorfs.FS
	dir string
}

// OpenDirectory uses a directory; it is made at the first save.
func OpenDirectory(dir string) (*Directory, error) { return OpenDirectoryOn(dir, errorfs.OS{}) }

// OpenDirectoryOn is OpenDirectory on another file system, for this module's own tests of disks that fail.
func OpenDirectoryOn(dir string, fsys errorfs.FS) (*Directory, error) {
	abs, err := filepath.Abs(dir)
	if err == nil && dir == "" {
		err = &fs.PathError{Op: "open", Path: dir, Err: fs.ErrInvalid}
	}
	d := &Directory{fs: fsys, dir: abs}
	if err != nil {
		return nil, d.failed("open the checkpoint directory", "", err)
	}
	info, err := fsys.Stat(abs)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return d, nil
	case err == nil && !info.IsDir():
		err = &fs.PathError{Op: "open", Path: abs, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return nil, d.failed("open the checkpoint directory", "", err)
	}
	return d, nil
}

var (
	epochName     = regexp.MustCompile(`^epoch-([0-9]{10,18})$`)
	epochTempName = regexp.MustCompile(`^\.epoch-([0-9]{10,18})\.[0-9a-f]{16}$`)
)

const blobSuffix = ".blob"

func (d *Directory) path(flow, file string) string { return filepath.Join(d.dir, flow, file) }
func (d *Directory) epoch(flow string, n int64) string {
	return d.path(flow, fmt.Sprintf("epoch-%010d", n))
}
func (d *Directory) blob(flow, name string) string { return d.path(flow, name+blobSuffix) }

// unfinished is where a blob is written; its name tells Blobs and RemoveBlob whose it is.
func (d *Directory) unfinished(flow, name string) string { return d.path(flow, "."+name+blobSuffix) }

// list gives the names in a flow's directory; none when there is no directory.
func (d *Directory) list(flow string) ([]string, error) {
	if err := CheckName(flow); err != nil {
		return nil, err
	}
	entries, err := d.fs.ReadDir(d.path(flow, ""))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// number reads the number in a file's name.
func number(rule *regexp.Regexp, name string) (int64, bool) {
	m := rule.FindStringSubmatch(name)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, err == nil
}

// Epochs lists the epochs of a flow.
func (d *Directory) Epochs(_ context.Context, flow string) ([]int64, error) {
	names, err := d.list(flow)
	if err != nil {
		return nil, d.failed("list epochs", flow, err)
	}
	var epochs []int64
	for _, name := range names {
		if n, ok := number(epochName, name); ok {
			epochs = append(epochs, n)
		}
	}
	slices.Sort(epochs)
	return epochs, nil
}

// ReadEpoch gives an epoch's content.
func (d *Directory) ReadEpoch(_ context.Context, flow string, epoch int64) ([]byte, error) {
	doing := fmt.Sprintf("read epoch %d", epoch)
	if err := CheckName(flow); err != nil {
		return nil, err
	}
	f, err := d.fs.Open(d.epoch(flow, epoch))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, d.failed(doing, flow, err)
	}
	content, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, d.failed(doing, flow, err)
	}
	return content, nil
}

// CreateEpoch saves an epoch.
func (d *Directory) CreateEpoch(ctx context.Context, flow string, epoch int64, content []byte) error {
	doing := fmt.Sprintf("save epoch %d", epoch)
	if err := checkEpoch(flow, epoch); err != nil {
		return err
	}
	if err := errorfs.MkdirAll(d.fs, d.path(flow, "")); err != nil {
		return d.failed(doing, flow, err)
	}
	nonce := make([]byte, 8)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	temp := d.path(flow, fmt.Sprintf(".epoch-%010d.%s", epoch, hex.EncodeToString(nonce)))
	if err := d.write(temp, content); err != nil {
		return d.failed(doing, flow, err)
	}
	err := d.fs.Link(temp, d.epoch(flow, epoch))
	_ = d.fs.Remove(temp) // one that stays goes when its epoch goes
	switch {
	case errors.Is(err, fs.ErrExist):
		// Whoever hears that an epoch is taken may find that it is his own, from an attempt that failed after the link: durable first.
		if err := d.fs.SyncDir(d.path(flow, "")); err != nil {
			return d.failed(doing, flow, err)
		}
		return ErrExists
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return d.failed(doing, flow, err)
	}
	// A process that slept may find the name free because the epoch came and went: then a later one is there. The new name is
	// taken back; a run that has meanwhile gone on from it has its content in an epoch of its own.
	epochs, listing := d.Epochs(ctx, flow)
	if listing != nil {
		return listing
	}
	if len(epochs) > 0 && epochs[len(epochs)-1] > epoch {
		if err == nil {
			if err := d.RemoveEpoch(ctx, flow, epoch); err != nil {
				return err
			}
		}
		return ErrExists
	}
	if err != nil { // somebody removed the file that was to be linked
		return d.failed(doing, flow, err)
	}
	if err := d.fs.SyncDir(d.path(flow, "")); err != nil {
		return d.failed(doing, flow, err)
	}
	return nil
}

func checkEpoch(flow string, epoch int64) error {
	if err := CheckName(flow); err != nil {
		return err
	}
	if epoch < 1 || epoch >= 1e18 {
		return &fault.RuntimeError{Detail: fault.Detail{
			Code: "checkpoint.epoch", Doing: "save a checkpoint", Flow: flow, Retry: fault.RetryNever,
			Err: fmt.Errorf("got epoch %d, want a number from 1 on", epoch),
		}}
	}
	return nil
}

// write makes a durable file; one that fails is removed.
func (d *Directory) write(name string, content []byte) error {
	f, err := d.fs.Create(name)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err != nil {
		_ = d.fs.Remove(name)
	}
	return err
}

// RemoveEpoch removes an epoch, and what crashed attempts at it and at earlier ones have left.
func (d *Directory) RemoveEpoch(_ context.Context, flow string, epoch int64) error {
	doing := fmt.Sprintf("remove epoch %d", epoch)
	names, err := d.list(flow)
	if err != nil {
		return d.failed(doing, flow, err)
	}
	for _, name := range names {
		n, ok := number(epochName, name)
		if ok = ok && n == epoch; !ok {
			n, ok = number(epochTempName, name)
			ok = ok && n <= epoch
		}
		if ok {
			if err := d.fs.Remove(d.path(flow, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return d.failed(doing, flow, err)
			}
		}
	}
	return nil
}

// NewBlob starts a blob.
func (d *Directory) NewBlob(_ context.Context, flow, name string) (BlobWriter, error) {
	if err := errors.Join(CheckName(flow), CheckName(name)); err != nil {
		return nil, err
	}
	b := &directoryBlob{d: d, flow: flow, name: name}
	err := errorfs.MkdirAll(d.fs, d.path(flow, ""))
	if err == nil {
		b.file, err = d.fs.Create(d.unfinished(flow, name))
	}
	if err != nil {
		return nil, b.failed(err)
	}
	b.buffer = bufio.NewWriterSize(b.file, 64<<10)
	return b, nil
}

type directoryBlob struct {
	d          *Directory
	flow, name string
	file       errorfs.File // nil when committed or aborted
	buffer     *bufio.Writer
}

func (b *directoryBlob) failed(err error) error { return b.d.failed("write blob "+b.name, b.flow, err) }

func (b *directoryBlob) Write(p []byte) (int, error) {
	n, err := b.buffer.Write(p)
	if err != nil {
		return n, b.failed(err)
	}
	return n, nil
}

func (b *directoryBlob) Commit() error {
	if b.file == nil {
		return b.failed(fs.ErrClosed)
	}
	err := b.buffer.Flush()
	if err == nil {
		err = b.file.Sync()
	}
	if err != nil {
		return b.failed(err) // Abort removes it
	}
	err = b.file.Close()
	if err == nil {
		err = b.d.fs.Rename(b.d.unfinished(b.flow, b.name), b.d.blob(b.flow, b.name))
	}
	if err == nil {
		err = b.d.fs.SyncDir(b.d.path(b.flow, ""))
	}
	if err != nil {
		return b.failed(err)
	}
	b.file = nil
	return nil
}

func (b *directoryBlob) Abort() error {
	if b.file == nil {
		return nil
	}
	_ = b.file.Close() // nobody wants what it holds
	b.file = nil
	return b.d.RemoveBlob(context.Background(), b.flow, b.name)
}

// ReadBlob opens a range of a blob.
func (d *Directory) ReadBlob(_ context.Context, flow, name string, offset, length int64) (io.ReadCloser, error) {
	if err := errors.Join(CheckName(flow), CheckName(name)); err != nil {
		return nil, err
	}
	f, err := d.fs.Open(d.blob(flow, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, d.failed("read blob "+name, flow, err)
	}
	return &directoryReader{d: d, flow: flow, name: name, file: f, at: offset, left: length}, nil
}

// directoryReader reads left bytes from at on.
type directoryReader struct {
	d          *Directory
	flow, name string
	file       errorfs.File
	at, left   int64
}

func (r *directoryReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n, err := r.file.ReadAt(p[:min(int64(len(p)), r.left)], r.at)
	r.at += int64(n)
	r.left -= int64(n)
	switch {
	case n > 0 || err == nil:
		return n, nil // an error comes again
	case err == io.EOF:
		return 0, io.ErrUnexpectedEOF
	}
	return 0, r.d.failed("read blob "+r.name, r.flow, err)
}

func (r *directoryReader) Close() error { return r.file.Close() }

// Blobs lists the names of a flow's blobs.
func (d *Directory) Blobs(_ context.Context, flow string) ([]string, error) {
	names, err := d.list(flow)
	if err != nil {
		return nil, d.failed("list blobs", flow, err)
	}
	var blobs []string
	for _, name := range names {
		name, ok := strings.CutSuffix(strings.TrimPrefix(name, "."), blobSuffix)
		if ok && CheckName(name) == nil {
			blobs = append(blobs, name)
		}
	}
	slices.Sort(blobs)
	return slices.Compact(blobs), nil
}

// RemoveBlob removes a blob, also one that is being written.
func (d *Directory) RemoveBlob(_ context.Context, flow, name string) error {
	if err := errors.Join(CheckName(flow), CheckName(name)); err != nil {
		return err
	}
	for _, file := range []string{d.unfinished(flow, name), d.blob(flow, name)} {
		if err := d.fs.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.failed("remove blob "+name, flow, err)
		}
	}
	return nil
}

// RemoveOlder removes what was written before a time, by what the file system says, and directories in which nothing has happened since.
func (d *Directory) RemoveOlder(ctx context.Context, flows func(name string) bool, than time.Time) error {
	entries, err := d.fs.ReadDir(d.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return d.failed("list flows", "", err)
	}
	old := func(e fs.DirEntry) bool {
		info, err := e.Info()
		return err == nil && info.ModTime().Before(than) // an error: it has gone
	}
	for _, flow := range entries {
		if !flow.IsDir() || !flows(flow.Name()) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		still := old(flow)
		files, err := d.fs.ReadDir(d.path(flow.Name(), ""))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return d.failed("list what is old", flow.Name(), err)
		}
		for _, f := range files {
			if !old(f) {
				still = false
				continue
			}
			if err := d.fs.Remove(d.path(flow.Name(), f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return d.failed("remove what is old", flow.Name(), err)
			}
		}
		if still {
			_ = d.fs.Remove(d.path(flow.Name(), "")) // an empty directory that stays does no harm
		}
	}
	return nil
}

// failed makes a fault of an error of the file system.
func (d *Directory) failed(doing, flow string, err error) error {
	if _, ok := fault.DetailOf(err); ok {
		return err // a name that is none
	}
	f := fault.Detail{Code: "checkpoint.disk", Doing: doing, Flow: flow, Retry: fault.RetryLater, Err: err}
	is := func(causes ...error) bool {
		return slices.ContainsFunc(causes, func(c error) bool { return errors.Is(err, c) })
	}
	var link *os.LinkError
	linking := errors.As(err, &link) && link.Op == "link"
	switch {
	case is(syscall.ENOSPC, syscall.EDQUOT):
		f.Code, f.Fix = "checkpoint.full", "free some space there: saving is tried again"
	case is(syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EMLINK), linking && is(syscall.EPERM): // FAT answers EPERM
		f.Code, f.Retry, f.Fix = "checkpoint.link", fault.RetryNever, "choose a checkpoint directory on a file system with hard links"
	case is(fs.ErrPermission, syscall.EROFS):
		f.Code, f.Retry = "checkpoint.permission", fault.RetryNever
		f.Fix = "give this user the right to read and write there, or choose another checkpoint directory"
	case is(syscall.ENOTDIR, syscall.EISDIR, syscall.ELOOP):
		f.Code, f.Retry, f.Fix = "checkpoint.not_a_directory", fault.RetryNever, "choose another checkpoint directory, or move the file away"
	case is(fs.ErrInvalid, syscall.ENAMETOOLONG):
		f.Code, f.Retry, f.Fix = "checkpoint.path", fault.RetryNever, "choose another checkpoint directory"
	}
	return &fault.RuntimeError{Detail: f}
}
