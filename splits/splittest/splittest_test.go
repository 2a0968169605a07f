package splittest_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
	"github.com/activedataflow/adf/splits/splittest"
)

func TestMain(m *testing.M) {
	splittest.Child(map[string]func() (splits.Any, error){
		"words": func() (splits.Any, error) {
			c, err := row.CodecOf[string]()
			return splits.Erase[string](&source{input: newInput(), fault: os.Getenv("FAULT")}, c), err
		},
	})
	goleak.VerifyTestMain(m)
}

// input is named files of words.
type input struct {
	mu    sync.Mutex
	files map[string][]string
}

func newInput() *input {
	in := &input{files: map[string][]string{}}
	for f := range 5 {
		in.add(fmt.Sprintf("file %d", f))
	}
	return in
}

func (in *input) add(name string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range 33 {
		in.files[name] = append(in.files[name], fmt.Sprintf("word %02d of %s", i, name))
	}
}

func (in *input) read(name string) []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.files[name]
}

func (in *input) names() []string {
	in.mu.Lock()
	defer in.mu.Unlock()
	var names []string
	for n := range in.files {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// source reads an input, rightly or with one fault.
type source struct {
	input *input
	fault string
}

type split struct {
	ID, File string
	Next     int
}

func (s split) SplitID() string { return s.ID }

// codec is that of the splits; with a fault it takes every version.
type codec struct {
	splits.Codec[split]
	careless bool
}

func (c codec) Decode(version int, data []byte) (split, error) {
	if c.careless {
		version = c.Version()
	}
	return c.Codec.Decode(version, data)
}

func (s *source) Boundedness() splits.Boundedness { return splits.Bounded }
func (s *source) Codec() splits.Codec[split] {
	return codec{splits.JSON[split](), s.fault == "takes every version of a split"}
}

func (s *source) Enumerator(_ context.Context, ec splits.EnumeratorContext[split], restored *splits.State) (splits.Enumerator[split], error) {
	if s.fault == "lists anew when restored" {
		restored = nil
	}
	e, err := splits.List(ec, restored, splits.ListOptions[split]{
		Codec: s.Codec(),
		Find: func(context.Context) ([]split, error) {
			var all []split
			for i, name := range s.input.names() {
				id := name
				switch s.fault {
				case "reuses an id":
					id = fmt.Sprint(i)
				case "makes ids of the parallelism":
					id = fmt.Sprint(name, " by ", ec.Parallelism())
				}
				all = append(all, split{id, name, 0})
			}
			return all, nil
		},
	})
	return &enumerator{e, ec, s.fault}, err
}

type enumerator struct {
	splits.Enumerator[split]
	ec    splits.EnumeratorContext[split]
	fault string
}

func (e *enumerator) HandleSplitRequest(ctx context.Context, reader int) error {
	err := e.Enumerator.HandleSplitRequest(ctx, reader)
	if e.fault == "ends before it has listed" {
		e.ec.NoMoreSplits(reader)
	}
	return err
}

func (e *enumerator) AddSplitsBack(ctx context.Context, back []split, reader int) error {
	switch e.fault {
	case "loses a returned split":
		back = back[:max(0, len(back)-1)]
	case "reads a returned split from its start":
		for i := range back {
			back[i].Next = 0
		}
	}
	return e.Enumerator.AddSplitsBack(ctx, back, reader)
}

func (e *enumerator) Snapshot(ctx context.Context) (splits.State, error) {
	s, err := e.Enumerator.Snapshot(ctx)
	if e.fault == "snapshots nothing" {
		s.Data = nil
	}
	return s, err
}

func (s *source) Reader(_ context.Context, rc splits.ReaderContext) (splits.Reader[string, split], error) {
	if slices.Contains([]string{"keeps a buffer", "keeps its values", "reads on in a batch given back"}, s.fault) {
		return &plainReader{src: s, rc: rc, ready: make(chan struct{}, 1)}, nil
	}
	r := splits.Multiplex(rc, func(_ context.Context, at split) (splits.SplitReader[string, split], error) {
		if at.Next > 0 {
			switch s.fault {
			case "skips a record on resume":
				at.Next++
			case "repeats a record on resume":
				at.Next--
			}
		}
		return &splitReader{src: s, at: at, words: s.input.read(at.File)}, nil
	}, splits.MultiplexOptions[split]{})
	return &reader{Reader: r, fault: s.fault}, nil
}

type reader struct {
	splits.Reader[string, split]
	fault string
}

func (r *reader) Poll(dst *record.Batch[string]) (splits.Status, error) {
	if r.fault == "blocks in Poll" {
		time.Sleep(1100 * time.Millisecond)
	}
	return r.Reader.Poll(dst)
}

func (r *reader) Ready() <-chan struct{} {
	if r.fault == "never is ready" {
		return nil
	}
	return r.Reader.Ready()
}

func (r *reader) Snapshot() ([]split, error) {
	all, err := r.Reader.Snapshot()
	if r.fault == "leaves a split out of its snapshot" && len(all) > 0 {
		all = all[1:]
	}
	return all, err
}

func (r *reader) CheckpointComplete(ctx context.Context, done []split) error {
	for _, s := range done {
		if r.fault == "wants to know the splits of a checkpoint" && s.Next > 0 {
			return errors.New("no such split")
		}
	}
	return r.Reader.CheckpointComplete(ctx, done)
}

func (r *reader) Close() error {
	if r.fault == "leaves a goroutine" {
		stays := leaking
		go func() { <-stays }()
	}
	return r.Reader.Close()
}

// plainReader reads one split after the other without a goroutine, so that faults with memory are no data races.
type plainReader struct {
	src      *source
	rc       splits.ReaderContext
	splits   []split
	open     *splitReader
	asked    bool
	noMore   bool
	finished []string
	kept     []string
	ready    chan struct{}
}

func (r *plainReader) Start(context.Context) error { return nil }

func (r *plainReader) Poll(dst *record.Batch[string]) (splits.Status, error) {
	switch {
	case len(r.splits) == 0 && r.noMore:
		return splits.End, nil
	case len(r.splits) == 0:
		if !r.asked {
			r.asked = true
			r.rc.RequestSplit()
		}
		return splits.Nothing, nil
	case r.open == nil:
		r.open = &splitReader{src: r.src, at: r.splits[0], words: r.src.input.read(r.splits[0].File)}
	}
	if len(r.kept) > 0 {
		for i, w := range r.kept {
			dst.Append(w, record.Meta{Position: int64(r.splits[0].Next - len(r.kept) + i)})
		}
		dst.Split, r.kept = r.splits[0].ID, nil
		return splits.More, nil
	}
	after, done, err := r.open.Fetch(context.Background(), dst)
	dst.Split = after.ID
	r.splits[0] = after
	if done {
		r.finished = append(r.finished, after.ID)
		r.splits, r.open = r.splits[1:], nil
	}
	if r.src.fault == "reads on in a batch given back" && !done {
		r.kept, dst.Values, dst.Metas = dst.Values[3:], dst.Values[:3], dst.Metas[:3]
	}
	return splits.More, err
}

func (r *plainReader) Ready() <-chan struct{} { return r.ready }

func (r *plainReader) AddSplits(added []split) error {
	r.splits, r.asked = append(r.splits, added...), false
	select {
	case r.ready <- struct{}{}:
	default:
	}
	return nil
}

func (r *plainReader) NoMoreSplits() {
	r.noMore = true
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *plainReader) Finished() []string {
	ids := r.finished
	r.finished = nil
	return ids
}

func (r *plainReader) Snapshot() ([]split, error)                        { return slices.Clone(r.splits), nil }
func (r *plainReader) CheckpointComplete(context.Context, []split) error { return nil }
func (r *plainReader) Close() error                                      { return nil }

// leaking ends the goroutines left behind.
var leaking chan struct{}

type splitReader struct {
	src   *source
	at    split
	words []string
	own   []string
	bytes []byte
}

func (r *splitReader) Fetch(_ context.Context, dst *record.Batch[string]) (split, bool, error) {
	before := r.at
	n := min(5, len(r.words)-r.at.Next)
	if r.src.fault == "keeps a buffer" {
		if r.bytes == nil {
			r.bytes = make([]byte, 0, 1000)
		}
		r.bytes = r.bytes[:0]
	}
	for _, w := range r.words[r.at.Next : r.at.Next+n] {
		m := record.Meta{Time: record.NoTime, Watermark: record.NoTime, Position: int64(r.at.Next)}
		switch r.src.fault {
		case "keeps a buffer":
			r.bytes = append(r.bytes, w...)
			b := r.bytes[len(r.bytes)-len(w):]
			w = unsafe.String(unsafe.SliceData(b), len(b))
		case "loses a record":
			if r.at.Next == 17 {
				r.at.Next++
				continue
			}
		case "makes other records each time":
			if r.at.Next == 9 {
				w = fmt.Sprint(time.Now().UnixNano())
			}
		case "gives all records one position":
			m.Position = 0
		}
		dst.Append(w, m)
		r.at.Next++
	}
	switch r.src.fault {
	case "keeps its values":
		if r.own == nil {
			r.own = make([]string, 5)
		}
		dst.Values = r.own[:copy(r.own, dst.Values)]
	case "forgets a meta":
		dst.Metas = dst.Metas[:max(0, len(dst.Metas)-1)]
	case "gives the position before the batch":
		return before, r.at.Next == len(r.words), nil
	}
	return r.at, r.at.Next == len(r.words), nil
}

func (r *splitReader) Close() error { return nil }

func harness(fault string) splittest.Harness[string, split] {
	var want []string
	for _, name := range newInput().names() {
		want = append(want, newInput().read(name)...)
	}
	return splittest.Harness[string, split]{
		New: func(splittest.TB) splittest.Input[string, split] {
			in := newInput()
			return splittest.Input[string, split]{Source: &source{in, fault}, Place: fault, Grow: func() int {
				in.add("a file that sorts first")
				return 33
			}}
		},
		Want:    want,
		Process: "words",
		Env:     func(in splittest.Input[string, split]) []string { return []string{"FAULT=" + in.Place} },
	}
}

func TestRightSource(t *testing.T) { splittest.Run(t, harness("")) }

// TestBrokenSources proves that the suite finds what it is for: each fault by the check that is named, with a message that says what is wrong.
func TestBrokenSources(t *testing.T) {
	leaking = make(chan struct{})
	defer close(leaking)
	defer splittest.SetPatience(time.Second)()
	for _, c := range []struct{ fault, check, says string }{
		{"skips a record on resume", "resume", `resumed behind record 5: record 0 is {"value":"word 06 of file 0"} at position 6, want {"value":"word 05 of file 0"} at position 5`},
		{"skips a record on resume", "restore", "restored after step"},
		{"skips a record on resume", "back/survivors", "killed after"},
		{"skips a record on resume", "processes", "two processes, one killed"},
		{"repeats a record on resume", "resume", "want"},
		{"gives the position before the batch", "resume", "resumed behind record 5"},
		{"keeps a buffer", "kept buffers", "changed"},
		{"keeps its values", "kept buffers", "changed"},
		{"reads on in a batch given back", "kept buffers", `batches overwritten when they are given back: split "file 0": record 3 is {"value":""}`},
		{"reuses an id", "discovery", "stands for other data after the input has grown"},
		{"makes other records each time", "ids", "read a second time"},
		{"makes ids of the parallelism", "ids", "the split ids differ"},
		{"loses a returned split", "back/survivors", "killed after"},
		{"loses a returned split", "back/rejoined", "registered again"},
		{"loses a returned split", "processes", "two processes, one killed"},
		{"reads a returned split from its start", "back/survivors", "want ascending positions"},
		{"lists anew when restored", "restore", "was assigned to reader"},
		{"snapshots nothing", "restore", "was assigned to reader 0 while reader 0 had it"},
		{"ends before it has listed", "once", `missing, 1 times: {"value":"word 00 of file 1"}`},
		{"takes every version of a split", "codec", "which does not exist"},
		{"leaves a split out of its snapshot", "restore", "lacks the split"},
		{"wants to know the splits of a checkpoint", "checkpoint complete", "no such split"},
		{"leaves a goroutine", "close", "after Close"},
		{"loses a record", "once", `missing, 1 times: {"value":"word 17 of file 0"}`},
		{"gives all records one position", "once", "want ascending positions"},
		{"forgets a meta", "once", "5 values and 4 metas"},
		{"blocks in Poll", "once", "a poll blocked for 1.1"},
		{"never is ready", "once", "nothing was read for 1s; reader 0 has"},
	} {
		t.Run(c.fault+"/"+c.check, func(t *testing.T) {
			checks := splittest.Checks(harness(c.fault))
			i := slices.IndexFunc(checks, func(k splittest.Check) bool { return k.Name == c.check })
			said := watch(t, checks[i].Run)
			if !strings.Contains(said, c.says) {
				t.Errorf("got  %s\nwant %s", cmp.Or(said, "no complaint"), c.says)
			}
		})
	}
}

// watch runs a check and gives what it complains about.
func watch(t *testing.T, check func(splittest.TB)) string {
	w := &watcher{T: t}
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer w.cleanup()
		check(w)
	}()
	<-over
	return w.said.String()
}

// watcher is a test that may fail.
type watcher struct {
	*testing.T
	said     strings.Builder
	cleanups []func()
}

func (w *watcher) Errorf(format string, args ...any) { fmt.Fprintf(&w.said, format+"\n", args...) }
func (w *watcher) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	runtime.Goexit()
}
func (w *watcher) Cleanup(f func()) { w.cleanups = append(w.cleanups, f) }
func (w *watcher) cleanup() {
	for _, f := range slices.Backward(w.cleanups) {
		f()
	}
}
