package checkpoint

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

// Version is the version of the checkpoint form that this package writes.
const Version = 1

// Session is one run's hold on one flow. It is used from one goroutine at a time, but for NewBlob and reads, which may
// go on beside it.
type Session struct {
	store  Store
	flow   string
	run    string
	retain int
	epoch  int64              // the newest epoch, ours
	refs   map[int64][]string // the blobs each retained epoch refers to
}

// Options say how a session starts.
type Options struct {
	// Retain is how many epochs are kept, at least 1; 0 means 3.
	Retain int
	// Fresh ignores what is saved and starts over.
	Fresh bool
	// Admit looks at the checkpoint to go on from before the flow is claimed. It may refuse it, and it may change it: the claim is saved as
	// it leaves it. Nil admits every checkpoint. It is called again when another run saves in between.
	Admit func(ctx context.Context, restored *adfv1.Checkpoint) error
}

// Open claims a flow for a run: from now on no older run can save. It gives the checkpoint to go on from, nil when there is none.
func Open(ctx context.Context, store Store, flow, run string, o Options) (*Session, *adfv1.Checkpoint, error) {
	if err := CheckName(flow); err != nil {
		return nil, nil, err
	}
	if o.Retain <= 0 {
		o.Retain = 3
	}
	s := &Session{store: store, flow: flow, run: run, retain: o.Retain}
	for {
		restored, err := s.load(ctx)
		if err != nil {
			return nil, nil, err
		}
		if o.Fresh {
			restored = nil
		}
		claim := &adfv1.Checkpoint{}
		if restored != nil {
			if o.Admit != nil {
				if err := o.Admit(ctx, restored); err != nil {
					return nil, nil, err
				}
			}
			claim = proto.CloneOf(restored)
		}
		claim.Claim = true
		err = s.create(ctx, claim)
		if errors.Is(err, ErrExists) {
			continue // another run saved or started in between: go on from there
		}
		if err != nil {
			return nil, nil, err
		}
		return s, restored, s.sweep(ctx)
	}
}

// load reads the retained epochs and gives the newest.
func (s *Session) load(ctx context.Context) (newest *adfv1.Checkpoint, err error) {
	epochs, err := s.store.Epochs(ctx, s.flow)
	if err != nil {
		return nil, err
	}
	s.epoch, s.refs = 0, map[int64][]string{}
	if len(epochs) > s.retain {
		epochs = epochs[len(epochs)-s.retain:]
	}
	for i, e := range epochs {
		content, err := s.store.ReadEpoch(ctx, s.flow, e)
		if errors.Is(err, ErrNotFound) {
			continue // pruned by the run that is still at it
		}
		if err != nil {
			return nil, err
		}
		cp, err := Decode(content)
		if err != nil {
			if i < len(epochs)-1 {
				continue // nobody restores from it any more
			}
			return nil, &fault.RuntimeError{Detail: fault.Detail{
				Code: "checkpoint.corrupt", Doing: "read checkpoint", Flow: s.flow, At: fmt.Sprintf("epoch %d", e), Retry: fault.RetryNever,
				Fix: "remove this epoch from the checkpoint store to go on from the one before (start with --rewind; output may repeat), or start over with --fresh",
				Err: err,
			}}
		}
		s.refs[e] = refsOf(cp)
		s.epoch, newest = e, cp
	}
	return newest, nil
}

// Epoch is the number of the newest epoch.
func (s *Session) Epoch() int64 { return s.epoch }

// Run is the session's run.
func (s *Session) Run() string { return s.run }

// Save saves the next epoch. It fills in what names it. When another run has taken the flow over, the error has the code
// "checkpoint.fenced", and nothing must be committed any more.
func (s *Session) Save(ctx context.Context, cp *adfv1.Checkpoint) error {
	err := s.create(ctx, cp)
	if errors.Is(err, ErrExists) {
		return s.fenced(ctx)
	}
	if err != nil {
		return err
	}
	return s.prune(ctx)
}

func (s *Session) create(ctx context.Context, cp *adfv1.Checkpoint) error {
	cp.Version, cp.Flow, cp.Run, cp.Epoch, cp.SavedAtMs = Version, s.flow, s.run, s.epoch+1, time.Now().UnixMilli()
	content, err := Encode(cp)
	if err != nil {
		return err
	}
	if err := s.store.CreateEpoch(ctx, s.flow, cp.Epoch, content); err != nil {
		if errors.Is(err, ErrExists) && s.mine(ctx, cp.Epoch) {
			return nil // our own earlier attempt, whose answer was lost
		}
		return err
	}
	s.epoch = cp.Epoch
	s.refs[cp.Epoch] = refsOf(cp)
	return nil
}

// mine is for stores whose answer can be lost on the way.
func (s *Session) mine(ctx context.Context, epoch int64) bool {
	content, err := s.store.ReadEpoch(ctx, s.flow, epoch)
	if err != nil {
		return false
	}
	cp, err := Decode(content)
	if err != nil || cp.Run != s.run {
		return false
	}
	s.epoch = epoch
	s.refs[epoch] = refsOf(cp)
	return true
}

func (s *Session) fenced(ctx context.Context) error {
	by := "another run"
	if content, err := s.store.ReadEpoch(ctx, s.flow, s.epoch+1); err == nil {
		if cp, err := Decode(content); err == nil {
			by = fmt.Sprintf("run %s, which started at %s", cp.Run, time.UnixMilli(cp.SavedAtMs).UTC().Format(time.RFC3339))
		}
	}
	return &fault.RuntimeError{Detail: fault.Detail{
		Code: "checkpoint.fenced", Doing: fmt.Sprintf("save epoch %d", s.epoch+1), Flow: s.flow, Run: s.run, Retry: fault.RetryNever,
		Fix: "this run has stopped and its output is exact up to its last epoch; run a flow once at a time, or give the other one a flow name or a checkpoint directory of its own",
		Err: fmt.Errorf("the flow has been taken over by %s", by),
	}}
}

// prune removes the epochs beyond the retained ones, and the blobs that only they referred to.
func (s *Session) prune(ctx context.Context) error {
	gone := map[string]bool{}
	for e, refs := range s.refs {
		if e <= s.epoch-int64(s.retain) {
			if err := s.store.RemoveEpoch(ctx, s.flow, e); err != nil {
				return err
			}
			for _, b := range refs {
				gone[b] = true
			}
			delete(s.refs, e)
		}
	}
	for _, refs := range s.refs {
		for _, b := range refs {
			delete(gone, b)
		}
	}
	for b := range gone {
		if err := s.store.RemoveBlob(ctx, s.flow, b); err != nil {
			return err
		}
	}
	return nil
}

// sweep removes what runs that are gone have left: epochs beyond the retained ones and blobs that no epoch refers to.
func (s *Session) sweep(ctx context.Context) error {
	epochs, err := s.store.Epochs(ctx, s.flow)
	if err != nil {
		return err
	}
	for _, e := range epochs {
		if _, ok := s.refs[e]; !ok && e < s.epoch {
			s.refs[e] = nil
		}
	}
	if err := s.prune(ctx); err != nil {
		return err
	}
	used := map[string]bool{}
	for _, refs := range s.refs {
		for _, b := range refs {
			used[b] = true
		}
	}
	blobs, err := s.store.Blobs(ctx, s.flow)
	if err != nil {
		return err
	}
	for _, b := range blobs {
		if !used[b] {
			if err := s.store.RemoveBlob(ctx, s.flow, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// Blob is a blob being written: what is appended can be referred to by a checkpoint once Commit has returned.
type Blob struct {
	w    BlobWriter
	name string
	size int64
}

// NewBlob starts a blob; kind is part of its name, for whoever looks into the store.
func (s *Session) NewBlob(ctx context.Context, kind string) (*Blob, error) {
	nonce := make([]byte, 8)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	name := fmt.Sprintf("%s-%s", kind, hex.EncodeToString(nonce))
	w, err := s.store.NewBlob(ctx, s.flow, name)
	if err != nil {
		return nil, err
	}
	return &Blob{w: w, name: name}, nil
}

// Append appends a piece.
func (b *Blob) Append(piece []byte) (*adfv1.BlobRange, error) {
	r := &adfv1.BlobRange{Blob: b.name, Offset: b.size, Length: int64(len(piece)), Crc: crc32.Checksum(piece, castagnoli)}
	n, err := b.w.Write(piece)
	b.size += int64(n)
	return r, err
}

// Size is the number of bytes appended.
func (b *Blob) Size() int64 { return b.size }

// Commit makes the blob durable.
func (b *Blob) Commit() error { return b.w.Commit() }

// Abort removes the blob; after Commit it does nothing.
func (b *Blob) Abort() error { return b.w.Abort() }

// ReadRange reads a piece and checks it.
func (s *Session) ReadRange(ctx context.Context, r *adfv1.BlobRange) ([]byte, error) {
	rc, err := s.store.ReadBlob(ctx, s.flow, r.Blob, r.Offset, r.Length)
	if err != nil {
		return nil, s.blobError(r, err)
	}
	piece := make([]byte, r.Length)
	_, err = io.ReadFull(rc, piece)
	err = errors.Join(err, rc.Close())
	if err == nil && crc32.Checksum(piece, castagnoli) != r.Crc {
		err = errors.New("checksum does not match")
	}
	if err != nil {
		return nil, s.blobError(r, err)
	}
	return piece, nil
}

func (s *Session) blobError(r *adfv1.BlobRange, err error) error {
	var f *fault.RuntimeError
	if errors.As(err, &f) {
		return err
	}
	return &fault.RuntimeError{Detail: fault.Detail{
		Code: "checkpoint.blob", Doing: "read checkpoint", Flow: s.flow, Run: s.run, At: fmt.Sprintf("blob %s, bytes %d to %d", r.Blob, r.Offset, r.Offset+r.Length),
		Retry: fault.RetryNever, Fix: "the checkpoint store has lost or changed a file; go on from a copy with --rewind, or start over with --fresh", Err: err,
	}}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

const magic = "ADFC"

// Encode gives a checkpoint its stored form: a magic word, a CRC-32C, and the protobuf message.
func Encode(cp *adfv1.Checkpoint) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.MarshalAppend(make([]byte, 8, 8+proto.Size(cp)), cp)
	if err != nil {
		return nil, err
	}
	copy(body, magic)
	binary.LittleEndian.PutUint32(body[4:], crc32.Checksum(body[8:], castagnoli))
	return body, nil
}

// Decode reads the stored form of every version up to [Version].
func Decode(content []byte) (*adfv1.Checkpoint, error) {
	if len(content) < 8 || string(content[:4]) != magic {
		return nil, errors.New("this is not a checkpoint")
	}
	if crc32.Checksum(content[8:], castagnoli) != binary.LittleEndian.Uint32(content[4:]) {
		return nil, errors.New("checksum does not match")
	}
	cp := &adfv1.Checkpoint{}
	if err := proto.Unmarshal(content[8:], cp); err != nil {
		return nil, err
	}
	if cp.Version > Version {
		return nil, fmt.Errorf("got version %d of the checkpoint form, want at most %d: it was saved by a newer release", cp.Version, Version)
	}
	return cp, nil
}

// refsOf lists the blobs that a checkpoint refers to.
func refsOf(cp *adfv1.Checkpoint) []string {
	seen := map[string]bool{}
	var names []string
	add := func(r *adfv1.BlobRange) {
		if r != nil && !seen[r.Blob] {
			seen[r.Blob] = true
			names = append(names, r.Blob)
		}
	}
	for _, k := range cp.Keyed {
		for _, b := range k.Logs {
			for _, r := range b.Log {
				add(r)
			}
		}
	}
	for _, s := range cp.Sinks {
		for _, c := range s.Pending {
			for _, p := range c.Parts {
				add(p.GetBlob())
			}
		}
	}
	return names
}
