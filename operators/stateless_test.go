package operators_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// order is a record of the typed operators.
type order struct {
	ID     int64
	Amount float64
	Tags   []string
}

func codec[T any](t testing.TB) *row.Codec[T] {
	t.Helper()
	c, err := row.CodecOf[T]()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// through runs one batch through a new instance and gives what comes out and what failed, as "i: error".
func through[In, Out any](t testing.TB, op operators.Any, in *record.Batch[In]) (*record.Batch[Out], []string) {
	t.Helper()
	n := op.Instance()
	if err := n.Open(context.Background(), operators.OpContext{}); err != nil {
		t.Fatal(err)
	}
	out := op.Out().NewBatch()
	out.SetSplitID(in.Split)
	var failed []string
	if err := n.Process(context.Background(), in, out, func(i int, err error) { failed = append(failed, fmt.Sprintf("%d: %v", i, err)) }); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	b := out.(*record.Batch[Out])
	if len(b.Values) != len(b.Metas) {
		t.Fatalf("got %d values and %d metas", len(b.Values), len(b.Metas))
	}
	return b, failed
}

func orders(ids ...int64) *record.Batch[order] {
	b := &record.Batch[order]{Split: "s"}
	for _, id := range ids {
		b.Append(order{ID: id, Amount: float64(id) / 2, Tags: strings.Split("a b c", " ")[:max(id, 0)%4]}, record.Meta{Time: id * 1000, Watermark: 5, Position: id})
	}
	return b
}

func positions[T any](b *record.Batch[T]) []int64 {
	var all []int64
	for _, m := range b.Metas {
		all = append(all, m.Position)
	}
	return all
}

func TestFilter(t *testing.T) {
	c := codec[order](t)
	op := operators.Filter(c, func(o order) (bool, error) {
		if o.ID == 3 {
			return true, errors.New("three")
		}
		return o.ID%2 == 1, nil
	})
	if op.In() != row.AnyCodec(c) || op.Out() != row.AnyCodec(c) {
		t.Error("a filter keeps the codec")
	}
	out, failed := through[order, order](t, op, orders(1, 2, 3, 4, 5))
	if got := positions(out); !slices.Equal(got, []int64{1, 5}) || out.Values[1].ID != 5 || out.Metas[1] != (record.Meta{Time: 5000, Watermark: 5, Position: 5}) {
		t.Errorf("got %v", out)
	}
	if !slices.Equal(failed, []string{"2: three"}) {
		t.Errorf("got the failures %q", failed)
	}
}

func TestMap(t *testing.T) {
	op := operators.Map(codec[order](t), codec[string](t), func(o order) (string, error) {
		if o.ID == 2 {
			return "half done", errors.New("two")
		}
		return fmt.Sprint(o.ID), nil
	})
	out, failed := through[order, string](t, op, orders(1, 2, 3))
	if !slices.Equal(out.Values, []string{"1", "3"}) || !slices.Equal(positions(out), []int64{1, 3}) || !slices.Equal(failed, []string{"1: two"}) {
		t.Errorf("got %q at %v, failures %q", out.Values, positions(out), failed)
	}
}

func TestFlatMapTakesBackWhatAFailedRecordEmitted(t *testing.T) {
	op := operators.FlatMap(codec[order](t), codec[string](t), func(o order, emit func(string)) error {
		for _, tag := range o.Tags {
			emit(fmt.Sprint(o.ID, tag))
		}
		if o.ID == 2 {
			return errors.New("two")
		}
		return nil
	})
	out, failed := through[order, string](t, op, orders(1, 2, 3, 4))
	if got := strings.Join(out.Values, " "); got != "1a 3a 3b 3c" || !slices.Equal(positions(out), []int64{1, 3, 3, 3}) || !slices.Equal(failed, []string{"1: two"}) {
		t.Errorf("got %q at %v, failures %q", got, positions(out), failed)
	}
}

// summing is an operator of one's own: it opens, sees whole batches, and closes.
type summing struct{ log *[]string }

func (s summing) Open(_ context.Context, oc operators.OpContext) error {
	*s.log = append(*s.log, "open "+oc.Node)
	return nil
}

func (s summing) Process(ctx context.Context, in *record.Batch[order], out *record.Batch[float64], fail func(int, error)) error {
	sum := 0.0
	for i, o := range in.Values {
		if o.ID < 0 {
			fail(i, errors.New("negative"))
			continue
		}
		sum += o.Amount
	}
	out.Append(sum, in.Metas[0])
	return ctx.Err()
}

func (s summing) Close() error {
	*s.log = append(*s.log, "close")
	return errors.New("could not close")
}

func TestThrough(t *testing.T) {
	var log []string
	made := 0
	op := operators.Through(codec[order](t), codec[float64](t), func() operators.Operator[order, float64] {
		made++
		return summing{&log}
	})
	if made != 0 {
		t.Error("nothing is opened before there is an instance")
	}
	n := op.Instance()
	op.Instance()
	if made != 2 {
		t.Errorf("got %d operators, want one for each instance", made)
	}
	if err := n.Open(context.Background(), operators.OpContext{Node: "sum"}); err != nil {
		t.Fatal(err)
	}
	out := op.Out().NewBatch()
	ctx, cancel := context.WithCancel(context.Background())
	failed := 0
	fail := func(int, error) { failed++ }
	if err := n.Process(ctx, orders(2, -1, 4), out, fail); err != nil || failed != 1 || out.(*record.Batch[float64]).Values[0] != 3 {
		t.Errorf("got %v, %d failures, %v", out, failed, err)
	}
	cancel()
	if err := n.Process(ctx, orders(2), out, fail); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v: an error of Process ends the run", err)
	}
	if err := n.Close(); err == nil || !slices.Equal(log, []string{"open sum", "close"}) {
		t.Errorf("got %v, %v", err, log)
	}
}

func TestPanicsOfUserCodeAreLeftAlone(t *testing.T) {
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("got the panic %v, want mine", p)
		}
	}()
	through[order, order](t, operators.Filter(codec[order](t), func(order) (bool, error) { panic("mine") }), orders(1))
}

func TestTypedStepsDoNotAllocate(t *testing.T) {
	c := codec[order](t)
	in := &record.Batch[order]{}
	for i := range int64(1000) {
		in.Append(order{ID: i}, record.Meta{Position: i})
	}
	for name, op := range map[string]operators.Any{
		"filter": operators.Filter(c, func(o order) (bool, error) { return o.ID%2 == 0, nil }),
		"map":    operators.Map(c, c, func(o order) (order, error) { o.Amount = 1; return o, nil }),
		"flat map": operators.FlatMap(c, c, func(o order, emit func(order)) error {
			emit(o)
			emit(o)
			return nil
		}),
	} {
		n, out := op.Instance(), c.NewBatch()
		got := testing.AllocsPerRun(20, func() {
			out.Reset()
			if err := n.Process(context.Background(), in, out, nil); err != nil {
				t.Fatal(err)
			}
		})
		if got/1000 >= 0.01 {
			t.Errorf("%s: got %v allocations per record, want less than 0.01", name, got/1000)
		}
	}
}
