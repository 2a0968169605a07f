package discard

import (
	"context"
	"fmt"
	"testing"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

func TestItCountsAndForgets(t *testing.T) {
	c, err := row.CodecOf[int64]()
	if err != nil {
		t.Fatal(err)
	}
	s := &Sink[int64]{}
	sink, err := s.Sink(c)
	if err != nil {
		t.Fatal(err)
	}
	if g := sink.Guarantee(); g != sinks.Idempotent {
		t.Errorf("guarantee %s, want idempotent", g)
	}
	for i := range 2 {
		w, err := sink.(sinks.AnyDirect).NewWriter(context.Background(), sinks.WriterContext{Index: i})
		if err != nil {
			t.Fatal(err)
		}
		b := &record.Batch[int64]{}
		for v := range 10 {
			b.Append(int64(v), record.Meta{})
		}
		if err := w.Write(context.Background(), b, func(i int, err error) { t.Errorf("record %d refused: %v", i, err) }); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Written(); got != 20 {
		t.Errorf("counted %d, want 20", got)
	}
}

func TestItIsRegistered(t *testing.T) {
	r := connectors.NewRegistry("0.1.0")
	if err := Register(r); err != nil {
		t.Fatal(err)
	}
	e, err := r.LookupSink("discard")
	if err != nil {
		t.Fatal(err)
	}
	wrong := connectors.Decode(&connectors.Tree{Kind: connectors.TreeMap, Fields: []connectors.TreeField{
		{Key: "path", Value: &connectors.Tree{Kind: connectors.TreeScalar, Text: "x"}},
	}}, "sinks.out.discard", e.New())
	const want = `[sinks.out.discard.path: got an unknown option, want no options]`
	if got := fmt.Sprint(wrong); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func Example() {
	s := &Sink[string]{}
	c, _ := row.CodecOf[string]()
	sink, _ := s.Sink(c)
	fmt.Println(sink.Guarantee(), s.Written())
	// Output: idempotent 0
}
