package splits_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// part is the split of these tests.
type part struct {
	ID   string `json:"id"`
	Next int64  `json:"next"`
}

func (p part) SplitID() string { return p.ID }

func parts(ids ...string) (ps []part) {
	for _, id := range ids {
		ps = append(ps, part{ID: id})
	}
	return ps
}

// runtime is an enumerator's context that writes down what happens.
type runtime struct {
	lanes   int
	readers []int
	said    []string
	every   time.Duration
	find    func(context.Context) ([]part, error)
	handle  func([]part, error) error
}

func (r *runtime) Parallelism() int { return r.lanes }
func (r *runtime) Readers() []int   { return r.readers }
func (r *runtime) Assign(reader int, assigned ...part) {
	for _, p := range assigned {
		r.said = append(r.said, fmt.Sprintf("%d:%s@%d", reader, p.ID, p.Next))
	}
}
func (r *runtime) NoMoreSplits(reader int) { r.said = append(r.said, fmt.Sprintf("%d:end", reader)) }
func (r *runtime) Every(period time.Duration, find func(context.Context) ([]part, error), handle func([]part, error) error) {
	r.every, r.find, r.handle = period, find, handle
}

// list lists once.
func (r *runtime) list() error { return r.handle(r.find(context.Background())) }

// heard gives what was said since the last call.
func (r *runtime) heard() string {
	s := strings.Join(r.said, " ")
	r.said = nil
	return s
}

// play drives a List with a script: "list", "add N", "ask N", "back N ID@POSITION…", "gone N", "save", "restore", and compares what it does.
func play(t *testing.T, lanes int, o splits.ListOptions[part], found *[]part, script string) {
	t.Helper()
	ctx := t.Context()
	r := &runtime{lanes: lanes}
	o.Codec = splits.JSON[part]()
	o.Find = func(context.Context) ([]part, error) { return *found, nil }
	start := func(s *splits.State) splits.Enumerator[part] {
		e, err := splits.List(r, s, o)
		if err == nil {
			err = e.Start(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := start(nil)
	var state splits.State
	for i, step := range strings.Split(strings.TrimSpace(script), "\n") {
		do, want, _ := strings.Cut(step, "→")
		words := strings.Fields(do)
		reader := -1
		if len(words) > 1 {
			fmt.Sscan(words[1], &reader)
		}
		var err error
		switch words[0] {
		case "list":
			err = r.list()
		case "found":
			*found = append(*found, parts(words[1:]...)...)
		case "add":
			r.readers = append(r.readers, reader)
			slices.Sort(r.readers)
			err = e.AddReader(ctx, reader)
		case "ask":
			err = e.HandleSplitRequest(ctx, reader)
		case "back":
			r.readers = slices.DeleteFunc(r.readers, func(x int) bool { return x == reader })
			var back []part
			for _, w := range words[2:] {
				var p part
				p.ID, _, _ = strings.Cut(w, "@")
				fmt.Sscan(w[len(p.ID)+1:], &p.Next)
				back = append(back, p)
			}
			err = e.AddSplitsBack(ctx, back, reader)
		case "save":
			state, err = e.Snapshot(ctx)
		case "restore":
			r.readers = nil
			e = start(&state)
		default:
			t.Fatalf("step %q", step)
		}
		got := r.heard()
		if err != nil {
			got = err.Error()
		}
		if got != strings.TrimSpace(want) {
			t.Errorf("step %d, %s: got %q, want %q", i+1, do, got, strings.TrimSpace(want))
		}
	}
}

func TestList(t *testing.T) {
	for _, c := range []struct {
		name   string
		lanes  int
		o      splits.ListOptions[part]
		script string
	}{
		{"to the one that asks first, in order; then the end", 2, splits.ListOptions[part]{}, `
			found a b c
			add 0
			ask 0
			add 1
			list  → 0:a@0
			ask 1 → 1:b@0
			ask 0 → 0:c@0
			ask 1 → 1:end
			ask 0 → 0:end`},
		{"no end before the listing", 1, splits.ListOptions[part]{}, `
			add 0
			ask 0
			ask 0
			list → 0:end 0:end`},
		{"push: credit without being asked", 2, splits.ListOptions[part]{}, `
			found a b c
			add 0
			add 1
			list
			ask 0 → 0:a@0
			ask 1 → 1:b@0
			ask 0 → 0:c@0
			ask 1 → 1:end
			ask 0 → 0:end`},
		{"what comes back goes first, to who was told the end too", 2, splits.ListOptions[part]{}, `
			found a b
			add 0
			add 1
			list
			ask 0 → 0:a@0
			ask 1 → 1:b@0
			ask 1 → 1:end
			back 0 a@5
			ask 1 → 1:a@5
			ask 1 → 1:end`},
		{"what comes back waits for the reader that comes again, without its old credit", 2, splits.ListOptions[part]{}, `
			found a b c
			add 0
			list
			ask 0 → 0:a@0
			back 0 a@5
			add 0
			ask 0 → 0:a@5
			ask 0 → 0:b@0`},
		{"a reader that has gone is not assigned to", 2, splits.ListOptions[part]{}, `
			add 0
			ask 0
			back 0
			found a
			list
			add 0
			ask 0 → 0:a@0`},
		{"periodic: what is new, no end", 1, splits.ListOptions[part]{Every: time.Second}, `
			found a
			add 0
			list
			ask 0 → 0:a@0
			ask 0
			list
			found b
			list  → 0:b@0
			ask 0`},
		{"restored: what waits, then what is new", 1, splits.ListOptions[part]{}, `
			found a b c
			add 0
			list
			ask 0 → 0:a@0
			back 0 a@7
			save
			restore
			add 0
			ask 0 → 0:a@7
			ask 0 → 0:b@0
			ask 0 → 0:c@0
			ask 0
			save
			found d
			list  → 0:d@0
			restore
			add 0
			ask 0
			list → 0:d@0
			ask 0 → 0:end`},
		{"found twice is one", 1, splits.ListOptions[part]{}, `
			found a a
			add 0
			list
			ask 0 → 0:a@0
			ask 0 → 0:end`},
		{"spread: at once, the same number to each", 2, splits.ListOptions[part]{Spread: true}, `
			found a b c d e
			add 0
			list  → 0:a@0 0:c@0 0:e@0
			ask 0
			add 1 → 1:b@0 1:d@0 0:end
			ask 1 → 1:end`},
		{"spread: to the others when one has gone before it had any", 3, splits.ListOptions[part]{Spread: true}, `
			found a b c d
			add 0
			list   → 0:a@0 0:d@0
			back 1
			add 2  → 2:b@0 2:c@0`},
		{"spread: what comes back goes to who has fewest, or asks again", 2, splits.ListOptions[part]{Spread: true}, `
			found a b
			add 0
			add 1
			list         → 0:a@0 1:b@0
			back 0 a@3   → 1:a@3
			ask 1        → 1:end
			back 1 a@4 b@4
			add 0        → 0:a@4 0:b@4`},
		{"spread, periodic", 2, splits.ListOptions[part]{Spread: true, Every: time.Second}, `
			add 0
			add 1
			ask 0
			list
			found a
			list → 0:a@0
			found b
			list → 1:b@0`},
		{"a split that nobody has can not come back", 1, splits.ListOptions[part]{}, `
			found a
			list
			back 0 a@1 → runtime: take a split back: it is not assigned to any reader (split a) [split.back]`},
		{"a split of an earlier process", 1, splits.ListOptions[part]{}, `
			back -1 z@9
			found a z
			add 0
			list
			ask 0 → 0:z@9
			ask 0 → 0:a@0
			ask 0 → 0:end`},
	} {
		t.Run(c.name, func(t *testing.T) { play(t, c.lanes, c.o, &[]part{}, c.script) })
	}
}

func TestListFailures(t *testing.T) {
	down := errors.New("no connection")
	never := &fault.SourceError{Detail: fault.Detail{Code: "test.gone", Retry: fault.RetryNever, Err: errors.New("no such bucket")}}
	open := func(every time.Duration) *runtime {
		r := &runtime{lanes: 1}
		e, err := splits.List(r, nil, splits.ListOptions[part]{Codec: splits.JSON[part](), Every: every})
		if err == nil {
			err = e.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if err := open(0).handle(nil, down); err != down {
		t.Errorf("the only listing failed, got %v", err)
	}
	r := open(time.Second)
	for range 2 {
		for i := range splits.ListFailures - 1 {
			if err := r.handle(nil, down); err != nil {
				t.Errorf("failure %d: got %v, want patience", i+1, err)
			}
		}
		if err := r.handle(nil, nil); err != nil {
			t.Error(err)
		}
	}
	if err := r.handle(nil, never); err != never {
		t.Errorf("a failure that stays: got %v", err)
	}
	r = open(time.Second)
	for range splits.ListFailures - 1 {
		_ = r.handle(nil, down)
	}
	if err := r.handle(nil, down); err != down {
		t.Errorf("the last failure: got %v", err)
	}
	for _, id := range []string{"", "caf\xe9"} {
		err := open(0).handle(parts(id), nil)
		want := fmt.Sprintf("source: list splits: got the split id %q, want UTF-8 text that is not empty [split.id]", id)
		if err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

// listStates are snapshots of released versions, by version: each must be read for ever.
var listStates = map[int]string{
	1: "0a11120f64756d70732f323031332f612e677a0a09080b1205c3a42e677a0a08080c1204b62e677a" +
		"12230a056f7468657210011a187b226964223a226f74686572222c226e657874223a31327d12220a056c6174657210011a177b226964223a226c61746572222c226e657874223a307d",
}

func TestListGolden(t *testing.T) {
	r := &runtime{lanes: 1, readers: []int{0}}
	o := splits.ListOptions[part]{Codec: splits.JSON[part]()}
	e, err := splits.List(r, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	_ = e.Start(t.Context())
	if err := r.handle(parts("dumps/2013/ä.gz", "dumps/2013/a.gz", "dumps/2013/ö.gz", "other", "later"), nil); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		_ = e.HandleSplitRequest(t.Context(), 0)
	}
	_ = e.AddSplitsBack(t.Context(), []part{{"other", 12}}, 0)
	s, err := e.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(s.Data); s.Version != 1 || got != listStates[1] {
		t.Errorf("version %d: got %s\nwant version 1: %s", s.Version, got, listStates[1])
	}
	for version, text := range listStates {
		data, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		r := &runtime{lanes: 1, readers: []int{0}}
		e, err := splits.List(r, &splits.State{Version: version, Data: data}, o)
		if err != nil {
			t.Fatalf("version %d: %v", version, err)
		}
		_ = e.Start(t.Context())
		_ = r.handle(parts("other", "dumps/2013/ä.gz", "new", "dumps/2013/ö.gz", "later", "dumps/2013/a.gz"), nil)
		for range 4 {
			_ = e.HandleSplitRequest(t.Context(), 0)
		}
		if got, want := r.heard(), "0:other@12 0:later@0 0:new@0 0:end"; got != want {
			t.Errorf("version %d: got %q, want %q", version, got, want)
		}
	}
	_, err = splits.List(r, &splits.State{Version: 2}, o)
	const want = "runtime: restore the list of splits: got version 2 of the list of splits, want 1 [split.list.restore]; use the release that saved it, or a later one"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A snapshot of thousands of files is small: ids share what they begin with.
func TestListSize(t *testing.T) {
	r := &runtime{lanes: 1, readers: []int{0}}
	e, err := splits.List(r, nil, splits.ListOptions[part]{Codec: splits.JSON[part]()})
	if err != nil {
		t.Fatal(err)
	}
	_ = e.Start(t.Context())
	var all []part
	for i := range 10_000 {
		all = append(all, part{ID: fmt.Sprintf("s3://a-bucket/with/a/long/prefix/2013-01-01/part-%06d.csv", i)})
	}
	_ = r.handle(all, nil)
	for range all {
		_ = e.HandleSplitRequest(t.Context(), 0)
	}
	s, err := e.Snapshot(t.Context())
	if err != nil || len(s.Data) > 20*len(all) {
		t.Errorf("got %d bytes, %v, want at most 20 per id", len(s.Data), err)
	}
}

func FuzzListRestore(f *testing.F) {
	for version, text := range listStates {
		data, _ := hex.DecodeString(text)
		f.Add(version, data)
	}
	f.Fuzz(func(t *testing.T, version int, data []byte) {
		o := splits.ListOptions[part]{Codec: splits.JSON[part]()}
		r := &runtime{lanes: 2, readers: []int{0}}
		e, err := splits.List(r, &splits.State{Version: version, Data: data}, o)
		if err != nil {
			return
		}
		s, err := e.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if e, err = splits.List(r, &s, o); err != nil {
			t.Fatalf("what was read can not be read again: %v", err)
		}
		again, err := e.Snapshot(t.Context())
		if err != nil || string(again.Data) != string(s.Data) {
			t.Fatalf("the snapshot changes: %q, %q, %v", s.Data, again.Data, err)
		}
	})
}

func TestJSON(t *testing.T) {
	c := splits.JSON[part]()
	data, err := c.Encode(part{"a/b", 7})
	if err != nil || string(data) != `{"id":"a/b","next":7}` || c.Version() != 1 {
		t.Errorf("got version %d, %s, %v", c.Version(), data, err)
	}
	if p, err := c.Decode(1, data); err != nil || p != (part{"a/b", 7}) {
		t.Errorf("got %v, %v", p, err)
	}
	for _, bad := range []struct {
		version    int
		data, want string
	}{
		{2, `{}`, "got version 2 of the wire form, want 1"},
		{1, ``, "EOF"},
		{1, `{"id":"a","offset":3}`, `json: unknown field "offset"`},
		{1, `{"id":"a"}{}`, "there is data behind the value"},
		{1, `{"id":"a"`, "unexpected EOF"},
	} {
		if _, err := c.Decode(bad.version, []byte(bad.data)); err == nil || err.Error() != bad.want {
			t.Errorf("%s: got %v, want %s", bad.data, err, bad.want)
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(1, []byte(`{"id":"a/b","next":7}`))
	f.Fuzz(func(t *testing.T, version int, data []byte) {
		c := splits.JSON[part]()
		p, err := c.Decode(version, data)
		if err != nil {
			return
		}
		out, err := c.Encode(p)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := c.Decode(1, out); err != nil || again != p {
			t.Fatalf("%v becomes %v, %v", p, again, err)
		}
	})
}

// unwritable is a codec that can not write some splits, and reads others as what they are not.
type unwritable struct{ splits.Codec[part] }

func (unwritable) Encode(p part) ([]byte, error) {
	if p.ID == "bad" {
		return nil, errors.New("it can not be written")
	}
	return splits.JSON[part]().Encode(p)
}

// oneSource has one enumerator, made by its field.
type oneSource struct {
	codec splits.Codec[part]
	o     splits.ListOptions[part]
}

func (s oneSource) Boundedness() splits.Boundedness { return splits.Bounded }
func (s oneSource) Codec() splits.Codec[part]       { return s.codec }
func (s oneSource) Enumerator(_ context.Context, ec splits.EnumeratorContext[part], restored *splits.State) (splits.Enumerator[part], error) {
	return splits.List(ec, restored, s.o)
}
func (s oneSource) Reader(_ context.Context, rc splits.ReaderContext) (splits.Reader[int, part], error) {
	return splits.Multiplex(rc, openCounter(10), splits.MultiplexOptions[part]{}), nil
}

// anyRuntime is an erased enumerator's context.
type anyRuntime struct {
	given []splits.Envelope
	work  func(context.Context) func() error
}

func (r *anyRuntime) Parallelism() int { return 1 }
func (r *anyRuntime) Readers() []int   { return []int{0} }
func (r *anyRuntime) Assign(_ int, assigned ...splits.Envelope) {
	r.given = append(r.given, assigned...)
}
func (r *anyRuntime) NoMoreSplits(int)                                               {}
func (r *anyRuntime) Every(_ time.Duration, work func(context.Context) func() error) { r.work = work }

func TestErase(t *testing.T) {
	c, err := row.CodecOf[int]()
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	codec := unwritable{splits.JSON[part]()}
	src := splits.Erase(oneSource{codec, splits.ListOptions[part]{
		Codec: codec,
		Find:  func(context.Context) ([]part, error) { return parts("good", "bad"), nil },
	}}, c)
	r := &anyRuntime{}
	e, err := src.NewEnumerator(ctx, r, nil)
	if err == nil {
		err = errors.Join(e.Start(ctx), e.HandleSplitRequest(ctx, 0), r.work(ctx)())
	}
	if err != nil || len(r.given) != 1 || r.given[0].ID != "good" || r.given[0].Version != 1 {
		t.Fatalf("got %v, %v", r.given, err)
	}
	// An error of the codec comes out of the call that needed it.
	const unwritten = "runtime: write down a split: it can not be written (split bad) [split.encode]"
	if err := e.HandleSplitRequest(ctx, 0); err == nil || err.Error() != unwritten {
		t.Errorf("got  %v\nwant %s", err, unwritten)
	}
	if err := e.HandleSplitRequest(ctx, 0); err != nil {
		t.Errorf("the error comes a second time: %v", err)
	}

	reader, err := src.NewReader(ctx, quiet{})
	if err == nil {
		err = reader.Start(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	wrong := r.given[0]
	wrong.ID = "other"
	const misread = `runtime: restore a split: got the split "good", want "other" (split other) [split.decode]; use the release that saved it, or a later one`
	for _, err := range []error{
		reader.AddSplits([]splits.Envelope{wrong}), e.AddSplitsBack(ctx, []splits.Envelope{wrong}, 0), reader.CheckpointComplete(ctx, []splits.Envelope{wrong}),
	} {
		if err == nil || err.Error() != misread {
			t.Errorf("got  %v\nwant %s", err, misread)
		}
	}
	if err := reader.AddSplits(r.given); err != nil {
		t.Fatal(err)
	}
	b := src.Codec().NewBatch()
	for status := splits.Nothing; status == splits.Nothing; {
		if status, err = reader.Poll(b); err != nil {
			t.Fatal(err)
		} else if status == splits.Nothing {
			<-reader.Ready()
		}
	}
	if es, err := reader.Snapshot(); err != nil || b.SplitID() != "good" || len(es) != 1 || string(es[0].Data) != `{"id":"good","next":10}` {
		t.Errorf("got the split %q, a snapshot %v, %v", b.SplitID(), es, err)
	}
	_ = e.Close()
}

type quiet struct{}

func (quiet) Index() int    { return 0 }
func (quiet) RequestSplit() {}

// openCounter opens splits that count up for ever, n records a batch.
func openCounter(n int) func(context.Context, part) (splits.SplitReader[int, part], error) {
	return func(_ context.Context, p part) (splits.SplitReader[int, part], error) { return &counter{p, n}, nil }
}

type counter struct {
	at part
	n  int
}

func (c *counter) Fetch(_ context.Context, dst *record.Batch[int]) (part, bool, error) {
	for range c.n {
		dst.Append(int(c.at.Next), record.Meta{Time: record.NoTime, Watermark: record.NoTime, Position: c.at.Next})
		c.at.Next++
	}
	return c.at, false, nil
}

func (c *counter) Close() error { return nil }
