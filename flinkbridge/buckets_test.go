package flinkbridge

import (
	"context"
	"strings"
	"testing"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/splits"
)

// of is a flow with two sources of so many records of 1,000 bytes each; the second can say nothing of its size when it is unknown.
func of(records int64, unknown bool) *adf.Flow {
	f := adf.New("much")
	text := strings.Repeat("x", 1000)
	make := func(int64) string { return text }
	first := adf.From(f, "first", &generate.Source[string]{Records: records, Make: make})
	first.To("out", &discard.Sink[string]{})
	var src splits.Source[string, generate.Split] = &generate.Source[string]{Records: records, Make: make}
	if unknown {
		src = struct {
			splits.Source[string, generate.Split]
		}{src}
	}
	adf.From(f, "second", src).To("out2", &discard.Sink[string]{})
	return f
}

// TestBucketsGrow: there are as many buckets as it takes for 1 MB in each, if sources say so, and not fewer than the plan has.
func TestBucketsGrow(t *testing.T) {
	for _, x := range []struct {
		records int64
		unknown bool
		given   int
		want    [2]int
	}{
		{records: 1000, want: [2]int{128, 128}},
		{records: 300_000, want: [2]int{570, 610}},
		{records: 300_000, unknown: true, want: [2]int{285, 305}},
		{records: 300_000, given: 7, want: [2]int{7, 7}},
		{records: 1 << 40, want: [2]int{MaxBuckets, MaxBuckets}},
	} {
		s, err := specOf(context.Background(), built(t, of(x.records, x.unknown)), Options{Buckets: x.given})
		if err != nil || s.Buckets < x.want[0] || s.Buckets > x.want[1] {
			t.Errorf("%+v: got %d buckets and %v", x, s.Buckets, err)
		}
	}
}
