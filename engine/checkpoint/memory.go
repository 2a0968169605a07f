package checkpoint

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"time"
)

// Memory keeps checkpoints as long as the process lives: for tests, and for runs that need not survive it. The zero value is ready.
type Memory struct {
	mu    sync.Mutex
	flows map[string]*memoryFlow
	free  [][]byte // the memory of pieces that are gone
}

type memoryFlow struct {
	epochs map[int64]memoryEpoch
	blobs  map[string]*memoryContent
}

type memoryEpoch struct {
	content []byte
	at      time.Time
}

func (m *Memory) flow(name string) *memoryFlow {
	if m.flows == nil {
		m.flows = map[string]*memoryFlow{}
	}
	f := m.flows[name]
	if f == nil {
		f = &memoryFlow{map[int64]memoryEpoch{}, map[string]*memoryContent{}}
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
	e, ok := m.flow(flow).epochs[epoch]
	if !ok {
		return nil, ErrNotFound
	}
	return bytes.Clone(e.content), nil
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
	f.epochs[epoch] = memoryEpoch{bytes.Clone(content), time.Now()}
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
	b := m.flow(flow).blobs[name]
	if b == nil {
		return nil, ErrNotFound
	}
	b.readers++
	return &memoryReader{store: m, blob: b, rest: b.from(offset), left: length}, nil
}

// memoryContent is a committed blob.
type memoryContent struct {
	pieces
	at      time.Time
	readers int
	removed bool
}

// pieces are a blob as it was written: a large one is never moved.
type pieces [][]byte

// from gives what comes at and behind an offset.
func (p pieces) from(offset int64) pieces {
	for i, piece := range p {
		if n := int64(len(piece)); offset >= n {
			offset -= n
			continue
		}
		return append(pieces{piece[offset:]}, p[i+1:]...)
	}
	return nil
}

// memoryReader reads left bytes.
type memoryReader struct {
	store *Memory
	blob  *memoryContent // nil when closed
	rest  pieces
	left  int64
}

func (r *memoryReader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	if len(r.rest) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.rest[0])
	if r.rest[0] = r.rest[0][n:]; len(r.rest[0]) == 0 {
		r.rest = r.rest[1:]
	}
	r.left -= int64(n)
	return n, nil
}

func (r *memoryReader) Close() error {
	if r.blob == nil {
		return nil
	}
	r.store.mu.Lock()
	defer r.store.mu.Unlock()
	r.blob.readers--
	r.store.recycle(r.blob)
	r.blob, r.rest, r.left = nil, nil, 0
	return nil
}

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
	m.remove(m.flow(flow), name)
	return nil
}

func (m *Memory) remove(f *memoryFlow, name string) {
	if b := f.blobs[name]; b != nil {
		delete(f.blobs, name)
		b.removed = true
		m.recycle(b)
	}
}

// RemoveOlder removes what was written before a time.
func (m *Memory) RemoveOlder(_ context.Context, flows func(name string) bool, than time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, f := range m.flows {
		if !flows(name) {
			continue
		}
		maps.DeleteFunc(f.epochs, func(_ int64, e memoryEpoch) bool { return e.at.Before(than) })
		for blob, b := range f.blobs {
			if b.at.Before(than) {
				m.remove(f, blob)
			}
		}
	}
	return nil
}

// The memory of large pieces is used again: fresh memory costs more than what is written to it.
const (
	largePiece = 512 << 10
	mostFree   = 128
)

// recycle takes back the memory of a blob that is removed and that nobody reads any more.
func (m *Memory) recycle(b *memoryContent) {
	if !b.removed || b.readers > 0 {
		return
	}
	for _, piece := range b.pieces {
		if cap(piece) >= largePiece && len(m.free) < mostFree {
			m.free = append(m.free, piece[:0])
		}
	}
	b.pieces = nil
}

func (m *Memory) memory() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := len(m.free); n > 0 {
		b := m.free[n-1]
		m.free = m.free[:n-1]
		return b
	}
	return nil
}

type memoryBlob struct {
	store      *Memory
	flow, name string
	written    pieces
}

func (b *memoryBlob) Write(p []byte) (int, error) {
	last := len(b.written) - 1
	switch {
	case len(p) == 0:
	case last >= 0 && cap(b.written[last])-len(b.written[last]) >= len(p):
		b.written[last] = append(b.written[last], p...)
	case len(p) >= largePiece:
		b.written = append(b.written, append(b.store.memory(), p...))
	default: // the next small ones find room
		b.written = append(b.written, append(make([]byte, 0, max(len(p), 64<<10)), p...))
	}
	return len(p), nil
}

func (b *memoryBlob) Commit() error {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.flow(b.flow).blobs[b.name] = &memoryContent{pieces: b.written, at: time.Now()}
	return nil
}

func (b *memoryBlob) Abort() error { return nil }
