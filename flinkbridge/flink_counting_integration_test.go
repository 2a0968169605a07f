//go:build integration

package flinkbridge

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
)

// counting is a flow without an end in which a loss, a repetition or a change of order shows, whatever happens to its job. Each number comes once, as an event of its
// millisecond, and goes to files, to windows, and to a count of its key that lasts; large records go a way of their own, since they wait for their commit on the
// staging storage. A pace source is there to be slow: a record of it takes up to half a second, its bundle ends a checkpoint so much later than the others do, and so
// every checkpoint is completed some time after the commit steps have given theirs.
//
// It has edits that keep all state: "steps" puts stateless steps before and behind the keyed ones, "wide" widens a field and adds one that may be null, in the records
// and in the state, and "config" changes an option of a sink.
type counting struct {
	out   string
	rate  float64
	edits []string
}

func init() {
	Register("counting", func(_ context.Context, p map[string]string) (*adf.Flow, error) {
		rate, err := strconv.ParseFloat(p["rate"], 64)
		return counting{p["out"], rate, strings.Fields(p["edits"])}.flow(), err
	})
}

func (c counting) params() map[string]string {
	return map[string]string{"out": c.out, "edits": strings.Join(c.edits, " "), "rate": fmt.Sprint(c.rate)}
}

// What the generator deals its numbers to, how many keys they have, and how many of a key make a line of its count.
const (
	dealt   = 4
	keys    = 10
	hundred = 100
)

type (
	// narrow and wide are what is counted, and the state of a count, before and after an edit.
	narrow struct {
		Key string `adf:"key"`
		One int32  `adf:"one"`
	}
	wide struct {
		Key  string  `adf:"key"`
		One  int64   `adf:"one"`
		Note *string `adf:"note"`
	}
	narrowSum struct {
		Count int32 `adf:"count"`
	}
	wideSum struct {
		Count int64  `adf:"count"`
		Last  *int64 `adf:"last"`
	}
	// counted is a window, or a hundred of a key.
	counted struct {
		Key   string `adf:"key"`
		Start int64  `adf:"start"`
		Count int64  `adf:"count"`
	}
	large struct {
		N    int64  `adf:"n"`
		Text string `adf:"text"`
	}
)

func (c counting) flow() *adf.Flow {
	f := adf.New("counting")
	all := adf.From(f, "numbers", &generate.Source[numbered]{
		Rate: c.rate, Splits: dealt, Make: func(n int64) numbered { return numbered{n, time.UnixMilli(n)} },
	}).EventTime(func(x numbered) time.Time { return x.At }, time.Second)
	kept := &file.Sink[justN]{Path: c.out + "/at/kept", Format: "jsonl"}
	if slices.Contains(c.edits, "config") {
		kept.RollSize = 1 << 20
	}
	adf.Map(all, "number", func(x numbered) (justN, error) { return justN{x.N}, nil }).To("kept", kept)
	key := func(n int64) string { return fmt.Sprintf("k%d", n%keys) }
	if slices.Contains(c.edits, "steps") {
		all = all.Filter("every", func(numbered) bool { return true })
	}
	if slices.Contains(c.edits, "wide") {
		count(c, adf.Map(all, "read", func(x numbered) (wide, error) { return wide{key(x.N), 1, nil}, nil }), func(m wide) string { return m.Key },
			func(a *wideSum, m wide) int64 {
				a.Count, a.Last = a.Count+m.One, &m.One
				return a.Count
			})
	} else {
		count(c, adf.Map(all, "read", func(x numbered) (narrow, error) { return narrow{key(x.N), 1}, nil }), func(m narrow) string { return m.Key },
			func(a *narrowSum, m narrow) int64 {
				a.Count += m.One
				return int64(a.Count)
			})
	}
	text := strings.Repeat("large", 60_000)
	adf.From(f, "large", &generate.Source[large]{Rate: 4, Splits: 1, Make: func(n int64) large { return large{n, text} }}).
		To("spilled", &file.Sink[large]{Path: c.out + "/at/spilled", Format: "jsonl"})
	adf.Map(adf.From(f, "pace", &generate.Source[justN]{Rate: 2, Splits: 1, Make: func(n int64) justN { return justN{n} }}), "slowly",
		func(x justN) (justN, error) {
			time.Sleep(rand.N(500 * time.Millisecond))
			return x, nil
		}).To("nowhere", &discard.Sink[justN]{})
	return f
}

// count counts in windows and for good, with a state of one form or another.
func count[M, A any](c counting, read adf.Stream[M], key func(M) string, add func(*A, M) int64) {
	after := func(s adf.Stream[counted], name string) adf.Stream[counted] {
		if slices.Contains(c.edits, "steps") {
			s = adf.Map(s, name+"_again", func(x counted) (counted, error) { return x, nil })
		}
		return s
	}
	windows := adf.Aggregate(adf.KeyBy(read, key).Window(adf.Tumbling(time.Second)), "count", inWindows[M, A]{add})
	after(windows.Stream, "windows").To("windows", &file.Sink[counted]{Path: c.out + "/at/windows", Format: "jsonl"})
	totals := adf.Process(adf.KeyBy(read, key), "total", 0, func() operators.Processor[M, string, counted] {
		return &total[M, A]{sum: state.NewValue[A]("sum", 0), add: add}
	})
	after(totals, "totals").To("totals", &file.Sink[counted]{Path: c.out + "/at/totals", Format: "jsonl"})
}

// inWindows counts what a window has of a key.
type inWindows[M, A any] struct{ add func(*A, M) int64 }

func (w inWindows[M, A]) New() (a A)    { return a }
func (w inWindows[M, A]) Add(a *A, m M) { w.add(a, m) }
func (w inWindows[M, A]) Merge(a *A, o A) {
	switch a := any(a).(type) {
	case *narrowSum:
		a.Count += any(o).(narrowSum).Count
	case *wideSum:
		a.Count += any(o).(wideSum).Count
	}
}

func (w inWindows[M, A]) Result(k string, span operators.Span, a A) counted {
	n := int64(0)
	switch a := any(a).(type) {
	case narrowSum:
		n = int64(a.Count)
	case wideSum:
		n = a.Count
	}
	return counted{k, span.Start, n}
}

// total counts what there is of a key, and tells each hundred.
type total[M, A any] struct {
	sum *state.Value[A]
	add func(*A, M) int64
}

func (p *total[M, A]) State() []state.Cell                             { return []state.Cell{p.sum} }
func (p *total[M, A]) Open(context.Context, operators.OpContext) error { return nil }
func (p *total[M, A]) Close() error                                    { return nil }
func (p *total[M, A]) OnTimer(context.Context, string, operators.Timer, *operators.Ctx[counted]) error {
	return nil
}
func (p *total[M, A]) Process(_ context.Context, key string, m M, _ record.Meta, out *operators.Ctx[counted]) error {
	sum, _ := p.sum.Get(out)
	n := p.add(&sum, m)
	p.sum.Set(out, sum)
	if n%hundred == 0 {
		out.Emit(counted{Key: key, Count: n})
	}
	return nil
}

// target makes the directory that the flow writes to. It lies behind a link, as a disk that is mounted there: [counting.outage] takes it away.
func (c counting) target(t *testing.T) {
	t.Helper()
	if err := os.Mkdir(c.out+"/disk", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("disk", c.out+"/at"); err != nil {
		t.Fatal(err)
	}
}

// outage takes the target away for a while: nothing below it can be read or written, and it can not be made.
func (c counting) outage(t *testing.T, d time.Duration) {
	t.Helper()
	if err := os.Rename(c.out+"/disk", c.out+"/away"); err != nil {
		t.Fatal(err)
	}
	time.Sleep(d)
	if err := os.Rename(c.out+"/away", c.out+"/disk"); err != nil {
		t.Fatal(err)
	}
}

// commits is how many files the sink of the numbers has.
func (c counting) commits() int {
	files, _ := filepath.Glob(c.out + "/disk/kept/*.jsonl")
	return len(files)
}

// outputFile is a file of a sink, whose name is part-RUN-SHARD-SEQ-N.
type outputFile struct {
	run, shard string
	seq        int64
	path       string
}

// files are those of a sink, of each shard in the order of their commits; the shards of a run are together, the runs in no order.
func (c counting) files(t *testing.T, sink string) []outputFile {
	t.Helper()
	paths, err := filepath.Glob(c.out + "/at/" + sink + "/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	all := make([]outputFile, len(paths))
	for i, path := range paths {
		parts := strings.Split(strings.TrimSuffix(filepath.Base(path), ".jsonl"), "-")
		seq, err := strconv.ParseInt(parts[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = outputFile{parts[1], parts[2], seq, path}
	}
	slices.SortFunc(all, func(a, b outputFile) int {
		return cmp.Or(cmp.Compare(a.run, b.run), cmp.Compare(a.shard, b.shard), cmp.Compare(a.seq, b.seq), cmp.Compare(a.path, b.path))
	})
	return all
}

// eachLine calls do for each line of a file.
func eachLine[T any](t *testing.T, path string, do func(T)) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		do(v)
	}
}

// span is what one run has given of one split.
type span struct{ first, last int64 }

// check looks at all that the flow has written, in any number of runs: each number is there once and in the order of its split, windows are whole, counts go on from
// where they were, and the sinks' manifests follow one another. It gives the last number of each split.
func (c counting) check(t *testing.T) (last [dealt]int64) {
	t.Helper()
	for _, sink := range []struct {
		name   string
		splits int64
	}{{"kept", dealt}, {"spilled", 1}} {
		spans := map[string]map[int64]span{} // by run and split
		n := int64(0)
		for _, f := range c.files(t, sink.name) {
			of := spans[f.run]
			if of == nil {
				of = map[int64]span{}
				spans[f.run] = of
			}
			eachLine(t, f.path, func(x justN) {
				split := x.N % sink.splits
				s, there := of[split]
				if !there {
					s = span{x.N, x.N - sink.splits}
				}
				if x.N != s.last+sink.splits {
					t.Errorf("%s: run %s, split %d: %d comes behind %d, in %s", sink.name, f.run, split, x.N, s.last, f.path)
				}
				s.last = x.N
				of[split] = s
				n++
			})
		}
		for split := range sink.splits {
			var all []span
			for _, of := range spans {
				if s, there := of[split]; there {
					all = append(all, s)
				}
			}
			slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first, b.first) })
			next := split
			for _, s := range all {
				if s.first != next {
					t.Errorf("%s: split %d: a run begins with %d, want %d", sink.name, split, s.first, next)
				}
				next = s.last + sink.splits
			}
			if sink.splits == dealt {
				last[split] = next - dealt
			}
		}
		t.Logf("%s: %d records of %d runs", sink.name, n, len(spans))
	}
	c.checkCounts(t, "windows", func(w counted) int64 { return w.Start / 1000 }, func(w counted) bool { return w.Count == 1000/keys })
	c.checkCounts(t, "totals", func(w counted) int64 { return w.Count/hundred - 1 }, func(w counted) bool { return w.Count%hundred == 0 })
	for _, sink := range []string{"kept", "spilled", "windows", "totals"} {
		c.checkManifests(t, sink)
	}
	return last
}

// checkCounts: of each key the results number 0 to the last are there, once and right.
func (c counting) checkCounts(t *testing.T, sink string, number func(counted) int64, right func(counted) bool) {
	t.Helper()
	seen := map[string]map[int64]bool{}
	for _, f := range c.files(t, sink) {
		eachLine(t, f.path, func(w counted) {
			of := seen[w.Key]
			if of == nil {
				of = map[int64]bool{}
				seen[w.Key] = of
			}
			if n := number(w); of[n] || !right(w) {
				t.Errorf("%s: got %+v, twice: %v", sink, w, of[n])
			}
			of[number(w)] = true
		})
	}
	if len(seen) != keys {
		t.Errorf("%s: got %d keys, want %d", sink, len(seen), keys)
	}
	least, most := int64(1<<62), int64(0)
	for key, of := range seen {
		for n := range int64(len(of)) {
			if !of[n] {
				t.Errorf("%s: the result number %d of %s is missing, of %d", sink, n, key, len(of))
				break
			}
		}
		least, most = min(least, int64(len(of))), max(most, int64(len(of)))
	}
	if most-least > 20 { // a bucket can be ahead of others by what is under way
		t.Errorf("%s: one key has %d results, another %d", sink, least, most)
	}
	t.Logf("%s: %d results of each key", sink, least)
}

// checkManifests: the manifests that a shard has kept follow one another, and nothing is visible behind the last.
func (c counting) checkManifests(t *testing.T, sink string) {
	t.Helper()
	shards, _ := filepath.Glob(c.out + "/at/" + sink + "/.adf/progress/*")
	if len(shards) == 0 {
		t.Errorf("%s: there are no manifests", sink)
	}
	newest := map[string]int64{}
	for _, f := range c.files(t, sink) {
		newest[f.run+"-"+f.shard] = f.seq
	}
	for _, shard := range shards {
		paths, _ := filepath.Glob(shard + "/*")
		before, newest := int64(-1), newest[filepath.Base(shard)]
		for i, path := range paths {
			var m struct {
				From, To int64
				Files    []any
			}
			if content, err := os.ReadFile(path); err != nil {
				t.Fatal(err)
			} else if err := json.Unmarshal(content, &m); err != nil {
				t.Fatal(err)
			}
			if m.To < m.From || i > 0 && m.From != before+1 {
				t.Errorf("%s: a manifest from %d to %d comes behind %d", path, m.From, m.To, before)
			}
			before = m.To
			if last := i == len(paths)-1; last && (len(m.Files) > 0 && newest != m.From || newest > m.From) {
				t.Errorf("%s: the last manifest begins with %d, the last file with %d", path, m.From, newest)
			}
		}
	}
}
