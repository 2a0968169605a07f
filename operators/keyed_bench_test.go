package operators

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// countAndSum is the step that speed is measured with: count and sum by key and minute.
func countAndSum(t testing.TB) (AnyKeyed, *row.Schema) {
	t.Helper()
	in := schema(t, "id int64 not null, key string not null, value float64 not null, n int64 not null")
	step, err := AggregateRows(in, []Assign{{"key", "key"}}, Window{Size: time.Minute}, []Assign{{"n", "count()"}, {"sum", "sum(n)"}})
	if err != nil {
		t.Fatal(err)
	}
	return step, in
}

// generated are batches of 1,000 records with keys in no order, ten records a millisecond.
func generated(in *row.Schema, keys, batches int) []*record.Batch[row.Row] {
	var all []*record.Batch[row.Row]
	names := make([]string, keys)
	for i := range names {
		names[i] = fmt.Sprint("key-", i)
	}
	for b := range batches {
		batch := &record.Batch[row.Row]{Split: "0"}
		for i := range 1000 {
			n := b*1000 + i
			vs := []row.Value{row.Int(int64(n)), row.String(names[n*7919%keys]), row.Float(float64(n) / 10), row.Int(int64(n % 100))}
			at := int64(n / 10)
			batch.Append(row.Row{Schema: in, Values: vs}, record.Meta{Time: at, Watermark: at - 1000, Position: int64(n)})
		}
		all = append(all, batch)
	}
	return all
}

func none(int)             {}
func noError(int, error)   {}
func drop(int, []byte)     {}
func noOutput() Output     { return Output{Full: func() bool { return false }} }
func opContext() OpContext { return OpContext{} }

// BenchmarkShuffleAdd is the half before the shuffle for one record: key, window, lateness, lookup, count and sum; with and without the
// payloads.
func BenchmarkShuffleAdd(b *testing.B) {
	for _, c := range []struct {
		name string
		keys int
		each int // batches between flushes, 0 for none
	}{{"keys=100", 100, 0}, {"keys=10000", 10_000, 0}, {"keys=10000/flush", 10_000, 100}, {"keys=1000000/flush", 1_000_000, 100}} {
		b.Run(c.name, func(b *testing.B) {
			step, in := countAndSum(b)
			s, err := step.Shuffle(0, opContext(), 128)
			if err != nil {
				b.Fatal(err)
			}
			batches := generated(in, c.keys, 1000)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if err := s.Add(batches[i%len(batches)], none, noError); err != nil {
					b.Fatal(err)
				}
				if c.each > 0 && i%c.each == 0 {
					if err := s.Flush(drop); err != nil {
						b.Fatal(err)
					}
				}
			}
			perSecond(b, 1000)
		})
	}
}

func perSecond(b *testing.B, records int) {
	b.ReportMetric(float64(b.N)*float64(records)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
}

// payloads are those of 100 batches, by bucket.
func payloads(t testing.TB, step AnyKeyed, in *row.Schema, keys, buckets int) [][]byte {
	t.Helper()
	s, err := step.Shuffle(0, opContext(), buckets)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range generated(in, keys, 100) {
		if err := s.Add(b, none, noError); err != nil {
			t.Fatal(err)
		}
	}
	all := make([][]byte, buckets)
	if err := s.Flush(func(bucket int, payload []byte) { all[bucket] = payload }); err != nil {
		t.Fatal(err)
	}
	return all
}

// BenchmarkKeyedMerge is the half behind the shuffle for the groups of 100,000 records of 10,000 keys: merge into accumulators that are there,
// without and with a delta for each.
func BenchmarkKeyedMerge(b *testing.B) {
	for _, delta := range []bool{false, true} {
		b.Run(fmt.Sprint("delta=", delta), func(b *testing.B) {
			step, in := countAndSum(b)
			task, err := step.Task(opContext())
			if err != nil {
				b.Fatal(err)
			}
			all := payloads(b, step, in, 10_000, 128)
			buckets := make([]*state.Bucket, len(all))
			for i := range buckets {
				buckets[i] = state.NewBucket(step.Cells())
			}
			b.ReportAllocs()
			for b.Loop() {
				for i, p := range all {
					if err := task.Process(context.Background(), buckets[i], 0, p, noOutput()); err != nil {
						b.Fatal(err)
					}
					if delta {
						buckets[i].Delta()
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/group")
		})
	}
}

// BenchmarkKeyedFire is the results of 10,000 keys: timers, rows, removal.
func BenchmarkKeyedFire(b *testing.B) {
	step, in := countAndSum(b)
	task, err := step.Task(opContext())
	if err != nil {
		b.Fatal(err)
	}
	all := payloads(b, step, in, 10_000, 128)
	out := Output{Out: step.Out().NewBatch(), Full: func() bool { return false }}
	buckets := make([]*state.Bucket, len(all))
	for i := range buckets {
		buckets[i] = state.NewBucket(step.Cells())
	}
	b.ReportAllocs()
	for b.Loop() {
		for i, p := range all {
			if err := task.Process(context.Background(), buckets[i], 0, p, out); err != nil {
				b.Fatal(err)
			}
			buckets[i].Delta()
		}
		for i := range all {
			buckets[i] = state.NewBucket(step.Cells())
			if err := task.Process(context.Background(), buckets[i], 0, all[i], out); err != nil {
				b.Fatal(err)
			}
			if _, err := task.Advance(context.Background(), buckets[i], 1<<40, 0, out); err != nil {
				b.Fatal(err)
			}
			out.Out.Reset()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/10_000, "ns/group")
}

// TestAllocations keeps the ways of single records free of allocation.
func TestAllocations(t *testing.T) {
	step, in := countAndSum(t)
	const keys = 1000
	s, err := step.Shuffle(0, opContext(), 16)
	if err != nil {
		t.Fatal(err)
	}
	batches := generated(in, keys, 20)
	records := 20 * 1000
	add := func() {
		for _, b := range batches {
			if err := s.Add(b, none, noError); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(drop); err != nil { // one payload for each of 16 buckets
			t.Fatal(err)
		}
	}
	add()
	if n := testing.AllocsPerRun(5, add) / float64(records); n >= 0.01 {
		t.Errorf("Add and Flush: got %.4f allocations a record, want below 0.01", n)
	}

	flights, err := row.CodecOf[flight]()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	typed, err := Aggregate(flights, func(f flight) string { return f.Carrier }, Window{Size: time.Minute}, keyOnly[string]{&got})
	if err != nil {
		t.Fatal(err)
	}
	ts, err := typed.Shuffle(0, opContext(), 16)
	if err != nil {
		t.Fatal(err)
	}
	tb := &record.Batch[flight]{}
	for i := range 1000 {
		tb.Append(flight{Carrier: fmt.Sprint(i % 100)}, record.Meta{Time: 5})
	}
	addTyped := func() {
		for range 20 {
			if err := ts.Add(tb, none, noError); err != nil {
				t.Fatal(err)
			}
		}
		if err := ts.Flush(drop); err != nil {
			t.Fatal(err)
		}
	}
	addTyped()
	if n := testing.AllocsPerRun(5, addTyped) / float64(records); n >= 0.01 {
		t.Errorf("Add of a typed aggregate: got %.4f allocations a record, want below 0.01", n)
	}

	task, err := step.Task(opContext())
	if err != nil {
		t.Fatal(err)
	}
	all := payloads(t, step, in, keys, 1)
	b := state.NewBucket(step.Cells())
	merge := func() {
		if err := task.Process(context.Background(), b, 0, all[0], noOutput()); err != nil {
			t.Fatal(err)
		}
	}
	merge()
	if n := testing.AllocsPerRun(5, merge) / keys; n >= 0.01 {
		t.Errorf("merge: got %.4f allocations a group, want below 0.01", n)
	}
}
