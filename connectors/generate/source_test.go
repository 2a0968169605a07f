package generate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
	"github.com/activedataflow/adf/splits/splittest"
)

func TestMain(m *testing.M) {
	splittest.Child(map[string]func() (splits.Any, error){
		"orders": func() (splits.Any, error) {
			s := orders()
			c, err := s.RecordCodec()
			return splits.Erase(s, c), err
		},
	})
	goleak.VerifyTestMain(m)
}

type order struct {
	ID   int64
	User string
}

func makeOrder(n int64) order { return order{n, fmt.Sprint("user", n%7)} }

func orders() *Source[order] { return &Source[order]{Make: makeOrder, Records: 23_456, Splits: 5} }

func TestConformance(t *testing.T) {
	want := func(n int64) (all []order) {
		for i := range n {
			all = append(all, makeOrder(i))
		}
		return all
	}
	t.Run("typed", func(t *testing.T) {
		splittest.Run(t, splittest.Harness[order, Split]{
			New: func(splittest.TB) splittest.Input[order, Split] {
				return splittest.Input[order, Split]{Source: orders()}
			},
			Want:    want(23_456),
			Fixed:   true,
			Process: "orders",
		})
	})
	t.Run("rows", func(t *testing.T) {
		splittest.Run(t, splittest.Harness[row.Row, Split]{
			New: func(splittest.TB) splittest.Input[row.Row, Split] {
				return splittest.Input[row.Row, Split]{Source: &Source[row.Row]{
					Records: 12_345, Splits: 3, Seed: 7,
					Columns: []string{"id sequence", "a int(-5,5)", "b float(0,1)", "c bool", "d pick(x,y,z)", "e key(100)", "f text(10)", "g time"},
				}}
			},
			Fixed: true,
		})
	})
	t.Run("unbounded", func(t *testing.T) {
		splittest.Run(t, splittest.Harness[row.Row, Split]{
			New: func(splittest.TB) splittest.Input[row.Row, Split] {
				return splittest.Input[row.Row, Split]{Source: &Source[row.Row]{Splits: 3}}
			},
			Enough: 9_000,
			Fixed:  true,
		})
	})
	t.Run("paced", func(t *testing.T) {
		splittest.Run(t, splittest.Harness[order, Split]{
			New: func(splittest.TB) splittest.Input[order, Split] {
				return splittest.Input[order, Split]{Source: &Source[order]{Make: makeOrder, Records: 1_000, Rate: 100_000}}
			},
			Want:  want(1_000),
			Fixed: true,
		})
	})
}

// TestGolden holds what releases before made of a seed: a flow that goes on with this release makes the same records.
func TestGolden(t *testing.T) {
	s := &Source[row.Row]{Seed: 42, Records: 4, Splits: 1, Start: "1969-12-31T23:59:59.999Z", Step: 1500 * time.Microsecond, Columns: []string{
		"id sequence", "a int(-5,5)", "b float(0,10)", "c bool", "d pick(x,y,z)", "e key(100)", "far key(2000000)", "f text(6)", "g time", "h int(-9223372036854775808,9223372036854775807)",
	}}
	b := read(t, s, Split{0, 1, 0}, 1)
	var got strings.Builder
	for i, r := range b.Values {
		fmt.Fprintf(&got, "%d %d", b.Metas[i].Position, b.Metas[i].Time)
		for _, v := range r.Values {
			switch v.Kind() {
			case row.KindString:
				fmt.Fprintf(&got, " %q", v.Str())
			case row.KindFloat64:
				fmt.Fprintf(&got, " %.6f", v.Float())
			default:
				fmt.Fprintf(&got, " %d", v.Int())
			}
		}
		got.WriteByte('\n')
	}
	const want = `0 -1 0 -2 9.507561 0 "z" "k84" "k1951246" "xxhysi" -1000 5515044505597257548
1 0 1 -2 9.119164 0 "y" "k21" "k465675" "qzvxmd" 500 -6864356232921098533
2 2 2 1 9.623663 0 "z" "k57" "k1325138" "qtorfg" 2000 -3155376083599989606
3 3 3 -5 0.446580 1 "z" "k12" "k978539" " uhron" 3500 6748807024636265941
`
	if got.String() != want {
		t.Errorf("got\n%s\nwant\n%s", got.String(), want)
	}
}

// read reads some batches of a split.
func read[T any](t *testing.T, s *Source[T], at Split, batches int) *record.Batch[T] {
	t.Helper()
	m, err := s.prepare()
	if err != nil {
		t.Fatal(err)
	}
	r := s.open(m, at)
	b := &record.Batch[T]{}
	for range batches {
		if _, _, err := r.Fetch(context.Background(), b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// Fields keep their values when others are added or their order changes, and are spread as they should be.
func TestColumns(t *testing.T) {
	a := read(t, &Source[row.Row]{Columns: []string{"x int(0,9)", "y key(10)"}, Splits: 1}, Split{0, 1, 0}, 20)
	b := read(t, &Source[row.Row]{Columns: []string{"y key(10)", "z bool", "x int(0,9)"}, Splits: 1}, Split{0, 1, 0}, 20)
	var ints, keys [10]int
	for i := range a.Values {
		x, y := a.Values[i].Get("x"), a.Values[i].Get("y")
		if x.Int() != b.Values[i].Get("x").Int() || y.Str() != b.Values[i].Get("y").Str() {
			t.Fatalf("record %d differs when fields are added", i)
		}
		ints[x.Int()]++
		keys[y.Str()[1]-'0']++
	}
	for i := range 10 {
		if ints[i] < 1850 || ints[i] > 2150 || keys[i] < 1850 || keys[i] > 2150 {
			t.Errorf("of 20000 values %d and %d are number %d, want about 2000", ints[i], keys[i], i)
		}
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []float64{0.5, 7, 1000, 300_000} {
			s := &Source[int64]{Make: func(n int64) int64 { return n }, Rate: rate, Splits: 2}
			m, err := s.prepare()
			if err != nil {
				t.Fatal(err)
			}
			// One split begins at the start, the other one goes on at record 1001: both give half the rate from their opening on.
			for _, at := range []Split{{0, 2, 0}, {1, 2, 1001}} {
				r := s.open(m, at)
				b := &record.Batch[int64]{}
				took := time.Duration(20*float64(time.Second)/rate + float64(time.Second))
				for began := time.Now(); time.Since(began) < took; {
					if _, _, err := r.Fetch(t.Context(), b); err != nil {
						t.Fatal(err)
					}
				}
				if want := took.Seconds() * rate / 2; float64(b.Len()) < want-1 || float64(b.Len()) > want*1.06+1 {
					t.Errorf("rate %v, split %s: got %d records in %v, want %.0f", rate, at.SplitID(), b.Len(), took, want)
				}
			}
		}
	})
}

// A live source gives what is due at once, and then each record at its event time.
func TestLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const overdue = 300
		s := &Source[int64]{Make: func(n int64) int64 { return n }, Live: true, Splits: 2, Step: 10 * time.Millisecond,
			Start: time.Now().Add(-overdue * 10 * time.Millisecond).UTC().Format(time.RFC3339Nano)}
		m, err := s.prepare()
		if err != nil {
			t.Fatal(err)
		}
		r, b, began := s.open(m, Split{1, 2, 1}), &record.Batch[int64]{}, time.Now()
		for time.Since(began) < 2*time.Second {
			before := b.Len()
			if _, _, err := r.Fetch(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			for _, meta := range b.Metas[before:] {
				late := time.Since(time.UnixMilli(meta.Time))
				if late < -time.Microsecond || meta.Position > overdue && late > 2*splits.Linger {
					t.Fatalf("record %d came %v after its event time", meta.Position, late)
				}
			}
		}
		if want := (overdue + 200) / 2; b.Len() < want-10 || b.Len() > want+10 {
			t.Errorf("got %d records, want about %d", b.Len(), want)
		}
	})
}

// The texts of all that can be wrong with the options.
func TestMistakes(t *testing.T) {
	for _, c := range []struct {
		field, want string
	}{
		{"id", `fields: got "id", want a name and how it is made, as "user key(10000)"`},
		{"", `fields: got "", want a name and how it is made, as "user key(10000)"`},
		{"id sequenze", `fields: got "id sequenze", want sequence, int(min,max), float(min,max), bool, pick(a,b,…), key(n), text(length) or time; did you mean "sequence"?`},
		{"id sequence(1)", `fields: got "id sequence(1)", want sequence without (…)`},
		{"id int(0", `fields: got "id int(0", want a ")" at the end; in a list written with [ ] a field with a comma needs quotes`},
		{"id int(3,2)", `fields: got "id int(3,2)", want int(min,max) with whole numbers, min not above max`},
		{"id int(1)", `fields: got "id int(1)", want int(min,max) with whole numbers, min not above max`},
		{"id int(a,b)", `fields: got "id int(a,b)", want int(min,max) with whole numbers, min not above max`},
		{"id float(1,NaN)", `fields: got "id float(1,NaN)", want float(min,max) with numbers, min not above max`},
		{"id pick()", `fields: got "id pick()", want pick(a,b,…) with at least one text`},
		{"id key(0)", `fields: got "id key(0)", want key(n) with the number of keys, at least 1`},
		{"id text(-1)", `fields: got "id text(-1)", want text(length) with a number of bytes up to 1048576`},
	} {
		_, err := (&Source[row.Row]{Columns: []string{c.field}}).prepare()
		if err == nil || err.Error() != c.want {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	_, err := (&Source[row.Row]{Columns: []string{"a bool", "a bool"}}).prepare()
	if want := `fields: got "a bool", want each name once`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = (&Source[int]{}).prepare()
	var conf *fault.ConfigurationError
	if !errors.As(err, &conf) || conf.Code != "generate.make" {
		t.Errorf("a typed source without Make: got %v", err)
	}
	_, err = (&Source[row.Row]{Live: true, Rate: 5}).prepare()
	if want := `rate: got a rate beside live, want one of the two; with live, step is how far records are apart`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	_, err = (&Source[row.Row]{Records: -1, Rate: -1, Splits: -1, Start: "yesterday", Step: -1}).prepare()
	if want := `records: got -1, want a number that is not negative
rate: got -1, want a number that is not negative
splits: got -1, want 1 to 4096
start: got yesterday, want a time as "2024-01-01T00:00:00Z"
step: got -1ns, want a duration with units, not negative, as "24h", "1d12h" or "500ms"`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Other splits than those of the checkpoint would make records twice.
func TestOtherSplits(t *testing.T) {
	s := &Source[row.Row]{Splits: 4}
	r, err := s.Reader(t.Context(), lane{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := errors.Join(r.Start(t.Context()), r.AddSplits([]Split{{0, 8, 800}})); err != nil {
		t.Fatal(err)
	}
	b := &record.Batch[row.Row]{}
	if _, err = r.Poll(b); err == nil {
		<-r.Ready()
		_, err = r.Poll(b)
	}
	const want = `configuration generate: go on from a checkpoint: the records were dealt to 8 splits, now to 4 (split 0/8) [generate.splits]; set splits back, or start afresh`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

type lane struct{}

func (lane) Index() int    { return 0 }
func (lane) RequestSplit() {}

func TestRegister(t *testing.T) {
	r := connectors.NewRegistry("0.1.0")
	if err := Register(r); err != nil {
		t.Fatal(err)
	}
	e, err := r.LookupSource("generate")
	if err != nil {
		t.Fatal(err)
	}
	c := e.New()
	if wrong := connectors.Decode(nil, "generate", c); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	src, err := c.Source(t.Context(), connectors.SourceEnv{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "id int64 not null, at timestamp not null, key string not null, value float64 not null"
	if got := src.Codec().Schema().String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	other, _ := row.ParseSchema("id string")
	_, err = c.Source(t.Context(), connectors.SourceEnv{Schema: other})
	if want := `schema: got id string, want ` + want + `, which the fields make; leave the schema out`; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func BenchmarkRows(b *testing.B) {
	s := &Source[row.Row]{Columns: []string{"id sequence", "at time", "key key(10000)", "value int(0,1000)"}, Splits: 1}
	m, err := s.prepare()
	if err != nil {
		b.Fatal(err)
	}
	r := s.open(m, Split{0, 1, 0})
	batch := &record.Batch[row.Row]{}
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		if _, _, err := r.Fetch(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		n += batch.Len()
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}

func FuzzColumns(f *testing.F) {
	for _, text := range append(defaultColumns, "a int(-5,5)", "b pick(x,y)", "c bool", "d text(3)", "e int(0") {
		f.Add(text, int64(3))
	}
	f.Fuzz(func(t *testing.T, text string, n int64) {
		if len(text) > 100 || strings.Contains(text, "key(") {
			return // a million keys take too long to make
		}
		s := &Source[row.Row]{Columns: []string{text}, Splits: 1}
		m, err := s.prepare()
		if err != nil {
			return
		}
		b := &record.Batch[row.Row]{}
		m.fill(b, n, 1, 2)
		if k := b.Values[1].Values[0].Kind(); k != m.codec.Schema().Fields[0].Type.Kind {
			t.Errorf("%q makes a %s", text, k)
		}
	})
}
