package generate_test

import (
	"context"
	"testing"

	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// TestSize: what is said of the size is what the records take, or a little more or less; endless input has none.
func TestSize(t *testing.T) {
	type line struct {
		N    int64  `adf:"n"`
		Text string `adf:"text"`
	}
	text := string(make([]byte, 90))
	src := &generate.Source[line]{Records: 50_000, Make: func(n int64) line { return line{n, text} }}
	codec, err := row.CodecOf[line]()
	if err != nil {
		t.Fatal(err)
	}
	var all record.Batch[line]
	for n := range src.Records {
		all.Append(src.Make(n), record.Meta{})
	}
	want := float64(len(codec.AppendBatch(nil, &all)))
	if got, known := src.Size(context.Background()); !known || float64(got) < want*0.9 || float64(got) > want*1.1 {
		t.Errorf("got %d and %v, want about %.0f", got, known, want)
	}
	if got, known := (&generate.Source[line]{Make: src.Make}).Size(context.Background()); known {
		t.Errorf("got %d of endless input", got)
	}
}
