package task

import (
	"context"
	"sync"

	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/sinks"
)

// Sizes of parts: a part is cut and spilled when it has reached partBytes; what waits at a checkpoint travels by value up to valueBytes.
const (
	partBytes  = 1 << 20
	valueBytes = 256 << 10
)

// Write is one shard of an exactly-once sink: it encodes records into parts, which wait for the checkpoint. It is safe for concurrent use.
type Write struct {
	mu    sync.Mutex
	enc   sinks.AnyEncoder
	spill func(ctx context.Context, part []byte) (*adfv1.BlobRange, error)
	part  []byte
	parts []*adfv1.Part
}

// NewWrite makes the write task of a shard. spill keeps a large part on staging storage.
func NewWrite(sink sinks.AnyExact, spill func(ctx context.Context, part []byte) (*adfv1.BlobRange, error)) *Write {
	return &Write{enc: sink.NewEncoder(), spill: spill}
}

// Add encodes a batch, and gives the size that it has then.
func (w *Write) Add(ctx context.Context, b record.Any, fail func(i int, err error)) (size int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	part, err := w.enc.Encode(w.part, b, fail)
	if err != nil {
		return 0, err
	}
	size = len(part) - len(w.part)
	w.part = part
	if len(w.part) >= partBytes {
		err = w.cut(ctx)
	}
	return size, err
}

func (w *Write) cut(ctx context.Context) error {
	r, err := w.spill(ctx, w.part)
	if err != nil {
		return err
	}
	w.parts = append(w.parts, &adfv1.Part{Content: &adfv1.Part_Blob{Blob: r}})
	w.part = w.part[:0]
	return nil
}

// Take gives the parts of everything added since the last call, in order.
func (w *Write) Take(ctx context.Context) ([]*adfv1.Part, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.part) > valueBytes {
		if err := w.cut(ctx); err != nil {
			return nil, err
		}
	}
	if len(w.part) > 0 {
		w.parts = append(w.parts, &adfv1.Part{Content: &adfv1.Part_Value{Value: w.part}})
		w.part = nil
	}
	parts := w.parts
	w.parts = nil
	return parts, nil
}

// Commit commits the parts of one committable; what the target has already is skipped. read gives a part's bytes when they lie on staging storage.
func Commit(ctx context.Context, c sinks.AnyCommitter, sh sinks.Shard, m *adfv1.Committable, read func(context.Context, *adfv1.BlobRange) ([]byte, error)) error {
	parts := func(yield func([]byte, error) bool) {
		for _, p := range m.Parts {
			var data []byte
			var err error
			switch content := p.Content.(type) {
			case *adfv1.Part_Value:
				data = content.Value
			case *adfv1.Part_Blob:
				data, err = read(ctx, content.Blob)
			}
			if !yield(data, err) || err != nil {
				return
			}
		}
	}
	err := Guard(sh.Node, func() error { return c.Commit(ctx, sh, m.From, parts) })
	return fault.Within(ofSink("commit", err), sh.Flow, sh.Run, sh.Node)
}

// ofSink says of an error of a sink that nobody has classified where it comes from.
func ofSink(doing string, err error) error {
	if _, ok := fault.DetailOf(err); ok || err == nil {
		return err
	}
	return &fault.SinkError{Detail: fault.Detail{Code: "sink." + doing, Doing: doing, Err: err}}
}
