package format_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
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

// BenchmarkLimit is the loop alone, from memory to nowhere, and from file to file, as the engine does it. The input is the file that
// LIMIT_INPUT names, else made up.
func BenchmarkLimit(b *testing.B) {
	text := orderLines(100_000)
	if path := os.Getenv("LIMIT_INPUT"); path != "" {
		var err error
		if text, err = os.ReadFile(path); err != nil {
			b.Fatal(err)
		}
	}
	n := bytes.Count(text, []byte("\n"))
	from, to := filepath.Join(b.TempDir(), "in"), filepath.Join(b.TempDir(), "out")
	if err := os.WriteFile(from, text, 0o600); err != nil {
		b.Fatal(err)
	}
	run := func(name string, work func() (int, error)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				got, err := work()
				if err != nil || got != n {
					b.Fatal(got, err)
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
	run("memory", func() (int, error) { return limitLoop(bytes.NewReader(text), io.Discard) })
	run("files", func() (int, error) {
		in, err := os.Open(from)
		if err != nil {
			return 0, err
		}
		defer in.Close()
		out, err := os.Create(to)
		if err != nil {
			return 0, err
		}
		got, err := limitLoop(in, out)
		return got, errors.Join(err, out.Sync(), out.Close())
	})
}

func schema(text string) *row.Schema {
	s, err := row.ParseSchema(text)
	if err != nil {
		panic(err)
	}
	return s
}
