package task_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// windowing is a flow of one window, with what drives it.
func windowing(t *testing.T) (r *rig, src *script, out *collect[tally]) {
	src, out = &script{endless: true}, &collect[tally]{}
	f := adf.New("windowing")
	in := adf.From(f, "in", src).EventTime(when, time.Second)
	adf.Aggregate(adf.KeyBy(in, key).Window(adf.Tumbling(10*time.Second)), "totals", tallying{}).To("out", out)
	return newRig(t, f), src, out
}

// What a keyed step and a lane have at a snapshot is all that others need to go on, delta for delta.
func TestSnapshotAndRestore(t *testing.T) {
	r, src, out := windowing(t)
	read, keyed := r.read("in", false), r.keyed("totals")
	add(t, read, memory.Split{N: 0}, memory.Split{N: 1})
	logs := map[int][][]byte{}
	var states []*adfv1.ReadState
	n := int64(0)
	for range 20 {
		for split := range 2 {
			var all []note
			for range 40 {
				n++
				all = append(all, note{n, fmt.Sprint("k", n%30), n * 100})
			}
			src.reader.next = poll{split: split, notes: all}
			if _, err := read.Poll(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
		}
		r.exchange(read.Chain, keyed)
		if err := keyed.Advance(t.Context(), read.Watermark(1), 1); err != nil {
			t.Fatal(err)
		}
		for _, d := range keyed.Snapshot() {
			if d.Whole {
				logs[d.Bucket] = nil
			}
			if len(d.Data) > 0 {
				logs[d.Bucket] = append(logs[d.Bucket], bytes.Clone(d.Data))
			}
		}
		if again := keyed.Snapshot(); len(again) != 0 {
			t.Fatalf("nothing has happened, and %d buckets have changed", len(again))
		}
		var err error
		if states, err = read.Snapshot(); err != nil {
			t.Fatal(err)
		}
	}
	fired := len(out.values)

	r2, src2, out2 := windowing(t)
	read2, keyed2 := r2.read("in", false), r2.keyed("totals")
	if err := read2.Add(states...); err != nil {
		t.Fatal(err)
	}
	for bucket, log := range logs {
		if err := keyed2.Restore(bucket, log); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := read2.Watermark(1), read.Watermark(1); got != want || want == record.NoTime {
		t.Errorf("restored, the lane promises %d, want %d", got, want)
	}
	if src2.reader.at[0] != 800 || src2.reader.at[1] != 800 {
		t.Errorf("restored, the lane reads on from %v", src2.reader.at)
	}
	for _, k := range []*task.Keyed{keyed, keyed2} {
		if err := k.Advance(t.Context(), record.MaxTime, 1); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := texts(out2.values), texts(out.values[fired:]); got != want || len(out2.values) == 0 {
		t.Errorf("restored, the rest is\n%s\nwant\n%s", got, want)
	}
}

func TestStateThatCanNotBeRead(t *testing.T) {
	r, _, _ := windowing(t)
	err := r.keyed("totals").Restore(3, [][]byte{{0xff, 0xff}})
	d, ok := fault.DetailOf(err)
	if !ok || d.Code != "state.restore" || d.Node != "totals" || d.Doing != "restore bucket 3" || fault.Retryable(err) {
		t.Errorf("got %v", err)
	}
}

// What is late behind the shuffle, because the clock has moved the watermark, is late in every bucket: in those without a timer and in new ones.
func TestLateBehindTheShuffle(t *testing.T) {
	r, src, out := windowing(t)
	read, keyed := r.read("in", false), r.keyed("totals")
	add(t, read, memory.Split{N: 0})
	if err := keyed.Advance(t.Context(), 60_000, 1); err != nil { // by an idle lane
		t.Fatal(err)
	}
	for n := range int64(40) {
		src.reader.next = poll{notes: []note{{n, fmt.Sprint("k", n), 5_000}}}
		if _, err := read.Poll(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		r.exchange(read.Chain, keyed)
	}
	if err := keyed.Advance(t.Context(), record.MaxTime, 1); err != nil {
		t.Fatal(err)
	}
	if late := r.counters["totals"].Late.Load(); late != 40 || len(out.values) != 0 {
		t.Errorf("got %d late records and %d results, want 40 and none", late, len(out.values))
	}
}

// lines is an exactly-once sink whose parts are its records' keys.
type lines struct{}

func (lines) Sink(*row.Codec[note]) (sinks.Any, error) {
	return sinks.EraseExact[note, string](lines{}), nil
}
func (lines) Encoder() sinks.Encoder[note] { return lines{} }
func (lines) Encode(part []byte, b *record.Batch[note], fail func(int, error)) ([]byte, error) {
	for i, n := range b.Values {
		if n.Key == "" {
			fail(i, errors.New("nothing to write"))
			continue
		}
		part = append(part, n.Key...)
	}
	return part, nil
}
func (lines) Writer(context.Context, sinks.Shard, int64) (sinks.Writer[string], error) {
	return nil, nil
}
func (lines) Committer(context.Context) (sinks.Committer[string], error) { return nil, nil }

// Parts wait by value while they are small; a large one is spilled as soon as it is full, and what is in between at the checkpoint.
func TestPartsAreCutAndSpilled(t *testing.T) {
	for _, c := range []struct {
		batches []int // bytes
		want    string
	}{
		{nil, ""},
		{[]int{1, 2, 3}, "value 6"},
		{[]int{256 << 10}, "value 262144"},
		{[]int{256<<10 + 1}, "blob 262145"},
		{[]int{1<<20 - 1}, "blob 1048575"},
		{[]int{1 << 20}, "blob 1048576"},
		{[]int{700_000, 700_000, 5}, "blob 1400000 value 5"},
		{[]int{3 << 20, 1 << 20, 300_000}, "blob 3145728 blob 1048576 blob 300000"},
	} {
		var spilled [][]byte
		any, err := lines{}.Sink(nil)
		if err != nil {
			t.Fatal(err)
		}
		w := task.NewWrite(any.(sinks.AnyExact), func(_ context.Context, part []byte) (*adfv1.BlobRange, error) {
			spilled = append(spilled, bytes.Clone(part))
			return &adfv1.BlobRange{Offset: int64(len(spilled) - 1)}, nil
		})
		for round := range 2 { // the second epoch begins anew
			var all []byte
			spilled = nil
			for i, n := range c.batches {
				b := &record.Batch[note]{}
				text := bytes.Repeat([]byte{'a' + byte(i)}, n)
				all = append(all, text...)
				b.Append(note{Key: string(text)}, record.Meta{})
				if size, err := w.Add(t.Context(), b, nil); err != nil || size != n {
					t.Fatalf("got %d bytes and %v, want %d", size, err, n)
				}
			}
			parts, err := w.Take(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			var content []byte
			for _, p := range parts {
				kind, data := "value", p.GetValue()
				if blob := p.GetBlob(); blob != nil {
					kind, data = "blob", spilled[blob.Offset]
				}
				got = append(got, fmt.Sprintf("%s %d", kind, len(data)))
				content = append(content, data...)
			}
			if texts(got) != c.want || !bytes.Equal(content, all) {
				t.Errorf("%v, round %d: got %s, want %s", c.batches, round, texts(got), c.want)
			}
		}
	}
}

func TestSpillingFails(t *testing.T) {
	any, err := lines{}.Sink(nil)
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	w := task.NewWrite(any.(sinks.AnyExact), func(context.Context, []byte) (*adfv1.BlobRange, error) { return nil, full })
	b := &record.Batch[note]{}
	b.Append(note{Key: string(make([]byte, 300<<10))}, record.Meta{})
	if _, err := w.Add(t.Context(), b, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Take(t.Context()); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

// committing is a committer that notes what it is given.
type committing struct {
	sinks.AnyCommitter
	from  int64
	parts []string
	err   error
}

func (c *committing) Commit(_ context.Context, _ sinks.Shard, from int64, parts iter.Seq2[[]byte, error]) error {
	c.from = from
	for p, err := range parts {
		if err != nil {
			return err
		}
		c.parts = append(c.parts, string(p))
	}
	return c.err
}

func TestCommit(t *testing.T) {
	value := func(text string) *adfv1.Part { return &adfv1.Part{Content: &adfv1.Part_Value{Value: []byte(text)}} }
	blob := func(name string) *adfv1.Part {
		return &adfv1.Part{Content: &adfv1.Part_Blob{Blob: &adfv1.BlobRange{Blob: name}}}
	}
	read := func(_ context.Context, r *adfv1.BlobRange) ([]byte, error) {
		if r.Blob == "gone" {
			return nil, errors.New("it is gone")
		}
		return []byte("blob " + r.Blob), nil
	}
	sh := sinks.Shard{Flow: "f", Node: "out", Run: "r", Shard: 2}
	c := &committing{}
	m := &adfv1.Committable{From: 7, Parts: []*adfv1.Part{value("one"), blob("two"), value("")}}
	if err := task.Commit(t.Context(), c, sh, m, read); err != nil || c.from != 7 || !slices.Equal(c.parts, []string{"one", "blob two", ""}) {
		t.Errorf("got %d %q, %v", c.from, c.parts, err)
	}
	m.Parts = append(m.Parts, blob("gone"), value("after"))
	c = &committing{}
	err := task.Commit(t.Context(), c, sh, m, read)
	var s *fault.SinkError
	if !errors.As(err, &s) || s.Node != "out" || s.Flow != "f" || s.Run != "r" || len(c.parts) != 3 || !fault.Retryable(err) {
		t.Errorf("got %v after %q", err, c.parts)
	}
}
