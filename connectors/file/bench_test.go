package file

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

const benchRecords = 100_000

// benchText is jsonl with eight columns.
func benchText() string {
	var b strings.Builder
	for i := range benchRecords {
		fmt.Fprintf(&b, `{"id":%d,"carrier":"UA","origin":"EWR","dest":"IAH","delay":%d,"distance":1400,"tail":"N%d","at":"2013-01-01T10:00:00Z"}`+"\n", i, i%100, i)
	}
	return b.String()
}

// BenchmarkSource reads rows; ns/op is of all records.
func BenchmarkSource(b *testing.B) {
	for _, ext := range []string{".jsonl", ".jsonl.gz", ".jsonl.zst"} {
		b.Run(ext[1:], func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "a"+ext)
			text := benchText()
			write(b, path, text)
			s := &Source[row.Row]{Path: path, Format: "jsonl"}
			c, err := s.RecordCodec()
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			var batch record.Batch[row.Row]
			for b.Loop() {
				r, err := s.open(c, Split{ID: path, Path: path})
				if err != nil {
					b.Fatal(err)
				}
				n := 0
				for done := false; !done; n += batch.Len() {
					batch.Reset()
					if _, done, err = r.Fetch(context.Background(), &batch); err != nil {
						b.Fatal(err)
					}
				}
				r.Close()
				if n != benchRecords {
					b.Fatal(n)
				}
			}
		})
	}
}

// BenchmarkSink encodes, stages and commits rows; ns/op is of all records.
func BenchmarkSink(b *testing.B) {
	path := filepath.Join(b.TempDir(), "a.jsonl")
	text := benchText()
	write(b, path, text)
	s := &Source[row.Row]{Path: path, Format: "jsonl"}
	c, err := s.RecordCodec()
	if err != nil {
		b.Fatal(err)
	}
	r, err := s.open(c, Split{ID: path, Path: path})
	if err != nil {
		b.Fatal(err)
	}
	var batches []*record.Batch[row.Row]
	for done := false; !done; {
		batch := &record.Batch[row.Row]{}
		if _, done, err = r.Fetch(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
		batches = append(batches, batch)
	}
	for _, compression := range []string{none, gz, zst} {
		for _, by := range [][]string{nil, {"delay"}} {
			b.Run(fmt.Sprint(compression, by), func(b *testing.B) {
				sink := &Sink[row.Row]{Path: b.TempDir(), Format: "jsonl", Compression: compression, PartitionBy: by}
				e, err := sink.exact(c)
				if err != nil {
					b.Fatal(err)
				}
				cm, err := e.Committer(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(int64(len(text)))
				b.ReportAllocs()
				enc := e.Encoder()
				var part []byte
				seq := int64(0)
				for b.Loop() {
					part = part[:0]
					for _, batch := range batches {
						if part, err = enc.Encode(part, batch, nil); err != nil {
							b.Fatal(err)
						}
					}
					w, err := e.Writer(context.Background(), testShard, seq)
					if err != nil {
						b.Fatal(err)
					}
					if err := w.Write(context.Background(), part); err != nil {
						b.Fatal(err)
					}
					prepared, err := w.Prepare(context.Background())
					if err != nil {
						b.Fatal(err)
					}
					if err := cm.Commit(context.Background(), sinks.Committable[work]{Shard: testShard, From: seq, To: seq, Value: prepared}); err != nil {
						b.Fatal(err)
					}
					seq++
				}
			})
		}
	}
}
