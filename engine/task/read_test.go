package task_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/sinks"
)

// reading is a lane of a source that a test scripts.
type reading struct {
	*task.Read
	t   *testing.T
	src *script
	out *collect[note]
	now int64
}

func newReading(t *testing.T, endless, open bool, idle time.Duration) *reading {
	t.Helper()
	src, out := &script{endless: endless}, &collect[note]{}
	f := adf.New("reading")
	in := adf.From(f, "in", src).EventTime(when, time.Second)
	if idle > 0 {
		in = in.IdleAfter(idle)
	}
	in.To("out", out)
	return &reading{newRig(t, f).read("in", open), t, src, out, 1_000_000}
}

// poll gives the lane a poll's result, after a second.
func (r *reading) poll(p poll) {
	r.t.Helper()
	r.now += 1000
	r.src.reader.next = p
	if _, err := r.Read.Poll(r.t.Context(), r.now); err != nil {
		r.t.Fatal(err)
	}
}

func (r *reading) promises(what string, want int64) {
	r.t.Helper()
	if got := r.Watermark(r.now); got != want {
		r.t.Errorf("%s: got the watermark %d, want %d", what, got, want)
	}
}

func notes(times ...int64) []note {
	var all []note
	for i, t := range times {
		all = append(all, note{int64(i), "a", t})
	}
	return all
}

// A bounded lane promises nothing before it knows all its splits; then what the least of them promises; at the end that nothing comes.
func TestPromisesOfABoundedLane(t *testing.T) {
	r := newReading(t, false, false, 0)
	r.promises("without splits", record.NoTime)
	add(t, r.Read, memory.Split{N: 0}, memory.Split{N: 1})
	r.poll(poll{split: 0, notes: notes(10_000, 5_000, 20_000)})
	r.poll(poll{split: 1, notes: notes(50_000)})
	r.promises("more splits may come", record.NoTime)
	r.NoMoreSplits()
	r.promises("knowing all", 19_000)
	r.poll(poll{split: 0, notes: notes(30_000), done: true})
	r.promises("one split left", 49_000)
	r.poll(poll{split: 1, notes: notes(40_000), done: true})
	r.promises("at the end", record.MaxTime)
	var marks []int64
	for _, m := range r.out.metas {
		marks = append(marks, m.Watermark)
	}
	if got, want := texts(marks), "9000 9000 19000 49000 29000 49000"; got != want {
		t.Errorf("the records have the watermarks %s, want %s", got, want)
	}
}

// In a run that goes on later the end of the input is not the end of time.
func TestPromisesOfAnOpenLane(t *testing.T) {
	r := newReading(t, false, true, 0)
	add(t, r.Read, memory.Split{N: 0})
	r.NoMoreSplits()
	r.poll(poll{split: 0, notes: notes(10_000), done: true})
	r.promises("at the end of the input", 9_000)

	empty := newReading(t, false, true, 0)
	empty.NoMoreSplits()
	empty.promises("a lane that never had a split holds nobody back", record.MaxTime)

	later := newReading(t, false, true, 0)
	later.Promised(9_000)
	later.promises("what was promised before", 9_000)
	add(t, later.Read, memory.Split{N: 1})
	later.poll(poll{split: 1, notes: notes(3_000, 9_500, 20_000)})
	if got, want := later.out.metas[0].Watermark, int64(9_000); got != want {
		t.Errorf("the first record of a new split has the watermark %d, want %d: it is late", got, want)
	}
	if got, want := later.out.metas[2].Watermark, int64(19_000); got != want {
		t.Errorf("got %d, want %d", got, want)
	}
}

// An endless lane promises as it reads; a source may promise more than its records say; a split that comes later begins with the lane's promise.
func TestPromisesOfAnEndlessLane(t *testing.T) {
	r := newReading(t, true, false, 0)
	r.promises("without splits", record.NoTime)
	add(t, r.Read, memory.Split{N: 0})
	r.promises("before the first record", record.NoTime)
	r.poll(poll{split: 0, notes: notes(10_000)})
	r.promises("by its records", 9_000)
	r.poll(poll{split: 0, notes: notes(11_000), given: 30_000})
	r.promises("by its source", 30_000)
	r.poll(poll{split: 0, notes: notes(12_000)})
	r.promises("it does not go back", 30_000)
	states, err := r.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	add(t, r.Read, memory.Split{N: 1})
	r.promises("with a second split", 30_000)
	r.poll(poll{split: 1, notes: notes(1_000)})
	if got := r.out.metas[3].Watermark; got != 30_000 {
		t.Errorf("a record behind the lane's promise has the watermark %d, want 30000", got)
	}

	again := newReading(t, true, false, 0)
	if err := again.Add(states...); err != nil {
		t.Fatal(err)
	}
	again.promises("restored", 30_000)
	again.poll(poll{split: 0, notes: notes(12_000)})
	if m := again.out.metas[0]; m.Watermark != 30_000 || m.Position != 3 {
		t.Errorf("restored: got %+v, want the position 3 and the source's own promise 30000", m)
	}
}

// A split without records for a while follows the clock, and so does a lane without splits; one that was held up does not.
func TestPromisesOfIdleSplits(t *testing.T) {
	r := newReading(t, true, false, 4*time.Second)
	if !r.FollowsClock() {
		t.Error("it does not follow the clock")
	}
	for range 4 {
		r.poll(poll{})
		r.promises("a lane without splits, not yet idle", record.NoTime)
	}
	r.poll(poll{})
	r.promises("a lane without splits", r.now-1_000)
	promised := r.now - 1_000
	add(t, r.Read, memory.Split{N: 0}, memory.Split{N: 1})
	r.poll(poll{split: 0, notes: notes(r.now)})
	r.promises("splits that have just come", promised)
	for range 2 {
		r.poll(poll{split: 0, notes: notes(r.now + 1_000)})
	}
	r.promises("the other split is not yet idle", promised)
	r.poll(poll{split: 0, notes: notes(r.now + 1_000)})
	r.promises("the other split is idle", r.now-1_000)
	promised = r.now - 1_000
	r.poll(poll{split: 1, notes: notes(r.now + 1_000)})
	r.promises("it has come back", promised)
	r.now += 3_600_000 // held up by others, with records waiting
	r.poll(poll{split: 0, notes: notes(promised + 2_000)})
	r.promises("held up", promised+1_000)
}

func TestALaneWithoutEventTime(t *testing.T) {
	f := adf.New("timeless")
	src, out := &script{}, &collect[note]{}
	adf.From(f, "in", src).To("out", out)
	read := newRig(t, f).read("in", false)
	add(t, read, memory.Split{})
	src.reader.next = poll{notes: notes(5), given: 99}
	if _, err := read.Poll(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if m := out.metas[0]; m.Time != record.NoTime || m.Watermark != record.NoTime || read.Watermark(1) != record.NoTime || read.FollowsClock() {
		t.Errorf("got %+v and the watermark %d", m, read.Watermark(1))
	}
	src.reader.next = poll{done: true}
	read.NoMoreSplits()
	if _, err := read.Poll(t.Context(), 1); err != nil || read.Watermark(1) != record.MaxTime {
		t.Errorf("got the watermark %d, %v", read.Watermark(1), err)
	}
}

func malformed() []record.Rejection {
	return []record.Rejection{{Position: 7, Raw: []byte(`{"N":`), Err: &fault.SourceError{Detail: fault.Detail{
		Code: "test.json", Doing: "read row", At: "a.jsonl:3:6", Retry: fault.RetryNever, Err: errors.New("the text ends"),
	}}}}
}

// What a source can not decode is a dead letter when somebody reads those, with everything that is known of it.
func TestRejections(t *testing.T) {
	src, out, dead := &script{}, &collect[note]{}, &collect[sinks.DeadLetter]{}
	f := adf.New("rejecting")
	adf.From(f, "in", src).EventTime(when, 0).To("out", out)
	f.Errors().To("dead", dead)
	r := newRig(t, f)
	read := r.read("in", false)
	add(t, read, memory.Split{N: 3})
	src.reader.next = poll{split: 3, rejected: malformed()} // and nothing else
	if _, err := read.Poll(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	want := sinks.DeadLetter{
		Flow: "rejecting", Node: "in", Split: "3", Position: 7, Code: "test.json", Record: `{"N":`,
		Error: "source: read row: a.jsonl:3:6: the text ends [test.json]",
	}
	if len(dead.values) != 1 || dead.values[0] != want {
		t.Errorf("got %+v, want %+v", dead.values, want)
	}
	if n := r.counters["in"].Errors.Load(); n != 1 {
		t.Errorf("counted %d", n)
	}
	src.reader.next = poll{split: 3, notes: notes(1, 2), rejected: malformed()}
	if _, err := read.Poll(t.Context(), 1); err != nil || len(dead.values) != 2 || len(out.values) != 2 {
		t.Errorf("got %d letters and %d records, %v", len(dead.values), len(out.values), err)
	}
}

func TestRejectionsEndTheRun(t *testing.T) {
	src := &script{}
	f := adf.New("rejecting")
	adf.From(f, "in", src).To("out", &collect[note]{})
	read := newRig(t, f).read("in", false)
	add(t, read, memory.Split{})
	src.reader.next = poll{rejected: malformed()}
	_, err := read.Poll(t.Context(), 1)
	const want = "source: read record: source: read row: a.jsonl:3:6: the text ends [test.json] (flow rejecting, run run, node in) [record.failed]; " +
		"mend the input, or let such records go to in.errors with on_error: emit"
	if err == nil || err.Error() != want || fault.Retryable(err) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// A record without event time fails alone.
func TestRecordsWithoutTime(t *testing.T) {
	src, out, dead := &script{}, &collect[note]{}, &collect[sinks.DeadLetter]{}
	f := adf.New("timeless")
	in := adf.From(f, "in", src).EventTime(when, 0)
	in.To("out", out)
	in.Errors().To("dead", dead)
	r := newRig(t, f)
	set := r.graph.Node("in").Time.Set
	r.graph.Node("in").Time.Set = func(b record.Any, fail func(int, error)) error {
		err := set(b, fail)
		fail(1, errors.New("it has no time"))
		return err
	}
	read := r.read("in", false)
	add(t, read, memory.Split{})
	src.reader.next = poll{notes: notes(10, 20, 30)}
	if _, err := read.Poll(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if texts(out.values) != "{0 a 10} {2 a 30}" || len(dead.values) != 1 || !strings.Contains(dead.values[0].Record, `"N":1`) {
		t.Errorf("got %v and the letters %+v", out.values, dead.values)
	}
}
