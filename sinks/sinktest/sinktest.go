package sinktest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// Harness tells the suite about an exactly-once sink.
type Harness[T, C any] struct {
	// New makes an empty target.
	New func(tb TB) Target[T, C]
	Data[T]
}

// Target is a target and a sink that writes to it.
type Target[T, C any] struct {
	// Open makes the sink, anew for each process that the suite plays.
	Open func() (sinks.Exact[T, C], error)
	// Read gives all records that a reader of the target sees, in any order.
	Read func() ([]T, error)
}

// DirectHarness tells the suite about a sink that is not exactly once.
type DirectHarness[T any] struct {
	// New makes an empty target.
	New func(tb TB) DirectTarget[T]
	Data[T]
}

// DirectTarget is a target and a sink that writes to it.
type DirectTarget[T any] struct {
	// Open makes the sink, anew for each process that the suite plays.
	Open func() (sinks.Direct[T], error)
	// Read gives all records that a reader of the target sees, in any order.
	Read func() ([]T, error)
}

// Data are the records that the suite writes.
type Data[T any] struct {
	// Record makes record number i, from 0 to a few thousands; no two are the same.
	Record func(i int) T
	// Codec is that of the records; nil is row.CodecOf[T].
	Codec *row.Codec[T]
	// Refused is a record that the sink does not take; nil: it takes all that fit the codec.
	Refused *T
}

// TB is what the suite needs of a test. *testing.T has it.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
}

// Check is one part of the suite.
type Check struct {
	Name string
	Run  func(tb TB)
}

// Run runs the whole suite for an exactly-once sink, each check as a subtest.
func Run[T, C any](t *testing.T, h Harness[T, C]) { run(t, Checks(h)) }

// RunDirect runs the whole suite for a direct sink, each check as a subtest.
func RunDirect[T any](t *testing.T, h DirectHarness[T]) { run(t, DirectChecks(h)) }

func run(t *testing.T, checks []Check) {
	for _, c := range checks {
		t.Run(c.Name, func(t *testing.T) { c.Run(t) })
	}
}

// codec is that of the records.
func (d Data[T]) codec(tb TB) *row.Codec[T] {
	tb.Helper()
	if d.Codec != nil {
		return d.Codec
	}
	c, err := row.CodecOf[T]()
	if err != nil {
		tb.Fatalf("the harness needs a Codec: %v", err)
	}
	return c
}

// batch makes a batch of copies of vs: its memory is overwritten by Reset.
func (d Data[T]) batch(tb TB, vs []T) *record.Batch[T] {
	tb.Helper()
	c := d.codec(tb)
	b := c.NewBatch().(*record.Batch[T])
	b.Split = "sinktest"
	for i := range vs {
		if err := c.AppendRecord(b, c.Get(nil, &vs[i]), record.Meta{Time: int64(i), Watermark: record.NoTime, Position: int64(i)}); err != nil {
			tb.Fatalf("the harness' Record %d does not fit its codec: %v", i, err)
		}
	}
	return b
}

// records makes the records with the numbers from to to-1.
func (d Data[T]) records(from, to int) []T {
	vs := make([]T, 0, to-from)
	for i := from; i < to; i++ {
		vs = append(vs, d.Record(i))
	}
	return vs
}

// count counts equal records. The key is the record as JSON, which is what messages show.
func (d Data[T]) count(tb TB, vs []T) map[string]int {
	tb.Helper()
	c := d.codec(tb)
	b := d.batch(tb, vs)
	n := map[string]int{}
	for i := range vs {
		n[string(c.AppendJSON(nil, b, i))]++
	}
	return n
}

// expect compares what the target has with what it must have. Where repeats are allowed, there may be more of each.
func (d Data[T]) expect(tb TB, read func() ([]T, error), want []T, repeats bool, when string) {
	tb.Helper()
	got, err := read()
	if err != nil {
		tb.Fatalf("%s: read the target: %v", when, err)
	}
	have, need := d.count(tb, got), d.count(tb, want)
	var wrong bytes.Buffer
	several := 0
	say := func(what, key string, have, need int) {
		if several++; several <= 3 {
			fmt.Fprintf(&wrong, "\n\t%s %s: there are %d, want %d", what, key, have, need)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(need)) {
		if have[key] < need[key] {
			say("lost", key, have[key], need[key])
		} else if have[key] > need[key] && !repeats {
			say("repeated", key, have[key], need[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(have)) {
		if need[key] == 0 {
			say("unexpected", key, have[key], 0)
		}
	}
	if several > 0 {
		tb.Fatalf("%s: the target has %d records, want %d; %d of them are wrong:%s", when, len(got), len(want), several, wrong.String())
	}
}

// encode makes a part of records, in two batches, and says which of them the encoder refused.
func encode[T any](tb TB, d Data[T], e sinks.Encoder[T], vs []T) (part []byte, refused []int) {
	tb.Helper()
	half := len(vs) / 2
	for _, r := range [][2]int{{0, half}, {half, len(vs)}} {
		b := d.batch(tb, vs[r[0]:r[1]])
		var err error
		part, err = e.Encode(part, b, func(i int, err error) {
			if err == nil {
				tb.Errorf("fail was called without an error")
			}
			refused = append(refused, r[0]+i)
		})
		b.Reset()
		if err != nil {
			tb.Fatalf("encode: %v", err)
		}
	}
	return part, refused
}
