package format_test

import (
	"bytes"
	stdjson "encoding/json"
	"io"
	"testing"
	"testing/iotest"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
)

const everything = scalars + ", l list<row<a int64>>, m map<float64>, r row<x date not null, y string>"

// fuzzReader holds for every input: no panic; the same whatever the chunks; what was read is written and read again as it was.
func fuzzReader(t *testing.T, text []byte, o format.Options, s *row.Schema) (*record.Batch[row.Row], error) {
	codec := row.RowCodec(s)
	whole, err := read(codec, text, o)
	var small record.Batch[row.Row]
	r, err2 := format.NewReader(iotest.HalfReader(iotest.OneByteReader(bytes.NewReader(text))), o, codec, format.Start{Name: "in"})
	for err2 == nil {
		err2 = r.Read(&small, 1, 1)
	}
	if err2 == io.EOF {
		err2 = nil
	}
	if whole == nil {
		whole = &record.Batch[row.Row]{}
	}
	if got, want := show(codec, &small, err2), show(codec, whole, err); got != want {
		t.Fatalf("%q: in small pieces got\n%s\nwant\n%s", text, got, want)
	}
	if r == nil {
		return whole, err
	}
	written, werr := write(codec, whole, o)
	if werr != nil {
		t.Fatalf("%q: %v", text, werr)
	}
	again, rerr := read(codec, written, o)
	if rerr != nil || len(again.Rejected) > 0 || again.Len() != whole.Len() {
		t.Fatalf("%q became %q: %v %v", text, written, rerr, again.Rejected)
	}
	for i := range whole.Values {
		if !same(again.Values[i].Values, whole.Values[i].Values) {
			t.Fatalf("%q: record %d: got\n%s\nwant\n%s", text, i, codec.AppendJSON(nil, again, i), codec.AppendJSON(nil, whole, i))
		}
	}
	return whole, err
}

func seeds(f *testing.F, name string) {
	for _, c := range readCases {
		if c.o.Format == name {
			f.Add([]byte(c.text))
		}
	}
}

func FuzzJSONL(f *testing.F) {
	seeds(f, "jsonl")
	s := schema(everything)
	f.Fuzz(func(t *testing.T, text []byte) {
		b, _ := fuzzReader(t, text, jsonl, s)
		lines := bytes.Split(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\n"))
		for _, line := range lines {
			if len(lines) == 1 && b.Len() == 1 && !stdjson.Valid(line) {
				t.Fatalf("%q is no JSON and was read as %s", line, row.RowCodec(s).AppendJSON(nil, b, 0))
			}
		}
	})
}

func FuzzJSON(f *testing.F) {
	seeds(f, "json")
	s := schema(everything)
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := fuzzReader(t, text, json, s)
		text = bytes.TrimPrefix(text, []byte("\ufeff"))
		if err == nil && len(b.Rejected) == 0 && len(bytes.TrimSpace(text)) > 0 && text[0] == '[' && !stdjson.Valid(text) {
			t.Fatalf("%q is no JSON and was read", text)
		}
	})
}

func FuzzCSV(f *testing.F) {
	seeds(f, "csv")
	f.Add([]byte("1,\"a\"\"b\n\",2013-01-01\r\n"))
	variants := []format.Options{
		{Format: "csv", NoHeader: true}, {Format: "csv", NoHeader: true, Delimiter: ";", Quote: "'", NullText: []string{"NA"}},
		{Format: "csv", NoHeader: true, Encoding: "utf-16le"}, {Format: "csv", NoHeader: true, Encoding: "windows-1252"}, {Format: "csv"},
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, o := range variants {
			fuzzReader(t, text, o, schema(people))
			fuzzReader(t, text, o, schema("s string"))
		}
	})
}

func FuzzInfer(f *testing.F) {
	for _, c := range readCases {
		f.Add([]byte(c.text), c.o.Format)
	}
	f.Fuzz(func(t *testing.T, text []byte, name string) {
		o := format.Options{Format: name}
		s, err := format.Infer(bytes.NewReader(text), o, "in", 0)
		if err != nil {
			return
		}
		b, err := read(row.RowCodec(s), text, o)
		if err != nil {
			t.Fatalf("%q: a schema of %s, but %v", text, s, err)
		}
		if len(b.Rejected) > 0 {
			t.Fatalf("%q: a schema of %s, but %v", text, s, b.Rejected[0].Err)
		}
	})
}
