package stdio

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	"github.com/activedataflow/adf/fault"
)

// output is a stream that several writers share. Records of different writers never mix, also when a write ends in the middle of one.
type output struct {
	mu     sync.Mutex
	stream io.Writer
	rest   []byte // of a write that failed: what has to come next
}

// stdout is that of the process.
var stdout = &output{stream: writerFunc(func(p []byte) (int, error) { return os.Stdout.Write(p) })}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// write writes whole records. After an error it has taken them over all the same: a write of nothing says whether they are out.
func (o *output) write(chunks ...[]byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, c := range append([][]byte{o.rest}, chunks...) {
		if len(c) == 0 {
			continue
		}
		n, err := o.stream.Write(c)
		if err == nil && n < len(c) {
			err = io.ErrShortWrite
		}
		if err != nil {
			o.rest = append(slices.Clone(c[n:]), slices.Concat(chunks[i:]...)...)
			return failed(err)
		}
	}
	o.rest = nil
	return nil
}

func failed(err error) error {
	d := fault.Detail{Code: "stdout.write", Doing: "write", Connector: "stdout", Retry: fault.RetryLater, Err: err}
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, os.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		d.Code, d.Retry, d.Fix = "stdout.closed", fault.RetryNever, "the program that reads standard output has ended"
	}
	return &fault.SinkError{Detail: d}
}
