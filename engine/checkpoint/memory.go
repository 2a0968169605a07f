package checkpoint

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"sync"
)

// Memory keeps checkpoints as long as the process lives: for tests, and for runs that need not survive it. The zero value is ready.
type Memory struct {
	mu    sync.Mutex
	flows map[string]*memoryFlow
}

type memoryFlow struct {
	epochs map[int64][]byte
	blobs  map[string][]byte
}

func (m *Memory) flow(name string) *memoryFlow {
	if m.flows == nil {
		m.flows = map[string]*memoryFlow{}
	}
	f := m.flows[name]
	if f == nil {
		f = &memoryFlow{map[int64][]byte{}, map[string][]byte{}}
		m.flows[name] = f
	}
	return f
}

// Epochs lists the epochs of a flow.
func (m *Memory) Epochs(_ context.Context, flow string) ([]int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.flow(flow).epochs)), nil
}

// ReadEpoch gives an epoch's content.
func (m *Memory) ReadEpoch(_ context.Context, flow string, epoch int64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c, ok := m.flow(flow).epochs[epoch]
	if !ok {
		return nil, ErrNotFound
	}
	return bytes.Clone(c), nil
}

// CreateEpoch saves an epoch.
func (m *Memory) CreateEpoch(_ context.Context, flow string, epoch int64, content []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := checkEpoch(flow, epoch); err != nil {
		return err
	}
	f := m.flow(flow)
	for e := range f.epochs {
		if e >= epoch {
			return ErrExists
		}
	}
	f.epochs[epoch] = bytes.Clone(content)
	return nil
}

// RemoveEpoch removes an epoch.
func (m *Memory) RemoveEpoch(_ context.Context, flow string, epoch int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.flow(flow).epochs, epoch)
	return nil
}

// NewBlob starts a blob.
func (m *Memory) NewBlob(_ context.Context, flow, name string) (BlobWriter, error) {
	return &memoryBlob{store: m, flow: flow, name: name}, nil
}

// ReadBlob opens a range of a blob.
func (m *Memory) ReadBlob(_ context.Context, flow, name string, offset, length int64) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.flow(flow).blobs[name]
	if !ok {
		return nil, ErrNotFound
	}
	return &memoryReader{rest: b[min(offset, int64(len(b))):], left: length}, nil
}

// memoryReader reads left bytes.
type memoryReader struct {
	rest []byte
	left int64
}

func (r *memoryReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	if len(r.rest) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.rest)
	r.rest, r.left = r.rest[n:], r.left-int64(n)
	return n, nil
}

func (r *memoryReader) Close() error { return nil }

// Blobs lists the names of a flow's blobs.
func (m *Memory) Blobs(_ context.Context, flow string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.flow(flow).blobs)), nil
}

// RemoveBlob removes a blob.
func (m *Memory) RemoveBlob(_ context.Context, flow, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.flow(flow).blobs, name)
	return nil
}

type memoryBlob struct {
	store      *Memory
	flow, name string
	buf        []byte
}

func (b *memoryBlob) Write(p []byte) (int, error) {
	b.buf = append(b.buf, p...)
	return len(p), nil
}

func (b *memoryBlob) Commit() error {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.flow(b.flow).blobs[b.name] = b.buf
	return nil
}

func (b *memoryBlob) Abort() error { return nil }
