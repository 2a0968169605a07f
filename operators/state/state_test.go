package state

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators/state/table"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record/row"
)

type visit struct {
	Pages int64  `adf:"pages"`
	Last  string `adf:"last"`
}

func at(b *Bucket, key string) *Scope {
	s := At(b, table.Hash([]byte(key)), []byte(key))
	return &s
}

// model is what a bucket should hold, kept in the plainest way.
type model struct {
	visits map[string]visit
	counts map[string]int64 // with TTL
	wrote  map[string]int64
	sums   map[windowOf]int64
	timers map[alarm]bool
	now    int64
}

type windowOf struct {
	key string
	ns  int64
}

const ttl = 500

var (
	visits = NewValue[visit]("visits", 0)
	counts = NewValue[int64]("counts", ttl*time.Millisecond)
	sums   = Define("sums", RowFormat(must(row.CodecOf[int64]())), func(ns int64) int64 { return ns + 10 })
	cells  = []Cell{visits, counts, sums}
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (m *model) check(t *testing.T, b *Bucket) {
	t.Helper()
	got := visits.In(b)
	if got.Len() != len(m.visits) {
		t.Fatalf("got %d visits, want %d", got.Len(), len(m.visits))
	}
	for k, want := range m.visits {
		if v, ok := visits.Get(at(b, k)); !ok || v != want {
			t.Fatalf("visits of %s: got %v (%v), want %v", k, v, ok, want)
		}
	}
	alive := 0
	for k, want := range m.counts {
		v, ok := counts.Get(at(b, k))
		live := m.wrote[k]+ttl > m.now
		if ok != live || ok && v != want {
			t.Fatalf("count of %s: got %d (%v), want %d (%v)", k, v, ok, want, live)
		}
		if live {
			alive++
		}
	}
	for k, want := range m.sums {
		if v := sums.In(b).Get(table.Hash([]byte(k.key)), []byte(k.key), k.ns); v == nil || *v != want {
			t.Fatalf("sum of %v: got %v, want %d", k, v, want)
		}
	}
	if sums.In(b).Len() != len(m.sums) {
		t.Fatalf("got %d sums, want %d", sums.In(b).Len(), len(m.sums))
	}
	event, processing := int64(math.MaxInt64), int64(math.MaxInt64)
	for a := range m.timers {
		if a.Processing {
			processing = min(processing, a.Time)
		} else {
			event = min(event, a.Time)
		}
	}
	if _, timer, ok := b.NextOf(false); ok != (event != math.MaxInt64) || ok && timer.Time != event {
		t.Fatalf("next event timer: got %v (%v), want %d", timer, ok, event)
	}
	if _, timer, ok := b.NextOf(true); ok != (processing != math.MaxInt64) || ok && timer.Time != processing {
		t.Fatalf("next processing timer: got %v (%v), want %d", timer, ok, processing)
	}
	b.Expire()
	if n := counts.In(b).Len(); n != alive {
		t.Fatalf("after expiry %d counts are left, want %d", n, alive)
	}
	e, p := b.NextTimer()
	for k := range m.sums {
		event = min(event, k.ns+10)
	}
	if e > event {
		t.Fatalf("NextTimer gives %d for event time, something is due at %d", e, event)
	}
	if p > processing {
		t.Fatalf("NextTimer gives %d for processing time, something is due at %d", p, processing)
	}
}

// TestModel does the same to a bucket and to maps, takes deltas now and then, and folds the log into new buckets.
func TestModel(t *testing.T) {
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 7))
		b := NewBucket(cells)
		m := &model{visits: map[string]visit{}, counts: map[string]int64{}, wrote: map[string]int64{}, sums: map[windowOf]int64{}, timers: map[alarm]bool{}, now: 1000}
		b.Reach(math.MinInt64, m.now)
		var log [][]byte
		wholes, size := 0, int64(0)
		keys := []int{5, 50, 1000}[seed%3]
		for range 400 {
			for range r.IntN(40) {
				k := fmt.Sprint("k", r.IntN(keys))
				s := at(b, k)
				switch r.IntN(10) {
				case 0, 1:
					v := visit{r.Int64N(1000), strings.Repeat("x", r.IntN(200))}
					visits.Set(s, v)
					m.visits[k] = v
				case 2:
					visits.Clear(s)
					delete(m.visits, k)
				case 3, 4:
					n, _ := counts.Get(s)
					counts.Set(s, n+1)
					if m.wrote[k]+ttl <= m.now {
						m.counts[k] = 0
					}
					m.counts[k]++
					m.wrote[k] = m.now
				case 5, 6:
					id := windowOf{k, r.Int64N(6)*10 - 30}
					v, fresh := sums.In(b).Change(s.hash, s.key, id.ns)
					if _, ok := m.sums[id]; ok == fresh {
						t.Fatalf("%v: fresh %v", id, fresh)
					}
					*v++
					m.sums[id]++
				case 7:
					a := alarm{Timer{Time: r.Int64N(100), Processing: r.IntN(2) == 0, Tag: fmt.Sprint(r.IntN(2))}, k}
					b.SetTimer([]byte(k), a.Timer)
					m.timers[a] = true
				case 8:
					for a := range m.timers {
						b.DeleteTimer([]byte(a.key), a.Timer)
						delete(m.timers, a)
						break
					}
				case 9:
					m.now += r.Int64N(20)
					b.Reach(math.MinInt64, m.now)
					m.forget()
				}
			}
			if r.IntN(20) == 0 { // windows fire
				w := r.Int64N(50) - 20
				var last moment
				for {
					key, ns, v, ok := sums.In(b).Due(w)
					if !ok {
						break
					}
					now := moment{ns + 10, key, ns}
					if now.before(last) && last != (moment{}) {
						t.Fatalf("%v is due after %v", now, last)
					}
					last = now
					if want := m.sums[windowOf{key, ns}]; *v != want || ns+10 > w {
						t.Fatalf("at %d %s/%d is due with %d, want %d", w, key, ns, *v, want)
					}
					delete(m.sums, windowOf{key, ns})
					sums.In(b).Remove(table.Hash([]byte(key)), []byte(key), ns)
				}
				for id := range m.sums {
					if id.ns+10 <= w {
						t.Fatalf("%v was not due at %d", id, w)
					}
				}
			}
			m.check(t, b)
			m.forget()
			if r.IntN(4) == 0 {
				delta, whole := b.Delta()
				if whole {
					log, size = nil, 0
					wholes++
				}
				if delta != nil {
					log = append(log, delta)
					size += int64(len(delta))
				}
				if again, _ := b.Delta(); again != nil {
					t.Fatal("a second delta has something")
				}
				if live := b.whole(); size > 2*live+200 {
					t.Fatalf("the log has %d bytes, the live state %d", size, live)
				}
				if r.IntN(3) == 0 {
					if b = reload(t, log, m.now); r.IntN(2) == 0 {
						m.check(t, b)
					}
				}
			}
		}
		if wholes == 0 {
			t.Error("the log was never compacted")
		}
		delta, whole := b.Delta()
		if whole {
			log = nil
		}
		if delta != nil {
			log = append(log, delta)
		}
		m.check(t, reload(t, log, m.now))
	}
}

// forget drops counts that have expired.
func (m *model) forget() {
	for k, w := range m.wrote {
		if w+ttl <= m.now {
			delete(m.counts, k)
			delete(m.wrote, k)
		}
	}
}

func reload(t *testing.T, log [][]byte, now int64) *Bucket {
	t.Helper()
	b := NewBucket(cells)
	for i := range log { // Load keeps nothing of the log
		log[i] = slices.Clone(log[i])
	}
	if err := b.Load(log); err != nil {
		t.Fatal(err)
	}
	for i := range log {
		clean := slices.Clone(log[i])
		for j := range log[i] {
			log[i][j] = 0xaa
		}
		log[i] = clean
	}
	b.Reach(math.MinInt64, now)
	return b
}

// The log of TestGolden: its bytes are the form of version 1, which must be readable for ever.
var goldenLog = []string{
	"080112340a06766973697473122a706167657320696e743634206e6f74206e756c6c2c206c61737420737472696e67206e6f74206e756c6c12200a06636f756e74731214" +
		"76616c756520696e743634206e6f74206e756c6c1801121c0a0473756d73121476616c756520696e743634206e6f74206e756c6c1a1e1a1c03616e6e00080206050468" +
		"6f6d6503626f6200080202050473686f701a1408012080a0abfef9621a0903616e6e000002020e1a0f08021a0b03616e6effb9b7030202542a1203616e6e00d00f0365" +
		"6e6403626f62010900",
	"08011a07120503626f62001a14080120f4a3abfef9621a0903616e6e0000020210220b03616e6e00d00f03656e64",
}

func TestGolden(t *testing.T) {
	b := NewBucket(cells)
	b.Reach(math.MinInt64, 1_700_000_000_000)
	visits.Set(at(b, "ann"), visit{3, "home"})
	visits.Set(at(b, "bob"), visit{1, "shop"})
	counts.Set(at(b, "ann"), 7)
	v, _ := sums.In(b).Change(table.Hash([]byte("ann")), []byte("ann"), -3600000)
	*v = 42
	b.SetTimer([]byte("ann"), Timer{Time: 1000, Tag: "end"})
	b.SetTimer([]byte("bob"), Timer{Time: -5, Processing: true})
	first, _ := b.Delta()
	visits.Clear(at(b, "bob"))
	b.Reach(math.MinInt64, 1_700_000_000_250)
	counts.Set(at(b, "ann"), 8)
	b.DeleteTimer([]byte("ann"), Timer{Time: 1000, Tag: "end"})
	second, whole := b.Delta()
	if whole {
		t.Error("the second delta is a whole one")
	}
	var log [][]byte
	for i, got := range [][]byte{first, second} {
		if text := hex.EncodeToString(got); text != goldenLog[i] {
			t.Errorf("delta %d: got %s\nwant %s", i+1, text, goldenLog[i])
		}
		var m adfv1.StateDelta
		if err := proto.Unmarshal(got, &m); err != nil {
			t.Errorf("delta %d is no StateDelta: %v", i+1, err)
		}
		log = append(log, must(hex.DecodeString(goldenLog[i])))
	}
	b = reload(t, log, 1_700_000_000_300)
	m := &model{
		visits: map[string]visit{"ann": {3, "home"}}, counts: map[string]int64{"ann": 8}, wrote: map[string]int64{"ann": 1_700_000_000_250},
		sums: map[windowOf]int64{{"ann", -3600000}: 42}, timers: map[alarm]bool{{Timer{Time: -5, Processing: true}, "bob"}: true}, now: 1_700_000_000_300,
	}
	m.check(t, b)
	if got := b.Size(); got != 14+9+11+7 {
		t.Errorf("got the size %d", got)
	}
}

// TestErrors are the texts of what can be wrong with a log or a declaration.
func TestErrors(t *testing.T) {
	type grown struct {
		Pages float64 `adf:"pages"`
		Last  string  `adf:"last"`
		Extra int64   `adf:"extra"`
	}
	log := [][]byte{must(hex.DecodeString(goldenLog[0]))}
	for _, c := range []struct {
		name  string
		cells []Cell
		log   [][]byte
		want  string
		code  string
	}{
		{
			"unknown", []Cell{visits, sums}, log,
			`delta 1 of 1: runtime: restore state: the checkpoint has the state "counts", the step has "visits", "sums" [state.cell_unknown]; ` +
				`keep the cell of state in the step, or give the step a new name and drop its state with --allow-dropped`, "state.cell_unknown",
		},
		{"no cells", nil, log, `delta 1 of 1: runtime: restore state: the checkpoint has the state "visits", the step has none [state.cell_unknown]; ` +
			`keep the cell of state in the step, or give the step a new name and drop its state with --allow-dropped`, "state.cell_unknown"},
		{
			"schema", []Cell{NewValue[grown]("visits", 0), counts, sums}, log,
			`delta 1 of 1: runtime: read the state visits: field extra: it is new, so it must be nullable: got int64 not null [state.cell_schema]; ` +
				`it was stored as (pages int64 not null, last string not null), the flow now has (pages float64 not null, last string not null, extra int64 not null)`,
			"state.cell_schema",
		},
		{"version", cells, [][]byte{{8, 9}}, "delta 1 of 1: got version 9 of the form of state, want 1", ""},
		{"empty", cells, [][]byte{{}}, "delta 1 of 1: got version 0 of the form of state, want 1", ""},
		{"field", cells, [][]byte{{8, 1, 0x78, 1}}, "delta 1 of 1: got the field 15 of a StateDelta, which version 1 does not have", ""},
		{"cell", cells, [][]byte{{8, 1, 0x1a, 2, 8, 3}}, "delta 1 of 1: got values of cell 3, the log has declared 0", ""},
		{"removed", cells, append(log, log[0][:2:2], []byte{8, 1, 0x1a, 5, 0x12, 3, 1, 'x', 0}),
			"delta 3 of 3: an entry is removed that is not there (key 78, namespace 0)", ""},
		{"timer", cells, append(log, []byte{8, 1, 0x22, 5, 1, 'x', 0, 2, 0}),
			`delta 2 of 2: a timer is set twice or deleted without being set (key 78, time 1, tag "")`, ""},
		{"truncated", cells, [][]byte{log[0][:len(log[0])-3]}, "delta 1 of 1: unexpected EOF", ""},
	} {
		err := NewBucket(c.cells).Load(c.log)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v\nwant %s", c.name, err, c.want)
		}
		var f *fault.RuntimeError
		if c.code != "" && (!errors.As(err, &f) || f.Code != c.code || f.Retry != fault.RetryNever) {
			t.Errorf("%s: got %#v", c.name, f)
		}
	}
	for _, c := range []struct {
		cells []Cell
		want  string
	}{
		{[]Cell{visits, NewValue[int64]("visits", 0)}, "there are two cells of state named visits"},
		{[]Cell{NewValue[int64]("", 0)}, "a cell of state has no name"},
		{[]Cell{NewValue[int64]("x", -time.Second)}, "state x: got a TTL below zero"},
		{[]Cell{NewValue[chan int]("x", 0)}, "state x: chan int: a chan int can not travel between processes"},
		{cells, "<nil>"},
	} {
		if err := Check(c.cells); fmt.Sprint(err) != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// TestEvolution reads state that an older version of the program wrote, and goes on with the log.
func TestEvolution(t *testing.T) {
	type visit2 struct {
		Extra *string `adf:"extra"`
		Pages float64 `adf:"pages"`
	}
	newer := NewValue[visit2]("visits", 0)
	log := [][]byte{must(hex.DecodeString(goldenLog[0]))}
	for round := range 2 {
		b := NewBucket([]Cell{newer, counts, sums})
		if err := b.Load(log); err != nil {
			t.Fatal(err)
		}
		extra := "x"
		if round == 1 {
			if v, ok := newer.Get(at(b, "ann")); !ok || v.Pages != 3.5 || v.Extra == nil || *v.Extra != "x" {
				t.Errorf("got %v, %v", v, ok)
			}
		} else if v, ok := newer.Get(at(b, "ann")); !ok || v.Pages != 3 || v.Extra != nil {
			t.Errorf("got %v, %v", v, ok)
		}
		if v, ok := newer.Get(at(b, "bob")); !ok || v.Pages != 1 {
			t.Errorf("got %v, %v", v, ok)
		}
		newer.Set(at(b, "ann"), visit2{&extra, 3.5})
		delta, whole := b.Delta()
		if whole {
			t.Fatal("got a whole delta")
		}
		if declared := strings.Contains(string(delta), "extra string"); declared != (round == 0) {
			t.Errorf("round %d: the new schema is declared: %v", round, declared)
		}
		log = append(log, delta)
	}
}

// TestTTLAdded gives values that were written without TTL one from their restart on.
func TestTTLAdded(t *testing.T) {
	plain, mortal := NewValue[int64]("n", 0), NewValue[int64]("n", 0).WithTTL(time.Second).(*Value[int64])
	b := NewBucket([]Cell{plain})
	plain.Set(at(b, "a"), 1)
	delta, _ := b.Delta()
	start := time.Now().UnixMilli()
	b = NewBucket([]Cell{mortal})
	if err := b.Load([][]byte{delta}); err != nil {
		t.Fatal(err)
	}
	b.Reach(math.MinInt64, start+900)
	if _, ok := mortal.Get(at(b, "a")); !ok {
		t.Error("the value is gone")
	}
	if _, p := b.NextTimer(); p < start+1000 {
		t.Errorf("it expires at %d, %d after the start", p, p-start)
	}
	b.Reach(math.MinInt64, start+60_000)
	b.Expire()
	if mortal.In(b).Len() != 0 {
		t.Error("the value is still there")
	}
}

// TestSetCopies keeps nothing of the memory that a value came in.
func TestSetCopies(t *testing.T) {
	type deep struct {
		S string
		B []byte
		L []string
		M map[string][]string
		P *struct{ S string }
	}
	cell := NewValue[deep]("deep", 0)
	b := NewBucket([]Cell{cell})
	block := []byte("abcdefg")
	in := func(i int) string { return unsafe.String(&block[i], 1) }
	want := deep{"a", []byte("b"), []string{"c"}, map[string][]string{"d": {"e"}}, &struct{ S string }{"f"}}
	cell.Set(at(b, "k"), deep{in(0), block[1:2], []string{in(2)}, map[string][]string{in(3): {in(4)}}, &struct{ S string }{in(5)}})
	for i := range block {
		block[i] = 'x'
	}
	if v, ok := cell.Get(at(b, "k")); !ok || !reflect.DeepEqual(v, want) {
		t.Errorf("got %v, want %v", v, want)
	}
}

// TestMemory frees what keys had when their state is gone.
func TestMemory(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	b := NewBucket(cells)
	b.Reach(math.MinInt64, 0)
	start := heap()
	const keys = 100_000
	for i := range keys {
		s := at(b, fmt.Sprint("key-", i))
		counts.Set(s, 1)
		visits.Set(s, visit{Last: "x"})
		b.SetTimer(s.key, Timer{Time: int64(i)})
	}
	b.Delta()
	full := heap() - start
	b.Reach(math.MinInt64, ttl)
	b.Expire()
	for i := range keys {
		s := at(b, fmt.Sprint("key-", i))
		visits.Clear(s)
		b.DeleteTimer(s.key, Timer{Time: int64(i)})
	}
	b.NextTimer()
	delta, whole := b.Delta()
	if !whole || len(delta) > 2 {
		t.Errorf("an empty bucket has a delta of %d bytes (whole: %v)", len(delta), whole)
	}
	left := heap() - start
	runtime.KeepAlive(b)
	t.Logf("%d bytes a key; %d of %d bytes are left", full/keys, left, full)
	if left > full/10 { // lists that the next deltas use again
		t.Errorf("%d of %d bytes are left", left, full)
	}
}

// TestChangeDoesNotAllocate is the way of a merge into an accumulator that is there.
func TestChangeDoesNotAllocate(t *testing.T) {
	b := NewBucket(cells)
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = fmt.Append(nil, "key-", i)
	}
	round := func() {
		for _, k := range keys {
			v, _ := sums.In(b).Change(table.Hash(k), k, 60_000)
			*v++
			c, _ := counts.In(b).Change(table.Hash(k), k, 0)
			*c++
		}
	}
	round()
	if n := testing.AllocsPerRun(20, round); n != 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

// FuzzLoad folds anything without panicking; what it takes, it gives again.
func FuzzLoad(f *testing.F) {
	for _, l := range goldenLog {
		f.Add(must(hex.DecodeString(goldenLog[0])), must(hex.DecodeString(l)))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		b := NewBucket(cells)
		if b.Load([][]byte{first, second}) != nil {
			return
		}
		all := b.encode(true)
		again := NewBucket(cells)
		if err := again.Load([][]byte{all}); err != nil {
			t.Fatalf("%v: %x", err, all)
		}
		if a, b := again.Size(), b.Size(); a != b {
			t.Fatalf("the size is %d, then %d", b, a)
		}
	})
}

func BenchmarkDelta(b *testing.B) {
	bucket := NewBucket(cells)
	keys := make([][]byte, 10_000)
	for i := range keys {
		keys[i] = fmt.Append(nil, "key-", i)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, k := range keys {
			v, _ := sums.In(bucket).Change(table.Hash(k), k, 60_000)
			*v++
		}
		bucket.Delta()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(keys)), "ns/key")
}

// A large state that changes a little each time has a log of bounded length.
func TestALogHasBoundedPieces(t *testing.T) {
	b := NewBucket(cells)
	b.Reach(math.MinInt64, 0)
	for i := range 10_000 {
		counts.Set(at(b, fmt.Sprint("key-", i)), 1)
	}
	var log [][]byte
	most := 0
	for i := range 5 * MostPieces {
		counts.Set(at(b, "key-7"), int64(i))
		delta, whole := b.Delta()
		if whole {
			log = nil
		}
		log = append(log, delta)
		most = max(most, len(log))
		if i == 3*MostPieces/2 { // what is loaded counts, too
			b = NewBucket(cells)
			if err := b.Load(log); err != nil {
				t.Fatal(err)
			}
			b.Reach(math.MinInt64, 0)
		}
	}
	if most != MostPieces {
		t.Errorf("a log had %d pieces, want %d", most, MostPieces)
	}
}
