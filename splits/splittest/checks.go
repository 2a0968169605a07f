package splittest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// input makes an input and its erased source.
func (h Harness[T, S]) input(tb TB) (Input[T, S], splits.Any) {
	tb.Helper()
	in := h.New(tb)
	c := h.Codec
	if c == nil {
		var err error
		if typed, ok := in.Source.(splits.Typed[T]); ok {
			c, err = typed.RecordCodec()
		} else {
			c, err = row.CodecOf[T]()
		}
		if err != nil {
			tb.Fatalf("codec of the records: %v", err)
		}
	}
	if in.Source.Boundedness() == splits.Unbounded && h.Enough == 0 {
		tb.Fatalf("the source is unbounded: the harness must say how many records are Enough")
	}
	return in, splits.Erase(in.Source, c)
}

// read reads an input undisturbed, by one reader: to its end, or until there are enough records.
func (h Harness[T, S]) read(tb TB, src splits.Any, enough int) log {
	tb.Helper()
	w := newWorld(tb, src, options{parallelism: 1}, nil)
	defer w.close()
	w.until(func() bool {
		return w.ended() || src.Boundedness() == splits.Unbounded && w.log.records() >= enough
	})
	if w.log.records() == 0 {
		tb.Fatalf("the input has no records")
	}
	return w.log
}

// same holds what was read against the reference; unbounded reads may differ in how far they came.
func same(tb TB, src splits.Any, doing string, got, ref log) {
	tb.Helper()
	unbounded := src.Boundedness() == splits.Unbounded
	if err := got.compare(ref, unbounded, src.Codec()); err != nil {
		tb.Errorf("%s: %v", doing, err)
	} else if unbounded && !got.covers(ref) {
		tb.Errorf("%s: not everything was read", doing)
	}
}

// modes are the ways in which a runtime may assign.
func modes(f func(push bool, parallelism int)) {
	for _, push := range []bool{false, true} {
		for p := 1; p <= 4; p++ {
			f(push, p)
		}
	}
}

// once: every record is read once, by one to four readers, under pull and push.
func (h Harness[T, S]) once(tb TB) {
	_, src := h.input(tb)
	ref := h.read(tb, src, h.Enough)
	if h.Want != nil {
		h.wanted(tb, src, ref)
	}
	modes(func(push bool, p int) {
		w := newWorld(tb, src, options{parallelism: p, push: push}, nil)
		defer w.close()
		w.until(w.covers(ref))
		same(tb, src, fmt.Sprintf("%d readers, push %t", p, push), w.log, ref)
	})
}

// wanted compares a read with the harness's records, as multisets.
func (h Harness[T, S]) wanted(tb TB, src splits.Any, ref log) {
	b := src.Codec().NewBatch().(*record.Batch[T])
	for _, v := range h.Want {
		b.Append(v, record.Meta{})
	}
	count := map[string]int{}
	for _, e := range entries(src.Codec(), b) {
		count[e.data]++
	}
	for id, es := range ref {
		for _, e := range es {
			if e.rejected {
				continue
			}
			if count[e.data]--; count[e.data] < 0 {
				tb.Errorf("split %q: got %s, which is not wanted, or not so often", id, e.show(src.Codec()))
				return
			}
		}
	}
	if src.Boundedness() == splits.Unbounded {
		return
	}
	for _, data := range slices.Sorted(maps.Keys(count)) {
		if count[data] > 0 {
			tb.Errorf("missing, %d times: %s", count[data], entry{data: data}.show(src.Codec()))
			return
		}
	}
}

// list assigns all splits without reading, and gives their envelopes by id, and the ids in order.
func list(tb TB, src splits.Any, o options) (map[string]splits.Envelope, []string) {
	w := newWorld(tb, src, o, nil)
	defer w.close()
	for _, l := range w.lanes {
		l.frozen = true
	}
	for quiet := 0; quiet < 20; quiet++ {
		if w.step() {
			quiet = 0
		}
	}
	envs := map[string]splits.Envelope{}
	for id, h := range w.assigned {
		envs[id] = h.env
	}
	return envs, w.order
}

// ids: split ids are unique and stable, whatever the parallelism, and their order is the same each time.
func (h Harness[T, S]) ids(tb TB) {
	_, src := h.input(tb)
	envs, order := list(tb, src, options{parallelism: 1, push: true})
	if len(order) != len(envs) || len(order) == 0 {
		tb.Fatalf("got %d assignments of %d splits", len(order), len(envs))
	}
	if slices.Contains(order, "") {
		tb.Errorf("a split has no id")
	}
	for p := 1; p <= 4; p++ {
		again, orderAgain := list(tb, src, options{parallelism: p, push: true})
		if p == 1 && !slices.Equal(order, orderAgain) {
			tb.Errorf("the order of assignment differs: %q, then %q", order, orderAgain)
		}
		if got, want := slices.Sorted(maps.Keys(again)), slices.Sorted(maps.Keys(envs)); !slices.Equal(got, want) {
			tb.Errorf("the split ids differ: with parallelism %d %q, with 1 %q", p, got, want)
		}
	}
	// The same id, read again, must give the same data.
	once, twice := h.read(tb, src, h.Enough), h.read(tb, src, h.Enough)
	if err := twice.compare(once, src.Boundedness() == splits.Unbounded, src.Codec()); err != nil {
		tb.Errorf("read a second time: %v", err)
	}
}

// codec: splits and snapshots survive encoding; other versions and nonsense are refused, not misread.
func (h Harness[T, S]) codec(tb TB) {
	in, src := h.input(tb)
	c := in.Source.Codec()
	if c.Version() <= 0 {
		tb.Errorf("the codec's version is %d, want at least 1", c.Version())
	}
	check := func(env splits.Envelope) {
		if env.Version != c.Version() {
			tb.Errorf("split %q is encoded as version %d, want %d", env.ID, env.Version, c.Version())
		}
		s, err := c.Decode(env.Version, env.Data)
		if err != nil {
			tb.Fatalf("decode split %q: %v", env.ID, err)
		}
		data, err := c.Encode(s)
		if err != nil || !bytes.Equal(data, env.Data) || s.SplitID() != env.ID {
			tb.Errorf("split %q changes when it is decoded and encoded: %q, %q, %v", env.ID, env.Data, data, err)
		}
		if _, err := c.Decode(c.Version()+1, env.Data); err == nil {
			tb.Errorf("split %q is decoded as version %d, which does not exist", env.ID, c.Version()+1)
		}
		for _, bad := range [][]byte{nil, env.Data[:len(env.Data)/2], []byte("\xff\xffnonsense")} {
			if len(bad) < len(env.Data) && len(env.Data) > 1 || bytes.HasPrefix(bad, []byte("\xff")) {
				_, _ = c.Decode(c.Version(), bad) // whatever it gives, it may not panic
			}
		}
	}
	envs, _ := list(tb, src, options{parallelism: 1, push: true})
	for _, env := range envs {
		check(env)
	}
	w := newWorld(tb, src, options{parallelism: 2}, nil)
	defer w.close()
	for range 5 {
		w.step()
		s := w.save()
		for _, env := range s.splits {
			check(env)
		}
		ec := (*enumContext)(w)
		if e, err := src.NewEnumerator(w.ctx, ec, &splits.State{Version: s.enum.Version + 1, Data: s.enum.Data}); err == nil {
			tb.Errorf("an enumerator takes a snapshot of version %d, which does not exist", s.enum.Version+1)
			_ = e.Close()
		}
	}
}

// readSplit makes a lane that reads one split, in a world without an enumerator.
func readSplit(tb TB, src splits.Any, env splits.Envelope, w *world) *lane {
	l := &lane{w: w, batch: src.Codec().NewBatch(), has: map[string]bool{env.ID: true}}
	r, err := src.NewReader(w.ctx, l)
	w.must("make a reader", err)
	l.reader = r
	w.must("start a reader", r.Start(w.ctx))
	w.must("add a split", r.AddSplits([]splits.Envelope{env}))
	r.NoMoreSplits()
	l.told = true
	return l
}

// next polls a lane until a batch or the end.
func (w *world) next(l *lane) (end bool) {
	w.tb.Helper()
	before := w.log.records()
	w.lanes = []*lane{l}
	w.until(func() bool { return l.ended || w.log.records() > before })
	return l.ended
}

// resumeBatches bounds how many batches are read behind each boundary, and resumeBoundaries how many boundaries of a split are tried.
const resumeBatches, resumeBoundaries = 3, 25

// resume: a split read from the position after any batch goes on with the next record.
func (h Harness[T, S]) resume(tb TB) {
	_, src := h.input(tb)
	ref := h.read(tb, src, h.Enough)
	envs, _ := list(tb, src, options{parallelism: 1, push: true})
	for _, id := range slices.Sorted(maps.Keys(ref)) {
		boundaries := []splits.Envelope{envs[id]}
		counts := []int{0}
		func() {
			w := newWorld(tb, src, options{}, nil)
			defer w.close()
			l := readSplit(tb, src, envs[id], w)
			for len(w.log[id]) < len(ref[id]) && !w.next(l) {
				for _, env := range w.snapshot(l) {
					boundaries = append(boundaries, env)
					counts = append(counts, len(w.log[id]))
				}
			}
		}()
		step := max(1, len(boundaries)/resumeBoundaries)
		for i := 0; i < len(boundaries); i += step {
			w := newWorld(tb, src, options{}, nil)
			l := readSplit(tb, src, boundaries[i], w)
			end := false
			for range resumeBatches {
				if end = counts[i]+len(w.log[id]) >= len(ref[id]) && src.Boundedness() == splits.Unbounded; end {
					break
				}
				if end = w.next(l); end {
					break
				}
			}
			want := ref[id][counts[i]:]
			got := w.log[id]
			if err := compare(got, want, !end || src.Boundedness() == splits.Unbounded, src.Codec()); err != nil {
				tb.Errorf("split %q, resumed behind record %d: %v", id, counts[i], err)
				w.close()
				return
			}
			w.close()
		}
	}
}

// restoreSteps bounds how many moments of a read are restored.
const restoreSteps = 24

// restore: from a checkpoint taken after any step, by any number of readers, all goes on exactly; what was read since is discarded.
func (h Harness[T, S]) restore(tb TB) {
	_, src := h.input(tb)
	ref := h.read(tb, src, h.Enough)
	for n := 0; n < restoreSteps; n++ {
		push := n%2 == 1
		w := newWorld(tb, src, options{parallelism: 1 + n%4, push: push}, nil)
		over := w.covers(ref)
		for range n {
			if !over() {
				w.advance()
			}
		}
		s := w.save()
		again := w.save() // a snapshot changes nothing
		if !bytes.Equal(s.enum.Data, again.enum.Data) || len(s.splits) != len(again.splits) {
			tb.Errorf("two snapshots without a step between them differ")
		}
		for range 2 { // lost
			w.step()
		}
		w.close()
		w = newWorld(tb, src, options{parallelism: 1 + n/4%4, push: !push}, s)
		w.until(w.covers(ref))
		same(tb, src, fmt.Sprintf("restored after step %d by %d readers instead of %d", n, 1+n/4%4, 1+n%4), w.log, ref)
		w.close()
	}
}

// backToSurvivors: when one reader dies for good, the others read what it had, also when everything had been assigned.
func (h Harness[T, S]) backToSurvivors(tb TB) {
	_, src := h.input(tb)
	ref := h.read(tb, src, h.Enough)
	for n := 0; n < 16; n++ {
		w := newWorld(tb, src, options{parallelism: 3, push: n%2 == 1, hold: true}, nil)
		victim := w.lanes[n%3]
		for range n / 2 {
			w.advance()
			if n%4 > 1 {
				w.acknowledge(victim)
			}
		}
		if n >= 8 { // the others come to their end first
			victim.frozen = true
			enough := 2 * ref.records()
			for quiet := 0; quiet < 3 && !w.othersIdle(victim) && w.log.records() < enough; {
				if w.advance() {
					quiet = 0
					continue
				}
				quiet++
				for _, l := range w.live() {
					w.acknowledge(l)
				}
			}
		}
		w.kill(victim)
		w.until(w.covers(ref))
		same(tb, src, fmt.Sprintf("reader %d of 3 killed after %d steps, push %t", n%3, n/2, n%2 == 1), w.log, ref)
		w.close()
	}
}

func (w *world) othersIdle(victim *lane) bool {
	for _, l := range w.live() {
		if l != victim && len(l.has) > 0 {
			return false
		}
	}
	return w.log.records() > 0
}

// backToRejoined: a reader that comes again under its id gets what it had, though the others have ended by then.
func (h Harness[T, S]) backToRejoined(tb TB) {
	_, src := h.input(tb)
	ref := h.read(tb, src, h.Enough)
	for n := 0; n < 8; n++ {
		w := newWorld(tb, src, options{parallelism: 2, push: n%2 == 1}, nil)
		victim := w.lanes[0]
		for i := range n / 2 {
			w.advance()
			if i%2 == 0 {
				w.acknowledge(victim)
			}
		}
		victim.frozen = true
		if src.Boundedness() == splits.Bounded {
			w.until(func() bool { return w.lanes[1].ended })
		}
		w.kill(victim)
		w.register(0)
		w.until(w.covers(ref))
		same(tb, src, fmt.Sprintf("reader 0 of 2 killed after %d steps and registered again, push %t", n/2, n%2 == 1), w.log, ref)
		w.close()
	}
}

// lateReader: a reader that registers when everything is assigned comes to its end too.
func (h Harness[T, S]) lateReader(tb TB) {
	_, src := h.input(tb)
	ref := h.read(tb, src, h.Enough)
	if src.Boundedness() == splits.Unbounded {
		return // there is no end
	}
	for _, push := range []bool{false, true} {
		w := newWorld(tb, src, options{parallelism: 2, push: push, late: []int{1}}, nil)
		for quiet := 0; quiet < 20 && !w.lanes[0].ended; quiet++ {
			if w.advance() {
				quiet = 0
			}
		}
		w.register(1)
		w.until(w.ended)
		same(tb, src, fmt.Sprintf("reader 1 of 2 registered late, push %t", push), w.log, ref)
		w.close()
	}
}

// keptBuffers: a batch does not change while the runtime has it, strings never change, and a batch given back is not read any more.
func (h Harness[T, S]) keptBuffers(tb TB) {
	_, src := h.input(tb)
	ref := h.read(tb, src, h.Enough)

	w := newWorld(tb, src, options{parallelism: 2, mangle: mangle[T]}, nil)
	w.until(w.covers(ref))
	same(tb, src, "batches overwritten when they are given back", w.log, ref)
	w.close()

	w = newWorld(tb, src, options{parallelism: 1}, nil)
	defer w.close()
	l := w.lanes[0]
	l.frozen = true
	type kept struct{ is, was string }
	var strs []kept
	batches := [3]record.Any{src.Codec().NewBatch(), src.Codec().NewBatch(), src.Codec().NewBatch()}
	var held [3][]entry
	over := w.covers(ref)
	for turn, idle := 0, 0; idle < 1000 && !l.ended && (src.Boundedness() == splits.Bounded || !over()); {
		w.step() // assigns; the lane is frozen
		i := turn % len(batches)
		if now := entries(src.Codec(), batches[i]); !slices.Equal(now, held[i]) {
			tb.Errorf("a batch of the split %q changed while the runtime had it", batches[i].SplitID())
			return
		}
		batches[i].Reset()
		held[i] = nil
		if w.pollInto(l, batches[i]) == splits.Nothing {
			idle++
			w.wait()
			continue
		}
		held[i] = entries(src.Codec(), batches[i])
		if len(strs) < 100_000 {
			for r := range batches[i].Len() {
				for _, v := range src.Codec().Values(nil, batches[i], r) {
					if s := v.Str(); s != "" {
						strs = append(strs, kept{s, strings.Clone(s)})
					}
				}
			}
		}
		turn++
	}
	for _, k := range strs {
		if k.is != k.was {
			tb.Errorf("a string that was handed out changed from %q to %q", k.was, k.is)
			return
		}
	}
}

// mangle overwrites the memory of an emptied batch that the runtime owns.
func mangle[T any](b record.Any) {
	batch := b.(*record.Batch[T])
	var zero T
	values := batch.Values[:cap(batch.Values)]
	for i := range values {
		values[i] = zero
	}
	metas := batch.Metas[:cap(batch.Metas)]
	for i := range metas {
		metas[i] = record.Meta{Time: -1, Watermark: -1, Position: -1}
	}
	rejected := batch.Rejected[:cap(batch.Rejected)]
	for i := range rejected {
		rejected[i] = record.Rejection{}
	}
}

// checkpointComplete: it comes at least once, for splits of another reader too, and disturbs nothing.
func (h Harness[T, S]) checkpointComplete(tb TB) {
	_, src := h.input(tb)
	ref := h.read(tb, src, h.Enough)
	w := newWorld(tb, src, options{parallelism: 2}, nil)
	defer w.close()
	over := w.covers(ref)
	var before []splits.Envelope
	for !over() {
		w.advance()
		s := w.save()
		for _, l := range w.live() {
			for range 2 {
				w.must("complete a checkpoint", l.reader.CheckpointComplete(w.ctx, s.splits))
			}
			w.must("complete an older checkpoint", l.reader.CheckpointComplete(w.ctx, before))
		}
		before = s.splits
	}
	same(tb, src, "checkpoints completed after each step", w.log, ref)
}

// close: a source that is closed, or whose context ends, at any moment leaves no goroutine.
func (h Harness[T, S]) close(tb TB) {
	before := goleak.IgnoreCurrent()
	for n := 0; n < 6; n++ {
		_, src := h.input(tb)
		w := newWorld(tb, src, options{parallelism: 2}, nil)
		for range n * n {
			w.advance()
		}
		if n%2 == 1 {
			w.cancel()
		}
		w.close()
	}
	if err := goleak.Find(before); err != nil {
		tb.Errorf("after Close: %v", err)
	}
}

// discovery: what is added later is found, by a source that is still being read or by one that is restored after its end, and
// nothing is read a second time.
func (h Harness[T, S]) discovery(tb TB) {
	in, src := h.input(tb)
	if in.Grow == nil {
		tb.Fatalf("the input has no Grow: set Fixed if it can not grow")
	}
	ref := h.read(tb, src, h.Enough)
	w := newWorld(tb, src, options{parallelism: 2, hold: true}, nil)
	w.until(w.covers(ref))
	s := w.save()
	more := in.Grow()
	if src.Boundedness() == splits.Unbounded { // without a restart
		w.until(func() bool { return w.log.records() >= ref.records()+more })
	}
	live := w.log.clone()
	w.close()

	whole := h.read(tb, src, h.Enough+more)
	if whole.records() < ref.records()+more && src.Boundedness() == splits.Bounded {
		tb.Errorf("got %d records of the grown input, want %d", whole.records(), ref.records()+more)
	}
	for id, es := range ref {
		if err := compare(whole[id], es, src.Boundedness() == splits.Unbounded, src.Codec()); err != nil {
			tb.Errorf("split %q stands for other data after the input has grown: %v", id, err)
		}
	}
	if src.Boundedness() == splits.Unbounded {
		same(tb, src, "grown while it was read", live, whole)
	}
	for _, push := range []bool{false, true} {
		w := newWorld(tb, src, options{parallelism: 2, push: push}, s)
		w.until(w.covers(whole))
		same(tb, src, "grown while it was not read", w.log, whole)
		w.close()
	}
}
