package sinks

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

var shard = Shard{Flow: "flights", Node: "out", Run: "run-1", Shard: 2}

func TestDue(t *testing.T) {
	for _, c := range []struct {
		progress, from, to int64
		due                bool
		code, message      string
		retry              bool
	}{
		{progress: -1, from: 0, to: 0, due: true},
		{progress: -1, from: 0, to: 9, due: true},
		{progress: 4, from: 5, to: 7, due: true},
		{progress: 0, from: 0, to: 0},
		{progress: 9, from: 0, to: 9},
		{progress: 9, from: 3, to: 4},
		{progress: -1, from: 1, to: 2, code: "sink.gap", message: "sink: commit: got part 1, want part 0: the target does not have what lies between " +
			"(shard 2 of flights/out, run run-1) [sink.gap]; output that was committed is gone from the target, " +
			"or the target is not the one this flow wrote to: bring it back, or start over with --fresh"},
		{progress: 4, from: 6, to: 6, code: "sink.gap", message: "got part 6, want part 5"},
		{progress: 4, from: 3, to: 7, code: "sink.overtaken", retry: true,
			message: "sink: commit: another committer has committed parts 3 to 4 of 3 to 7 (shard 2 of flights/out, run run-1) meanwhile [sink.overtaken]"},
		{progress: 4, from: 4, to: 5, code: "sink.overtaken", retry: true, message: "parts 4 to 4 of 4 to 5"},
	} {
		due, err := Committable[string]{Shard: shard, From: c.from, To: c.to}.Due(c.progress)
		if due != c.due || (err != nil) != (c.code != "") {
			t.Errorf("%+v: got %v, %v", c, due, err)
			continue
		}
		if err == nil {
			continue
		}
		d, _ := fault.DetailOf(err)
		if d.Code != c.code || fault.Retryable(err) != c.retry || !strings.Contains(err.Error(), c.message) {
			t.Errorf("progress %d, parts %d to %d: got %v", c.progress, c.from, c.to, err)
		}
		var gap *GapError
		if errors.As(err, &gap) != (c.code == "sink.gap") || gap != nil && *gap != (GapError{shard, c.progress, c.from}) {
			t.Errorf("%+v: got %+v", c, gap)
		}
		if within, ok := fault.Within(err, "flights", "run-1", "out").(*fault.SinkError); !ok || within.Node != "out" {
			t.Errorf("%+v: is no sink error in its flow", c)
		}
	}
}

type event struct {
	ID   int64   `adf:"id"`
	Name *string `adf:"name"`
}

func codecOf[T any](t testing.TB) *row.Codec[T] {
	t.Helper()
	c, err := row.CodecOf[T]()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func events(from, to int64) *record.Batch[event] {
	b := &record.Batch[event]{Split: "s"}
	for i := from; i < to; i++ {
		name := fmt.Sprint("event ", i)
		b.Append(event{i, &name}, record.Meta{Time: i, Watermark: i - 1, Position: i})
	}
	return b
}

func TestRecords(t *testing.T) {
	c := codecOf[event](t)
	e := Records(c)
	part := []byte{}
	var err error
	for _, r := range [][2]int64{{0, 3}, {3, 3}, {3, 4}, {4, 1000}} {
		b := events(r[0], r[1])
		if part, err = e.Encode(part, b, func(int, error) { t.Error("refused") }); err != nil {
			t.Fatal(err)
		}
		b.Reset()
	}
	next := int64(0)
	sizes := []int{}
	for b, err := range Batches(c, part) {
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, b.Len())
		for i, v := range b.Values {
			if v.ID != next || *v.Name != fmt.Sprint("event ", next) || b.Metas[i] != (record.Meta{Time: next, Watermark: next - 1, Position: next}) {
				t.Fatalf("record %d is %v, %+v", next, v, b.Metas[i])
			}
			next++
		}
	}
	if next != 1000 || !slices.Equal(sizes, []int{3, 1, 996}) {
		t.Fatalf("got %d records in batches of %v", next, sizes)
	}
	for range Batches(c, nil) {
		t.Fatal("an empty part has a batch")
	}
	for b := range Batches(c, part) { // one may stop early
		if b.Len() != 3 {
			t.Fatal(b.Len())
		}
		break
	}
	if part, err := e.Encode(nil, events(0, 0), nil); len(part) > 0 || err != nil {
		t.Fatalf("no records are a part of %d bytes, %v: an empty part is what moves the progress alone", len(part), err)
	}
}

// TestPartsOutliveTheirSchema reads parts that an earlier version of the flow had left in its checkpoint.
func TestPartsOutliveTheirSchema(t *testing.T) {
	part, err := Records(codecOf[event](t)).Encode(nil, events(0, 3), nil)
	if err != nil {
		t.Fatal(err)
	}
	type later struct {
		Added *int64  `adf:"added"`
		ID    float64 `adf:"id"`
	}
	var got []later
	for b, err := range Batches(codecOf[later](t), part) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b.Values...)
	}
	if want := []later{{nil, 0}, {nil, 1}, {nil, 2}}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	type other struct {
		ID bool `adf:"id"`
	}
	for _, err := range Batches(codecOf[other](t), part) {
		d, ok := fault.DetailOf(err)
		if !ok || d.Code != "sink.part" || fault.Retryable(err) {
			t.Fatalf("got %v", err)
		}
	}
}

func FuzzBatches(f *testing.F) {
	c := codecOf[event](f)
	part, err := Records(c).Encode(nil, events(0, 3), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(part)
	f.Add(part[:len(part)-1])
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, part []byte) {
		for b, err := range Batches(c, part) {
			if (b == nil) == (err == nil) {
				t.Fatal("neither a batch nor an error")
			}
			if d, ok := fault.DetailOf(err); err != nil && (!ok || d.Code != "sink.part") {
				t.Fatalf("got %v", err)
			}
		}
	})
}

func TestDeadLetters(t *testing.T) {
	c := DeadLetters()
	if c != DeadLetters() {
		t.Error("another codec at the second call")
	}
	const want = "flow string not null, node string not null, split string not null, position int64 not null, time timestamp, " +
		"code string not null, error string not null, record string not null"
	if got := c.Schema().String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	when := time.Date(2013, 1, 1, 10, 0, 0, 0, time.UTC)
	b := &record.Batch[DeadLetter]{}
	b.Append(DeadLetter{"flights", "in", "a.csv", 70, &when, "file.csv.quote", "no end of a quoted text", `UA,"2013`}, record.Meta{})
	b.Append(DeadLetter{Flow: "flights", Node: "in"}, record.Meta{})
	for i, want := range []string{
		`{"flow":"flights","node":"in","split":"a.csv","position":70,"time":"2013-01-01T10:00:00Z","code":"file.csv.quote",` +
			`"error":"no end of a quoted text","record":"UA,\"2013"}`,
		`{"flow":"flights","node":"in","split":"","position":0,"time":null,"code":"","error":"","record":""}`,
	} {
		if got := string(c.AppendJSON(nil, b, i)); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// book is an exactly-once sink that writes down what is done with it.
type book struct {
	log      []string
	progress int64
	fails    string // the step that fails
}

var errBook = errors.New("the book is closed")

func (k *book) note(step, text string) error {
	k.log = append(k.log, strings.TrimSpace(step+" "+text))
	if k.fails == step {
		return errBook
	}
	return nil
}

func (k *book) Encoder() Encoder[event] { return k }
func (k *book) Encode(part []byte, b *record.Batch[event], fail func(int, error)) ([]byte, error) {
	for i, e := range b.Values {
		if e.Name == nil {
			fail(i, errBook)
			continue
		}
		part = append(part, *e.Name...)
	}
	return part, k.note("encode", "")
}
func (k *book) Writer(_ context.Context, _ Shard, from int64) (Writer[string], error) {
	if err := k.note("open", fmt.Sprint(from)); err != nil {
		return nil, err
	}
	return bookWriter{k}, nil
}
func (k *book) Committer(context.Context) (Committer[string], error) {
	if err := k.note("committer", ""); err != nil {
		return nil, err
	}
	return bookCommitter{k}, nil
}

type bookWriter struct{ k *book }

func (w bookWriter) Write(_ context.Context, part []byte) error {
	return w.k.note("write", string(part))
}
func (w bookWriter) Prepare(context.Context) (string, error) {
	return "prepared", w.k.note("prepare", "")
}
func (w bookWriter) Close() error { return w.k.note("close", "") }

type bookCommitter struct{ k *book }

func (c bookCommitter) Progress(context.Context, Shard) (int64, error) {
	return c.k.progress, c.k.note("progress", "")
}
func (c bookCommitter) Commit(_ context.Context, x Committable[string]) error {
	if err := c.k.note("commit", fmt.Sprintf("%d-%d %s %v", x.From, x.To, x.Value, x.Shard == shard)); err != nil {
		return err
	}
	c.k.progress = x.To
	return nil
}
func (c bookCommitter) Close() error { return c.k.note("end", "") }

var errPart = errors.New("the part is gone")

// parts gives texts; "!" is a part that can not be read.
func parts(texts ...string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, p := range texts {
			var err error
			if p == "!" {
				err = errPart
			}
			if !yield([]byte(p), err) {
				return
			}
		}
	}
}

func TestErasedCommit(t *testing.T) {
	for _, c := range []struct {
		name     string
		progress int64
		from     int64
		parts    []string
		fails    string
		log      string
		err      error
	}{
		{"from the start", -1, 0, []string{"a", "b", "c"}, "", "progress, open 0, write a, write b, write c, prepare, commit 0-2 prepared true, close", nil},
		{"further", 4, 5, []string{"a", "b"}, "", "progress, open 5, write a, write b, prepare, commit 5-6 prepared true, close", nil},
		{"partly there", 4, 3, []string{"a", "b", "c"}, "", "progress, open 5, write c, prepare, commit 5-5 prepared true, close", nil},
		{"all there", 9, 3, []string{"a", "b"}, "", "progress", nil},
		{"no parts", 2, 3, nil, "", "progress", nil},
		{"empty parts", 2, 3, []string{"", "a", ""}, "", "progress, open 3, write a, prepare, commit 3-5 prepared true, close", nil},
		{"only an empty part", 2, 3, []string{""}, "", "progress, open 3, prepare, commit 3-3 prepared true, close", nil},
		{"gap", 2, 4, []string{"a"}, "", "progress", &GapError{shard, 2, 4}},
		{"a part is gone", -1, 0, []string{"a", "!", "c"}, "", "progress, open 0, write a, close", errPart},
		{"a part that is there is gone", 0, 0, []string{"!", "b"}, "", "progress", errPart},
		{"progress fails", -1, 0, []string{"a"}, "progress", "progress", errBook},
		{"open fails", -1, 0, []string{"a"}, "open", "progress, open 0", errBook},
		{"write fails", -1, 0, []string{"a", "b"}, "write", "progress, open 0, write a, close", errBook},
		{"prepare fails", -1, 0, []string{"a"}, "prepare", "progress, open 0, write a, prepare, close", errBook},
		{"commit fails", -1, 0, []string{"a"}, "commit", "progress, open 0, write a, prepare, commit 0-0 prepared true, close", errBook},
		{"close fails", -1, 0, []string{"a"}, "close", "progress, open 0, write a, prepare, commit 0-0 prepared true, close", errBook},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := &book{progress: c.progress}
			committer, err := EraseExact[event, string](k).NewCommitter(ctx)
			if err != nil {
				t.Fatal(err)
			}
			k.log, k.fails = nil, c.fails
			err = committer.Commit(ctx, shard, c.from, parts(c.parts...))
			var gap *GapError
			if want, ok := c.err.(*GapError); ok {
				if !errors.As(err, &gap) || *gap != *want {
					t.Errorf("got error %v, want %v", err, want)
				}
			} else if !errors.Is(err, c.err) {
				t.Errorf("got error %v, want %v", err, c.err)
			}
			if got := strings.Join(k.log, ", "); got != c.log {
				t.Errorf("got  %s\nwant %s", got, c.log)
			}
		})
	}
}

// TestErasedErrorsKeepTheirKind lets the runtime complete an error: one that is wrapped for nothing would lose its kind.
func TestErasedErrorsKeepTheirKind(t *testing.T) {
	refused := &fault.SinkError{Detail: fault.Detail{Code: "test.refused", Retry: fault.RetryNever}}
	committer, err := EraseExact[event, string](&book{progress: -1}).NewCommitter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	err = committer.Commit(ctx, shard, 0, func(yield func([]byte, error) bool) {
		if yield([]byte("a"), nil) {
			yield(nil, refused)
		}
	})
	if err != error(refused) {
		t.Fatalf("got %T %v", err, err)
	}
}

func TestErasedExact(t *testing.T) {
	k := &book{progress: 7}
	s := EraseExact[event, string](k)
	if s.Guarantee() != ExactlyOnce {
		t.Error(s.Guarantee())
	}
	b := events(0, 2)
	b.Values = append(b.Values, event{ID: 9})
	b.Metas = append(b.Metas, record.Meta{})
	var refused []int
	part, err := s.NewEncoder().Encode([]byte("> "), b, func(i int, _ error) { refused = append(refused, i) })
	if string(part) != "> event 0event 1" || err != nil || !slices.Equal(refused, []int{2}) {
		t.Errorf("got %q, %v, refused %v", part, err, refused)
	}
	c, err := s.NewCommitter(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := c.Progress(ctx, shard); p != 7 || err != nil {
		t.Error(p, err)
	}
	if err := c.Close(); err != nil || k.log[len(k.log)-1] != "end" {
		t.Error(err, k.log)
	}
	k.fails = "committer"
	if _, err := s.NewCommitter(ctx); !errors.Is(err, errBook) {
		t.Error(err)
	}
}

// tap is a direct sink that counts.
type tap struct{ records, flushes, closes int }

func (p *tap) Guarantee() Guarantee { return Idempotent }
func (p *tap) Writer(_ context.Context, wc WriterContext) (DirectWriter[event], error) {
	if wc.Index < 0 {
		return nil, errBook
	}
	return p, nil
}
func (p *tap) Write(_ context.Context, b *record.Batch[event], fail func(int, error)) error {
	p.records += b.Len()
	fail(0, errBook)
	return nil
}
func (p *tap) Flush(context.Context) error { p.flushes++; return nil }
func (p *tap) Close() error                { p.closes++; return nil }

func TestErasedDirect(t *testing.T) {
	p := &tap{}
	s := EraseDirect[event](p)
	if s.Guarantee() != Idempotent {
		t.Error(s.Guarantee())
	}
	if _, err := s.NewWriter(ctx, WriterContext{Index: -1}); !errors.Is(err, errBook) {
		t.Error(err)
	}
	w, err := s.NewWriter(ctx, WriterContext{})
	if err != nil {
		t.Fatal(err)
	}
	var refused []int
	err = errors.Join(w.Write(ctx, events(0, 3), func(i int, _ error) { refused = append(refused, i) }), w.Flush(ctx), w.Close())
	if err != nil || *p != (tap{3, 1, 1}) || !slices.Equal(refused, []int{0}) {
		t.Errorf("got %v, %+v, refused %v", err, *p, refused)
	}
}

func TestGuaranteesHaveNames(t *testing.T) {
	if got := fmt.Sprint(AtLeastOnce, Idempotent, ExactlyOnce); got != "at-least-once idempotent exactly-once" {
		t.Error(got)
	}
}
