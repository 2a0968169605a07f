package format_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
)

// The limit: what the engine is compared with is one plain loop over batches with this package and nothing else.

var orders = schema("id int64, user string, amount float64, quantity int64, paid bool, city string, note string, at timestamp")

// orderLines are n records of about 160 bytes.
func orderLines(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	cities := []string{"Oslo", "Bergen", "Trondheim", "Stavanger", "Rome"}
	var out []byte
	for i := range n {
		out = fmt.Appendf(out, `{"id":%d,"user":"u%d","amount":%v,"quantity":%d,"paid":%v,"city":"%s","note":"some text up to total of about %03d bytes","at":"2013-%02d-%02dT%02d:00:00Z"}`+"\n",
			i, r.IntN(10_000), float64(r.IntN(10_000))/100, 1+r.IntN(9), r.IntN(2) == 0, cities[r.IntN(len(cities))], 160+r.IntN(9), 1+r.IntN(12), 1+r.IntN(28), r.IntN(24))
	}
	return out
}

// filterAndSet keeps what is paid and makes amount the total.
func filterAndSet(b *record.Batch[row.Row]) {
	kept := 0
	for i := range b.Values {
		vs := b.Values[i].Values
		if !vs[4].Bool() {
			continue
		}
		vs[2] = row.Float(vs[2].Float() * float64(vs[3].Int()))
		b.Values[kept], b.Metas[kept] = b.Values[i], b.Metas[i]
		kept++
	}
	b.Values, b.Metas = b.Values[:kept], b.Metas[:kept]
}

// limitLoop is the whole work, from text to text.
func limitLoop(in io.Reader, out io.Writer) (records int, err error) {
	codec := row.RowCodec(orders)
	o := format.Options{Format: "jsonl"}
	r, err := format.NewReader(in, o, codec, format.Start{})
	if err != nil {
		return 0, err
	}
	w, err := format.NewWriter(o, codec)
	if err != nil {
		return 0, err
	}
	var b record.Batch[row.Row]
	var text []byte
	for {
		b.Reset()
		ended := r.Read(&b, 1000, 1<<20)
		if ended != nil && ended != io.EOF {
			return records, ended
		}
		records += b.Len()
		filterAndSet(&b)
		text = text[:0]
		for i := range b.Values {
			if text, err = w.Append(text, &b, i, false); err != nil {
				return records, err
			}
		}
		if _, err := out.Write(text); err != nil {
			return records, err
		}
		if ended == io.EOF {
			return records, nil
		}
	}
}

func BenchmarkLimit(b *testing.B) {
	const n = 100_000
	text := orderLines(n)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		got, err := limitLoop(bytes.NewReader(text), io.Discard)
		if err != nil || got != n {
			b.Fatal(got, err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
}

func schema(text string) *row.Schema {
	s, err := row.ParseSchema(text)
	if err != nil {
		panic(err)
	}
	return s
}
