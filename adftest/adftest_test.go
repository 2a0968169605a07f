package adftest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/adftest"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/examples/lines"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type click struct {
	User string    `adf:"user"`
	At   time.Time `adf:"at"`
	N    int64     `adf:"n"`
}

type total struct {
	User   string `adf:"user"`
	Start  int64  `adf:"start"`
	Clicks int64  `adf:"clicks"`
	Sum    int64  `adf:"sum"`
}

func (t total) String() string { return fmt.Sprintf("%s@%d %d×%d", t.User, t.Start, t.Clicks, t.Sum) }

type sum struct{}

func (sum) New() total              { return total{} }
func (sum) Add(t *total, c click)   { t.Clicks++; t.Sum += c.N }
func (sum) Merge(t *total, o total) { t.Clicks += o.Clicks; t.Sum += o.Sum }
func (sum) Result(user string, w operators.Span, t total) total {
	return total{user, w.Start / 1000, t.Clicks, t.Sum}
}

func when(c click) time.Time              { return c.At }
func user(c click) string                 { return c.User }
func second(s int64) time.Time            { return time.Unix(s, 0).UTC() }
func at(u string, s int64, n int64) click { return click{u, second(s), n} }

func from(f *adf.Flow) adf.Stream[click] {
	return adf.From(f, "clicks", memory.Values[click]()).EventTime(when, 5*time.Second)
}

// windows is a flow of windows of ten seconds; late ones are read when readLate is set.
func windows(readLate bool) *adf.Flow {
	f := adf.New("windows")
	totals := adf.Aggregate(adf.KeyBy(from(f), user).Window(adf.Tumbling(10*time.Second)), "totals", sum{})
	totals.To("out", &discard.Sink[total]{})
	if readLate {
		totals.Late().To("late", &discard.Sink[click]{})
	}
	return f
}

func text[T any](vs []T) string { return fmt.Sprint(vs) }

func TestWindows(t *testing.T) {
	for _, parallelism := range []int{1, 2, 5} {
		r := adftest.Run(t, windows(true),
			adftest.In("clicks", at("b", 1, 1), at("a", 2, 2), at("a", 12, 3)),
			adftest.In("clicks", at("a", 9, 4)), // within five seconds
			adftest.In("clicks", at("b", 30, 5), at("b", 3, 6)),
			adftest.Parallelism(parallelism))
		if got, want := text(adftest.Out[total](r, "out")), "[a@0 2×6 b@0 1×1 a@10 1×3 b@30 1×5]"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := adftest.Out[click](r, "late"); len(got) != 1 || got[0].N != 6 || r.Late("totals") != 1 {
			t.Errorf("late: got %v", got)
		}
		if got := adftest.Lines(r, "totals"); len(got) != 4 || got[0] != `{"user":"a","start":0,"clicks":2,"sum":6}` {
			t.Errorf("the output of the step: got %q", got)
		}
		if got := adftest.Lines(r, "totals.late"); len(got) != 1 {
			t.Errorf("the late output of the step: got %q", got)
		}
		if r := adftest.Run(t, windows(false), adftest.In("clicks", at("b", 30, 5), at("b", 3, 6))); r.Late("totals") != 1 {
			t.Errorf("late and unread: got %d", r.Late("totals"))
		}
	}
}

// A promise makes late what comes behind it, in its own split only.
func TestWatermark(t *testing.T) {
	r := adftest.Run(t, windows(true),
		adftest.In("clicks/one", at("a", 1, 1)),
		adftest.In("clicks/two", at("a", 1, 10)),
		adftest.Watermark("clicks/one", second(10)),
		adftest.In("clicks/one", at("a", 2, 2)),
		adftest.In("clicks/two", at("a", 2, 20)),
		adftest.In("clicks/one", at("a", 3, 3), at("a", 11, 4)),
		adftest.CrashAnywhere())
	if got, want := text(adftest.Out[total](r, "out")), "[a@0 3×31 a@10 1×4]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := adftest.Out[click](r, "late"); len(got) != 2 || got[0].N != 2 || got[1].N != 3 {
		t.Errorf("late: got %v", got)
	}
}

// A crash at every record, from a checkpoint at every record before it, gives the same output.
func TestCrashes(t *testing.T) {
	var script []adftest.Option
	const records = 8
	for i := range int64(records) {
		script = append(script, adftest.In(fmt.Sprintf("clicks/%d", i%3), at(string('a'+rune(i%2)), 7*i, i)))
		if i == 5 {
			script = append(script, adftest.Watermark("clicks/0", second(60)))
		}
	}
	want := adftest.Run(t, windows(true), script...)
	if want.Late("totals") != 1 {
		t.Fatalf("got %d late", want.Late("totals"))
	}
	for crash := 1; crash <= records; crash++ {
		for checkpoint := 1; checkpoint <= crash; checkpoint++ {
			for _, parallelism := range []int{1, 3} {
				got := adftest.Run(t, windows(true), append(slices.Clone(script), adftest.Parallelism(parallelism), adftest.CheckpointAt(checkpoint), adftest.CrashAt(crash))...)
				for _, output := range []string{"out", "late", "totals", "clicks"} {
					if w, g := adftest.Lines(want, output), adftest.Lines(got, output); !slices.Equal(w, g) {
						t.Fatalf("crash at %d, checkpoint at %d: %s has %q, want %q", crash, checkpoint, output, g, w)
					}
				}
				if got.Late("totals") != 1 {
					t.Errorf("crash at %d, checkpoint at %d: %d late", crash, checkpoint, got.Late("totals"))
				}
			}
		}
	}
	got := adftest.Run(t, windows(true), append(script, adftest.CrashAt(2), adftest.CrashAt(3), adftest.CrashAt(8))...)
	if w, g := adftest.Lines(want, "out"), adftest.Lines(got, "out"); !slices.Equal(w, g) {
		t.Errorf("three crashes: got %q, want %q", g, w)
	}
}

// What a flow remembers beside its state is found out.
func TestCrashAnywhereFindsHiddenState(t *testing.T) {
	f := adf.New("hidden")
	seen := map[string]bool{}
	from(f).Filter("first", func(c click) bool {
		defer func() { seen[c.User] = true }()
		return !seen[c.User]
	}).To("out", &discard.Sink[click]{})
	got := fatal(t, func(t testing.TB) {
		adftest.Run(t, f, adftest.In("clicks", at("a", 1, 1), at("b", 2, 2)), adftest.CrashAnywhere())
	})
	if !strings.HasPrefix(got, "cut off after record 1 of 2, the sink out has\n") {
		t.Errorf("got %s", got)
	}
}

// Splits are read in the order of the script, whatever lanes they are in; what comes straight from them is given by split.
func TestOrder(t *testing.T) {
	for _, parallelism := range []int{1, 4} {
		f := adf.New("order")
		var read []int64 // lanes take turns
		adf.From(f, "one", memory.Values[click]()).Filter("looked", func(c click) bool { read = append(read, c.N); return true }).To("out", &discard.Sink[click]{})
		adf.From(f, "two", memory.Values[click]()).Filter("looked2", func(c click) bool { read = append(read, c.N); return true }).To("out2", &discard.Sink[click]{})
		r := adftest.Run(t, f, adftest.Parallelism(parallelism),
			adftest.In("one/b", click{N: 5}, click{N: 4}), adftest.In("two", click{N: 9}), adftest.In("one/a", click{N: 3}), adftest.In[click]("one/c"),
			adftest.In("one/b", click{N: 2}), adftest.In("two", click{N: 8}))
		if got := fmt.Sprint(read); got != "[5 4 9 3 2 8]" {
			t.Errorf("parallelism %d: read %s", parallelism, got)
		}
		got := ""
		for _, c := range adftest.Out[click](r, "out") {
			got += fmt.Sprint(c.N)
		}
		if got != "5423" {
			t.Errorf("parallelism %d: got %s", parallelism, got)
		}
		if as := adftest.Arrivals[click](r, "out"); len(as) != 4 || as[2].Value.N != 3 || as[3].Value.N != 2 {
			t.Errorf("parallelism %d: arrived %v", parallelism, as)
		}
	}
}

// Left open, windows wait for more; a promise closes those before it.
func TestStayOpen(t *testing.T) {
	script := []adftest.Option{
		adftest.In("clicks", at("a", 1, 1), at("a", 12, 2)), adftest.Watermark("clicks", second(11)), adftest.In("clicks", at("a", 13, 3)),
	}
	r := adftest.Run(t, windows(false), append(script, adftest.StayOpen(), adftest.CrashAnywhere())...)
	if got, want := text(adftest.Out[total](r, "out")), "[a@0 1×1]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFailures(t *testing.T) {
	build := func(dead bool) *adf.Flow {
		f := adf.New("failing")
		adf.Map(from(f), "checked", func(c click) (click, error) {
			if c.N < 0 {
				return c, errors.New("less than nothing")
			}
			return c, nil
		}).To("out", &discard.Sink[click]{})
		if dead {
			f.Errors().To("dead", &discard.Sink[sinks.DeadLetter]{})
		}
		return f
	}
	script := []adftest.Option{adftest.In("clicks", at("a", 1, 1), at("a", 2, -2)), adftest.Malformed("clicks", "a,b"), adftest.In("clicks", at("a", 3, 3))}
	r := adftest.Run(t, build(true), append(script, adftest.CrashAnywhere())...)
	dead := adftest.Out[sinks.DeadLetter](r, "dead")
	if len(adftest.Out[click](r, "out")) != 2 || len(dead) != 2 {
		t.Fatalf("got %v", dead)
	}
	var got []string
	for _, d := range dead {
		got = append(got, fmt.Sprintf("%s %s/%d %s", d.Node, d.Split, d.Position, d.Code))
	}
	slices.Sort(got)
	if want := []string{"checked clicks/1 ", "clicks clicks/2 adftest.malformed"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := len(adftest.Lines(r, "checked.errors")); n != 1 {
		t.Errorf("got %d errors of the step", n)
	}
	err := adftest.Failure(t, build(false), script...)
	if d, ok := fault.DetailOf(err); !ok || d.Node != "checked" || d.Code != "record.failed" {
		t.Errorf("got %v", err)
	}
}

const flow = `
flow: per-user
version: 1
sources:
  clicks:
    file: {path: "none/*.jsonl", format: jsonl}
    schema: {user: string not null, at: timestamp not null, n: int64, price: "decimal(10,2)"}
    time: {field: at, out_of_orderness: 5s}
    on_error: emit
steps:
  valid: {from: clicks, filter: n >= 0}
  totals: {from: valid, by: [user], window: {tumbling: 10s}, aggregate: {clicks: count(), sum: sum(n)}}
  texts: {from: valid, select: [{text: user}]}
sinks:
  out: {from: totals, file: {path: out, format: jsonl}}
  texts-out: {from: texts, lines: {dir: texts}}
  bad: {from: [clicks.errors, texts-out.errors], discard: {}}
`

func load(t testing.TB) *adf.Flow {
	path := filepath.Join(t.TempDir(), "flow.yaml")
	if err := os.WriteFile(path, []byte(flow), 0o644); err != nil {
		t.Fatal(err)
	}
	return adftest.Load(t, path, adf.LoadOptions{}, file.Register, discard.Register, lines.Register)
}

func TestYAML(t *testing.T) {
	type some struct {
		At   time.Time `adf:"at"`
		User string    `adf:"user"`
		N    int32     `adf:"n"`
	}
	r := adftest.Run(t, load(t),
		adftest.JSON("clicks", `{"user": "a", "at": "1970-01-01T00:00:01Z", "n": 1, "price": 1.5} {"user": "b", "at": "1970-01-01T00:00:02Z", "n": 2}`,
			`[{"user": "a", "at": "1970-01-01T00:00:03Z", "n": 3}, {"user": "two\nlines", "at": "1970-01-01T00:00:04Z", "n": -1}]`),
		adftest.In("clicks", some{second(4), "two\nlines", 4}, some{second(14), "a", 5}),
		adftest.Malformed("clicks", "{"),
		adftest.CrashAnywhere())
	want := []string{
		`{"user":"a","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:00:10Z","clicks":2,"sum":4}`,
		`{"user":"b","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:00:10Z","clicks":1,"sum":2}`,
		`{"user":"two\nlines","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T00:00:10Z","clicks":1,"sum":4}`,
		`{"user":"a","window_start":"1970-01-01T00:00:10Z","window_end":"1970-01-01T00:00:20Z","clicks":1,"sum":5}`,
	}
	if got := adftest.Lines(r, "out"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	type counted struct {
		User   string `adf:"user"`
		Clicks int64  `adf:"clicks"`
	}
	if got := adftest.Out[counted](r, "out"); len(got) != 4 || got[0] != (counted{"a", 2}) {
		t.Errorf("got %v", got)
	}
	if got := adftest.Out[row.Row](r, "out"); len(got) != 4 || got[1].Get("user").Str() != "b" {
		t.Errorf("got %v", got)
	}
	// What the real sink refuses is refused, too.
	if got := adftest.Lines(r, "texts-out"); !slices.Equal(got, []string{`{"text":"a"}`, `{"text":"b"}`, `{"text":"a"}`, `{"text":"a"}`}) {
		t.Errorf("got %q", got)
	}
	bad := adftest.Out[sinks.DeadLetter](r, "bad")
	if len(bad) != 2 || bad[0].Code == bad[1].Code {
		t.Errorf("got %v", bad)
	}
}

// fatal gives the text with which f ends its test.
func fatal(t *testing.T, f func(testing.TB)) string {
	t.Helper()
	fake := &ended{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(fake)
	}()
	<-done
	return fake.text
}

// ended is a test that is expected to end early.
type ended struct {
	testing.TB
	text string
}

func (e *ended) Fatal(args ...any)                 { e.end(fmt.Sprint(args...)) }
func (e *ended) Fatalf(format string, args ...any) { e.end(fmt.Sprintf(format, args...)) }
func (e *ended) end(text string) {
	e.text = text
	runtime.Goexit()
}

func TestMistakes(t *testing.T) {
	in := adftest.In("clicks", at("a", 1, 1), at("a", 2, 2))
	plain := func() *adf.Flow {
		f := adf.New("plain")
		adf.From(f, "clicks", memory.Values[click]()).To("out", &discard.Sink[click]{})
		return f
	}
	run := func(f func() *adf.Flow, options ...adftest.Option) func(testing.TB) {
		return func(t testing.TB) { adftest.Run(t, f(), options...) }
	}
	yaml := func() *adf.Flow { return load(t) }
	type typo struct {
		Usr string `adf:"usr"`
	}
	type part struct {
		N *int64 `adf:"n"`
	}
	for _, c := range []struct {
		what func(testing.TB)
		want string
	}{
		{run(plain), `adftest: the source clicks is given nothing, want adftest.In("clicks", …), or adftest.JSON("clicks") for an empty one`},
		{run(plain, adftest.In("clikcs", click{})), `adftest.In("clikcs"): got the unknown source "clikcs", want one of clicks: did you mean "clicks"?`},
		{run(plain, adftest.In("out", click{})), `adftest.In("out"): got the unknown source "out", want one of clicks`},
		{run(plain, adftest.In("clicks", total{})), `adftest.In("clicks"): got values of adftest_test.total, want adftest_test.click, which the flow reads from it`},
		{run(plain, in, adftest.Watermark("clicks", second(1)), in), `adftest.Watermark("clicks"): clicks has no event time (EventTime, or time: {field: …})`},
		{run(yaml, adftest.JSON("clicks"), adftest.Watermark("clicks", second(1))),
			`adftest.Watermark("clicks"): no record of the split comes behind it, and it is the next one that carries it`},
		{run(plain, in, adftest.CrashAt(3)), `adftest.CrashAt(3): want 1 to 2, the number of records in the script`},
		{run(plain, in, adftest.CheckpointAt(0)), `adftest.CheckpointAt(0): want 1 to 2, the number of records in the script`},
		{run(plain, in, adftest.CrashAt(1), adftest.CrashAt(1)), `adftest.CrashAt(1) is given twice`},
		{run(plain, in, adftest.Parallelism(0)), `adftest.Parallelism(0): want 1 or more`},
		{run(yaml, adftest.In("clicks", typo{})),
			`adftest.In("clicks"): value 1: got the unknown column "usr", want one of user, at, n, price: did you mean "user"?`},
		{run(yaml, adftest.In("clicks", part{})), `adftest.In("clicks"): value 1: user is null, want string not null`},
		{run(yaml, adftest.JSON("clicks", `{"user": "a", "at": "1970-01-01T00:00:01Z", "pirce": 1}`)),
			"adftest.JSON(\"clicks\"): got the unknown column \"pirce\", want one of user, at, n, price: did you mean \"price\"? in\n" +
				`{"user": "a", "at": "1970-01-01T00:00:01Z", "pirce": 1}`},
		{run(yaml, adftest.JSON("clicks", `{"user": "a", "n": 1}`)), `null`},
		{run(yaml, adftest.JSON("clicks", `{"user": `)), `clicks`},
		{func(t testing.TB) { adftest.Out[click](adftest.Run(t, plain(), in), "outt") }, `adftest.Out("outt"): got the unknown output "outt", want one of clicks, out: did you mean "out"?`},
		{func(t testing.TB) { adftest.Out[total](adftest.Run(t, plain(), in), "out") }, `adftest.Out("out"): got values of adftest_test.click, want adftest_test.total`},
		{func(t testing.TB) { adftest.Run(t, plain(), in).Late("clicks") }, `Late("clicks"): got the unknown step with a window "clicks", want one of `},
		{func(t testing.TB) { adftest.Failure(t, plain(), in) }, `flow plain: it came to its end, want an error`},
		{func(t testing.TB) { adftest.Run(t, adf.New("none")) }, `sources: got none`},
		{func(t testing.TB) { adftest.Load(t, "none.yaml", adf.LoadOptions{}) }, `none.yaml`},
	} {
		if got := fatal(t, c.what); got != c.want && (strings.HasPrefix(c.want, "adftest") || !strings.Contains(got, c.want)) {
			t.Errorf("got\n%s\nwant\n%s", got, c.want)
		}
	}
}
