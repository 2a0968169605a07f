package checkpoint

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

// Version is the version of the checkpoint form that this package writes. Version 2 has positions_only, which a reader must not pass over.
const Version = 2

// Session is one run's hold on one flow. It is used from one goroutine at a time, but for NewBlob and reads, which may
// go on beside it.
type Session struct {
	store  Store
	flow   string
	run    string
	retain int
	claim  int64              // the epoch that took the flow over; part of the names of our blobs
	epoch  int64              // the newest epoch, ours
	refs   map[int64][]string // the blobs each retained epoch refers to
	unused map[string]bool    // blobs that no epoch refers to any more, still to be removed
	pruned error              // why something that should be gone is still there

	mu   sync.Mutex
	made map[string]bool // blobs of ours that no epoch has referred to yet

	doubtful []string // blobs of epochs that may have been created or not
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
// The run must be one that nobody else has; it may be opened again by the same process, when it goes back to its last checkpoint.
func Open(ctx context.Context, store Store, flow, run string, o Options) (*Session, *adfv1.Checkpoint, error) {
	if err := CheckName(flow); err != nil {
		return nil, nil, err
	}
	if o.Retain <= 0 {
		o.Retain = 3
	}
	s := &Session{store: store, flow: flow, run: run, retain: o.Retain, made: map[string]bool{}}
	for {
		restored, err := s.load(ctx, o.Fresh)
		if err != nil {
			return nil, nil, err
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
		switch err := s.create(ctx, claim); {
		case err == nil:
			s.claim = s.epoch
			s.pruned = s.sweep(ctx)
			return s, restored, nil
		case !errors.Is(err, ErrExists):
			return nil, nil, err
		}
		// Another run saved or started in between, or an attempt of ours arrived late: go on from there.
	}
}

// load reads the retained epochs and gives the newest; with fresh it gives none, but still counts them and knows their blobs.
func (s *Session) load(ctx context.Context, fresh bool) (newest *adfv1.Checkpoint, err error) {
	epochs, err := s.store.Epochs(ctx, s.flow)
	if err != nil {
		return nil, err
	}
	s.epoch, s.refs, s.unused = 0, map[int64][]string{}, map[string]bool{}
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
		s.epoch = e
		cp, err := Decode(content)
		switch {
		case err == nil:
			s.refs[e], newest = refsOf(cp), cp
		case i == len(epochs)-1 && !fresh:
			return nil, s.unreadable(e, err)
		default:
			s.refs[e] = nil // nobody restores from it any more
		}
	}
	if fresh {
		return nil, nil
	}
	return newest, nil
}

// unreadable is about the newest epoch. The one before is not taken instead: that output repeats is for somebody to decide.
func (s *Session) unreadable(epoch int64, err error) error {
	d := fault.Detail{
		Code: "checkpoint.corrupt", Doing: "read checkpoint", Flow: s.flow, Run: s.run, At: fmt.Sprintf("epoch %d", epoch), Retry: fault.RetryNever,
		Fix: "stop every run of the flow and remove this epoch from the checkpoint store to go on from the one before (start with --rewind; output may repeat), or start over with --fresh",
		Err: err,
	}
	if errors.Is(err, errNewer) {
		d.Code, d.Fix = "checkpoint.version", "go on with the release that saved it, or start over with --fresh"
	}
	return &fault.RuntimeError{Detail: d}
}

// Epoch is the number of the newest epoch.
func (s *Session) Epoch() int64 { return s.epoch }

// Run is the session's run.
func (s *Session) Run() string { return s.run }

// Save saves the next epoch. It fills in what names it. When another run has taken the flow over, the error has the code
// "checkpoint.fenced", and nothing must be committed any more. After another error, which may have come behind the saving, the same
// or a later state is saved by the next call, under a number that nobody else has.
func (s *Session) Save(ctx context.Context, cp *adfv1.Checkpoint) error {
	for {
		before := s.epoch
		err := s.create(ctx, cp)
		switch {
		case err == nil:
			s.pruned = s.prune(ctx)
			return nil
		case !errors.Is(err, ErrExists):
			return err
		case s.epoch == before:
			return s.fenced(ctx)
		}
		// An earlier attempt of ours has this number, with what was to be saved then.
	}
}

// create creates the epoch behind the newest. When it is taken the error is ErrExists; if we have taken it ourselves, by an
// attempt that seemed to fail, it counts as created when the content is the same, and else only moves s.epoch on.
func (s *Session) create(ctx context.Context, cp *adfv1.Checkpoint) error {
	cp.Version, cp.Flow, cp.Run, cp.Epoch, cp.SavedAtMs = Version, s.flow, s.run, s.epoch+1, time.Now().UnixMilli()
	content, err := Encode(cp)
	if err != nil {
		return err
	}
	s.doubtful = append(s.doubtful, s.referred(cp)...) // until it is known whether it is there
	err = s.store.CreateEpoch(ctx, s.flow, cp.Epoch, content)
	if errors.Is(err, ErrExists) {
		there, reading := s.ours(ctx, cp.Epoch)
		if reading != nil {
			return reading
		}
		if there == nil {
			return err
		}
		s.created(there)
		cp.SavedAtMs = there.SavedAtMs
		if !proto.Equal(cp, there) {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	s.created(cp)
	return nil
}

// created notes that an epoch is ours.
func (s *Session) created(cp *adfv1.Checkpoint) {
	s.epoch, s.refs[cp.Epoch] = cp.Epoch, s.referred(cp)
	for _, b := range s.doubtful { // what did not come with this epoch does not come any more: its number is taken
		s.unused[b] = true
	}
	s.doubtful = nil
}

// referred gives the blobs of an epoch; they are no longer only ours to remove.
func (s *Session) referred(cp *adfv1.Checkpoint) []string {
	refs := refsOf(cp)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range refs {
		delete(s.made, b)
	}
	return refs
}

// Rollback removes the blobs of this session that no epoch refers to, for a run that goes back to its last checkpoint. No blob is being
// written meanwhile, and none waits to be saved. Blobs of a Save that failed stay until the next one, since the epoch may be there.
func (s *Session) Rollback(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := range s.made {
		if err := s.store.RemoveBlob(ctx, s.flow, b); err != nil {
			return err
		}
		delete(s.made, b)
	}
	return nil
}

// ours reads an epoch that is taken; nil when another run has it, or has passed it.
func (s *Session) ours(ctx context.Context, epoch int64) (*adfv1.Checkpoint, error) {
	epochs, err := s.store.Epochs(ctx, s.flow)
	if err != nil {
		return nil, err
	}
	if len(epochs) == 0 || epochs[len(epochs)-1] != epoch {
		return nil, nil
	}
	content, err := s.store.ReadEpoch(ctx, s.flow, epoch)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	cp, err := Decode(content)
	if err != nil || cp.Run != s.run {
		return nil, nil // what can not be read was not saved by us
	}
	return cp, nil
}

func (s *Session) fenced(ctx context.Context) error {
	by := "another run"
	if epochs, err := s.store.Epochs(ctx, s.flow); err == nil && len(epochs) > 0 {
		if content, err := s.store.ReadEpoch(ctx, s.flow, epochs[len(epochs)-1]); err == nil {
			if cp, err := Decode(content); err == nil {
				by = fmt.Sprintf("run %s, which saved epoch %d at %s", cp.Run, cp.Epoch, time.UnixMilli(cp.SavedAtMs).UTC().Format(time.RFC3339))
			}
		}
	}
	return &fault.RuntimeError{Detail: fault.Detail{
		Code: "checkpoint.fenced", Doing: fmt.Sprintf("save epoch %d", s.epoch+1), Flow: s.flow, Run: s.run, Retry: fault.RetryNever,
		Fix: "this run has stopped and its output is exact up to its last epoch; run a flow once at a time, or give the other one a flow name or a checkpoint directory of its own",
		Err: fmt.Errorf("the flow has been taken over by %s", by),
	}}
}

// Unpruned says why old epochs or blobs could not be removed; nil when all are gone that should be. It harms nothing but
// the disk, and each save tries again.
func (s *Session) Unpruned() error { return s.pruned }

// prune removes the epochs beyond the retained ones, oldest first, and the blobs that only they referred to.
func (s *Session) prune(ctx context.Context) error {
	for _, e := range slices.Sorted(maps.Keys(s.refs)) {
		if e > s.epoch-int64(s.retain) {
			break
		}
		if err := s.store.RemoveEpoch(ctx, s.flow, e); err != nil {
			return err
		}
		for _, b := range s.refs[e] {
			s.unused[b] = true
		}
		delete(s.refs, e)
	}
	if len(s.unused) == 0 {
		return nil
	}
	for _, refs := range s.refs {
		for _, b := range refs {
			delete(s.unused, b)
		}
	}
	for b := range s.unused {
		if err := s.store.RemoveBlob(ctx, s.flow, b); err != nil {
			return err
		}
		delete(s.unused, b)
	}
	return nil
}

// sweep removes what runs that are gone have left: epochs beyond the retained ones, and blobs that no epoch refers to.
//
// A blob carries the number of the epoch by which its run claimed the flow, and only blobs of earlier claims are swept. So
// a run that was slow to get here can not remove what a run that has fenced it off is about to refer to. A fenced
// run that is still writing may lose a blob; it could not have saved an epoch that refers to it.
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
	blobs, err := s.store.Blobs(ctx, s.flow)
	if err != nil {
		return err
	}
	for _, b := range blobs {
		if m := blobName.FindStringSubmatch(b); m != nil {
			if claim, err := strconv.ParseInt(m[1], 10, 64); err == nil && claim < s.claim {
				s.unused[b] = true // prune leaves those that a retained epoch refers to
			}
		}
	}
	return s.prune(ctx)
}

// blobName is KIND-CLAIM-NONCE.
var blobName = regexp.MustCompile(`-([0-9]{10,18})-[0-9a-f]{16}$`)

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
	name := fmt.Sprintf("%s-%010d-%s", kind, s.claim, hex.EncodeToString(nonce))
	s.mu.Lock()
	s.made[name] = true
	s.mu.Unlock()
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

// ReadRange reads a piece and checks it. It uses buf's memory when that is large enough.
func (s *Session) ReadRange(ctx context.Context, r *adfv1.BlobRange, buf []byte) ([]byte, error) {
	if r.Offset < 0 || r.Length < 0 {
		return nil, s.blobError(r, errors.New("this is no place in a blob"))
	}
	rc, err := s.store.ReadBlob(ctx, s.flow, r.Blob, r.Offset, r.Length)
	if err != nil {
		return nil, s.blobError(r, err)
	}
	piece := bytes.NewBuffer(buf[:0])
	piece.Grow(int(min(r.Length, 64<<20))) // a length may be wrong: the rest grows with what is really there
	_, err = io.CopyN(piece, rc, r.Length)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if closing := rc.Close(); err == nil {
		err = closing
	}
	if err == nil && crc32.Checksum(piece.Bytes(), castagnoli) != r.Crc {
		err = errors.New("checksum does not match")
	}
	if err != nil {
		return nil, s.blobError(r, err)
	}
	return piece.Bytes(), nil
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

var errNewer = errors.New("it was saved by another release")

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
	if cp.Version < 1 || cp.Version > Version {
		return nil, fmt.Errorf("got version %d of the checkpoint form, want at most %d: %w", cp.Version, Version, errNewer)
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
