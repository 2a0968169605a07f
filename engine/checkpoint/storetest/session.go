package storetest

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

const flow = "flow"

// begin opens a session.
func begin(t *testing.T, s checkpoint.Store, run string, o checkpoint.Options) (*checkpoint.Session, *adfv1.Checkpoint) {
	t.Helper()
	session, restored, err := checkpoint.Open(ctx, s, flow, run, o)
	must(t, err)
	must(t, session.Unpruned())
	return session, restored
}

// state is a checkpoint that says text and refers to ranges.
func state(text string, refs ...*adfv1.BlobRange) *adfv1.Checkpoint {
	c := &adfv1.Checkpoint{Sources: []*adfv1.SourceState{{Node: "in", Enumerator: []byte(text)}}}
	if len(refs) > 0 {
		c.Keyed = []*adfv1.KeyedState{{Node: "step", Buckets: 1, Logs: []*adfv1.BucketState{{Log: refs}}}}
	}
	return c
}

func says(t *testing.T, c *adfv1.Checkpoint, epoch int64, run, text string) {
	t.Helper()
	if c == nil {
		t.Fatalf("there is no checkpoint, want %q", text)
	}
	got := ""
	if len(c.Sources) > 0 {
		got = string(c.Sources[0].Enumerator)
	}
	if c.Epoch != epoch || c.Run != run || got != text || c.Flow != flow || c.SavedAtMs == 0 || c.Version != checkpoint.Version {
		t.Fatalf("got epoch %d of run %s, %q, flow %s, want epoch %d of run %s, %q", c.Epoch, c.Run, got, c.Flow, epoch, run, text)
	}
}

// piece writes a blob of one piece.
func piece(t *testing.T, s *checkpoint.Session, content string) *adfv1.BlobRange {
	t.Helper()
	b, err := s.NewBlob(ctx, "state")
	must(t, err)
	r, err := b.Append([]byte(content))
	must(t, err)
	must(t, b.Commit())
	return r
}

// isFault checks the code of an error, and that it is for good.
func isFault(t *testing.T, err error, code string) {
	t.Helper()
	d, ok := fault.DetailOf(err)
	if !ok || d.Code != code || fault.Retryable(err) {
		t.Fatalf("got %v, want an error for good with the code %s", err, code)
	}
}

// golden compares a message, with times and run-dependent parts made equal.
func golden(t *testing.T, err error, want string) {
	t.Helper()
	got := regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`).ReplaceAllString(err.Error(), "TIME")
	if got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func goesOn(t *testing.T, open func() checkpoint.Store) {
	s, restored := begin(t, open(), "run-1", checkpoint.Options{})
	if restored != nil {
		t.Fatalf("restored %v from an empty store", restored)
	}
	if s.Epoch() != 1 || s.Run() != "run-1" {
		t.Fatalf("the claim is epoch %d of %s", s.Epoch(), s.Run())
	}
	c := state("second")
	must(t, s.Save(ctx, c))
	says(t, c, 2, "run-1", "second") // Save fills in what names it
	must(t, s.Save(ctx, state("third")))

	s, restored = begin(t, open(), "run-2", checkpoint.Options{})
	says(t, restored, 3, "run-1", "third")
	if restored.Claim {
		t.Fatal("a saved checkpoint is no claim")
	}
	if s.Epoch() != 4 {
		t.Fatalf("the claim is epoch %d, want 4", s.Epoch())
	}
	_, restored = begin(t, open(), "run-3", checkpoint.Options{})
	says(t, restored, 4, "run-2", "third")
	if !restored.Claim {
		t.Fatal("a run that has only claimed leaves a claim")
	}
}

func fenced(t *testing.T, open func() checkpoint.Store) {
	old, _ := begin(t, open(), "run-1", checkpoint.Options{})
	must(t, old.Save(ctx, state("old")))
	young, restored := begin(t, open(), "run-2", checkpoint.Options{})
	says(t, restored, 2, "run-1", "old")
	for range 2 {
		err := old.Save(ctx, state("too late"))
		isFault(t, err, "checkpoint.fenced")
		golden(t, err, "runtime: save epoch 3: the flow has been taken over by run run-2, which saved epoch 3 at TIME (flow flow, run run-1) [checkpoint.fenced]; "+
			"this run has stopped and its output is exact up to its last epoch; run a flow once at a time, or give the other one a flow name or a checkpoint directory of its own")
	}
	must(t, young.Save(ctx, state("young")))
	_, restored = begin(t, open(), "run-3", checkpoint.Options{})
	says(t, restored, 4, "run-2", "young")
}

// notFenced has a store that can not be read when the answer matters: that is no reason to give the flow up.
func notFenced(t *testing.T, open func() checkpoint.Store) {
	f := &flaky{Store: open()}
	s, _ := begin(t, f, "run-1", checkpoint.Options{})
	f.lose = true
	f.blind = true
	for range 2 {
		if err := s.Save(ctx, state("saved")); err == nil || !fault.Retryable(err) {
			t.Fatalf("got %v, want an error that a retry helps against", err)
		}
	}
	f.blind = false
	must(t, s.Save(ctx, state("saved")))
	if s.Epoch() != 2 {
		t.Fatalf("the epoch is %d, want 2", s.Epoch())
	}
}

// asleep wakes up when its next epoch has come and gone.
func asleep(t *testing.T, open func() checkpoint.Store) {
	for _, saved := range []int{0, 3} {
		t.Run(fmt.Sprint(saved, " saved"), func(t *testing.T) {
			old, restored := begin(t, open(), fmt.Sprint("old-", saved), checkpoint.Options{})
			for range saved {
				must(t, old.Save(ctx, state("old")))
			}
			young, _ := begin(t, open(), fmt.Sprint("young-", saved), checkpoint.Options{Retain: 1})
			for range 4 {
				must(t, young.Save(ctx, state("young")))
			}
			isFault(t, old.Save(ctx, state("too late")), "checkpoint.fenced")
			equal(t, listed(t, open(), flow), []int64{young.Epoch()})
			_ = restored
		})
	}
}

// race lets runs take the flow from each other; each epoch has one of them, and who saved last is who claimed last.
func race(t *testing.T, open func() checkpoint.Store) {
	const runs, each = 4, 5
	var mu sync.Mutex
	saved := map[int64]string{}
	take := func(epoch int64, run string) {
		mu.Lock()
		defer mu.Unlock()
		if before, taken := saved[epoch]; taken {
			t.Errorf("epoch %d was saved by %s and by %s", epoch, before, run)
		}
		saved[epoch] = run
	}
	var done sync.WaitGroup
	for n := range runs {
		done.Go(func() {
			store := open()
			for i := range each {
				run := fmt.Sprintf("run-%d-%d", n, i)
				s, _, err := checkpoint.Open(ctx, store, flow, run, checkpoint.Options{})
				if err != nil {
					t.Errorf("open: %v", err)
					return
				}
				take(s.Epoch(), run)
				for range 5 {
					if err = s.Save(ctx, state(run)); err != nil {
						break
					}
					take(s.Epoch(), run)
				}
				if d, ok := fault.DetailOf(err); err != nil && (!ok || d.Code != "checkpoint.fenced") {
					t.Errorf("save: %v", err)
				}
			}
		})
	}
	done.Wait()
	all := listed(t, open(), flow)
	if last := all[len(all)-1]; saved[last] == "" || int(last) != len(saved) {
		t.Fatalf("the newest epoch is %d of %q, and %d were saved", last, saved[last], len(saved))
	}
}

func admit(t *testing.T, open func() checkpoint.Store) {
	store := open()
	old, _ := begin(t, store, "run-1", checkpoint.Options{})
	must(t, old.Save(ctx, state("kept")))
	no := errors.New("not this one")
	_, _, err := checkpoint.Open(ctx, open(), flow, "refused", checkpoint.Options{Admit: func(_ context.Context, c *adfv1.Checkpoint) error {
		says(t, c, 2, "run-1", "kept")
		return no
	}})
	wantErr(t, err, no)
	must(t, old.Save(ctx, state("goes on"))) // nobody took it

	asked := 0
	_, restored := begin(t, open(), "run-2", checkpoint.Options{Admit: func(_ context.Context, c *adfv1.Checkpoint) error {
		if asked++; asked == 1 {
			must(t, old.Save(ctx, state("in between")))
		}
		c.Sources[0].Enumerator = append(c.Sources[0].Enumerator, ", changed"...)
		return nil
	}})
	if asked != 2 {
		t.Fatalf("Admit was asked %d times, want again after a save in between", asked)
	}
	says(t, restored, 4, "run-1", "in between, changed")
	_, restored = begin(t, open(), "run-3", checkpoint.Options{})
	says(t, restored, 5, "run-2", "in between, changed")
	asked = 0
	begin(t, open(), "run-4", checkpoint.Options{Fresh: true, Admit: func(context.Context, *adfv1.Checkpoint) error { asked++; return no }})
	if asked != 0 {
		t.Fatal("Admit was asked about a checkpoint that is not used")
	}
}

func fresh(t *testing.T, open func() checkpoint.Store) {
	old, _ := begin(t, open(), "run-1", checkpoint.Options{})
	must(t, old.Save(ctx, state("old", piece(t, old, "state"))))
	s, restored := begin(t, open(), "run-2", checkpoint.Options{Fresh: true, Retain: 2})
	if restored != nil || s.Epoch() != 3 {
		t.Fatalf("restored %v, claimed epoch %d, want nothing and 3", restored, s.Epoch())
	}
	isFault(t, old.Save(ctx, state("too late")), "checkpoint.fenced")
	if len(names(t, open(), flow)) != 1 {
		t.Fatal("the state of a retained epoch is gone")
	}
	must(t, s.Save(ctx, state("new")))
	equal(t, listed(t, open(), flow), []int64{3, 4})
	equal(t, names(t, open(), flow), nil)
}

func corrupt(t *testing.T, open func() checkpoint.Store) {
	store := open()
	s, _ := begin(t, store, "run-1", checkpoint.Options{})
	must(t, s.Save(ctx, state("good")))
	whole, err := store.ReadEpoch(ctx, flow, 2)
	must(t, err)
	whole[len(whole)-1] ^= 1
	must(t, store.CreateEpoch(ctx, flow, 3, whole))
	_, _, err = checkpoint.Open(ctx, open(), flow, "run-2", checkpoint.Options{})
	isFault(t, err, "checkpoint.corrupt")
	golden(t, err, "runtime: read checkpoint: epoch 3: checksum does not match (flow flow, run run-2) [checkpoint.corrupt]; "+
		"stop every run of the flow and remove this epoch from the checkpoint store to go on from the one before "+
		"(start with --rewind; output may repeat), or start over with --fresh")
	// What the message says helps: removing the epoch,
	must(t, store.RemoveEpoch(ctx, flow, 3))
	s, restored := begin(t, open(), "run-3", checkpoint.Options{})
	says(t, restored, 2, "run-1", "good")
	// starting over,
	must(t, store.CreateEpoch(ctx, flow, s.Epoch()+1, []byte("no checkpoint at all")))
	f, restored := begin(t, open(), "run-4", checkpoint.Options{Fresh: true})
	if restored != nil || f.Epoch() != s.Epoch()+2 {
		t.Fatalf("restored %v and claimed epoch %d", restored, f.Epoch())
	}
	// and an older one that nobody needs harms nothing.
	must(t, f.Save(ctx, state("after")))
	_, restored = begin(t, open(), "run-5", checkpoint.Options{Retain: 10})
	says(t, restored, f.Epoch(), "run-4", "after")
}

func anotherRelease(t *testing.T, open func() checkpoint.Store) {
	store := open()
	c := state("newer")
	c.Version = checkpoint.Version + 1
	content, err := checkpoint.Encode(c)
	must(t, err)
	must(t, store.CreateEpoch(ctx, flow, 1, content))
	_, _, err = checkpoint.Open(ctx, open(), flow, "run-2", checkpoint.Options{})
	isFault(t, err, "checkpoint.version")
	golden(t, err, "runtime: read checkpoint: epoch 1: got version 3 of the checkpoint form, want at most 2: it was saved by another release "+
		"(flow flow, run run-2) [checkpoint.version]; go on with the release that saved it, or start over with --fresh")
}

// olderCopy goes on from a copy that was made some epochs ago: the store can not know, so it is the runtime that asks the sinks.
func olderCopy(t *testing.T, open func() checkpoint.Store) {
	store := open()
	s, _ := begin(t, store, "run-1", checkpoint.Options{})
	r := piece(t, s, "state")
	must(t, s.Save(ctx, state("copied", r)))
	copied := map[int64][]byte{}
	for _, e := range listed(t, store, flow) {
		content, err := store.ReadEpoch(ctx, flow, e)
		must(t, err)
		copied[e] = content
	}
	must(t, s.Save(ctx, state("later", r)))
	must(t, s.Save(ctx, state("later still", r)))
	for _, e := range listed(t, store, flow) {
		must(t, store.RemoveEpoch(ctx, flow, e))
	}
	for _, e := range []int64{1, 2} {
		must(t, store.CreateEpoch(ctx, flow, e, copied[e]))
	}
	s, restored := begin(t, open(), "run-2", checkpoint.Options{})
	says(t, restored, 2, "run-1", "copied")
	if got, err := s.ReadRange(ctx, r, nil); err != nil || string(got) != "state" {
		t.Fatalf("got %q, %v", got, err)
	}
	must(t, s.Save(ctx, state("other", r)))
	_, restored = begin(t, open(), "run-3", checkpoint.Options{})
	says(t, restored, 4, "run-2", "other")
}

func prune(t *testing.T, open func() checkpoint.Store) {
	s, _ := begin(t, open(), "run-1", checkpoint.Options{Retain: 2})
	shared, early := piece(t, s, "shared"), piece(t, s, "early")
	must(t, s.Save(ctx, state("2", shared, early))) // epochs 1 and 2
	must(t, s.Save(ctx, state("3", shared)))        // 2 and 3
	equal(t, listed(t, open(), flow), []int64{2, 3})
	equal(t, names(t, open(), flow), sorted(shared, early))
	late := piece(t, s, "late")
	must(t, s.Save(ctx, state("4", late))) // 3 and 4
	equal(t, names(t, open(), flow), sorted(shared, late))
	s, _ = begin(t, open(), "run-2", checkpoint.Options{Retain: 2}) // 4 and 5
	equal(t, listed(t, open(), flow), []int64{4, 5})
	equal(t, names(t, open(), flow), sorted(late))
	must(t, s.Save(ctx, state("6")))
	must(t, s.Save(ctx, state("7")))
	equal(t, listed(t, open(), flow), []int64{6, 7})
	equal(t, names(t, open(), flow), nil)
	for e := range 5 {
		must(t, s.Save(ctx, state(fmt.Sprint(e))))
	}
	begin(t, open(), "run-3", checkpoint.Options{Retain: 1}) // wants fewer
	equal(t, listed(t, open(), flow), []int64{13})
}

func sorted(rs ...*adfv1.BlobRange) []string {
	var all []string
	for _, r := range rs {
		all = append(all, r.Blob)
	}
	slices.Sort(all)
	return all
}

func pruneFails(t *testing.T, open func() checkpoint.Store) {
	f := &flaky{Store: open()}
	s, _ := begin(t, f, "run-1", checkpoint.Options{Retain: 1})
	r := piece(t, s, "state")
	must(t, s.Save(ctx, state("2", r)))
	f.keep = true
	for range 2 {
		must(t, s.Save(ctx, state("saved")))
		if s.Unpruned() == nil {
			t.Fatal("nothing tells that old epochs stay")
		}
	}
	f.keep = false
	must(t, s.Save(ctx, state("saved")))
	must(t, s.Unpruned())
	equal(t, listed(t, open(), flow), []int64{5})
	equal(t, names(t, open(), flow), nil)
	// Nor does a start fail because of it.
	must(t, s.Save(ctx, state("saved", piece(t, s, "state"))))
	f.keep = true
	s, restored, err := checkpoint.Open(ctx, f, flow, "run-2", checkpoint.Options{Retain: 1})
	must(t, err)
	says(t, restored, 6, "run-1", "saved")
	if s.Unpruned() == nil {
		t.Fatal("nothing tells that old epochs stay")
	}
}

func sweep(t *testing.T, open func() checkpoint.Store) {
	store := open()
	old, _ := begin(t, store, "run-1", checkpoint.Options{})
	kept, orphan := piece(t, old, "kept"), piece(t, old, "orphan")
	must(t, old.Save(ctx, state("saved", kept)))
	unfinished, err := old.NewBlob(ctx, "parts")
	must(t, err)
	_, err = unfinished.Append([]byte("half"))
	must(t, err)
	write(t, store, flow, "not-ours", "left alone")

	s, _ := begin(t, open(), "run-2", checkpoint.Options{})
	equal(t, names(t, open(), flow), append([]string{"not-ours"}, sorted(kept)...))
	if _, err := s.ReadRange(ctx, orphan, nil); err == nil {
		t.Fatal("the orphan can still be read")
	}
	// The run that lost its blob is fenced; whether it hears of the blob first or not, it saves nothing.
	if err := unfinished.Commit(); err != nil && !fault.Retryable(err) {
		t.Fatalf("commit a blob that was swept: %v", err)
	}
	isFault(t, old.Save(ctx, state("too late")), "checkpoint.fenced")
}

// slowSweep lets a run sweep when the next one is already about to save.
func slowSweep(t *testing.T, open func() checkpoint.Store) {
	f := &flaky{Store: open()}
	var young *checkpoint.Session
	var r *adfv1.BlobRange
	f.beforeBlobs = func() {
		f.beforeBlobs = nil
		young, _ = begin(t, open(), "young", checkpoint.Options{})
		r = piece(t, young, "state of the young run")
	}
	slow, _, err := checkpoint.Open(ctx, f, flow, "slow", checkpoint.Options{})
	must(t, err)
	must(t, young.Save(ctx, state("saved", r)))
	isFault(t, slow.Save(ctx, state("too late")), "checkpoint.fenced")
	s, _ := begin(t, open(), "next", checkpoint.Options{})
	if got, err := s.ReadRange(ctx, r, nil); err != nil || string(got) != "state of the young run" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func rollback(t *testing.T, open func() checkpoint.Store) {
	f := &flaky{Store: open()}
	s, _ := begin(t, f, "run-1", checkpoint.Options{Retain: 2})
	saved := piece(t, s, "saved")
	must(t, s.Save(ctx, state("2", saved)))
	orphan := piece(t, s, "of an attempt that failed")
	half, err := s.NewBlob(ctx, "parts")
	must(t, err)
	_, err = half.Append([]byte("half"))
	must(t, err)
	must(t, half.Abort())
	f.lose = true
	doubtful := piece(t, s, "of an epoch that is there, as it turns out")
	if err := s.Save(ctx, state("3", saved, doubtful)); err == nil {
		t.Fatal("the answer was to be lost")
	}
	f.lose = false
	must(t, s.Rollback(ctx))
	equal(t, names(t, open(), flow), sorted(saved, doubtful))
	if _, err := s.ReadRange(ctx, orphan, nil); err == nil {
		t.Fatal("the orphan can still be read")
	}
	_, restored := begin(t, open(), "looks", checkpoint.Options{}) // as after a crash now
	says(t, restored, 3, "run-1", "3")
}

func lostAnswer(t *testing.T, open func() checkpoint.Store) {
	f := &flaky{Store: open()}
	s, _ := begin(t, f, "run-1", checkpoint.Options{Retain: 2})
	f.lose = true
	r := piece(t, s, "state")
	if err := s.Save(ctx, state("saved", r)); err == nil || !fault.Retryable(err) {
		t.Fatalf("got %v, want an error that a retry helps against", err)
	}
	must(t, s.Save(ctx, state("saved", r)))
	if s.Epoch() != 2 {
		t.Fatalf("the epoch is %d, want 2: the first attempt had made it", s.Epoch())
	}
	f.lose = false
	must(t, s.Save(ctx, state("next")))
	equal(t, names(t, open(), flow), sorted(r))
	must(t, s.Save(ctx, state("next")))
	equal(t, names(t, open(), flow), nil)
	equal(t, listed(t, open(), flow), []int64{3, 4})
}

// lostAnswerOther saves something else after an attempt that seemed to fail: it must not be taken for saved.
func lostAnswerOther(t *testing.T, open func() checkpoint.Store) {
	f := &flaky{Store: open()}
	s, _ := begin(t, f, "run-1", checkpoint.Options{})
	f.lose = true
	first := piece(t, s, "of the first attempt")
	if err := s.Save(ctx, state("first attempt", first)); err == nil {
		t.Fatal("the answer was to be lost")
	}
	f.lose = false
	must(t, s.Save(ctx, state("second attempt")))
	if s.Epoch() != 3 {
		t.Fatalf("the epoch is %d, want 3: 2 is the first attempt's", s.Epoch())
	}
	_, restored := begin(t, open(), "run-2", checkpoint.Options{})
	says(t, restored, 3, "run-1", "second attempt")
}

func ranges(t *testing.T, open func() checkpoint.Store) {
	store := open()
	s, _ := begin(t, store, "run-1", checkpoint.Options{})
	b, err := s.NewBlob(ctx, "parts")
	must(t, err)
	var all []*adfv1.BlobRange
	contents := []string{"first", "", "second", strings.Repeat("long ", 100_000)}
	for _, c := range contents {
		r, err := b.Append([]byte(c))
		must(t, err)
		all = append(all, r)
	}
	if want := int64(500_011); b.Size() != want {
		t.Fatalf("the blob has %d bytes, want %d", b.Size(), want)
	}
	must(t, b.Commit())
	must(t, b.Abort()) // nothing
	for i, r := range all {
		got, err := s.ReadRange(ctx, r, nil)
		must(t, err)
		if string(got) != contents[i] {
			t.Fatalf("range %d came back changed", i)
		}
	}
	name := regexp.MustCompile(`parts-0000000001-[0-9a-f]{16}`)
	if !name.MatchString(all[0].Blob) {
		t.Fatalf("the blob's name is %s", all[0].Blob)
	}
	bad := func(change func(*adfv1.BlobRange), want string) {
		t.Helper()
		r := &adfv1.BlobRange{Blob: all[0].Blob, Offset: all[0].Offset, Length: all[0].Length, Crc: all[0].Crc}
		change(r)
		_, err := s.ReadRange(ctx, r, nil)
		isFault(t, err, "checkpoint.blob")
		const fix = " (flow flow, run run-1) [checkpoint.blob]; the checkpoint store has lost or changed a file; go on from a copy with --rewind, or start over with --fresh"
		golden(t, errors.New(name.ReplaceAllString(err.Error(), "BLOB")), "runtime: read checkpoint: blob "+want+fix)
	}
	bad(func(r *adfv1.BlobRange) { r.Crc++ }, "BLOB, bytes 0 to 5: checksum does not match")
	bad(func(r *adfv1.BlobRange) { r.Offset = 1 << 40 }, "BLOB, bytes 1099511627776 to 1099511627781: unexpected EOF")
	bad(func(r *adfv1.BlobRange) { r.Length = 1 << 40 }, "BLOB, bytes 0 to 1099511627776: unexpected EOF")
	bad(func(r *adfv1.BlobRange) { r.Offset = -1 }, "BLOB, bytes -1 to 4: this is no place in a blob")
	bad(func(r *adfv1.BlobRange) { r.Length = -1 }, "BLOB, bytes 0 to -1: this is no place in a blob")
	bad(func(r *adfv1.BlobRange) { r.Blob = "gone" }, "gone, bytes 0 to 5: not found")
}

// flaky is a store that fails on request.
type flaky struct {
	checkpoint.Store
	lose        bool   // epochs are created, and nobody hears of it
	blind       bool   // epochs can not be read
	keep        bool   // nothing can be removed
	beforeBlobs func() // comes before the blobs are listed
}

var errFlaky = &fault.RuntimeError{Detail: fault.Detail{Code: "test.flaky", Retry: fault.RetryLater, Err: errors.New("the store is not there")}}

func (f *flaky) CreateEpoch(ctx context.Context, flow string, epoch int64, content []byte) error {
	err := f.Store.CreateEpoch(ctx, flow, epoch, content)
	if err == nil && f.lose {
		return errFlaky
	}
	return err
}

func (f *flaky) ReadEpoch(ctx context.Context, flow string, epoch int64) ([]byte, error) {
	if f.blind {
		return nil, errFlaky
	}
	return f.Store.ReadEpoch(ctx, flow, epoch)
}

func (f *flaky) RemoveEpoch(ctx context.Context, flow string, epoch int64) error {
	if f.keep {
		return errFlaky
	}
	return f.Store.RemoveEpoch(ctx, flow, epoch)
}

func (f *flaky) RemoveBlob(ctx context.Context, flow, name string) error {
	if f.keep {
		return errFlaky
	}
	return f.Store.RemoveBlob(ctx, flow, name)
}

func (f *flaky) Blobs(ctx context.Context, flow string) ([]string, error) {
	if f.beforeBlobs != nil {
		f.beforeBlobs()
	}
	return f.Store.Blobs(ctx, flow)
}
