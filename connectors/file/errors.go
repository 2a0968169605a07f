package file

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/activedataflow/adf/fault"
)

// ioSourceError classifies a failed operation on a file that is read.
func ioSourceError(doing, path string, err error) error {
	d := fault.Detail{Code: "file.io", Doing: doing, Connector: "file", At: path, Retry: retryOf(err), Err: cause(err)}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		d.Code, d.Fix = "file.gone", "the file was there when files were listed: put it back, or start over without it"
	case errors.Is(err, fs.ErrPermission):
		d.Code, d.Fix = "file.permission", "allow reading it"
	}
	return &fault.SourceError{Detail: d}
}

// ioSinkError classifies a failed operation on a file that is written.
func ioSinkError(doing, path string, err error) error {
	d := fault.Detail{Code: "file.io", Doing: doing, Connector: "file", At: path, Retry: retryOf(err), Err: cause(err)}
	switch {
	case errors.Is(err, fs.ErrNotExist): // a committer begins with making its directories: they are gone since, or what they lie on is
		d.Code, d.Retry, d.Fix = "file.gone", fault.RetryLater, "put the directory back with all that is in it, or mount what it lies on"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		d.Code, d.Fix = "file.disk_full", "make room there; nothing is lost or half-written, and the commit is tried again"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		d.Code, d.Fix = "file.permission", "allow writing there"
	case errors.Is(err, syscall.EXDEV):
		d.Code, d.Fix = "file.mount", "the whole directory of the sink, with its .adf, must be on one file system"
	}
	return &fault.SinkError{Detail: d}
}

// retryOf says whether a failed operation is worth repeating: not when it stays so until somebody changes something.
func retryOf(err error) fault.Retry {
	for _, permanent := range []error{
		fs.ErrNotExist, fs.ErrPermission, syscall.EISDIR, syscall.ENOTDIR, syscall.ENAMETOOLONG, syscall.ELOOP, syscall.EROFS,
		syscall.EXDEV, syscall.EINVAL, syscall.EFBIG, syscall.EMLINK,
	} {
		if errors.Is(err, permanent) {
			return fault.RetryNever
		}
	}
	return fault.RetryLater // a full disk, a lost mount, too many open files
}

// cause is err without the operation and path that a PathError repeats.
func cause(err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		return p.Err
	case errors.As(err, &l):
		return l.Err
	}
	return err
}
