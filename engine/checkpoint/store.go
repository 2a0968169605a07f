package checkpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

// Store keeps the epochs and blobs of flows. It is safe for concurrent use, also by several processes on the same place.
// Flow and blob names satisfy [CheckName]. Errors of the medium are fault.RuntimeError and say whether a retry helps.
type Store interface {
	// Epochs lists the epochs of a flow, ascending; none for a flow never seen.
	Epochs(ctx context.Context, flow string) ([]int64, error)
	// ReadEpoch gives an epoch's content; ErrNotFound.
	ReadEpoch(ctx context.Context, flow string, epoch int64) ([]byte, error)
	// CreateEpoch saves an epoch durably, whole or not at all; ErrExists when it or a later one is there already. After another
	// error it may be there nevertheless, whole.
	CreateEpoch(ctx context.Context, flow string, epoch int64, content []byte) error
	// RemoveEpoch removes an epoch; one that is not there is no error. The newest one stays, or its number could be given twice.
	RemoveEpoch(ctx context.Context, flow string, epoch int64) error

	// NewBlob starts a blob under a name never used before.
	NewBlob(ctx context.Context, flow, name string) (BlobWriter, error)
	// ReadBlob opens a range of a blob; ErrNotFound. A range beyond its end gives io.ErrUnexpectedEOF while reading.
	ReadBlob(ctx context.Context, flow, name string, offset, length int64) (io.ReadCloser, error)
	// Blobs lists the names of a flow's blobs, those not yet committed too.
	Blobs(ctx context.Context, flow string) ([]string, error)
	// RemoveBlob removes a blob; one that is not there is no error.
	RemoveBlob(ctx context.Context, flow, name string) error
}

// Newest reads the newest checkpoint of a flow without claiming it; nil when there is none.
func Newest(ctx context.Context, store Store, flow string) (*adfv1.Checkpoint, error) {
	for {
		epochs, err := store.Epochs(ctx, flow)
		if err != nil || len(epochs) == 0 {
			return nil, err
		}
		newest := epochs[len(epochs)-1]
		content, err := store.ReadEpoch(ctx, flow, newest)
		if errors.Is(err, ErrNotFound) {
			continue // there is a newer one now
		}
		if err != nil {
			return nil, err
		}
		cp, err := Decode(content)
		if err != nil {
			return nil, (&Session{flow: flow}).unreadable(newest, err)
		}
		return cp, nil
	}
}

// Sweeper is a store that can remove by age: for runtimes with checkpoints of their own, whose runs leave things under names that nobody claims any more.
type Sweeper interface {
	// RemoveOlder removes the epochs and blobs of all flows with such a name that were written before a time.
	RemoveOlder(ctx context.Context, flows func(name string) bool, than time.Time) error
}

// BlobWriter writes one blob from one goroutine.
type BlobWriter interface {
	io.Writer
	// Commit makes what was written durable. After an error only Abort is left to do.
	Commit() error
	// Abort removes it; after a Commit that succeeded it does nothing.
	Abort() error
}

// ErrExists says that an epoch is taken or passed; ErrNotFound that an epoch or blob is not there.
var (
	ErrExists   = errors.New("exists already")
	ErrNotFound = errors.New("not found")
)

var nameRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$`)

// CheckName says whether a flow or blob may have this name: up to 200 letters, digits, points, underscores and dashes, the first a
// letter or digit.
func CheckName(name string) error {
	if nameRule.MatchString(name) {
		return nil
	}
	return &fault.ConfigurationError{Detail: fault.Detail{
		Code: "checkpoint.name", Doing: "use a name in a checkpoint store", Retry: fault.RetryNever,
		Err: fmt.Errorf("got %q, want up to 200 letters, digits, '.', '_' and '-', the first a letter or digit", name),
	}}
}
