package operators

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// aggregated is what a flow's aggregate gives for rows that come in one batch.
func aggregated(t *testing.T, in string, by, aggs []Assign, lines ...string) *rig {
	t.Helper()
	s := schema(t, in)
	step, err := AggregateRows(s, by, Window{}, aggs)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, step, 1, 8, true)
	r.add(0, rows(t, s, "s", lines...))
	r.finish()
	if r.late != nil || r.dropped != 0 {
		t.Errorf("late: %v, %d", r.late, r.dropped)
	}
	return r
}

func TestAggregates(t *testing.T) {
	all := func(x string) []Assign {
		return []Assign{{"rows", "count()"}, {"values", "count(" + x + ")"}, {"sum", "sum(" + x + ")"}, {"mean", "mean(" + x + ")"}, {"min", "min(" + x + ")"}, {"max", "max(" + x + ")"}}
	}
	ordered := func(x string) []Assign {
		return []Assign{{"n", "count(" + x + ")"}, {"min", "min(" + x + ")"}, {"max", "max(" + x + ")"}}
	}
	for _, c := range []struct {
		name, in string
		aggs     []Assign
		lines    []string
		want     string
	}{
		{"int64", "x int64", all("x"), []string{`{"x":5}`, `{"x":-7}`, `{}`, `{"x":4}`}, `{"rows":4,"values":3,"sum":2,"mean":0.6666666666666666,"min":-7,"max":5}`},
		{"int64 of nulls", "x int64", all("x"), []string{`{}`, `{}`}, `{"rows":2,"values":0,"sum":null,"mean":null,"min":null,"max":null}`},
		{"float64", "x float64", all("x"), []string{`{"x":1e100}`, `{"x":1}`, `{"x":-1e100}`, `{}`}, `{"rows":4,"values":3,"sum":1,"mean":0.3333333333333333,"min":-1e+100,"max":1e+100}`},
		{"float64 with NaN", "x float64", all("x"), []string{`{"x":"NaN"}`, `{"x":1}`}, `{"rows":2,"values":2,"sum":null,"mean":null,"min":1,"max":null}`},
		{"negative zero", "x float64", all("x"), []string{`{"x":"-0"}`}, `{"rows":1,"values":1,"sum":0,"mean":0,"min":0,"max":0}`},
		{"decimal", "x decimal(10,2)", all("x"), []string{`{"x":"0.10"}`, `{"x":"0.20"}`, `{"x":"99999999.99"}`, `{}`},
			`{"rows":4,"values":3,"sum":100000000.29,"mean":33333333.43,"min":0.10,"max":99999999.99}`},
		{"duration", "x duration", all("x"), []string{`{"x":"1h"}`, `{"x":"-30m"}`, `{"x":"1s"}`},
			`{"rows":3,"values":3,"sum":"30m1s","mean":"10m0.333333s","min":"-30m0s","max":"1h0m0s"}`},
		{"string", "x string", ordered("x"), []string{`{"x":"b"}`, `{"x":""}`, `{"x":"é"}`, `{}`}, `{"n":3,"min":"","max":"é"}`},
		{"bytes", "x bytes", ordered("x"), []string{`{"x":"YmI="}`, `{"x":"YQ=="}`}, `{"n":2,"min":"YQ==","max":"YmI="}`},
		{"bool", "x bool", ordered("x"), []string{`{"x":true}`, `{"x":false}`, `{"x":true}`}, `{"n":3,"min":false,"max":true}`},
		{"date", "x date", ordered("x"), []string{`{"x":"2012-02-29"}`, `{"x":"1969-12-31"}`}, `{"n":2,"min":"1969-12-31","max":"2012-02-29"}`},
		{"timestamp", "x timestamp", ordered("x"), []string{`{"x":"2013-01-01T00:00:00Z"}`, `{"x":"2013-01-01T00:00:00.000001Z"}`},
			`{"n":2,"min":"2013-01-01T00:00:00Z","max":"2013-01-01T00:00:00.000001Z"}`},
		{"expressions", "x int64, y int64", []Assign{{"a", "sum(x * 2 + y)"}, {"b", "max(x > y ? x : y)"}, {"c", "count(x)"}, {"d", "count(x)"}},
			[]string{`{"x":1,"y":10}`, `{"x":2,"y":1}`, `{"x":3}`}, `{"a":17,"b":10,"c":3,"d":3}`},
		{"beyond int64 on the way", "x int64", []Assign{{"sum", "sum(x)"}, {"mean", "mean(x)"}},
			[]string{`{"x":9223372036854775807}`, `{"x":9223372036854775807}`, `{"x":-9223372036854775807}`}, `{"sum":9223372036854775807,"mean":3074457345618258400}`},
	} {
		r := aggregated(t, c.in, nil, c.aggs, c.lines...)
		if len(r.results) != 1 || len(r.failed) > 0 {
			t.Errorf("%s: got %v, failed %v", c.name, r.results, r.failed)
		} else if r.results[0] != c.want {
			t.Errorf("%s: got %s\nwant %s", c.name, r.results[0], c.want)
		}
	}
}

func TestGroups(t *testing.T) {
	r := aggregated(t, "carrier string, delay float64, at timestamp not null", []Assign{{"carrier", "carrier"}, {"late", "delay > 0"}}, []Assign{{"n", "count()"}},
		`{"carrier":"UA","delay":1,"at":"2013-01-01T00:00:00Z"}`, `{"carrier":"UA","delay":2,"at":"2013-01-01T00:00:00Z"}`, `{"carrier":"UA","at":"2013-01-01T00:00:00Z"}`,
		`{"delay":0,"at":"2013-01-01T00:00:00Z"}`, `{"delay":-1,"at":"2013-01-01T00:00:00Z"}`)
	r.want(`{"carrier":"UA","late":true,"n":2}`, `{"carrier":"UA","late":null,"n":1}`, `{"carrier":null,"late":false,"n":2}`)

	r = aggregated(t, "x float64, d decimal(6,2)", []Assign{{"x", "x"}, {"d", "d"}}, nil, `{"x":"0","d":"1.50"}`, `{"x":"-0","d":"1.5"}`, `{"x":"NaN"}`, `{"x":"NaN"}`)
	r.want(`{"x":0,"d":1.50}`, `{"x":null,"d":null}`)

	r = aggregated(t, "x int64", nil, []Assign{{"n", "count()"}})
	r.want() // no record, no group
}

// TestOutput checks the schema of the results and their metas.
func TestOutput(t *testing.T) {
	in := schema(t, "k string, x int64 not null, d decimal(10,2), s string not null")
	aggs := []Assign{{"n", "count()"}, {"c", "count(d)"}, {"sx", "sum(x)"}, {"sd", "sum(d)"}, {"m", "mean(x)"}, {"md", "mean(d)"}, {"lo", "min(s)"}, {"hi", "max(d)"}}
	step, err := AggregateRows(in, []Assign{{"key", "k"}, {"odd", "x % 2 == 1"}}, Window{Size: time.Minute}, aggs)
	if err != nil {
		t.Fatal(err)
	}
	const want = "key string, odd bool not null, window_start timestamp not null, window_end timestamp not null, n int64 not null, c int64 not null, " +
		"sx int64 not null, sd decimal(38,2), m float64 not null, md float64, lo string not null, hi decimal(10,2)"
	if got := step.Out().Schema().String(); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	r := newRig(t, step, 1, 4, false)
	r.add(0, rows(t, in, "s", `{"k":"a", "x":1, "s":"q", "t":61000}`))
	r.flush(0)
	for n, b := range r.state {
		out := Output{Out: step.Out().NewBatch(), Full: func() bool { return false }}
		if _, err := r.task.Advance(t.Context(), b, 120_000, 0, out); err != nil {
			t.Fatal(err)
		}
		m := out.Out.Meta()
		if len(m) != 1 || m[0].Time != 119_999 || m[0].Watermark != 119_999 || m[0].Position <= 0 {
			t.Errorf("bucket %d: got %v", n, m)
		}
	}
}

func TestOverflow(t *testing.T) {
	r := aggregated(t, "k string, x int64, d decimal(38,0)", []Assign{{"k", "k"}}, []Assign{{"x", "sum(x)"}, {"d", "sum(d)"}},
		`{"k":"a","x":9223372036854775807,"d":1}`, `{"k":"a","x":1}`,
		`{"k":"b","d":"99999999999999999999999999999999999999"}`, `{"k":"b","d":1}`,
		`{"k":"c","x":-9223372036854775808,"d":"-99999999999999999999999999999999999999"}`)
	r.want(`{"k":"c","x":-9223372036854775808,"d":-99999999999999999999999999999999999999}`)
	same(t, "failed", r.failed, []string{
		`{"k":"a"} -9223372036854775808 "": runtime: sum(x): the sum 9223372036854775808 does not fit int64 [aggregate.overflow]; convert the argument: sum(float(x)) or a decimal`,
		`{"k":"b"} -9223372036854775808 "": runtime: sum(d): the sum 100000000000000000000000000000000000000 does not fit decimal(38,0) [aggregate.overflow]`,
	})
}

// TestRecordErrors leaves out a record whose key or argument fails, from all aggregates.
func TestRecordErrors(t *testing.T) {
	r := aggregated(t, "x int64, y int64", []Assign{{"k", "10 / y"}}, []Assign{{"n", "count()"}, {"s", "sum(int(10 / x))"}}, `{"x":1,"y":1}`, `{"x":2,"y":1}`)
	if len(r.failed) > 0 {
		t.Errorf("got %v", r.failed)
	}
	r = aggregated(t, "x string", nil, []Assign{{"n", "count()"}, {"s", "sum(int(x))"}}, `{"x":"1"}`, `{"x":"one"}`, `{"x":"3"}`)
	r.want(`{"n":2,"s":4}`)
	if len(r.failed) != 1 || !strings.HasPrefix(r.failed[0], `{"x":"one"}: `) {
		t.Errorf("got %v", r.failed)
	}
}

func TestAggregateRowsErrors(t *testing.T) {
	in := schema(t, "k string, x int64, tags list<string>")
	for _, c := range []struct {
		by, aggs []Assign
		w        Window
		want     string
	}{
		{nil, []Assign{{"a", "count"}}, Window{}, `a: column 1: got "count", want one call of a function, as count() or mean(x)`},
		{nil, []Assign{{"a", "avg(x)"}}, Window{}, `a: column 1: got the function "avg", want an aggregate: count, sum, mean, min or max; did you mean "mean"?`},
		{nil, []Assign{{"a", "maximum(x)"}}, Window{}, `a: column 1: got the function "maximum", want an aggregate: count, sum, mean, min or max`},
		{nil, []Assign{{"a", "sums(x)"}}, Window{}, `a: column 1: got the function "sums", want an aggregate: count, sum, mean, min or max; did you mean "sum"?`},
		{nil, []Assign{{"a", "sum()"}}, Window{}, `a: column 1: got 0 arguments, want one argument`},
		{nil, []Assign{{"a", "count(x, x)"}}, Window{}, `a: column 1: got 2 arguments, want one argument`},
		{nil, []Assign{{"a", "sum(k)"}}, Window{}, `a: column 5: got a value of type string, want int64, float64, decimal or duration`},
		{nil, []Assign{{"a", "max(tags)"}}, Window{}, `a: column 5: got a value of type list<string>, want a scalar`},
		{nil, []Assign{{"a", "count(null)"}}, Window{}, `a: column 7: got null, which has no type, want a value, or a null with a type as int(null)`},
		{[]Assign{{"t", "tags"}}, nil, Window{}, `t: column 1: got a key of type list<string>, want a scalar`},
		{[]Assign{{"t", "null"}}, nil, Window{}, `t: column 1: got a key of type null, want a scalar`},
		{[]Assign{{"k", "k"}}, []Assign{{"k", "count()"}}, Window{}, `k: the field is given twice`},
		{nil, []Assign{{"window_end", "count()"}}, Window{Size: day}, `window_end: the window has a field of this name`},
		{nil, []Assign{{"window_end", "count()"}}, Window{}, `<nil>`},
		{nil, []Assign{{"", "count()"}}, Window{}, `: an expression has no name`},
		{[]Assign{{"k", "kk"}}, []Assign{{"a", "sum(y)"}}, Window{Size: -1}, strings.Join([]string{
			"window.size: got -1ns, want a size of whole milliseconds above zero",
			`k: column 1: got unknown column "kk", want one of k, x, tags`,
			`a: column 5: got unknown column "y", want one of k, x, tags`}, "\n")},
	} {
		_, err := AggregateRows(in, c.by, c.w, c.aggs)
		if fmt.Sprint(err) != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
	_, err := AggregateRows(in, nil, Window{}, []Assign{{"a", "sum(k)"}})
	var at *expr.Error
	if !errors.As(err, &at) || at.Col != 5 {
		t.Errorf("got %v", err)
	}
}

// TestEditedAggregates reads the state of open windows with other aggregates than those that wrote it.
func TestEditedAggregates(t *testing.T) {
	in := schema(t, "k string, x int64")
	make := func(w Window, in *row.Schema, aggs ...Assign) *rig {
		t.Helper()
		step, err := AggregateRows(in, []Assign{{"k", "k"}}, w, aggs)
		if err != nil {
			t.Fatal(err)
		}
		return newRig(t, step, 1, 1, false)
	}
	hour := Window{Size: time.Hour}
	old := make(hour, in, Assign{"n", "count()"}, Assign{"sum", "sum(x)"}, Assign{"mean", "mean(x)"}, Assign{"low", "min(k)"}, Assign{"not_null", "count(x)"})
	old.add(0, rows(t, in, "s", `{"k":"a","x":1,"t":1}`, `{"k":"a","x":4,"t":2}`, `{"k":"b","t":2}`))
	old.flush(0)
	old.snapshot()

	r := make(Window{Size: time.Hour, Lateness: time.Hour}, in, Assign{"least", "min(k)"}, Assign{"total", "sum(x)"})
	if err := r.bucket(0).Load(old.logs[0]); err != nil {
		t.Fatal(err)
	}
	r.add(0, rows(t, in, "s", `{"k":"b","x":7,"t":3}`))
	r.finish()
	r.want(
		`3599999 {"k":"a","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T01:00:00Z","least":"a","total":5}`,
		`3599999 {"k":"b","window_start":"1970-01-01T00:00:00Z","window_end":"1970-01-01T01:00:00Z","least":"b","total":7}`,
	)
	for _, c := range []struct {
		r    *rig
		want string
		code string
	}{
		{make(hour, in, Assign{"n", "count()"}, Assign{"max", "max(x)"}), "max(x) is new: in windows that are open it would miss the records so far", "state.cell_schema"},
		{make(hour, schema(t, "k string, x float64"), Assign{"n", "sum(x)"}), "the argument of sum(x) was int64 and is now float64", "state.cell_schema"},
		{make(Window{Size: 2 * time.Hour}, in, Assign{"n", "count()"}), `the checkpoint has the state "tumbling 1h0m0s", the step has "tumbling 2h0m0s"`, "state.cell_unknown"},
		{make(Window{Size: time.Hour, Offset: time.Minute}, in, Assign{"n", "count()"}),
			`the checkpoint has the state "tumbling 1h0m0s", the step has "tumbling 1h0m0s offset 1m0s"`, "state.cell_unknown"},
	} {
		err := c.r.bucket(0).Load(old.logs[0])
		if d, ok := fault.DetailOf(err); !ok || d.Code != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
}

// stats is an aggregator as a Go program has one.
type stats struct{}

type statsAcc struct {
	N     int64   `adf:"n"`
	Sum   int64   `adf:"sum"`
	Worst *string `adf:"worst"`
}

type statsResult struct {
	Carrier  string    `adf:"carrier"`
	Day      time.Time `adf:"day"`
	N        int64     `adf:"n"`
	Sum      int64     `adf:"sum"`
	Worst    string    `adf:"worst"`
	EndsLate bool      `adf:"-"`
}

type flight struct {
	Carrier string `adf:"carrier"`
	Plane   string `adf:"plane"`
	Delay   int64  `adf:"delay"`
}

func (stats) New() statsAcc { return statsAcc{} }
func (stats) Add(a *statsAcc, f flight) {
	a.N++
	a.Sum += f.Delay
	if a.Worst == nil || f.Plane > *a.Worst {
		a.Worst = &f.Plane
	}
}
func (stats) Merge(a *statsAcc, b statsAcc) {
	a.N += b.N
	a.Sum += b.Sum
	if b.Worst != nil && (a.Worst == nil || *b.Worst > *a.Worst) {
		a.Worst = b.Worst
	}
}
func (stats) Result(key string, w Span, a statsAcc) statsResult {
	return statsResult{Carrier: key, Day: time.UnixMilli(w.Start).UTC(), N: a.N, Sum: a.Sum, Worst: *a.Worst}
}

// TestOrderIndependence gives the same records to one lane in one go, and to several lanes and buckets in random order, in random batches, with
// flushes and restarts at random moments. Results, late records and failed groups are the same, to the last bit.
func TestOrderIndependence(t *testing.T) {
	in := schema(t, "k string, n int64, f float64, d decimal(20,4), s string")
	aggs := []Assign{{"c", "count()"}, {"cn", "count(n)"}, {"sn", "sum(n)"}, {"mn", "mean(n)"}, {"sf", "sum(f)"}, {"mf", "mean(f)"}, {"lf", "min(f)"}, {"hf", "max(f)"},
		{"sd", "sum(d)"}, {"md", "mean(d)"}, {"ld", "min(d)"}, {"ls", "min(s)"}, {"hs", "max(s)"}, {"x", "sum(n * 2)"}}
	byRow, err := AggregateRows(in, []Assign{{"k", "k"}}, Window{Size: time.Second, Lateness: 300 * time.Millisecond}, aggs)
	if err != nil {
		t.Fatal(err)
	}
	noWindow, err := AggregateRows(in, []Assign{{"k", "k"}}, Window{}, aggs)
	if err != nil {
		t.Fatal(err)
	}
	flights, err := row.CodecOf[flight]()
	if err != nil {
		t.Fatal(err)
	}
	typed, err := Aggregate(flights, func(f flight) string { return f.Carrier }, Window{Size: time.Second, Lateness: 300 * time.Millisecond}, stats{})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	type rec struct {
		row    row.Row
		flight flight
		meta   record.Meta
	}
	var splits [][]rec
	for range 5 {
		var recs []rec
		newest := int64(-2000)
		for i := range 400 {
			at := int64(i)*10 - 2000 + r.Int64N(1500) - 750
			k := fmt.Sprint("key-", r.IntN(12))
			vs := []row.Value{row.String(k), row.Int(r.Int64N(2000) - 1000), row.Float(math.Ldexp(r.NormFloat64(), r.IntN(80)-40)), row.Decimal(r.Int64()-math.MaxInt64/2, 4),
				row.String(fmt.Sprint(r.IntN(1000)))}
			for j := 1; j < len(vs); j++ {
				if r.IntN(10) == 0 {
					vs[j] = row.Null()
				}
			}
			switch r.IntN(60) {
			case 0:
				vs[1] = row.Int(math.MaxInt64 - r.Int64N(10))
			case 1:
				vs[2] = row.Float([]float64{math.MaxFloat64, -math.MaxFloat64, math.Inf(1), math.NaN(), 5e-324, math.Copysign(0, -1), 0x1p1000}[r.IntN(7)])
			}
			recs = append(recs, rec{row.Row{Schema: in, Values: vs}, flight{k, fmt.Sprint("N", r.IntN(1000)), r.Int64N(100)}, record.Meta{Time: at, Watermark: newest - 400, Position: int64(i)}})
			newest = max(newest, at)
		}
		splits = append(splits, recs)
	}
	for name, step := range map[string]AnyKeyed{"rows": byRow, "rows without window": noWindow, "typed": typed} {
		batch := func(split int, recs []rec) record.Any {
			if name == "typed" {
				b := &record.Batch[flight]{Split: fmt.Sprint(split)}
				for _, x := range recs {
					b.Append(x.flight, x.meta)
				}
				return b
			}
			b := &record.Batch[row.Row]{Split: fmt.Sprint(split)}
			for _, x := range recs {
				vs := row.SlabOf(b).Values(len(x.row.Values)) // memory that is used again
				copy(vs, x.row.Values)
				b.Append(row.Row{Schema: in, Values: vs}, x.meta)
			}
			return b
		}
		plain := newRig(t, step, 1, 1, true)
		for i, recs := range splits {
			plain.add(0, batch(i, recs))
		}
		plain.finish()
		if name != "rows without window" && (len(plain.late) == 0 || len(plain.late) > 1500) || len(plain.results) < 12 {
			t.Fatalf("%s: got %d late records and %d results", name, len(plain.late), len(plain.results))
		}
		for seed := range uint64(8) {
			r := rand.New(rand.NewPCG(seed, 5))
			lanes := 1 + r.IntN(4)
			x := newRig(t, step, lanes, 1+r.IntN(20), true)
			x.full = 1 + r.IntN(5)
			rest := slices.Clone(splits)
			laneOf := make([]int, len(rest))
			for i := range laneOf {
				laneOf[i] = r.IntN(lanes)
			}
			promised := make([]int64, lanes) // by what was flushed
			for left := len(rest); left > 0; {
				i := r.IntN(len(rest))
				if len(rest[i]) == 0 {
					continue
				}
				n := min(len(rest[i]), 1+r.IntN(60))
				x.add(laneOf[i], batch(i, rest[i][:n]))
				if rest[i] = rest[i][n:]; len(rest[i]) == 0 {
					left--
				}
				if r.IntN(3) == 0 {
					x.flush(r.IntN(lanes))
				}
				if r.IntN(10) == 0 {
					for lane := range lanes {
						x.flush(lane)
						promised[lane] = math.MaxInt64
						for s, recs := range rest {
							if laneOf[s] == lane && len(recs) > 0 { // what comes next was promised not to be earlier
								promised[lane] = min(promised[lane], recs[0].meta.Watermark)
							}
						}
					}
					if w := slices.Min(promised); w != math.MaxInt64 {
						x.advance(w, 0)
					}
				}
				if r.IntN(12) == 0 {
					for lane := range lanes {
						x.flush(lane)
					}
					x.restart()
				}
			}
			x.finish()
			same(t, fmt.Sprintf("%s, seed %d: results", name, seed), x.results, plain.results)
			same(t, fmt.Sprintf("%s, seed %d: late", name, seed), x.late, plain.late)
			same(t, fmt.Sprintf("%s, seed %d: failed", name, seed), x.failed, plain.failed)
			if x.dropped != 0 {
				t.Errorf("%s, seed %d: %d records were too late after all", name, seed, x.dropped)
			}
			if t.Failed() {
				break
			}
		}
	}
}

// TestTypedKeys brings keys of several types through the shuffle and back.
func TestTypedKeys(t *testing.T) {
	type composite struct {
		A string
		B *int64
		C time.Time
	}
	seven := int64(7)
	typedKey(t, "x", func(f flight) string { return f.Carrier }, `"AA"`)
	typedKey(t, "x", func(f flight) int { return int(f.Delay) }, `-3`)
	typedKey(t, "x", func(f flight) int64 { return f.Delay }, `-3`)
	typedKey(t, "x", func(f flight) uint16 { return 9 }, `0x9`)
	typedKey(t, "x", func(f flight) bool { return true }, `true`)
	typedKey(t, "x", func(f flight) float64 { return math.Copysign(0, -1) }, `0`)
	typedKey(t, "x", func(f flight) time.Time { return time.UnixMicro(1).UTC() }, `time.Date(1970, time.January, 1, 0, 0, 0, 1000, time.UTC)`)
	typedKey(t, "x", func(f flight) struct{} { return struct{}{} }, `struct {}{}`)
	typedKey(t, "x", func(f flight) composite { return composite{f.Carrier, &seven, time.Time{}} }, ``)
}

type keyOnly[K any] struct{ got *[]K }

func (keyOnly[K]) New() int64              { return 0 }
func (keyOnly[K]) Add(a *int64, _ flight)  { *a++ }
func (keyOnly[K]) Merge(a *int64, b int64) { *a += b }
func (k keyOnly[K]) Result(key K, _ Span, n int64) int64 {
	*k.got = append(*k.got, key)
	return n
}

func typedKey[K any](t *testing.T, _ string, key func(flight) K, want string) {
	t.Helper()
	c, err := row.CodecOf[flight]()
	if err != nil {
		t.Fatal(err)
	}
	var got []K
	step, err := Aggregate(c, key, Window{}, keyOnly[K]{&got})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, step, 1, 16, true)
	b := &record.Batch[flight]{}
	b.Append(flight{Carrier: "AA", Delay: -3}, record.Meta{Time: record.NoTime})
	b.Append(flight{Carrier: "AA", Delay: -3}, record.Meta{Time: record.NoTime})
	r.add(0, b)
	r.finish()
	if len(got) != 1 || want != "" && fmt.Sprintf("%#v", got[0]) != want {
		t.Errorf("got the keys %#v, want %s", got, want)
	}
	r.want(`{"value":2}`)
}

func TestAggregateTypeErrors(t *testing.T) {
	c, err := row.CodecOf[flight]()
	if err != nil {
		t.Fatal(err)
	}
	var got []chan int
	_, err = Aggregate(c, func(flight) chan int { return nil }, Window{}, keyOnly[chan int]{&got})
	if want := "key: chan int: a chan int can not travel between processes"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err = Aggregate(c, func(f flight) string { return f.Carrier }, Window{Size: -1}, stats{}); err == nil {
		t.Error("a window below zero is taken")
	}
}

// TestExactSums compares sums of hard floating-point numbers, in parts and in any order, with big arithmetic.
func TestExactSums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for round := range 400 {
		spread := []int{1, 60, 200, 1000, 2000}[round%5]
		var xs []float64
		want := new(big.Float).SetPrec(4000)
		for range 1 + r.IntN(200) {
			x := math.Ldexp(r.Float64()-0.5, max(-1080, min(1023, r.IntN(2*spread)-spread)))
			if r.IntN(4) == 0 && len(xs) > 0 {
				x = -xs[r.IntN(len(xs))]
			}
			xs = append(xs, x)
			want.Add(want, new(big.Float).SetFloat64(x))
		}
		sum, _ := want.Float64()
		for range 4 {
			parts := make([]acc, 1+r.IntN(4))
			for _, i := range r.Perm(len(xs)) {
				p := &parts[r.IntN(len(parts))]
				p.addFloat(xs[i])
				p.n++
			}
			g := aggregate{kind: sumFloats}
			total := &parts[0]
			for i := range parts[1:] {
				var p acc // it has crossed the shuffle
				if rest, err := g.read(&p, g.append(nil, &parts[i+1])); err != nil || len(rest) > 0 {
					t.Fatal(err, rest)
				}
				g.merge(total, &p)
			}
			if got := total.float64(1); got != sum || math.Signbit(got) && got == 0 {
				t.Fatalf("round %d: got %g, want %g", round, got, sum)
			}
		}
	}
	for _, c := range []struct {
		xs        []float64
		sum, mean float64
	}{
		{[]float64{math.MaxFloat64, math.MaxFloat64}, math.Inf(1), math.MaxFloat64},
		{[]float64{math.MaxFloat64, math.MaxFloat64, -math.MaxFloat64}, math.MaxFloat64, math.MaxFloat64 / 3},
		{[]float64{-math.MaxFloat64, -math.MaxFloat64, 1}, math.Inf(-1), -1.1984620899082105e+308},
		{[]float64{math.Inf(1), 1}, math.Inf(1), math.Inf(1)},
		{[]float64{math.Inf(-1), 1}, math.Inf(-1), math.Inf(-1)},
		{[]float64{math.Inf(-1), math.Inf(1)}, math.NaN(), math.NaN()},
		{[]float64{math.NaN(), math.Inf(1)}, math.NaN(), math.NaN()},
		{[]float64{5e-324, 5e-324}, 1e-323, 5e-324},
		{[]float64{1, 1e100, 1, -1e100}, 2, 0.5},
	} {
		var s acc
		for _, x := range c.xs {
			s.addFloat(x)
		}
		sum, mean := s.float64(1), s.float64(int64(len(c.xs)))
		if sum != c.sum && !(sum != sum && c.sum != c.sum) || mean != c.mean && !(mean != mean && c.mean != c.mean) {
			t.Errorf("%g: got %g and %g, want %g and %g", c.xs, sum, mean, c.sum, c.mean)
		}
	}
}

// TestWholeSums does the same with whole numbers beyond 64 bits.
func TestWholeSums(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		want := new(big.Int)
		var s, part acc
		for range r.IntN(20) {
			x := int64(r.Uint64()) >> r.IntN(64)
			want.Add(want, big.NewInt(x))
			if r.IntN(2) == 0 {
				s.addInt(x)
			} else {
				part.addInt(x)
			}
		}
		var read acc
		if rest, err := read.readInt128(part.appendInt128(nil)); err != nil || len(rest) > 0 || read.int().Cmp(part.int()) != 0 {
			t.Fatalf("got %s (%v), want %s", read.int(), err, part.int())
		}
		s.mergeInt(&read)
		if s.int().Cmp(want) != 0 {
			t.Fatalf("got %s, want %s", s.int(), want)
		}
		if n, ok := s.int64(); ok != want.IsInt64() || ok && n != want.Int64() {
			t.Fatalf("got %d (%v), want %s", n, ok, want)
		}
	}
	for _, c := range [][3]int64{{5, 2, 3}, {-5, 2, -3}, {4, 3, 1}, {-4, 3, -1}, {0, 7, 0}} {
		if got := rounded(big.NewInt(c[0]), c[1]); got != c[2] {
			t.Errorf("%d / %d: got %d, want %d", c[0], c[1], got, c[2])
		}
	}
}
