package splittest

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/splits"
)

// patience is how long nothing may happen before a check fails; a variable for the tests of the suite itself.
var patience = 10 * time.Second

// world is a small runtime: one enumerator, some lanes, everything in one goroutine, one step at a time.
type world struct {
	tb     TB
	src    splits.Any
	o      options
	ctx    context.Context
	cancel context.CancelFunc
	enum   splits.AnyEnumerator
	lanes  []*lane // by id
	tasks  []*task
	log    log
	// assigned are the splits that lanes have: as the last acknowledged snapshot had them, or as they were assigned.
	assigned map[string]*held
	order    []string // ids in the order of their assignment
}

type options struct {
	// parallelism is the number of lanes; 0 for a world without an enumerator, whose lanes get their splits from the check.
	parallelism int
	// push grants every lane credit without being asked; else the readers' requests are the credit.
	push bool
	// hold keeps NoMoreSplits back until no other lane has splits, as a runtime must whose readers die alone.
	hold bool
	// late lanes are registered later, by the check.
	late []int
	// mangle overwrites an emptied batch.
	mangle func(record.Any)
}

type lane struct {
	w       *world
	id      int
	reader  splits.AnyReader
	batch   record.Any
	credits int
	inbox   []splits.Envelope
	noMore  bool // signalled by the enumerator
	told    bool // passed on
	ended   bool
	idle    bool // the last poll found nothing
	frozen  bool // not polled, by the check
	has     map[string]bool
}

type held struct {
	lane *lane
	env  splits.Envelope
	read int // records of it that had been read then
}

type task struct {
	period time.Duration
	work   func(context.Context) func() error
	ran    time.Time
}

func newWorld(tb TB, src splits.Any, o options, saved *saved) *world {
	tb.Helper()
	w := &world{tb: tb, src: src, o: o, log: log{}, assigned: map[string]*held{}, lanes: make([]*lane, o.parallelism)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	tb.Cleanup(w.close)
	if o.parallelism == 0 {
		return w
	}
	var state *splits.State
	if saved != nil {
		state = &saved.enum
		w.log = saved.log.clone()
	}
	enum, err := src.NewEnumerator(w.ctx, (*enumContext)(w), state)
	w.must("make the enumerator", err)
	w.enum = enum
	w.must("start the enumerator", enum.Start(w.ctx))
	for id := range o.parallelism {
		if !slices.Contains(o.late, id) {
			w.register(id)
		}
	}
	if saved != nil {
		for i, env := range saved.splits {
			w.give(w.lanes[i%o.parallelism], env)
		}
	}
	return w
}

// must ends the check when err is set.
func (w *world) must(doing string, err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatalf("%s: %v", doing, err)
	}
}

func (w *world) register(id int) {
	w.tb.Helper()
	l := &lane{w: w, id: id, batch: w.src.Codec().NewBatch(), has: map[string]bool{}}
	r, err := w.src.NewReader(w.ctx, l)
	w.must("make a reader", err)
	l.reader = r
	w.lanes[id] = l
	w.must("start a reader", r.Start(w.ctx))
	w.must("add a reader", w.enum.AddReader(w.ctx, id))
}

// The lane is the reader's context.

func (l *lane) Index() int { return l.id }

func (l *lane) RequestSplit() {
	if !l.w.o.push {
		l.credits++
	}
}

// enumContext is the world as its enumerator sees it.
type enumContext world

func (c *enumContext) Parallelism() int { return c.o.parallelism }

func (c *enumContext) Readers() []int {
	var ids []int
	for id, l := range c.lanes {
		if l != nil {
			ids = append(ids, id)
		}
	}
	return ids
}

func (c *enumContext) Assign(reader int, assigned ...splits.Envelope) {
	w := (*world)(c)
	if reader < 0 || reader >= len(w.lanes) || w.lanes[reader] == nil {
		w.tb.Errorf("the enumerator assigned to reader %d, which is not registered", reader)
		return
	}
	for _, env := range assigned {
		w.order = append(w.order, env.ID)
		w.give(w.lanes[reader], env)
	}
}

func (c *enumContext) NoMoreSplits(reader int) {
	w := (*world)(c)
	if reader < 0 || reader >= len(w.lanes) || w.lanes[reader] == nil {
		w.tb.Errorf("the enumerator signalled NoMoreSplits to reader %d, which is not registered", reader)
		return
	}
	w.lanes[reader].noMore = true
}

func (c *enumContext) Every(period time.Duration, work func(context.Context) func() error) {
	c.tasks = append(c.tasks, &task{period: period, work: work})
}

// give puts a split into a lane's inbox.
func (w *world) give(l *lane, env splits.Envelope) {
	if h := w.assigned[env.ID]; h != nil {
		w.tb.Errorf("the split %q was assigned to reader %d while reader %d had it", env.ID, l.id, h.lane.id)
		return
	}
	if l.told {
		w.tb.Errorf("the split %q was assigned to reader %d after NoMoreSplits", env.ID, l.id)
	}
	w.assigned[env.ID] = &held{l, env, len(w.log[env.ID])}
	l.inbox = append(l.inbox, env)
}

// step lets everything happen that can happen now, polls every lane at most once, and says whether anything was read or assigned.
func (w *world) step() (progress bool) {
	w.tb.Helper()
	for _, t := range w.tasks {
		if t.ran.IsZero() || t.period > 0 && time.Since(t.ran) > min(t.period, 50*time.Millisecond) {
			t.ran = time.Now()
			w.must("discover", t.work(w.ctx)())
		}
	}
	for _, l := range w.live() {
		if w.enum == nil {
			l.credits = 0
		} else if w.o.push && !l.noMore {
			l.credits++
		}
		for ; l.credits > 0; l.credits-- {
			w.must("request a split", w.enum.HandleSplitRequest(w.ctx, l.id))
		}
	}
	for _, l := range w.live() {
		progress = w.deliver(l) || progress
	}
	for _, l := range w.live() {
		if !l.ended && !l.frozen {
			progress = w.poll(l) || progress
		}
	}
	return progress
}

// advance steps, and waits a moment for the readers when nothing happened.
func (w *world) advance() (progress bool) {
	w.tb.Helper()
	if progress = w.step(); !progress {
		w.wait()
	}
	return progress
}

// live are the lanes that are registered.
func (w *world) live() []*lane {
	return slices.DeleteFunc(slices.Clone(w.lanes), func(l *lane) bool { return l == nil })
}

// deliver hands a lane what the enumerator had for it.
func (w *world) deliver(l *lane) (news bool) {
	w.tb.Helper()
	if len(l.inbox) > 0 {
		in := l.inbox
		l.inbox = nil
		for _, env := range in {
			l.has[env.ID] = true
		}
		w.must("add splits", l.reader.AddSplits(in))
		l.idle, news = false, true
	}
	if l.noMore && !l.told && !(w.o.hold && w.othersHave(l)) {
		l.told = true
		l.reader.NoMoreSplits()
		l.idle, news = false, true
	}
	return news
}

func (w *world) othersHave(l *lane) bool {
	for _, h := range w.assigned {
		if h.lane != l {
			return true
		}
	}
	return false
}

func (w *world) poll(l *lane) (news bool) {
	w.tb.Helper()
	if l.idle {
		select {
		case <-l.reader.Ready():
		default:
			return false
		}
	}
	l.batch.Reset()
	if w.o.mangle != nil {
		w.o.mangle(l.batch)
	}
	status := w.pollInto(l, l.batch)
	return status != splits.Nothing
}

// pollInto polls one batch, checks it and writes it down.
func (w *world) pollInto(l *lane, b record.Any) splits.Status {
	w.tb.Helper()
	began := time.Now()
	status, err := l.reader.Poll(b)
	if took := time.Since(began); took > time.Second {
		w.tb.Errorf("a poll blocked for %v", took.Round(time.Millisecond))
	}
	w.must("poll", err)
	n := b.Len() + len(b.Rejections())
	if b.Len() != len(b.Meta()) {
		w.tb.Fatalf("a batch has %d values and %d metas, want as many", b.Len(), len(b.Meta()))
	}
	if n > 0 {
		if status != splits.More {
			w.tb.Errorf("a poll with %d records gave status %d, want More", n, status)
		}
		if !l.has[b.SplitID()] {
			w.tb.Fatalf("reader %d gave records of the split %q, which it does not have", l.id, b.SplitID())
		}
		if err := w.log.add(w.src.Codec(), b); err != nil {
			w.tb.Errorf("%v", err)
		}
	}
	for _, id := range l.reader.Finished() {
		if !l.has[id] {
			w.tb.Errorf("reader %d finished the split %q, which it does not have", l.id, id)
		}
		delete(l.has, id)
	}
	l.idle = status == splits.Nothing
	if status == splits.End {
		if !l.told {
			w.tb.Errorf("reader %d is at its end and was not told NoMoreSplits", l.id)
		}
		if len(l.has) > 0 {
			w.tb.Errorf("reader %d is at its end and has not finished %d splits", l.id, len(l.has))
		}
		l.ended = true
	}
	return status
}

// until steps, and waits when nothing can be done, until over says so. With hold, lanes are acknowledged all the time.
func (w *world) until(over func() bool) {
	w.tb.Helper()
	deadline := time.Now().Add(patience)
	for n := 0; !over(); n++ {
		progress := w.advance()
		if w.o.hold && (n%4 == 3 || !progress) {
			for _, l := range w.live() {
				w.acknowledge(l)
			}
		}
		if progress {
			deadline = time.Now().Add(patience)
			continue
		}
		if time.Now().After(deadline) {
			w.tb.Fatalf("nothing was read for %v; %s", patience, w.standing())
		}
	}
}

// wait returns when a lane is ready, or after a moment.
func (w *world) wait() {
	moment := time.NewTimer(10 * time.Millisecond)
	defer moment.Stop()
	cases := []reflect.SelectCase{{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(moment.C)}}
	var waiting []*lane
	for _, l := range w.live() {
		if l.idle && !l.ended && !l.frozen {
			cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(l.reader.Ready())})
			waiting = append(waiting, l)
		}
	}
	if i, _, _ := reflect.Select(cases); i > 0 {
		waiting[i-1].idle = false
	}
}

// standing says what the lanes do, for messages.
func (w *world) standing() string {
	text := ""
	for _, l := range w.live() {
		text += " reader " + describe(l)
	}
	return text[min(1, len(text)):]
}

// ended says that every lane is at its end.
func (w *world) ended() bool {
	for _, l := range w.lanes {
		if l != nil && !l.ended && !l.frozen {
			return false
		}
	}
	return true
}

// covers is over when everything of ref has been read: at the readers' end for a bounded source.
func (w *world) covers(ref log) func() bool {
	if w.src.Boundedness() == splits.Bounded {
		return w.ended
	}
	return func() bool { return w.log.covers(ref) }
}

// saved is a checkpoint of a world: a consistent cut through everything.
type saved struct {
	enum   splits.State
	splits []splits.Envelope
	log    log
}

// save takes a checkpoint, as an engine does between two polls.
func (w *world) save() *saved {
	w.tb.Helper()
	s := &saved{log: w.log.clone()}
	for _, l := range w.live() {
		s.splits = append(s.splits, w.snapshot(l)...)
	}
	var err error
	s.enum, err = w.enum.Snapshot(w.ctx)
	w.must("snapshot the enumerator", err)
	return s
}

// snapshot takes a lane's splits, those in its inbox too.
func (w *world) snapshot(l *lane) []splits.Envelope {
	w.tb.Helper()
	envs, err := l.reader.Snapshot()
	w.must("snapshot a reader", err)
	ids := map[string]bool{}
	for _, env := range envs {
		if !l.has[env.ID] || ids[env.ID] {
			w.tb.Errorf("the snapshot of reader %d has the split %q, which is not its own, has ended, or is there twice", l.id, env.ID)
		}
		ids[env.ID] = true
	}
	for id := range l.has {
		if !ids[id] {
			w.tb.Errorf("the snapshot of reader %d lacks the split %q, which has not ended", l.id, id)
		}
	}
	return append(envs, l.inbox...)
}

// acknowledge makes a lane's snapshot part of a completed checkpoint.
func (w *world) acknowledge(l *lane) {
	w.tb.Helper()
	envs := w.snapshot(l)
	for id, h := range w.assigned {
		if h.lane == l {
			delete(w.assigned, id)
		}
	}
	for _, env := range envs {
		w.assigned[env.ID] = &held{l, env, len(w.log[env.ID])}
	}
	w.must("complete a checkpoint", l.reader.CheckpointComplete(w.ctx, envs))
}

// kill ends a lane as a crash does: what it read since it was last acknowledged is discarded, and its splits go back.
func (w *world) kill(l *lane) {
	w.tb.Helper()
	w.must("close a reader", l.reader.Close())
	w.lanes[l.id] = nil
	var back []splits.Envelope
	for id, h := range w.assigned {
		if h.lane == l {
			back = append(back, h.env)
			w.log[id] = w.log[id][:h.read]
			delete(w.assigned, id)
		}
	}
	slices.SortFunc(back, func(a, b splits.Envelope) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	w.must("give splits back", w.enum.AddSplitsBack(w.ctx, back, l.id))
	if w.o.hold {
		for _, o := range w.live() { // what they were answered holds no longer
			if o.noMore && !o.told {
				o.noMore = false
				o.credits++
			}
		}
	}
}

func (w *world) close() {
	for _, l := range w.live() {
		if err := l.reader.Close(); err != nil {
			w.tb.Errorf("close a reader: %v", err)
		}
	}
	w.lanes = nil
	if w.enum != nil {
		if err := w.enum.Close(); err != nil {
			w.tb.Errorf("close the enumerator: %v", err)
		}
		w.enum = nil
	}
	w.cancel()
}
