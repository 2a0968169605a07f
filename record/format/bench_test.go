package format_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
)

// order is the record of the limit as a Go type.
type order struct {
	ID       int64   `adf:"id"`
	User     string  `adf:"user"`
	Amount   float64 `adf:"amount"`
	Quantity int     `adf:"quantity"`
	Paid     bool    `adf:"paid"`
	City     string  `adf:"city"`
	Note     string  `adf:"note"`
	At       row.Day `adf:"-"`
}

// texts gives n records in every format.
func texts(tb testing.TB, n int) map[string][]byte {
	all := map[string][]byte{"jsonl": orderLines(n)}
	b, err := read(row.RowCodec(orders), all["jsonl"], format.Options{Format: "jsonl"})
	if err != nil {
		tb.Fatal(err)
	}
	for _, f := range []string{"csv", "json"} {
		if all[f], err = write(row.RowCodec(orders), b, format.Options{Format: f}); err != nil {
			tb.Fatal(err)
		}
	}
	return all
}

// read gives all records of a text in one batch.
func read[T any](c *row.Codec[T], text []byte, o format.Options) (*record.Batch[T], error) {
	r, err := format.NewReader(bytes.NewReader(text), o, c, format.Start{Name: "in"})
	if err != nil {
		return nil, err
	}
	var b record.Batch[T]
	for {
		if err := r.Read(&b, 1000, 1<<20); err == io.EOF {
			return &b, nil
		} else if err != nil {
			return &b, err
		}
	}
}

// write gives a whole text of a batch.
func write[T any](c *row.Codec[T], b *record.Batch[T], o format.Options) ([]byte, error) {
	w, err := format.NewWriter(o, c)
	if err != nil {
		return nil, err
	}
	out := w.Head(nil)
	for i := range b.Values {
		if out, err = w.Append(out, b, i, i == 0); err != nil {
			return nil, err
		}
	}
	return w.Tail(out), nil
}

func BenchmarkReader(b *testing.B) {
	const n = 20_000
	for f, text := range texts(b, n) {
		b.Run(f+"/row", func(b *testing.B) { benchmarkReader(b, row.RowCodec(orders), f, text, n) })
		if f != "csv" {
			b.Run(f+"/struct", func(b *testing.B) { benchmarkReader(b, codecOf[order](b), f, text, n) })
		}
	}
}

func benchmarkReader[T any](b *testing.B, c *row.Codec[T], f string, text []byte, n int) {
	var batch record.Batch[T]
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		r, err := format.NewReader(bytes.NewReader(text), format.Options{Format: f}, c, format.Start{})
		if err != nil {
			b.Fatal(err)
		}
		got := 0
		for err == nil {
			batch.Reset()
			err = r.Read(&batch, 1000, 1<<20)
			got += batch.Len()
		}
		if err != io.EOF || got != n {
			b.Fatal(got, err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkWriter(b *testing.B) {
	const n = 20_000
	for f, text := range texts(b, n) {
		b.Run(f, func(b *testing.B) {
			c := row.RowCodec(orders)
			o := format.Options{Format: f}
			batch, err := read(c, text, o)
			if err != nil {
				b.Fatal(err)
			}
			w, err := format.NewWriter(o, c)
			if err != nil {
				b.Fatal(err)
			}
			out := make([]byte, 0, len(text)+1<<10)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				out = out[:0]
				for i := range batch.Values {
					if out, err = w.Append(out, batch, i, false); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

func codecOf[T any](tb testing.TB) *row.Codec[T] {
	c, err := row.CodecOf[T]()
	if err != nil {
		tb.Fatal(err)
	}
	return c
}
