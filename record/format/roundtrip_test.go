package format_test

import (
	"bytes"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
)

const scalars = `b bool, i int64, f float64, d decimal(38,6), s string, y bytes, t timestamp, day date, u duration, "odd ""name""" string, need string not null`

// randomRow makes values of a schema, with all that is hard to write.
func randomRow(r *rand.Rand, s *row.Schema) []row.Value {
	var vs []row.Value
	for _, f := range s.Fields {
		vs = append(vs, randomValue(r, f.Type, f.Nullable))
	}
	return vs
}

var hardStrings = []string{"", "NA", `\N`, "null", "a,b", "say \"hi\"", "\"", "\n", "\r", "\r\n", "x\r", "é", "😀", "\ufeffmark", " space ", "\t", ";", "'", "1", "-", "\x00", "\u2028", `\`, "日本語のテキスト, more", strings.Repeat("x", 300)}

func randomValue(r *rand.Rand, t row.Type, nullable bool) row.Value {
	if nullable && r.IntN(4) == 0 {
		return row.Null()
	}
	number := func() int64 { return int64(r.Uint64()) >> r.IntN(64) }
	switch t.Kind {
	case row.KindBool:
		return row.Bool(r.IntN(2) == 0)
	case row.KindInt64:
		return row.Int(number())
	case row.KindFloat64:
		if r.IntN(2) == 0 {
			return row.Float(float64(r.IntN(100_000)) / 100)
		}
		f := math.Float64frombits(r.Uint64())
		if math.IsNaN(f) || math.IsInf(f, 0) {
			f = 0
		}
		return row.Float(f)
	case row.KindDecimal:
		n := big.NewInt(number())
		if r.IntN(3) == 0 {
			n.Mul(n, big.NewInt(1e18))
		}
		return row.BigDecimal(n, t.Scale)
	case row.KindString:
		return row.String(hardStrings[r.IntN(len(hardStrings))] + []string{"", "", hardStrings[r.IntN(len(hardStrings))]}[r.IntN(3)])
	case row.KindBytes:
		return row.Bytes([]byte(hardStrings[r.IntN(len(hardStrings))]))
	case row.KindTimestamp:
		return row.Timestamp(number())
	case row.KindDate:
		return row.Date(number() >> 32)
	case row.KindDuration:
		return row.Duration(number() / 1000)
	case row.KindList:
		vs := make([]row.Value, r.IntN(4))
		for i := range vs {
			vs[i] = randomValue(r, *t.Elem, t.ElemNullable)
		}
		return row.List(vs)
	case row.KindMap:
		var es []row.Entry
		for _, key := range []string{"", "a\"", "k", "é"} {
			if r.IntN(2) == 0 {
				es = append(es, row.Entry{Key: key, Value: randomValue(r, *t.Elem, t.ElemNullable)})
			}
		}
		return row.Map(es)
	default:
		return row.Nested(randomRow(r, t.Row))
	}
}

func same(a, b []row.Value) bool {
	return bytes.Equal(row.AppendKey(nil, a...), row.AppendKey(nil, b...))
}

// What is written is read as it was.
func TestRoundTrip(t *testing.T) {
	nested := scalars + ", l list<row<a int64, l list<string not null>>>, m map<map<float64> not null>, r row<x date not null, y string>"
	for _, c := range []struct {
		schema string
		o      format.Options
	}{
		{nested, jsonl}, {nested, json}, {scalars, csv},
		{scalars, format.Options{Format: "csv", NullText: []string{"NA", ""}}},
		{scalars, format.Options{Format: "csv", NullText: []string{"0", "true", "NaN"}, Delimiter: "-", Quote: "1"}},
		{scalars, format.Options{Format: "csv", Delimiter: ".", Quote: "'", NoHeader: true}},
		{scalars, format.Options{Format: "csv", Encoding: "utf-16le", Delimiter: ";"}},
		{scalars, format.Options{Format: "csv", Encoding: "utf-16be", NoHeader: true}},
		{"s string", csv}, {"s string not null", format.Options{Format: "csv", NoHeader: true}}, {"s string", format.Options{Format: "csv", NullText: []string{"NA"}}},
		{"i int64", format.Options{Format: "csv", Quote: "none"}},
	} {
		s := schema(c.schema)
		codec := row.RowCodec(s)
		r := rand.New(rand.NewPCG(7, 8))
		var b record.Batch[row.Row]
		for range 2000 {
			b.Append(row.Row{Schema: s, Values: randomRow(r, s)}, record.Meta{})
		}
		text, err := write(codec, &b, c.o)
		if err != nil {
			t.Fatalf("%+v: %v", c.o, err)
		}
		got, err := read(codec, text, c.o)
		if err != nil || len(got.Rejected) > 0 {
			t.Fatalf("%+v: %v, %v", c.o, err, got.Rejected)
		}
		if got.Len() != b.Len() {
			t.Fatalf("%+v: got %d records, want %d", c.o, got.Len(), b.Len())
		}
		for i := range b.Values {
			if !same(got.Values[i].Values, b.Values[i].Values) {
				t.Fatalf("%+v: record %d: got\n%s\nwant\n%s", c.o, i, codec.AppendJSON(nil, got, i), codec.AppendJSON(nil, &b, i))
			}
		}
	}
}

func TestWriterOfNothing(t *testing.T) {
	codec := row.RowCodec(schema(`id int64, "a,b" string`))
	var b record.Batch[row.Row]
	for want, o := range map[string]format.Options{"id,\"a,b\"\n": csv, "": jsonl, "[\n]\n": json} {
		got, err := write(codec, &b, o)
		if err != nil || string(got) != want {
			t.Errorf("got %q and %v, want %q", got, err, want)
		}
		if _, err := read(codec, got, o); err != nil {
			t.Errorf("%q: %v", got, err)
		}
	}
}

func TestWriterText(t *testing.T) {
	codec := row.RowCodec(schema("id int64, s string, f float64, t timestamp"))
	var b record.Batch[row.Row]
	for _, vs := range [][]row.Value{
		{row.Int(1), row.String("a,\"b\""), row.Float(37.5), row.Timestamp(1_362_898_799_000_001)},
		{row.Null(), row.String(""), row.Float(math.NaN()), row.Null()},
		{row.Int(-3), row.String("bad \xff\u2028"), row.Float(math.Inf(-1)), row.Timestamp(0)},
	} {
		if err := codec.AppendRecord(&b, vs, record.Meta{}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := write(codec, &b, jsonl)
	want := `{"id":1,"s":"a,\"b\"","f":37.5,"t":"2013-03-10T06:59:59.000001Z"}
{"id":null,"s":"","f":null,"t":null}
{"id":-3,"s":"bad �` + "\u2028" + `","f":null,"t":"1970-01-01T00:00:00Z"}
`
	if err != nil || string(got) != want {
		t.Errorf("got\n%s and %v, want\n%s", got, err, want)
	}
	b.Drop([]int{2})
	if got, err = write(codec, &b, csv); err != nil || string(got) != "id,s,f,t\n1,\"a,\"\"b\"\"\",37.5,2013-03-10T06:59:59.000001Z\n,\"\",NaN,\n" {
		t.Errorf("got\n%s and %v", got, err)
	}
	if got, err = write(codec, &b, json); err != nil || !strings.HasPrefix(string(got), "[\n{\"id\":1,") || !strings.Contains(string(got), "},\n{") || !strings.HasSuffix(string(got), "}\n]\n") {
		t.Errorf("got\n%s and %v", got, err)
	}
}

// What a format can not hold is an error of the record, and the text stays as it was.
func TestWriterRefuses(t *testing.T) {
	none := format.Options{Format: "csv", Quote: "none"}
	for _, c := range []struct {
		o      format.Options
		schema string
		v      row.Value
		want   string
	}{
		{none, "s string", row.String("a,b"), `field s: got "a,b", which csv without quotes can not hold`},
		{none, "s string", row.String("a\nb"), `field s: got "a\nb", which csv without quotes can not hold`},
		{none, "s string", row.String(""), `field s: got "", which csv without quotes can not hold`},
		{format.Options{Format: "csv", Quote: "none", NullText: []string{"7"}}, "i int64", row.Int(7), `field i: got "7", which csv without quotes can not hold`},
		{csv, "s string", row.String("\xff"), "field s: the text is not valid UTF-8"},
		{format.Options{Format: "csv", Encoding: "iso-8859-1"}, "s string", row.String("€"), `'€' is not in iso-8859-1`},
	} {
		codec := row.RowCodec(schema(c.schema))
		w, err := format.NewWriter(c.o, codec)
		if err != nil {
			t.Fatal(err)
		}
		var b record.Batch[row.Row]
		if err := codec.AppendRecord(&b, []row.Value{c.v}, record.Meta{}); err != nil {
			t.Fatal(err)
		}
		got, err := w.Append([]byte("before"), &b, 0, false)
		if err == nil || err.Error() != c.want || string(got) != "before" {
			t.Errorf("got %q and %v, want %s", got, err, c.want)
		}
	}
	if _, err := format.NewWriter(none, row.RowCodec(schema(`"a,b" string`))); err == nil ||
		err.Error() != `quote: got "none", want quotes, which the header line needs: field a,b: got "a,b", which csv without quotes can not hold` {
		t.Errorf("got %v", err)
	}
}

// The flow of rows from text to text allocates next to nothing for each record.
func TestAllocations(t *testing.T) {
	const n = 20_000
	for f, text := range texts(t, n) {
		o := format.Options{Format: f}
		codec := row.RowCodec(orders)
		w, err := format.NewWriter(o, codec)
		if err != nil {
			t.Fatal(err)
		}
		var b record.Batch[row.Row]
		out := make([]byte, 0, 1<<20)
		allocs := testing.AllocsPerRun(5, func() {
			r, err := format.NewReader(bytes.NewReader(text), o, codec, format.Start{})
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			for err == nil {
				b.Reset()
				err = r.Read(&b, 1000, 1<<20)
				got += b.Len()
				filterAndSet(&b)
				out = out[:0]
				for i := range b.Values {
					var failed error
					if out, failed = w.Append(out, &b, i, i == 0); failed != nil {
						t.Fatal(failed)
					}
				}
			}
			if err != io.EOF || got != n {
				t.Fatal(got, err)
			}
		})
		most := 0.01
		if mangled() {
			most = 0.02 // recycled slabs are thrown away
		}
		if perRecord := allocs / n; perRecord >= most {
			t.Errorf("%s: got %v allocations for each record, want less than %v", f, perRecord, most)
		}
	}
}

// mangled says whether recycled slabs are mangled, which costs allocations.
func mangled() bool {
	var b record.Batch[row.Row]
	vs := row.SlabOf(&b).Values(1)
	b.Reset()
	return !vs[0].IsNull()
}
