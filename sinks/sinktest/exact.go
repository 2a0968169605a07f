package sinktest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/sinks"
)

// Checks gives the parts of the suite for an exactly-once sink, to be run one by one.
func Checks[T, C any](h Harness[T, C]) []Check {
	checks := []Check{
		{"commit", h.commit},
		{"progress", h.progress},
		{"replay", h.replay},
		{"replay/partly", h.replayPartly},
		{"gap", h.gap},
		{"zombie/whole", h.zombieWhole},
		{"zombie/partly", h.zombiePartly},
		{"zombie/prepares late", h.zombiePreparesLate},
		{"race", h.race},
		{"runs", h.runs},
		{"shards", h.shards},
		{"many parts", h.manyParts},
		{"empty parts", h.emptyParts},
		{"abandoned", h.abandoned},
		{"broken parts", h.brokenParts},
		{"cancelled", h.cancelled},
	}
	for _, at := range stops {
		checks = append(checks, Check{"crash/" + at.name, func(tb TB) { h.crash(tb, at) }})
	}
	if h.Refused != nil {
		checks = append(checks, Check{"refused", h.refused})
	}
	return checks
}

// perPart is how many records a part has.
const perPart = 5

// shard0 is the shard of checks that need only one.
var shard0 = sinks.Shard{Flow: "flow", Node: "out", Run: "run-1", Shard: 0}

// process is a process that commits: it has a sink and a committer of its own.
type process[T, C any] struct {
	h    Harness[T, C]
	tb   TB
	sink sinks.Exact[T, C]
	// typed commits what a writer of this process has prepared; whole does what the runtime does.
	typed sinks.Committer[C]
	whole sinks.AnyCommitter
}

// start starts a process. It is never stopped, only left; what it holds is closed when the check is over.
func (h Harness[T, C]) start(tb TB, t Target[T, C]) *process[T, C] {
	tb.Helper()
	sink, err := t.Open()
	if err != nil {
		tb.Fatalf("open the sink: %v", err)
	}
	p := &process[T, C]{h: h, tb: tb, sink: sink}
	typed, err := sink.Committer(context.Background())
	if err != nil {
		tb.Fatalf("open a committer: %v", err)
	}
	p.typed = &committer[C]{Committer: typed}
	if p.whole, err = sinks.EraseExact(sink).NewCommitter(context.Background()); err != nil {
		tb.Fatalf("open a committer: %v", err)
	}
	tb.Cleanup(func() { _, _ = p.typed.Close(), p.whole.Close() })
	return p
}

// parts makes the parts from to to-1 of a shard: part n has the records n*perPart and the following ones, moved on by base.
func (p *process[T, C]) parts(base, from, to int) [][]byte {
	p.tb.Helper()
	e := p.sink.Encoder()
	var parts [][]byte
	for n := from; n < to; n++ {
		part, refused := encode(p.tb, p.h.Data, e, p.h.records(base+n*perPart, base+(n+1)*perPart))
		if len(refused) > 0 {
			p.tb.Fatalf("the encoder refused records %v of the harness' Record", refused)
		}
		parts = append(parts, part)
	}
	return parts
}

// seq gives parts as the runtime does: each is overwritten when the next one is asked for.
func seq(parts [][]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, p := range parts {
			lent := slices.Clone(p)
			more := yield(lent, nil)
			overwrite(lent)
			if !more {
				return
			}
		}
	}
}

func overwrite(b []byte) {
	for i := range b {
		b[i] = 0xAA
	}
}

// commit commits as the runtime does, and must succeed.
func (p *process[T, C]) commit(sh sinks.Shard, from int64, parts [][]byte) {
	p.tb.Helper()
	if err := p.whole.Commit(context.Background(), sh, from, seq(parts)); err != nil {
		p.tb.Fatalf("commit parts %d to %d: %v", from, from+int64(len(parts))-1, err)
	}
}

// open opens a writer; its Close is put off until the check is over.
func (p *process[T, C]) open(sh sinks.Shard, from int64) sinks.Writer[C] {
	p.tb.Helper()
	w, err := p.sink.Writer(context.Background(), sh, from)
	if err != nil {
		p.tb.Fatalf("open a writer at part %d: %v", from, err)
	}
	once := &writer[C]{Writer: w}
	p.tb.Cleanup(func() { _ = once.Close() })
	return once
}

// writer and committer are closed once, by a check or behind it.
type writer[C any] struct {
	sinks.Writer[C]
	closed bool
}

func (w *writer[C]) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	return w.Writer.Close()
}

type committer[C any] struct {
	sinks.Committer[C]
	closed bool
}

func (c *committer[C]) Close() error {
	if c.closed {
		return nil
	}
	c.closed = true
	return c.Committer.Close()
}

// write writes parts.
func (p *process[T, C]) write(w sinks.Writer[C], parts [][]byte) {
	p.tb.Helper()
	for _, part := range parts {
		if len(part) == 0 {
			continue
		}
		lent := slices.Clone(part)
		err := w.Write(context.Background(), lent)
		overwrite(lent)
		if err != nil {
			p.tb.Fatalf("write a part: %v", err)
		}
	}
}

// prepare does what comes before a commit, with a writer of its own.
func (p *process[T, C]) prepare(sh sinks.Shard, from int64, parts [][]byte) sinks.Committable[C] {
	p.tb.Helper()
	w := p.open(sh, from)
	p.write(w, parts)
	v, err := w.Prepare(context.Background())
	if err != nil {
		p.tb.Fatalf("prepare: %v", err)
	}
	return sinks.Committable[C]{Shard: sh, From: from, To: from + int64(len(parts)) - 1, Value: v}
}

// at checks the progress of a shard.
func (p *process[T, C]) at(sh sinks.Shard, want int64, when string) {
	p.tb.Helper()
	got, err := p.typed.Progress(context.Background(), sh)
	if err != nil {
		p.tb.Fatalf("%s: read the progress: %v", when, err)
	}
	if got != want {
		p.tb.Fatalf("%s: the progress of %s is %d, want %d", when, sh, got, want)
	}
}

// has checks that the target has the records of the first n parts, once each.
func (h Harness[T, C]) has(tb TB, t Target[T, C], n int, when string) {
	tb.Helper()
	h.expect(tb, t.Read, h.records(0, n*perPart), false, when)
}

// stop is a moment at which a process is killed.
type stop struct {
	name      string
	written   int  // parts written before it
	prepared  bool // and prepared
	committed bool // and committed
}

// stops are those of a commit of three parts.
var stops = []stop{
	{name: "writer open"},
	{name: "1 part written", written: 1},
	{name: "2 parts written", written: 2},
	{name: "3 parts written", written: 3},
	{name: "prepared", written: 3, prepared: true},
	{name: "committed", written: 3, prepared: true, committed: true},
}

// crash kills a process in its second commit; the next one repeats this commit, and goes on.
func (h Harness[T, C]) crash(tb TB, at stop) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 7)
	p.commit(shard0, 0, parts[:2])
	w := p.open(shard0, 2)
	p.write(w, parts[2:2+at.written])
	stands := 2
	if at.prepared {
		v, err := w.Prepare(context.Background())
		if err != nil {
			tb.Fatalf("prepare: %v", err)
		}
		if at.committed {
			if err := p.typed.Commit(context.Background(), sinks.Committable[C]{Shard: shard0, From: 2, To: 4, Value: v}); err != nil {
				tb.Fatalf("commit: %v", err)
			}
			stands = 5
		}
	}
	h.has(tb, t, stands, "after the crash")
	next := h.start(tb, t)
	next.at(shard0, int64(stands)-1, "after the crash")
	next.commit(shard0, 2, parts[2:5])
	h.has(tb, t, 5, "after the commit was repeated")
	next.commit(shard0, 5, parts[5:])
	h.has(tb, t, 7, "after the next commit")
	last := h.start(tb, t)
	last.at(shard0, 6, "at the end")
}

// commit makes three commits, one after the other.
func (h Harness[T, C]) commit(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 6)
	done := 0
	for _, n := range []int{1, 3, 2} {
		c := p.prepare(shard0, int64(done), parts[done:done+n])
		h.has(tb, t, done, "prepared and not committed")
		p.at(shard0, int64(done)-1, "prepared and not committed")
		if err := p.typed.Commit(context.Background(), c); err != nil {
			tb.Fatalf("commit: %v", err)
		}
		done += n
		h.has(tb, t, done, "after a commit")
		p.at(shard0, int64(done)-1, "after a commit")
	}
}

// progress asks for that of shards which are unknown, and of one that another process has committed.
func (h Harness[T, C]) progress(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	p.at(shard0, -1, "before the first commit")
	p.commit(shard0, 0, p.parts(0, 0, 3))
	h.start(tb, t).at(shard0, 2, "in another process")
	for _, other := range []sinks.Shard{
		{Flow: "flow", Node: "out", Run: "run-1", Shard: 1},
		{Flow: "flow", Node: "out", Run: "run-2", Shard: 0},
		{Flow: "flow", Node: "other", Run: "run-1", Shard: 0},
		{Flow: "other", Node: "out", Run: "run-1", Shard: 0},
	} {
		p.at(other, -1, "after a commit of another shard")
	}
}

// replay repeats commits that stand, in the same and in another process.
func (h Harness[T, C]) replay(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 5)
	p.commit(shard0, 0, parts[:3])
	p.commit(shard0, 3, parts[3:])
	for _, q := range []*process[T, C]{p, h.start(tb, t), h.start(tb, t)} {
		q.commit(shard0, 0, parts[:3])
		q.commit(shard0, 3, parts[3:])
		q.at(shard0, 4, "after a replay")
		h.has(tb, t, 5, "after a replay")
	}
	// The committer alone must know as well.
	q := h.start(tb, t)
	for range 2 {
		if err := q.typed.Commit(context.Background(), q.prepare(shard0, 3, parts[3:])); err != nil {
			tb.Fatalf("commit again: %v", err)
		}
		h.has(tb, t, 5, "after a committable was committed again")
	}
}

// replayPartly repeats a commit that stands, with more behind it.
func (h Harness[T, C]) replayPartly(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 6)
	p.commit(shard0, 0, parts[:3])
	p.commit(shard0, 1, parts[1:5])
	h.has(tb, t, 5, "after parts 1 to 4, of which 1 and 2 stood")
	h.start(tb, t).commit(shard0, 0, parts)
	h.has(tb, t, 6, "after parts 0 to 5, of which all but the last stood")
	p.at(shard0, 5, "at the end")
}

// gap leaves parts out.
func (h Harness[T, C]) gap(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 5)
	stands := 0
	refused := func(from, to int, when string) {
		tb.Helper()
		for name, err := range map[string]error{
			"the runtime's way": p.whole.Commit(context.Background(), shard0, int64(from), seq(parts[from:to])),
			"the committer":     p.typed.Commit(context.Background(), p.prepare(shard0, int64(from), parts[from:to])),
		} {
			var gap *sinks.GapError
			switch {
			case err == nil:
				tb.Fatalf("%s: %s committed part %d", when, name, from)
			case !errors.As(err, &gap):
				tb.Fatalf("%s: %s failed with %q, want a sinks.GapError: ask Committable.Due", when, name, err)
			case gap.Shard != shard0 || gap.Progress != int64(stands)-1 || gap.From != int64(from):
				tb.Fatalf("%s: %s: got %+v, want progress %d and from %d", when, name, *gap, stands-1, from)
			case fault.Retryable(err):
				tb.Fatalf("%s: %s: the error says that a retry helps: %v", when, name, err)
			}
		}
		p.at(shard0, int64(stands)-1, when)
		h.has(tb, t, stands, when)
	}
	refused(1, 2, "part 1 without part 0")
	p.commit(shard0, 0, parts[:2])
	stands = 2
	refused(3, 5, "part 3 behind part 1")
	p.commit(shard0, 2, parts[2:])
	h.has(tb, t, 5, "after what was missing came")
}

// zombieWhole commits late what another process has committed already, and more.
func (h Harness[T, C]) zombieWhole(tb TB) {
	t := h.New(tb)
	zombie := h.start(tb, t)
	parts := zombie.parts(0, 0, 4)
	w := zombie.open(shard0, 0)
	zombie.write(w, parts[:2])
	v, err := w.Prepare(context.Background())
	if err != nil {
		tb.Fatalf("prepare: %v", err)
	}
	p := h.start(tb, t)
	p.commit(shard0, 0, parts[:2])
	p.commit(shard0, 2, parts[2:])
	if err := zombie.typed.Commit(context.Background(), sinks.Committable[C]{Shard: shard0, From: 0, To: 1, Value: v}); err != nil {
		tb.Logf("the zombie's commit failed: %v", err) // it may: nobody listens to it
	}
	h.has(tb, t, 4, "after the zombie's commit")
	p.at(shard0, 3, "after the zombie's commit")
	_, _ = w.Close(), zombie.typed.Close()
	h.has(tb, t, 4, "after the zombie closed")
	h.start(tb, t).at(shard0, 3, "after the zombie closed")
}

// zombiePartly commits late what another process has committed a piece of.
func (h Harness[T, C]) zombiePartly(tb TB) {
	t := h.New(tb)
	zombie := h.start(tb, t)
	parts := zombie.parts(0, 0, 5)
	late := zombie.prepare(shard0, 0, parts)
	p := h.start(tb, t)
	p.commit(shard0, 0, parts[:3])
	if err := zombie.typed.Commit(context.Background(), late); err == nil {
		tb.Fatalf("parts 0 to 4 were committed, of which 0 to 2 stood: ask Committable.Due")
	}
	h.has(tb, t, 3, "after the zombie's commit")
	p.at(shard0, 2, "after the zombie's commit")
	// A process that is not dead prepares what is left.
	zombie.commit(shard0, 0, parts)
	h.has(tb, t, 5, "after it was repeated")
	p.at(shard0, 4, "after it was repeated")
}

// zombiePreparesLate writes and prepares while another process goes on.
func (h Harness[T, C]) zombiePreparesLate(tb TB) {
	t := h.New(tb)
	zombie, p := h.start(tb, t), h.start(tb, t)
	parts := zombie.parts(0, 0, 5)
	w := zombie.open(shard0, 0)
	zombie.write(w, parts[:1])
	p.commit(shard0, 0, parts[:3])
	zombie.write(w, parts[1:3])
	v, err := w.Prepare(context.Background())
	p.commit(shard0, 3, parts[3:])
	if err == nil {
		err = zombie.typed.Commit(context.Background(), sinks.Committable[C]{Shard: shard0, From: 0, To: 2, Value: v})
	}
	if err != nil {
		tb.Logf("the zombie failed: %v", err)
	}
	h.has(tb, t, 5, "after the zombie's commit")
	_ = w.Close()
	h.has(tb, t, 5, "after the zombie closed")
	p.at(shard0, 4, "at the end")
}

// race lets several processes commit the same at the same time, again and again.
func (h Harness[T, C]) race(tb TB) {
	const processes, rounds = 4, 6
	t := h.New(tb)
	var all []*process[T, C]
	for range processes {
		all = append(all, h.start(tb, t))
	}
	parts := all[0].parts(0, 0, 2*rounds)
	for r := range rounds {
		from := 2 * r
		var ready, done sync.WaitGroup
		errs := make([]error, processes)
		ready.Add(processes)
		for i, p := range all {
			c := p.prepare(shard0, int64(from), parts[from:from+2])
			done.Go(func() {
				ready.Done()
				ready.Wait()
				errs[i] = p.typed.Commit(context.Background(), c)
			})
		}
		done.Wait()
		for _, err := range errs {
			if err != nil && !fault.Retryable(err) {
				tb.Fatalf("round %d: one of %d equal commits failed for good: %v", r, processes, err)
			}
		}
		all[r%processes].commit(shard0, int64(from), parts[from:from+2]) // all may have failed
		h.has(tb, t, from+2, fmt.Sprintf("after round %d of %d processes", r, processes))
		all[0].at(shard0, int64(from)+1, "after a round")
	}
}

// runs has two runs with sequences of their own.
func (h Harness[T, C]) runs(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	other := shard0
	other.Run = "run-2"
	const base = 1000
	first, second := p.parts(0, 0, 3), p.parts(base, 0, 3)
	p.commit(shard0, 0, first[:2])
	p.commit(other, 0, second[:1])
	p.commit(other, 1, second[1:])
	p.commit(shard0, 2, first[2:])
	p.at(shard0, 2, "first run")
	p.at(other, 2, "second run")
	h.expect(tb, t.Read, append(h.records(0, 3*perPart), h.records(base, base+3*perPart)...), false, "after both runs")
	next := h.start(tb, t)
	next.commit(other, 0, second)
	next.commit(shard0, 0, first)
	h.expect(tb, t.Read, append(h.records(0, 3*perPart), h.records(base, base+3*perPart)...), false, "after replays of both runs")
}

// shards has several shards, nodes and flows at one target.
func (h Harness[T, C]) shards(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	all := []sinks.Shard{
		{Flow: "flow", Node: "out", Run: "run-1", Shard: 0},
		{Flow: "flow", Node: "out", Run: "run-1", Shard: 1},
		{Flow: "flow", Node: "out", Run: "run-1", Shard: 11},
		{Flow: "flow", Node: "out-2", Run: "run-1", Shard: 0},
		{Flow: "flow-2", Node: "out", Run: "run-1", Shard: 0},
	}
	var want []T
	for step := range 3 {
		for i, sh := range all {
			base := (i + 1) * 100
			p.commit(sh, int64(step), p.parts(base, step, step+1))
			want = append(want, h.records(base+step*perPart, base+(step+1)*perPart)...)
		}
		h.expect(tb, t.Read, want, false, "after a commit of each shard")
	}
	next := h.start(tb, t)
	for i, sh := range all {
		next.at(sh, 2, "in another process")
		next.commit(sh, 0, next.parts((i+1)*100, 0, 3))
	}
	h.expect(tb, t.Read, want, false, "after a replay of each shard")
}

// manyParts commits many parts at once.
func (h Harness[T, C]) manyParts(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 301)
	p.commit(shard0, 0, parts[:1])
	p.commit(shard0, 1, parts[1:])
	h.has(tb, t, 301, "after 300 parts")
	p.at(shard0, 300, "after 300 parts")
}

// emptyParts commits parts that move only the progress.
func (h Harness[T, C]) emptyParts(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 3)
	p.commit(shard0, 0, [][]byte{nil})
	p.at(shard0, 0, "after an empty part alone")
	h.has(tb, t, 0, "after an empty part alone")
	p.commit(shard0, 1, [][]byte{parts[0], nil, {}, parts[1]})
	p.at(shard0, 4, "after empty parts between others")
	h.has(tb, t, 2, "after empty parts between others")
	p.commit(shard0, 5, [][]byte{nil, nil})
	next := h.start(tb, t)
	next.at(shard0, 6, "after two empty parts")
	next.commit(shard0, 5, [][]byte{nil, nil})
	next.at(shard0, 6, "after two empty parts again")
	// One that closes the sequence of an older run: what that run still commits under this number is not wanted any more.
	late := p.prepare(shard0, 7, parts[2:])
	next.commit(shard0, 7, [][]byte{nil})
	if err := p.typed.Commit(context.Background(), late); err != nil {
		tb.Logf("the late commit failed: %v", err)
	}
	h.has(tb, t, 2, "after a late commit to a closed sequence")
	next.at(shard0, 7, "after a late commit to a closed sequence")
}

// abandoned closes writers that did not come to a commit.
func (h Harness[T, C]) abandoned(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 2)
	w := p.open(shard0, 0)
	p.write(w, parts)
	if err := w.Close(); err != nil {
		tb.Fatalf("close a writer before Prepare: %v", err)
	}
	h.has(tb, t, 0, "after a writer was closed before Prepare")
	p.at(shard0, -1, "after a writer was closed before Prepare")
	if err := p.open(shard0, 0).Close(); err != nil {
		tb.Fatalf("close a writer without parts: %v", err)
	}
	p.commit(shard0, 0, parts)
	h.has(tb, t, 2, "after the commit")
}

// brokenParts lets the runtime fail to read a part.
func (h Harness[T, C]) brokenParts(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 3)
	broken := errors.New("the part can not be read")
	err := p.whole.Commit(context.Background(), shard0, 0, func(yield func([]byte, error) bool) {
		if yield(slices.Clone(parts[0]), nil) {
			yield(nil, broken)
		}
	})
	if !errors.Is(err, broken) {
		tb.Fatalf("got error %v, want that of the part", err)
	}
	h.has(tb, t, 0, "after a part could not be read")
	p.at(shard0, -1, "after a part could not be read")
	p.commit(shard0, 0, parts)
	h.has(tb, t, 3, "after the commit was repeated")
}

// cancelled commits with a context that is over: it may succeed or fail, but not by half.
func (h Harness[T, C]) cancelled(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	parts := p.parts(0, 0, 4)
	p.commit(shard0, 0, parts[:2])
	c := p.prepare(shard0, 2, parts[2:])
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	stands := 2
	if err := p.typed.Commit(ctx, c); err == nil {
		stands = 4
	}
	next := h.start(tb, t)
	got, err := next.typed.Progress(context.Background(), shard0)
	if err != nil {
		tb.Fatalf("read the progress: %v", err)
	}
	if got == 3 {
		stands = 4 // an error may come behind the commit
	}
	next.at(shard0, int64(stands)-1, "after a cancelled commit")
	h.has(tb, t, stands, "after a cancelled commit")
	next.commit(shard0, 2, parts[2:])
	h.has(tb, t, 4, "after the commit was repeated")
}

// refused gives the encoder a record that the target does not take, first, last and between others.
func (h Harness[T, C]) refused(tb TB) {
	t := h.New(tb)
	p := h.start(tb, t)
	good := h.records(0, 4)
	bad := *h.Refused
	part, refused := encode(tb, h.Data, p.sink.Encoder(), []T{bad, good[0], good[1], bad, good[2], bad, good[3], bad})
	if want := []int{0, 3, 5, 7}; !slices.Equal(refused, want) {
		tb.Fatalf("the encoder refused records %v of a part, want %v", refused, want)
	}
	none, refused := encode(tb, h.Data, p.sink.Encoder(), []T{bad})
	if want := []int{0}; !slices.Equal(refused, want) {
		tb.Fatalf("the encoder refused records %v of a part, want %v", refused, want)
	}
	p.commit(shard0, 0, [][]byte{part, none})
	h.expect(tb, t.Read, good, false, "after a commit of the others")
	p.at(shard0, 1, "after a commit of the others")
}
