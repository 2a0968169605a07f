package operators

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// scripted is a processor made of functions.
type scripted struct {
	cells          []state.Cell
	process        func(key string, f flight, m record.Meta, c *Ctx[string]) error
	timer          func(key string, t Timer, c *Ctx[string]) error
	opened, closed *int
}

func (s *scripted) State() []state.Cell { return s.cells }
func (s *scripted) Open(_ context.Context, oc OpContext) error {
	if s.opened != nil {
		*s.opened++
	}
	if oc.Node == "" {
		return errors.New("no node")
	}
	return nil
}
func (s *scripted) Process(_ context.Context, key string, f flight, m record.Meta, c *Ctx[string]) error {
	return s.process(key, f, m, c)
}
func (s *scripted) OnTimer(_ context.Context, key string, t Timer, c *Ctx[string]) error {
	return s.timer(key, t, c)
}
func (s *scripted) Close() error {
	if s.closed != nil {
		*s.closed++
	}
	return nil
}

func processStep(t testing.TB, ttl time.Duration, p scripted) AnyKeyed {
	t.Helper()
	in, err := row.CodecOf[flight]()
	if err != nil {
		t.Fatal(err)
	}
	out, err := row.CodecOf[string]()
	if err != nil {
		t.Fatal(err)
	}
	step, err := Process(in, out, func(f flight) string { return f.Carrier }, ttl, func() Processor[flight, string, string] { q := p; return &q })
	if err != nil {
		t.Fatal(err)
	}
	return step
}

// flights makes a batch; each record is carrier, plane, time and position.
func flights(split string, recs ...[4]any) *record.Batch[flight] {
	b := &record.Batch[flight]{Split: split}
	for _, r := range recs {
		at := record.NoTime
		if r[2] != nil {
			at = int64(r[2].(int))
		}
		b.Append(flight{Carrier: r[0].(string), Plane: r[1].(string)}, record.Meta{Time: at, Watermark: record.NoTime, Position: int64(r[3].(int))})
	}
	return b
}

// values takes the wrapping off results.
func values(results []string) []string {
	var out []string
	for _, r := range results {
		r = strings.ReplaceAll(r, `{"value":"`, "")
		out = append(out, strings.TrimSuffix(r, `"}`))
	}
	return out
}

func TestProcess(t *testing.T) {
	seen := state.NewValue[int64]("seen", 0)
	opened, closed := 0, 0
	step := processStep(t, 0, scripted{
		cells: []state.Cell{seen}, opened: &opened, closed: &closed,
		process: func(key string, f flight, m record.Meta, c *Ctx[string]) error {
			n, ok := seen.Get(c)
			if ok != (n > 0) {
				return fmt.Errorf("got %d, %v", n, ok)
			}
			switch f.Plane {
			case "refuse":
				return errors.New("no such plane")
			case "clear":
				seen.Clear(c)
				return nil
			case "at":
				c.EmitAt("elsewhen", 77)
				return nil
			}
			seen.Set(c, n+1)
			c.Emit(fmt.Sprint(key, n+1, f.Plane))
			return nil
		},
	})
	if !step.OrderDependent() || step.EventTime() || step.OutputDelay() != 0 {
		t.Error("the step's properties are wrong")
	}
	r := newRig(t, step, 2, 7, false)
	r.add(0, flights("s1", [4]any{"AA", "x", 5, 1}, [4]any{"UA", "x", nil, 2}, [4]any{"AA", "refuse", 6, 3}, [4]any{"AA", "y", 4, 4}))
	r.add(1, flights("s2", [4]any{"UA", "z", 9, 1}, [4]any{"DL", "at", 9, 2}))
	r.add(0, flights("s3", [4]any{"UA", "clear", 9, 1}, [4]any{"UA", "w", 9, 2}))
	if r.shuffles[0].Buffered() == 0 {
		t.Error("nothing is buffered")
	}
	r.flush(0)
	r.restart()
	r.flush(1)
	same(t, "results", values(r.results), []string{"5 AA1x", "UA1x", "4 AA2y", "9 UA1w", "9 UA2z", "77 elsewhen"})
	same(t, "failed", r.failed, []string{`{"carrier":"AA","plane":"refuse","delay":0} 6 "s1": no such plane`})
	if err := r.task.Close(); err != nil || opened != 2 || closed != 2 {
		t.Errorf("opened %d times, closed %d times, %v", opened, closed, err)
	}
}

// TestTimers sets, deletes and fires timers of both kinds, over restarts.
func TestTimers(t *testing.T) {
	last := state.NewValue[string]("last", 0)
	step := processStep(t, 0, scripted{
		cells: []state.Cell{last},
		process: func(key string, f flight, m record.Meta, c *Ctx[string]) error {
			if at, ok := last.Get(c); ok && at == "gone" {
				return errors.New("called after its end")
			}
			switch f.Plane {
			case "delete":
				c.DeleteTimer(Timer{Time: 100, Tag: "a"})
			case "clock":
				c.SetProcessingTimer(c.Now()+50, "p")
			default:
				c.SetEventTimer(100, "a")
				c.SetEventTimer(100, "a") // one
				c.SetEventTimer(100, "b")
				c.SetEventTimer(50, "a")
			}
			last.Set(c, f.Plane)
			return nil
		},
		timer: func(key string, at Timer, c *Ctx[string]) error {
			v, _ := last.Get(c)
			c.Emit(fmt.Sprint(key, " ", v, " ", at.Time, at.Tag, at.Processing))
			if at.Tag == "b" && at.Time == 100 {
				c.SetEventTimer(10, "past")
			}
			return nil
		},
	})
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UnixMilli()
		r := newRig(t, step, 1, 3, false)
		r.full = 1
		r.add(0, flights("s", [4]any{"AA", "x", 1, 1}, [4]any{"UA", "x", 1, 2}, [4]any{"DL", "clock", 1, 4}, [4]any{"UA", "delete", 1, 3}))
		r.flush(0)
		r.restart()
		r.advance(49, now+49)
		same(t, "too early", r.results, nil)
		r.advance(50, now+49)
		same(t, "at 50", values(r.results), []string{"50 AA x 50afalse", "50 UA delete 50afalse"})
		r.restart()
		r.results = nil
		r.advance(99, now+50)
		same(t, "by the clock", values(r.results), []string{fmt.Sprint("DL clock ", now+50, "ptrue")})
		r.restart()
		r.results = nil
		r.advance(record.MaxTime, now+50)
		same(t, "at the end", values(r.results), []string{"100 AA x 100afalse", "100 AA x 100bfalse", "10 AA x 10pastfalse", "100 UA delete 100bfalse", "10 UA delete 10pastfalse"})
	})
}

// TestTimerOrder fires in order of time, then key, then tag, within a bucket.
func TestTimerOrder(t *testing.T) {
	step := processStep(t, 0, scripted{
		process: func(key string, f flight, m record.Meta, c *Ctx[string]) error {
			c.SetEventTimer(m.Time, f.Plane)
			return nil
		},
		timer: func(key string, at Timer, c *Ctx[string]) error {
			c.Emit(fmt.Sprint(at.Time, key, at.Tag))
			return nil
		},
	})
	r := newRig(t, step, 1, 1, false)
	b := &record.Batch[flight]{Split: "s"}
	var want []string
	for _, at := range []int{1, 2, 3} {
		for _, key := range []string{"a", "b", "c"} {
			for _, tag := range []string{"x", "y"} {
				want = append(want, fmt.Sprint(at, key, tag))
				b.Append(flight{Carrier: key, Plane: tag}, record.Meta{Time: int64(at)})
			}
		}
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(b.Len(), func(i, j int) {
		b.Values[i], b.Values[j], b.Metas[i], b.Metas[j] = b.Values[j], b.Values[i], b.Metas[j], b.Metas[i]
	})
	r.add(0, b)
	r.flush(0)
	r.advance(3, 0)
	var got []string
	for _, v := range values(r.results) {
		got = append(got, v[2:])
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

// TestTTL drops state that was not written for the step's TTL, or the cell's own, and frees it without a record coming.
func TestTTL(t *testing.T) {
	short, long := state.NewValue[int64]("short", 0), state.NewValue[int64]("long", time.Minute)
	step := processStep(t, time.Second, scripted{
		cells: []state.Cell{short, long},
		process: func(key string, f flight, m record.Meta, c *Ctx[string]) error {
			a, _ := short.Get(c)
			b, _ := long.Get(c)
			c.Emit(fmt.Sprint(a, b))
			if f.Plane != "look" {
				short.Set(c, a+1)
				long.Set(c, b+1)
			}
			return nil
		},
	})
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, step, 1, 1, false)
		see := func(plane, want string) {
			t.Helper()
			r.results = nil
			r.add(0, flights("s", [4]any{"AA", plane, nil, 1}))
			r.flush(0)
			same(t, "results", values(r.results), []string{want})
		}
		see("x", "0 0")
		time.Sleep(999 * time.Millisecond)
		see("x", "1 1") // written: lives on
		time.Sleep(999 * time.Millisecond)
		r.restart()
		see("look", "2 2")
		time.Sleep(time.Millisecond)
		see("look", "0 2")
		now := time.Now().UnixMilli()
		if _, p := r.state[0].NextTimer(); p > now {
			t.Errorf("what has expired is due at %d, now is %d", p, now)
		}
		r.advance(record.NoTime, now)
		r.restart()
		see("x", "0 2")
		time.Sleep(time.Minute)
		r.advance(record.NoTime, time.Now().UnixMilli())
		if delta, whole := r.state[0].Delta(); r.state[0].Size() != 0 || !whole || len(delta) != 2 {
			t.Errorf("%d bytes of state are left", r.state[0].Size())
		}
		if e, p := r.state[0].NextTimer(); e != record.MaxTime || p != record.MaxTime {
			t.Errorf("timers are left: %d, %d", e, p)
		}
	})
}

// TestProcessInOrder gives the records of a bounded run in the order of (event time, split, position), however they come.
func TestProcessInOrder(t *testing.T) {
	trail := state.NewValue[string]("trail", 0)
	step := processStep(t, 0, scripted{
		cells: []state.Cell{trail},
		process: func(key string, f flight, m record.Meta, c *Ctx[string]) error {
			s, _ := trail.Get(c)
			trail.Set(c, s+f.Plane)
			if len(s) == 0 {
				c.SetEventTimer(20, "")
				c.SetEventTimer(record.MaxTime, "")
			}
			c.Emit(s + f.Plane)
			if f.Plane == "!" {
				return errors.New("refused")
			}
			return nil
		},
		timer: func(key string, at Timer, c *Ctx[string]) error {
			s, _ := trail.Get(c)
			trail.Set(c, s+"|")
			if at.Time == record.MaxTime {
				trail.Clear(c)
				c.EmitAt(key+" "+s, record.NoTime)
			}
			return nil
		},
	})
	type rec struct {
		split string
		v     [4]any
	}
	var recs []rec
	for i, split := range []string{"p", "q", "r"} {
		for pos := range 8 {
			at := []int{10, 10, 30, 20, 19, 10, -5, 21}[pos] + i*(pos%2)
			recs = append(recs, rec{split, [4]any{[]string{"AA", "UA"}[pos%2], string(rune('a' + i*8 + pos)), at, pos}})
		}
		recs = append(recs, rec{split, [4]any{"AA", string(rune('A' + i)), nil, 9}}, rec{split, [4]any{"UA", "!", 11, 10}})
	}
	var want []string
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 1))
		x := newRig(t, step, 3, 1+int(seed)%5, true)
		x.full = 1 + r.IntN(3)
		for _, i := range r.Perm(len(recs)) {
			lane := r.IntN(3)
			x.add(lane, flights(recs[i].split, recs[i].v))
			if r.IntN(3) == 0 {
				x.flush(lane)
			}
			if r.IntN(6) == 0 {
				for lane := range 3 {
					x.flush(lane)
				}
				x.restart()
				x.advance(-6, 0)
			}
		}
		x.finish()
		if seed == 0 {
			want = slices.Clone(x.results)
			var ends []string
			for _, v := range values(x.results) {
				if strings.HasPrefix(v, "AA ") || strings.HasPrefix(v, "UA ") {
					ends = append(ends, v)
				}
			}
			// At 20 the timer stands before the records of that time.
			same(t, "order", ends, []string{"AA gowaiqemu|cksABC", "UA bf!jn!!rv|dhlptx"})
		}
		same(t, fmt.Sprint("seed ", seed), x.results, want)
		if len(x.failed) != 3 || !strings.HasSuffix(x.failed[0], "refused") {
			t.Errorf("failed: %v", x.failed)
		}
	}
}

// rowsThrough emits rows that it has got, and keeps one.
type rowsThrough struct{ kept *state.Value[string] }

func (p rowsThrough) State() []state.Cell                   { return []state.Cell{p.kept} }
func (p rowsThrough) Open(context.Context, OpContext) error { return nil }
func (p rowsThrough) Close() error                          { return nil }
func (p rowsThrough) OnTimer(context.Context, int64, Timer, *Ctx[row.Row]) error {
	return nil
}
func (p rowsThrough) Process(_ context.Context, key int64, r row.Row, _ record.Meta, c *Ctx[row.Row]) error {
	if was, ok := p.kept.Get(c); ok {
		c.Emit(row.Row{Schema: r.Schema, Values: []row.Value{row.Int(-key), row.String(was)}})
	}
	p.kept.Set(c, r.Values[1].Str())
	c.Emit(r)
	return nil
}

func TestProcessRows(t *testing.T) {
	in := schema(t, "k int64, s string")
	c := row.RowCodec(in)
	step, err := Process(c, c, func(r row.Row) int64 { return r.Values[0].Int() }, 0, func() Processor[row.Row, int64, row.Row] {
		return rowsThrough{state.NewValue[string]("kept", 0)}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, bounded := range []bool{false, true} {
		r := newRig(t, step, 1, 2, bounded)
		r.add(0, rows(t, in, "s", `{"k":1,"s":"a"}`, `{"k":2,"s":"b"}`, `{"k":1,"s":"c"}`, `{"k":1}`))
		r.flush(0)
		r.advance(record.MaxTime, 0)
		r.want(`{"k":1,"s":"a"}`, `{"k":2,"s":"b"}`, `{"k":-1,"s":"a"}`, `{"k":1,"s":"c"}`, `{"k":-1,"s":"c"}`, `{"k":1,"s":null}`)
	}
}

// TestWaitingEvolves reads records that wait in order with a new field.
func TestWaitingEvolves(t *testing.T) {
	make := func(in *row.Schema, bounded bool) *rig {
		step, err := Process(row.RowCodec(in), row.RowCodec(in), func(r row.Row) int64 { return r.Values[0].Int() }, 0, func() Processor[row.Row, int64, row.Row] {
			return rowsThrough{state.NewValue[string]("kept", 0)}
		})
		if err != nil {
			t.Fatal(err)
		}
		return newRig(t, step, 1, 1, bounded)
	}
	old := schema(t, "k int64, s string")
	a := make(old, true)
	a.add(0, rows(t, old, "s", `{"k":1,"s":"a"}`, `{"k":1,"s":"b"}`))
	a.flush(0)
	a.snapshot()
	b := make(schema(t, "k int64, s string, x float64"), false) // what waits is given out in other runs too
	if err := b.bucket(0).Load(a.logs[0]); err != nil {
		t.Fatal(err)
	}
	b.advance(record.MaxTime, 0)
	if len(b.results) != 3 || b.results[0] != `{"k":1,"s":"a","x":null}` {
		t.Errorf("got %v", b.results)
	}
	c := make(schema(t, "k int64, s int64"), true)
	if d, ok := fault.DetailOf(c.bucket(0).Load(a.logs[0])); !ok || d.Code != "state.cell_schema" {
		t.Errorf("got %v", d)
	}
}

func TestProcessErrors(t *testing.T) {
	in, _ := row.CodecOf[flight]()
	out, _ := row.CodecOf[string]()
	for _, c := range []struct {
		cells []state.Cell
		ttl   time.Duration
		want  string
	}{
		{[]state.Cell{state.NewValue[int64]("adf.x", 0)}, 0, `state adf.x: names that begin with "adf." are taken`},
		{[]state.Cell{state.NewValue[int64]("x", 0), state.NewValue[string]("x", 0)}, 0, "there are two cells of state named x"},
		{[]state.Cell{state.NewValue[func()]("x", 0)}, 0, "state x: func(): a func() can not travel between processes"},
		{nil, -1, "got the TTL -1ns, want one of at least zero"},
	} {
		_, err := Process(in, out, func(f flight) string { return "" }, c.ttl, func() Processor[flight, string, string] { return &scripted{cells: c.cells} })
		if fmt.Sprint(err) != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	broken := errors.New("broken")
	step := processStep(t, 0, scripted{
		process: func(key string, f flight, m record.Meta, c *Ctx[string]) error {
			c.SetEventTimer(1, "")
			return nil
		},
		timer: func(string, Timer, *Ctx[string]) error { return broken },
	})
	r := newRig(t, step, 1, 1, false)
	r.add(0, flights("s", [4]any{"AA", "x", 0, 1}))
	r.flush(0)
	out1 := Output{Out: step.Out().NewBatch(), Full: func() bool { return false }}
	if _, err := r.task.Advance(t.Context(), r.state[0], 1, 0, out1); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	task, _ := step.Task(OpContext{})
	if err := task.Process(t.Context(), r.state[0], 0, r.payloads[0], out1); fmt.Sprint(err) != "no node" {
		t.Errorf("an Open that fails: got %v", err)
	}
}

// TestSeparateInstances uses an instance and its handles for each worker; with the race detector on.
func TestSeparateInstances(t *testing.T) {
	seen := state.NewValue[int64]("seen", 0) // shared: a handle has no state
	step := processStep(t, 0, scripted{
		cells: []state.Cell{seen},
		process: func(key string, f flight, m record.Meta, c *Ctx[string]) error {
			n, _ := seen.Get(c)
			seen.Set(c, n+1)
			return nil
		},
	})
	agg, _ := countAndSum(t)
	done := make(chan error)
	for range 4 {
		go func() {
			r := newRig(t, step, 1, 4, false)
			for range 50 {
				r.add(0, flights("s", [4]any{"AA", "x", 0, 1}, [4]any{"UA", "x", 0, 1}))
				r.flush(0)
			}
			in := agg.Inputs()[0].Schema()
			x := newRig(t, agg, 1, 4, false)
			for _, b := range generated(in, 10, 5) {
				x.add(0, b)
			}
			x.finish()
			done <- nil
		}()
	}
	for range 4 {
		<-done
	}
}

// FuzzPayload gives anything to the halves behind the shuffle.
func FuzzPayload(f *testing.F) {
	in := schema(f, "k string, n int64, f float64, d decimal(20,4), s string")
	step, err := AggregateRows(in, []Assign{{"k", "k"}}, Window{Size: time.Second},
		[]Assign{{"c", "count()"}, {"sn", "sum(n)"}, {"sf", "sum(f)"}, {"sd", "sum(d)"}, {"ls", "min(s)"}, {"hd", "max(d)"}, {"md", "mean(d)"}, {"mn", "mean(n)"}})
	if err != nil {
		f.Fatal(err)
	}
	c := row.RowCodec(in)
	proc, err := Process(c, c, func(r row.Row) int64 { return 1 }, 0, func() Processor[row.Row, int64, row.Row] {
		return rowsThrough{state.NewValue[string]("kept", 0)}
	})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []AnyKeyed{step, proc} {
		r := newRig(f, s, 1, 1, false)
		r.add(0, rows(f, in, "s", `{"k":"a","n":1,"f":0.1,"d":"1.5","s":"x","t":5}`, `{"k":"a","n":-1,"f":1e300,"t":5}`, `{"f":1e308,"t":5000}`, `{"f":"NaN","d":"-9999999999999999","t":-5000}`))
		r.flush(0)
		f.Add(r.payloads[0])
	}
	task, err := step.Task(OpContext{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		ctx := context.Background()
		b := state.NewBucket(step.Cells())
		out := Output{Out: step.Out().NewBatch(), Full: func() bool { return false }, Fail: func([]byte, record.Meta, string, error) {}}
		if task.Process(ctx, b, 0, payload, out) == nil {
			delta, _ := b.Delta()
			again := state.NewBucket(step.Cells())
			if delta != nil {
				if err := again.Load([][]byte{delta}); err != nil {
					t.Fatal(err)
				}
			}
			if err := task.Process(ctx, again, 0, payload, out); err != nil { // merges
				t.Fatal(err)
			}
			_, _ = task.Advance(ctx, again, record.MaxTime, 0, out)
		}
		ptask, err := proc.Task(OpContext{Bounded: true})
		if err != nil {
			t.Fatal(err)
		}
		pb := state.NewBucket(proc.Cells())
		pout := Output{Out: proc.Out().NewBatch(), Full: func() bool { return false }, Fail: func([]byte, record.Meta, string, error) {}}
		if ptask.Process(ctx, pb, 0, payload, pout) == nil {
			_, _ = ptask.Advance(ctx, pb, record.MaxTime, 0, pout)
		}
	})
}

// BenchmarkProcess is both halves for one record of a processor that counts.
func BenchmarkProcess(b *testing.B) {
	seen := state.NewValue[int64]("seen", 0)
	step := processStep(b, 0, scripted{
		cells: []state.Cell{seen},
		process: func(_ string, _ flight, _ record.Meta, c *Ctx[string]) error {
			n, _ := seen.Get(c)
			seen.Set(c, n+1)
			return nil
		},
	})
	oc := OpContext{Node: "n"}
	s, err := step.Shuffle(0, oc, 128)
	if err != nil {
		b.Fatal(err)
	}
	task, err := step.Task(oc)
	if err != nil {
		b.Fatal(err)
	}
	buckets := make([]*state.Bucket, 128)
	for i := range buckets {
		buckets[i] = state.NewBucket(step.Cells())
	}
	batch := &record.Batch[flight]{Split: "s"}
	for i := range 1000 {
		batch.Append(flight{Carrier: fmt.Sprint("key-", i), Plane: "N1"}, record.Meta{Time: 5})
	}
	out := Output{Out: step.Out().NewBatch(), Full: func() bool { return false }}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := s.Add(batch, none, noError); err != nil {
			b.Fatal(err)
		}
		if i%100 != 99 {
			continue
		}
		if err := s.Flush(func(bucket int, payload []byte) {
			if err := task.Process(b.Context(), buckets[bucket], 0, payload, out); err != nil {
				b.Fatal(err)
			}
		}); err != nil {
			b.Fatal(err)
		}
	}
	perSecond(b, 1000)
}
