package storetest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
)

// Place makes an empty place, and gives what opens a store on it: each call one more, as another process would.
type Place func(t *testing.T) (open func() checkpoint.Store)

// Run runs the whole suite, each check as a subtest.
func Run(t *testing.T, place Place) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open func() checkpoint.Store)
	}{
		{"epochs", epochs},
		{"epochs once", epochsOnce},
		{"epochs race", epochsRace},
		{"epoch numbers", epochNumbers},
		{"flows", flows},
		{"large", large},
		{"blobs", blobs},
		{"blobs unfinished", blobsUnfinished},
		{"blob ranges", blobRanges},
		{"blob removed while it is read", blobRemovedWhileRead},
		{"removed by age", removedByAge},
		{"session/goes on", goesOn},
		{"session/fenced", fenced},
		{"session/fenced by nobody else", notFenced},
		{"session/asleep", asleep},
		{"session/race", race},
		{"session/admit", admit},
		{"session/fresh", fresh},
		{"session/corrupt", corrupt},
		{"session/another release", anotherRelease},
		{"session/older copy", olderCopy},
		{"session/prune", prune},
		{"session/prune fails", pruneFails},
		{"session/sweep", sweep},
		{"session/slow sweep", slowSweep},
		{"session/rollback", rollback},
		{"session/lost answer", lostAnswer},
		{"session/lost answer, other content", lostAnswerOther},
		{"session/ranges", ranges},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, place(t)) })
	}
}

var ctx = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("got error %v, want %v", got, want)
	}
}

func equal[T comparable](t *testing.T, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func listed(t *testing.T, s checkpoint.Store, flow string) []int64 {
	t.Helper()
	all, err := s.Epochs(ctx, flow)
	must(t, err)
	return all
}

func epochs(t *testing.T, open func() checkpoint.Store) {
	s := open()
	equal(t, listed(t, s, "flow"), nil)
	_, err := s.ReadEpoch(ctx, "flow", 1)
	wantErr(t, err, checkpoint.ErrNotFound)
	content := []byte("first")
	must(t, s.CreateEpoch(ctx, "flow", 1, content))
	content[0] = 'X' // the store has its own
	must(t, s.CreateEpoch(ctx, "flow", 2, nil))
	must(t, s.CreateEpoch(ctx, "flow", 11, []byte("eleventh")))
	for _, s := range []checkpoint.Store{s, open()} {
		equal(t, listed(t, s, "flow"), []int64{1, 2, 11})
		for e, want := range map[int64]string{1: "first", 2: "", 11: "eleventh"} {
			got, err := s.ReadEpoch(ctx, "flow", e)
			must(t, err)
			if string(got) != want {
				t.Fatalf("epoch %d: got %q, want %q", e, got, want)
			}
		}
	}
	must(t, s.RemoveEpoch(ctx, "flow", 1))
	must(t, s.RemoveEpoch(ctx, "flow", 1))
	must(t, s.RemoveEpoch(ctx, "never-seen", 1))
	equal(t, listed(t, s, "flow"), []int64{2, 11})
	_, err = s.ReadEpoch(ctx, "flow", 1)
	wantErr(t, err, checkpoint.ErrNotFound)
}

func epochsOnce(t *testing.T, open func() checkpoint.Store) {
	a, b := open(), open()
	must(t, a.CreateEpoch(ctx, "flow", 1, []byte("a")))
	wantErr(t, b.CreateEpoch(ctx, "flow", 1, []byte("b")), checkpoint.ErrExists)
	wantErr(t, a.CreateEpoch(ctx, "flow", 1, []byte("a")), checkpoint.ErrExists)
	must(t, b.CreateEpoch(ctx, "flow", 2, []byte("b")))
	must(t, b.CreateEpoch(ctx, "flow", 3, []byte("b")))
	// Numbers that were passed are never given again, though they are free.
	must(t, b.RemoveEpoch(ctx, "flow", 1))
	must(t, b.RemoveEpoch(ctx, "flow", 2))
	wantErr(t, a.CreateEpoch(ctx, "flow", 2, []byte("late")), checkpoint.ErrExists)
	wantErr(t, a.CreateEpoch(ctx, "flow", 1, []byte("late")), checkpoint.ErrExists)
	equal(t, listed(t, a, "flow"), []int64{3})
	must(t, a.CreateEpoch(ctx, "flow", 4, []byte("a")))
	got, err := b.ReadEpoch(ctx, "flow", 3)
	must(t, err)
	if string(got) != "b" {
		t.Fatalf("epoch 3 is %q", got)
	}
}

func epochsRace(t *testing.T, open func() checkpoint.Store) {
	const writers, rounds = 6, 20
	var stores []checkpoint.Store
	for range writers {
		stores = append(stores, open())
	}
	for e := int64(1); e <= rounds; e++ {
		errs := make([]error, writers)
		var ready, done sync.WaitGroup
		ready.Add(writers)
		for i, s := range stores {
			done.Go(func() {
				ready.Done()
				ready.Wait()
				errs[i] = s.CreateEpoch(ctx, "flow", e, bytes.Repeat([]byte{byte(i)}, 10_000))
			})
		}
		done.Wait()
		winner := slices.Index(errs, nil)
		for i, err := range errs {
			if i != winner && !errors.Is(err, checkpoint.ErrExists) {
				t.Fatalf("epoch %d: writer %d got %v beside the winner %d, want ErrExists", e, i, err, winner)
			}
		}
		if winner < 0 {
			t.Fatalf("epoch %d: nobody won", e)
		}
		got, err := stores[0].ReadEpoch(ctx, "flow", e)
		must(t, err)
		if !bytes.Equal(got, bytes.Repeat([]byte{byte(winner)}, 10_000)) {
			t.Fatalf("epoch %d has %d bytes that are not all those of its winner", e, len(got))
		}
	}
}

func epochNumbers(t *testing.T, open func() checkpoint.Store) {
	for _, e := range []int64{0, -1, 1e18} {
		err := open().CreateEpoch(ctx, "flow", e, nil)
		if err == nil || errors.Is(err, checkpoint.ErrExists) || fault.Retryable(err) {
			t.Fatalf("epoch %d: got %v, want an error for good", e, err)
		}
	}
}

func flows(t *testing.T, open func() checkpoint.Store) {
	s := open()
	must(t, s.CreateEpoch(ctx, "a", 1, []byte("a")))
	must(t, s.CreateEpoch(ctx, "a.b", 1, []byte("b")))
	write(t, s, "a", "state-1", "of a")
	equal(t, listed(t, s, "a"), []int64{1})
	got, err := s.ReadEpoch(ctx, "a.b", 1)
	must(t, err)
	if string(got) != "b" {
		t.Fatalf("got %q", got)
	}
	names, err := s.Blobs(ctx, "a.b")
	must(t, err)
	equal(t, names, nil)
	must(t, s.RemoveEpoch(ctx, "a", 1))
	equal(t, listed(t, s, "a.b"), []int64{1})
}

func large(t *testing.T, open func() checkpoint.Store) {
	s := open()
	content := make([]byte, 9<<20)
	for i := range content {
		content[i] = byte(i * 7 >> 3)
	}
	must(t, s.CreateEpoch(ctx, "flow", 1, content))
	got, err := s.ReadEpoch(ctx, "flow", 1)
	must(t, err)
	if !bytes.Equal(got, content) {
		t.Fatal("an epoch of 9 MB came back changed")
	}
	w, err := s.NewBlob(ctx, "flow", "state-1")
	must(t, err)
	for p := range slices.Chunk(content, 3<<20+17) {
		_, err := w.Write(p)
		must(t, err)
	}
	must(t, w.Commit())
	if !bytes.Equal(read(t, s, "flow", "state-1", 0, int64(len(content))), content) {
		t.Fatal("a blob of 9 MB came back changed")
	}
}

// removedByAge is for stores that can.
func removedByAge(t *testing.T, open func() checkpoint.Store) {
	s := open()
	sweeper, ok := s.(checkpoint.Sweeper)
	if !ok {
		return
	}
	for _, flow := range []string{"flow.1", "flow.2", "other"} {
		must(t, s.CreateEpoch(ctx, flow, 1, []byte("manifest")))
		write(t, s, flow, "parts-1", "output")
	}
	left, err := s.NewBlob(ctx, "flow.1", "left") // and never committed
	must(t, err)
	defer left.Abort()
	there := func(flow string) (n int) {
		blobs, err := open().Blobs(ctx, flow)
		must(t, err)
		return len(blobs) + len(listed(t, s, flow))
	}
	ours := func(name string) bool { return name == "flow.1" || name == "flow.2" }
	must(t, sweeper.RemoveOlder(ctx, ours, time.Now().Add(-time.Hour)))
	for _, flow := range []string{"flow.1", "flow.2", "other"} {
		if there(flow) < 2 {
			t.Errorf("%s: got %d things, want those that are not old", flow, there(flow))
		}
	}
	must(t, sweeper.RemoveOlder(ctx, ours, time.Now().Add(time.Hour)))
	if a, b, c := there("flow.1"), there("flow.2"), there("other"); a+b != 0 || c != 2 {
		t.Errorf("got %d, %d and %d things, want none of the flows and 2 of the other", a, b, c)
	}
	must(t, s.CreateEpoch(ctx, "flow.1", 1, []byte("again")))
	write(t, s, "flow.2", "parts-2", "again")
	if a, b := there("flow.1"), there("flow.2"); a != 1 || b != 1 {
		t.Errorf("got %d and %d things, want what was written again", a, b)
	}
}

// write writes a blob.
func write(t *testing.T, s checkpoint.Store, flow, name, content string) {
	t.Helper()
	w, err := s.NewBlob(ctx, flow, name)
	must(t, err)
	_, err = io.WriteString(w, content)
	must(t, err)
	must(t, w.Commit())
}

func read(t *testing.T, s checkpoint.Store, flow, name string, offset, length int64) []byte {
	t.Helper()
	r, err := s.ReadBlob(ctx, flow, name, offset, length)
	must(t, err)
	got, err := io.ReadAll(r)
	must(t, err)
	must(t, r.Close())
	return got
}

// readErr gives the error of opening or reading a range.
func readErr(s checkpoint.Store, flow, name string, offset, length int64) error {
	r, err := s.ReadBlob(ctx, flow, name, offset, length)
	if err != nil {
		return err
	}
	_, err = io.ReadAll(r)
	return errors.Join(err, r.Close())
}

func names(t *testing.T, s checkpoint.Store, flow string) []string {
	t.Helper()
	all, err := s.Blobs(ctx, flow)
	must(t, err)
	return all
}

func blobs(t *testing.T, open func() checkpoint.Store) {
	s := open()
	equal(t, names(t, s, "flow"), nil)
	write(t, s, "flow", "b", "content of b")
	write(t, s, "flow", "a", "")
	write(t, s, "flow", "epoch-0000000001", "not an epoch")
	equal(t, names(t, open(), "flow"), []string{"a", "b", "epoch-0000000001"})
	equal(t, listed(t, s, "flow"), nil)
	if got := read(t, open(), "flow", "b", 0, 12); string(got) != "content of b" {
		t.Fatalf("got %q", got)
	}
	must(t, s.RemoveBlob(ctx, "flow", "b"))
	must(t, s.RemoveBlob(ctx, "flow", "b"))
	must(t, s.RemoveBlob(ctx, "never-seen", "b"))
	wantErr(t, readErr(s, "flow", "b", 0, 1), checkpoint.ErrNotFound)
	wantErr(t, readErr(s, "flow", "never-seen", 0, 1), checkpoint.ErrNotFound)
	equal(t, names(t, s, "flow"), []string{"a", "epoch-0000000001"})
}

func blobsUnfinished(t *testing.T, open func() checkpoint.Store) {
	s := open()
	start := func(name string) checkpoint.BlobWriter {
		w, err := s.NewBlob(ctx, "flow", name)
		must(t, err)
		_, err = w.Write(bytes.Repeat([]byte("x"), 200_000))
		must(t, err)
		return w
	}
	w := start("committed")
	wantErr(t, readErr(open(), "flow", "committed", 0, 1), checkpoint.ErrNotFound)
	must(t, w.Commit())
	must(t, w.Abort()) // nothing
	if got := read(t, s, "flow", "committed", 199_999, 1); string(got) != "x" {
		t.Fatalf("got %q", got)
	}
	must(t, start("aborted").Abort())
	wantErr(t, readErr(s, "flow", "aborted", 0, 1), checkpoint.ErrNotFound)
	// One that nobody ends may be removed by another run; its writer may or may not hear of it.
	left := start("left")
	must(t, open().RemoveBlob(ctx, "flow", "left"))
	wantErr(t, readErr(s, "flow", "left", 0, 1), checkpoint.ErrNotFound)
	if err := left.Commit(); err != nil {
		if !fault.Retryable(err) {
			t.Fatalf("got %v, want an error that a retry helps against", err)
		}
		must(t, left.Abort())
	}
	must(t, s.RemoveBlob(ctx, "flow", "left"))
	equal(t, names(t, s, "flow"), []string{"committed"})
}

func blobRanges(t *testing.T, open func() checkpoint.Store) {
	s := open()
	write(t, s, "flow", "b", "0123456789")
	for _, r := range []struct {
		offset, length int64
		want           string
	}{{0, 10, "0123456789"}, {3, 4, "3456"}, {9, 1, "9"}, {10, 0, ""}, {4, 0, ""}} {
		if got := read(t, s, "flow", "b", r.offset, r.length); string(got) != r.want {
			t.Fatalf("range %d+%d: got %q, want %q", r.offset, r.length, got, r.want)
		}
	}
	for _, r := range [][2]int64{{0, 11}, {10, 1}, {9, 2}, {1000, 1}, {0, 1 << 40}} {
		wantErr(t, readErr(s, "flow", "b", r[0], r[1]), io.ErrUnexpectedEOF)
	}
}

// blobRemovedWhileRead goes on reading a blob that another run removes: the rest is what it was, or an error, and never another blob's.
func blobRemovedWhileRead(t *testing.T, open func() checkpoint.Store) {
	const size = 3 << 20
	s := open()
	write(t, s, "flow", "b", string(bytes.Repeat([]byte("b"), size)))
	r, err := s.ReadBlob(ctx, "flow", "b", 0, size)
	must(t, err)
	defer r.Close()
	_, err = io.ReadFull(r, make([]byte, 1000))
	must(t, err)
	must(t, open().RemoveBlob(ctx, "flow", "b"))
	write(t, s, "flow", "c", string(bytes.Repeat([]byte("c"), size)))
	rest, err := io.ReadAll(r)
	if wrong := bytes.IndexFunc(rest, func(r rune) bool { return r != 'b' }); wrong >= 0 {
		t.Fatalf("byte %d of the rest is %q", wrong, rest[wrong])
	}
	if err == nil && len(rest) != size-1000 {
		t.Fatalf("the rest has %d bytes", len(rest))
	}
}
