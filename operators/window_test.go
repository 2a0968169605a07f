package operators

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
)

const day = 24 * time.Hour

func ms(text string) int64 {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t.UnixMilli()
}

func TestWindowOf(t *testing.T) {
	for _, c := range []struct {
		name       string
		w          Window
		t          string
		start, end string
	}{
		{"first moment", Window{Size: day}, "2013-01-01T00:00:00Z", "2013-01-01T00:00:00Z", "2013-01-02T00:00:00Z"},
		{"last moment", Window{Size: day}, "2013-01-01T23:59:59.999Z", "2013-01-01T00:00:00Z", "2013-01-02T00:00:00Z"},
		{"leap day", Window{Size: day}, "2012-02-29T12:00:00Z", "2012-02-29T00:00:00Z", "2012-03-01T00:00:00Z"},
		{"day after a leap day", Window{Size: day}, "2012-03-01T00:00:00Z", "2012-03-01T00:00:00Z", "2012-03-02T00:00:00Z"},
		{"clocks go forward", Window{Size: day}, "2013-03-10T03:30:00-04:00", "2013-03-10T00:00:00Z", "2013-03-11T00:00:00Z"},
		{"local day by offset", Window{Size: day, Offset: 5 * time.Hour}, "2013-03-10T01:30:00-05:00", "2013-03-10T05:00:00Z", "2013-03-11T05:00:00Z"},
		{"the day of 23 hours has 24", Window{Size: day, Offset: 5 * time.Hour}, "2013-03-11T00:30:00-04:00", "2013-03-10T05:00:00Z", "2013-03-11T05:00:00Z"},
		{"an hour twice", Window{Size: time.Hour}, "2013-11-03T01:30:00-04:00", "2013-11-03T05:00:00Z", "2013-11-03T06:00:00Z"},
		{"an hour twice, second time", Window{Size: time.Hour}, "2013-11-03T01:30:00-05:00", "2013-11-03T06:00:00Z", "2013-11-03T07:00:00Z"},
		{"before the epoch", Window{Size: day}, "1969-12-31T23:59:59.999Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"},
		{"border before the epoch", Window{Size: day}, "1969-12-31T00:00:00Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z"},
		{"negative offset", Window{Size: day, Offset: -3 * time.Hour}, "2013-01-01T20:59:59.999Z", "2012-12-31T21:00:00Z", "2013-01-01T21:00:00Z"},
		{"negative offset, border", Window{Size: day, Offset: -3 * time.Hour}, "2013-01-01T21:00:00Z", "2013-01-01T21:00:00Z", "2013-01-02T21:00:00Z"},
		{"offset beyond the size", Window{Size: time.Hour, Offset: 25*time.Hour + 15*time.Minute}, "2013-01-01T00:14:59Z", "2012-12-31T23:15:00Z", "2013-01-01T00:15:00Z"},
		{"one millisecond", Window{Size: time.Millisecond}, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z", "1970-01-01T00:00:00Z"},
		{"weeks begin on Thursday", Window{Size: 7 * day}, "2013-01-02T23:00:00Z", "2012-12-27T00:00:00Z", "2013-01-03T00:00:00Z"},
		{"weeks from Monday", Window{Size: 7 * day, Offset: 4 * day}, "2013-01-06T23:00:00Z", "2012-12-31T00:00:00Z", "2013-01-07T00:00:00Z"},
	} {
		w, err := c.w.windows()
		if err != nil {
			t.Fatal(err)
		}
		start, err := w.of(ms(c.t))
		if got, want := w.span(start), (Span{ms(c.start), ms(c.end)}); err != nil || got != want {
			t.Errorf("%s: got %v (%v), want %v", c.name, got, err, want)
		}
	}
}

// TestWindowRange keeps times at the ends of int64 from wrapping around.
func TestWindowRange(t *testing.T) {
	w, err := Window{Size: math.MaxInt64 / 1_000_000 * 1_000_000, Lateness: math.MaxInt64 / 1_000_000 * 1_000_000, Offset: -1e6}.windows()
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{farthest, -farthest, 0} {
		start, err := w.of(at)
		if span := w.span(start); err != nil || span.Start > at || span.End <= at || w.due(start) < span.End || span.Start < math.MinInt64/1000 || span.End > math.MaxInt64/1000 {
			t.Errorf("%d: got %v (%v)", at, span, err)
		}
	}
	for at, want := range map[int64]string{
		record.NoTime:  "runtime: find the window: the record has no event time [window.no_time]; give the source a time, or take away the window",
		record.MaxTime: "runtime: find the window: got the event time 9223372036854775807 ms, want at most 4611686018427387 ms (about 146,000 years) from the epoch [window.time_range]",
		-farthest - 1:  "runtime: find the window: got the event time -4611686018427388 ms, want at most 4611686018427387 ms (about 146,000 years) from the epoch [window.time_range]",
	} {
		if _, err := w.of(at); err == nil || err.Error() != want || fault.Retryable(err) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestWindowErrors(t *testing.T) {
	for _, c := range []struct {
		w    Window
		want string
	}{
		{Window{Size: -day}, "window.size: got -24h0m0s, want a size of whole milliseconds above zero"},
		{Window{Size: time.Microsecond}, "window.size: got 1µs, want a size of whole milliseconds above zero"},
		{Window{Size: day, Lateness: -1, Offset: 1},
			"window.allowed_lateness: got -1ns, want whole milliseconds, not below zero\nwindow.offset: got 1ns, want whole milliseconds"},
		{Window{Lateness: time.Hour}, "window.size: got none, but an offset or an allowed lateness, want a size above zero: one window over everything has neither"},
	} {
		_, err := c.w.windows()
		var conf *fault.ConfigurationError
		if !errors.As(err, &conf) || err.Error() != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
}

// TestLate is the edge: a record is late when its own split has promised up to the end of the window and the allowed lateness.
func TestLate(t *testing.T) {
	in := schema(t, "k string, v int64")
	step, err := AggregateRows(in, []Assign{{"k", "k"}}, Window{Size: 100 * time.Millisecond, Lateness: 50 * time.Millisecond}, []Assign{{"n", "count()"}})
	if err != nil {
		t.Fatal(err)
	}
	if step.OutputDelay() != 50 || !step.EventTime() || step.OrderDependent() {
		t.Errorf("got %d, %v, %v", step.OutputDelay(), step.EventTime(), step.OrderDependent())
	}
	r := newRig(t, step, 1, 4, false)
	r.add(0, rows(t, in, "s",
		`{"k":"a", "v":1, "t":0, "w":149}`,
		`{"k":"a", "v":2, "t":0, "w":150}`,
		`{"k":"a", "v":3, "t":99, "w":149}`,
		`{"k":"a", "v":4, "t":99, "w":150}`,
		`{"k":"a", "v":5, "t":100, "w":150}`,
		`{"k":"a", "v":6, "t":-1, "w":49}`,
		`{"k":"a", "v":7, "t":-1, "w":50}`,
		`{"k":"a", "v":8}`,
		`{"k":"a", "v":9, "t":150, "w":9223372036854775807}`,
	))
	r.flush(0)
	r.advance(149, 0)
	r.want(`-1 {"k":"a","window_start":"1969-12-31T23:59:59.900000Z","window_end":"1970-01-01T00:00:00Z","n":1}`)
	r.advance(150, 0)
	r.advance(record.MaxTime, 0)
	r.want(
		`-1 {"k":"a","window_start":"1969-12-31T23:59:59.900000Z","window_end":"1970-01-01T00:00:00Z","n":1}`,
		`99 {"k":"a","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:00:00.100000Z","n":2}`,
		`199 {"k":"a","window_start":"1970-01-01T00:00:00.100000Z","window_end":"1970-01-01T00:00:00.200000Z","n":1}`,
	)
	same(t, "late", r.late, []string{`{"k":"a","v":2}`, `{"k":"a","v":4}`, `{"k":"a","v":7}`, `{"k":"a","v":9}`})
	same(t, "failed", r.failed, []string{
		`{"k":"a","v":8}: runtime: find the window: the record has no event time [window.no_time]; give the source a time, or take away the window`,
	})
}

// TestLateAfterAll counts records whose window the clock has closed before they came, and gives no second result.
func TestLateAfterAll(t *testing.T) {
	in := schema(t, "k string")
	step, err := AggregateRows(in, []Assign{{"k", "k"}}, Window{Size: 100 * time.Millisecond}, []Assign{{"n", "count()"}})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, step, 1, 1, false)
	r.add(0, rows(t, in, "s", `{"k":"a", "t":0}`))
	r.flush(0)
	r.advance(100, 0)
	r.add(0, rows(t, in, "idle", `{"k":"a", "t":1, "w":5}`, `{"k":"a", "t":2, "w":5}`, `{"k":"b", "t":3, "w":5}`, `{"k":"b", "t":103, "w":5}`))
	r.flush(0)
	r.finish()
	r.want(
		`99 {"k":"a","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:00:00.100000Z","n":1}`,
		`199 {"k":"b","window_start":"1970-01-01T00:00:00.100000Z","window_end":"1970-01-01T00:00:00.200000Z","n":1}`,
	)
	if r.dropped != 3 {
		t.Errorf("got %d records too late after all, want 3", r.dropped)
	}
}
