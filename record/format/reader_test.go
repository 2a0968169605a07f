package format_test

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
)

// show tells what was read: a line for each record and each rejected one, and the error at the end.
func show(c *row.Codec[row.Row], b *record.Batch[row.Row], err error) string {
	var lines []string
	for i := range b.Values {
		lines = append(lines, fmt.Sprintf("%d %s", b.Metas[i].Position, c.AppendJSON(nil, b, i)))
	}
	for _, r := range b.Rejected {
		lines = append(lines, fmt.Sprintf("%d rejected %q: %v", r.Position, r.Raw, r.Err))
	}
	if err != nil {
		lines = append(lines, err.Error())
	}
	return strings.Join(lines, "\n")
}

type readCase struct {
	name   string
	o      format.Options
	schema string
	text   string
	want   string
}

var (
	csv   = format.Options{Format: "csv"}
	jsonl = format.Options{Format: "jsonl"}
	json  = format.Options{Format: "json"}
)

const people = "id int64 not null, name string, born date"

var readCases = []readCase{
	{"csv empty", csv, people, "", ""},
	{"csv header only", csv, people, "id,name,born\n", ""},
	{"csv header without line end", csv, people, "id,name,born", ""},
	{"csv one row without line end", csv, people, "id,name,born\n1,Ann,2012-02-29", `13 {"id":1,"name":"Ann","born":"2012-02-29"}`},
	{"csv nulls", csv, people, "id,name,born\n1,,\n2,\"\",\"\"\n", `13 {"id":1,"name":null,"born":null}
17 {"id":2,"name":"","born":null}`},
	{"csv null texts", format.Options{Format: "csv", NullText: []string{"NA", `\N`}}, people, "id,name,born\n1,NA,\\N\n2,,\n3,\"NA\",NA\n",
		`13 {"id":1,"name":null,"born":null}
21 {"id":2,"name":"","born":null}
25 {"id":3,"name":"NA","born":null}`},
	{"csv other order, CRLF, byte order mark, blank lines", csv, people, "\ufeffborn,id,name\r\n2013-03-10,7,\"a,\r\nb\"\r\n\r\n,8,\"say \"\"hi\"\"\"\r\n",
		`17 {"id":7,"name":"a,\r\nb","born":"2013-03-10"}
41 {"id":8,"name":"say \"hi\"","born":null}`},
	{"csv delimiter, quote, no header", format.Options{Format: "csv", Delimiter: ";", Quote: "'", NoHeader: true}, people, "1;'O''Hara';2013-01-01\n2;\"x\";\n",
		`0 {"id":1,"name":"O'Hara","born":"2013-01-01"}
23 {"id":2,"name":"\"x\"","born":null}`},
	{"csv without quotes", format.Options{Format: "csv", Delimiter: "\t", Quote: "none"}, people, "id\tname\tborn\n1\t\"a\t\n", `13 {"id":1,"name":"\"a","born":null}`},
	{"csv bad values", csv, people, "id,name,born\n1,a\nx,b,\n,c,\n9223372036854775808,d,\n5,e,2013-02-29\n6,f,,\n7,g,\n",
		"?"},
	{"csv bad quotes", csv, people, "id,name,born\n1,a\"b,\n2,\"c\"d,\n3,\"e\nf\",x\n4,ok,\n5,\"open,\n6,g,\n", "?"},
	{"csv not utf-8", csv, people, "id,name,born\n1,\xe9t\xe9,\n2,été,\n", "?"},
	{"csv one column", csv, "x int64", "x\n1\n\n3\n", `2 {"x":1}
4 {"x":null}
5 {"x":3}`},
	{"csv types", csv, "b bool, f float64, d decimal(6,2), t timestamp, u duration, y bytes", "b,f,d,t,u,y\nTrue,-1e3,12.5,2013-03-10 01:59:59-05:00,1h30m,aGk=\nfalse,NaN,-0.10,2013-03-10T03:00:00.25-04:00,-1.5ms,\"\"\n",
		`12 {"b":true,"f":-1000,"d":12.50,"t":"2013-03-10T06:59:59Z","u":"1h30m0s","y":"aGk="}
64 {"b":false,"f":null,"d":-0.10,"t":"2013-03-10T07:00:00.250000Z","u":"-1.5ms","y":""}`},
	{"csv iso-8859-1", format.Options{Format: "csv", Encoding: "iso-8859-1"}, people, "id,name,born\n1,\xe9t\xe9,\n2,b,\n", `13 {"id":1,"name":"été","born":null}
20 {"id":2,"name":"b","born":null}`},
	{"csv windows-1252", format.Options{Format: "csv", Encoding: "windows-1252"}, people, "id,name,born\n1,5 \x80 \x93x\x94,\nx,\xe9\x80,\n3,\xe9\x9d,\n4,\xe9,\n", "?"},
	{"csv utf-16le", format.Options{Format: "csv", Encoding: "utf-16le"}, people, utf16Text("\ufeffid,name,born\n1,a😀é,\n2,b,\n", false), `28 {"id":1,"name":"a😀é","born":null}
44 {"id":2,"name":"b","born":null}`},
	{"csv utf-16be cut off", format.Options{Format: "csv", Encoding: "utf-16be"}, people, utf16Text("id,name,born\n1,a,\n", true) + "\x00\x32\x00,\xd8\x00\x00,\x00", "?"},
	{"jsonl empty", jsonl, people, "", ""},
	{"jsonl blank lines, spaces, CRLF, no line end", jsonl, people, "\ufeff\n \t\r\n { \"id\" : 1 , \"name\" : \"a\" }  \r\n{\"born\":\"2016-02-29\",\"id\":2}",
		`8 {"id":1,"name":"a","born":null}
40 {"id":2,"name":null,"born":"2016-02-29"}`},
	{"jsonl unknown fields, duplicate keys, escapes", jsonl, people, `{"x":{"a":[1,{"b":"}"}],"c":null},"id":1,"id":2,"name":"\u00e9\ud83d\ude00\n\"\\\/ \ud800x","n\u0061me":"caf\u00e9"}` + "\n",
		`0 {"id":2,"name":"café","born":null}`},
	{"jsonl escapes", jsonl, "s string", `{"s":"\u00e9\ud83d\ude00\b\f\n\r\t\"\\\/ \ud800x"}` + "\n", `0 {"s":"é😀\u0008\u000c\n\r\t\"\\/ ` + "\ufffd" + `x"}`},
	{"jsonl numbers", jsonl, "i int64, f float64, d decimal(20,2)", `{"i":-0,"f":1e-3,"d":"12.5"}
{"i":9223372036854775807,"f":123456789012345678901234567890,"d":999999999999999999.99}
{"i":2.0,"f":-5,"d":1e3}
{"i":9223372036854775808}
{"i":1.5}
{"i":01}
{"f":1e400}
{"f":.5}
{"d":1.005}
{"d":"x"}
{"i":"1"}
`, "?"},
	{"jsonl malformed", jsonl, people, `{"id":1
[1]
{"id":1,}
{"id" 1}
{"id":tru}
{"id":1}{"id":2}
{"id":1} x
{id:1}
{"id":1,"name":"a
{"id":1,"name":"\x"}
{"id":1,"name":"\u12g4"}
{"id":1,"name":"a` + "\x01" + `"}
{"id":1,"name":"` + "\xff" + `"}
{"id":1,"name":5}
{"name":"no id"}
{"id":null}
{"id":2}
`, "?"},
	{"jsonl nested", jsonl, "r row<a int64 not null, l list<string>>, l list<row<x float64> not null>, m map<list<int64 not null>>",
		`{"r":{"l":["x",null],"a":1},"l":[{"x":1},{}],"m":{"b":[],"a":[1,2],"b":[3]}}
{"r":{"l":[]}}
{"l":[null]}
{"l":[{"x":true}]}
{"m":{"k":[1,null]}}
{"m":{"k":["x"]}}
{"m":[]}
{"r":null,"l":[],"m":{}}
`, "?"},
	{"jsonl daylight saving change", jsonl, "t timestamp", `{"t":"2013-11-03T01:30:00-04:00"}
{"t":"2013-11-03T01:30:00-05:00"}
{"t":"2013-03-31T00:59:59.999999Z"}
{"t":"2013-03-31T24:00:00Z"}
`, "?"},
	{"json array", json, people, "\ufeff [\n {\"id\":1,\n \"name\":\"a]}\\\"\"},{\"id\":2}\n]\n", `7 {"id":1,"name":"a]}\"","born":null}
33 {"id":2,"name":null,"born":null}`},
	{"json empty", json, people, "", ""},
	{"json empty array", json, people, "[ ]", ""},
	{"json objects", json, people, `{"id":1}{"id":2}` + "\n\n" + `{"id":3}`, `0 {"id":1,"name":null,"born":null}
8 {"id":2,"name":null,"born":null}
18 {"id":3,"name":null,"born":null}`},
	{"json bad elements", json, people, "[{\"id\":\"x\"},\n5, \"a,]\", [1,[2]], null,\n {\"id\":[}, {\"id\":7}]", "?"},
	{"json without end", json, people, `[{"id":1},`, "?"},
	{"json cut off", json, people, "[{\"id\":1},\n{\"id\":2", "?"},
	{"json without comma", json, people, "[{\"id\":1}\n{\"id\":2}]", "?"},
	{"json two commas", json, people, "[{\"id\":1},,{\"id\":2}]", "?"},
	{"json comma at the end", json, people, "[{\"id\":1},]", "?"},
	{"json text behind", json, people, "[{\"id\":1}]x", "?"},
	{"json no array", json, people, "5", "?"},
	{"json no array but a letter of two bytes", json, people, "é", "source: read record: in:1:1: got \"é\", want \"[\" or \"{\" [format.json.syntax]"},
	{"json comma between objects", json, people, "{\"id\":1},{\"id\":2}", "?"},
}

func utf16Text(s string, bigEndian bool) string {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		if bigEndian {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

func TestReader(t *testing.T) {
	for _, c := range readCases {
		t.Run(c.name, func(t *testing.T) {
			codec := row.RowCodec(schema(c.schema))
			b, err := read(codec, []byte(c.text), c.o)
			got := show(codec, b, err)
			if want := golden(t, c.want, got); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Wherever the input is cut, and however few bytes come at a time, the same is read.
func TestReaderDoesNotDependOnChunks(t *testing.T) {
	for _, c := range readCases {
		codec := row.RowCodec(schema(c.schema))
		whole, wholeErr := read(codec, []byte(c.text), c.o)
		want := show(codec, whole, wholeErr)
		for name, chunks := range map[string]func(io.Reader) io.Reader{"one byte": iotest.OneByteReader, "half": iotest.HalfReader, "data with error": iotest.DataErrReader} {
			for _, most := range []int{1, 3, 1000} {
				var b record.Batch[row.Row]
				r, err := format.NewReader(chunks(strings.NewReader(c.text)), c.o, codec, format.Start{Name: "in"})
				for err == nil {
					err = r.Read(&b, most, 1<<20)
				}
				if err == io.EOF {
					err = nil
				}
				if got := show(codec, &b, err); got != want {
					t.Errorf("%s, %s, %d records at a time: got\n%s\nwant\n%s", c.name, name, most, got, want)
				}
			}
		}
	}
}

// From every place where Offset stood, the rest is the same.
func TestReaderResumes(t *testing.T) {
	// Where the kind of a broken stream is not seen from its rest, the error is another one, or the end.
	hidden := map[string]bool{"json without comma": true, "json comma between objects": true, "json bad elements": true}
	column := regexp.MustCompile(`in:(\d+:\d+|byte \d+)`) // a column is not known in the middle of a line
	for _, c := range readCases {
		if hidden[c.name] {
			continue
		}
		codec := row.RowCodec(schema(c.schema))
		whole, wholeErr := read(codec, []byte(c.text), c.o)
		want := show(codec, whole, wholeErr)
		if c.o.Format == "json" {
			want = column.ReplaceAllString(want, "in")
		}
		var before record.Batch[row.Row]
		r, err := format.NewReader(strings.NewReader(c.text), c.o, codec, format.Start{Name: "in"})
		for err == nil {
			start := format.Start{Name: "in", Offset: r.Offset(), Line: r.Line(), Header: r.Header()}
			var b record.Batch[row.Row]
			for i := range before.Values {
				codec.CopyRecord(&b, &before, i)
			}
			b.Rejected = append(b.Rejected, before.Rejected...)
			rest, err2 := format.NewReader(strings.NewReader(c.text[start.Offset:]), c.o, codec, start)
			for err2 == nil {
				err2 = rest.Read(&b, 2, 1<<20)
			}
			if err2 == io.EOF {
				err2 = nil
			}
			got := show(codec, &b, err2)
			if c.o.Format == "json" {
				got = column.ReplaceAllString(got, "in")
			}
			if got != want {
				t.Errorf("%s: from %+v got\n%s\nwant\n%s", c.name, start, got, want)
			}
			err = r.Read(&before, 1, 1)
		}
	}
}

// The union over ranges is the whole, wherever the cuts are.
func TestRangesGiveEachRecordOnce(t *testing.T) {
	plain := format.Options{Format: "csv", Quote: "none"}
	for _, c := range []readCase{
		{"jsonl", jsonl, people, "{\"id\":1}\n\n{\"id\":22,\"name\":\"é\"}\r\n{\"id\":3}\nbad\n{\"id\":4}", ""},
		{"csv", plain, people, "id,name,born\n1,a,\n22,é,\r\nx,,\n3,c,2013-01-01", ""},
		{"csv iso-8859-1", format.Options{Format: "csv", Quote: "none", Encoding: "iso-8859-1"}, people, "id,name,born\n1,\xe9a,\n22,\xe9,\r\nx,,\n3,c,2013-01-01", ""},
	} {
		codec := row.RowCodec(schema(c.schema))
		whole, err := read(codec, []byte(c.text), c.o)
		if err != nil {
			t.Fatal(err)
		}
		places := func(b *record.Batch[row.Row]) (ps []string) {
			for i := range b.Values {
				ps = append(ps, fmt.Sprintf("%d %s", b.Metas[i].Position, codec.AppendJSON(nil, b, i)))
			}
			return ps
		}
		first, err := format.NewReader(strings.NewReader(c.text), c.o, codec, format.Start{})
		if err != nil {
			t.Fatal(err)
		}
		for x := 1; x < len(c.text); x++ {
			// Where Skip has led is a place to go on from without it.
			skipped, err := format.NewReader(strings.NewReader(c.text[x:]), c.o, codec, format.Start{Offset: int64(x), Skip: true, Header: first.Header()})
			if err != nil {
				t.Fatal(err)
			}
			offset := skipped.Offset()
			again, err := format.NewReader(strings.NewReader(c.text[offset:]), c.o, codec, format.Start{Offset: offset, Header: first.Header()})
			var a, b record.Batch[row.Row]
			for err == nil {
				err = skipped.Read(&a, 1000, 1<<20)
				again.Read(&b, 1000, 1<<20)
			}
			if got, want := show(codec, &b, nil), show(codec, &a, nil); got != want {
				t.Fatalf("%s, from %d: got\n%s\nwant\n%s", c.name, x, got, want)
			}
			for y := x; y < len(c.text); y++ {
				var b record.Batch[row.Row]
				for _, s := range []format.Start{
					{Name: "in", End: int64(x)},
					{Name: "in", Offset: int64(x), End: int64(y), Skip: true, Header: first.Header()},
					{Name: "in", Offset: int64(y), Skip: true, Header: first.Header()},
				} {
					r, err := format.NewReader(iotest.HalfReader(strings.NewReader(c.text[s.Offset:])), c.o, codec, s)
					for err == nil {
						err = r.Read(&b, 1000, 1<<20)
					}
					if err != io.EOF {
						t.Fatalf("%s, cuts %d and %d: %v", c.name, x, y, err)
					}
				}
				if got, want := places(&b), places(whole); strings.Join(got, "\n") != strings.Join(want, "\n") || len(b.Rejected) != len(whole.Rejected) {
					t.Fatalf("%s, cuts %d and %d: got\n%s\nwant\n%s", c.name, x, y, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		}
	}
}

func TestPlacesWithoutLineNumbersAreOffsets(t *testing.T) {
	codec := row.RowCodec(schema(people))
	var b record.Batch[row.Row]
	r, err := format.NewReader(strings.NewReader("1}\n{\"id\":2}\n{\"id\":\"x\"}\n"), jsonl, codec, format.Start{Name: "in", Offset: 100, Skip: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Read(&b, 10, 1<<20); err != nil {
		t.Fatal(err)
	}
	if got, want := show(codec, &b, nil), "103 {\"id\":2,\"name\":null,\"born\":null}\n112 rejected \"{\\\"id\\\":\\\"x\\\"}\": source: read record: in:byte 118: field id: got \"\\\"x\\\"\", want int64 [format.jsonl.value]"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if r.Line() != 0 || r.Offset() != 123 {
		t.Errorf("got line %d, offset %d", r.Line(), r.Offset())
	}
}

func TestHeaderMustMatchTheSchema(t *testing.T) {
	for header, want := range map[string]string{
		"id,name":          `source: read header: in: the columns born of the schema are missing [format.csv.header]; take them out of the schema, or check that this is the right input`,
		"id,Name,born":     `source: read header: in: the columns name of the schema are missing [format.csv.header]; name the fields of the schema as the header does; it has Name besides`,
		"id,name,born,id":  `source: read header: in: the column "id" is there twice [format.csv.header]; give every column a name of its own`,
		"id,na\"me,born":   `source: read record: in:1:6: got a quote inside a text that does not begin with one [format.csv.syntax]; double the quotes inside a quoted text, or set the option quote to "none"`,
		"id,n\xffame,born": `source: read record: in:1:5: the text is not valid UTF-8 [format.csv.encoding]; set the option encoding to what the text is in, as windows-1252`,
	} {
		_, err := format.NewReader(strings.NewReader(header+"\n1,a,\n"), csv, row.RowCodec(schema(people)), format.Start{Name: "in"})
		if err == nil || err.Error() != want {
			t.Errorf("%s: got\n%v\nwant\n%s", header, err, want)
		}
	}
}

func TestColumnsThatTheSchemaDoesNotHaveAreNotRead(t *testing.T) {
	codec := row.RowCodec(schema(people))
	r, err := format.NewReader(strings.NewReader("x,born,name,y,id\nfoo,,a,bar,7\n"), csv, codec, format.Start{Name: "in"})
	if err != nil {
		t.Fatal(err)
	}
	var b record.Batch[row.Row]
	if err := r.Read(&b, 10, 1<<20); err != nil && err != io.EOF {
		t.Fatal(err)
	}
	if got, want := show(codec, &b, nil), "17 {\"id\":7,\"name\":\"a\",\"born\":null}"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCSVHoldsNoLists(t *testing.T) {
	codec := row.RowCodec(schema("a int64, l list<int64>"))
	want := "l: got list<int64>, want a scalar: csv holds no lists, maps and rows"
	if _, err := format.NewReader(strings.NewReader(""), csv, codec, format.Start{}); err == nil || err.Error() != want {
		t.Errorf("reader: got %v", err)
	}
	if _, err := format.NewWriter(csv, codec); err == nil || err.Error() != want {
		t.Errorf("writer: got %v", err)
	}
}

func TestOptionsAreValidated(t *testing.T) {
	for want, o := range map[string]format.Options{
		`format: got nothing, want csv, jsonl or json`:                                                    {},
		`format: got "xml", want csv, jsonl or json`:                                                      {Format: "xml"},
		`delimiter: got "||", want one ASCII character other than a line end, as "," or "\t"`:             {Format: "csv", Delimiter: "||"},
		`quote: got "\n", want one ASCII character other than a line end, or "none"`:                      {Format: "csv", Quote: `\n`},
		`quote: got ";", want another character than the delimiter`:                                       {Format: "csv", Quote: ";", Delimiter: ";"},
		`null_text: got "a,b", want a text without delimiter, quote and line end`:                         {Format: "csv", NullText: []string{"a,b"}},
		`encoding: got "latin1", want utf-8, utf-16le, utf-16be, iso-8859-1, windows-1252`:                {Format: "csv", Encoding: "latin1"},
		"delimiter: got \";\", want it only with csv\nquote: got \"'\", want it only with csv":            {Format: "jsonl", Delimiter: ";", Quote: "'"},
		"no_header: got true, want it only with csv\nnull_text: got \"NA\", \"x\", want it only with csv": {Format: "json", NoHeader: true, NullText: []string{"NA", "x"}},
		`encoding: got "utf-16le", want utf-8, which JSON always is`:                                      {Format: "jsonl", Encoding: "utf-16le"},
	} {
		var got []string
		for _, v := range o.Validate() {
			got = append(got, v.Error())
			if v.Code != "format."+v.Path {
				t.Errorf("got code %s of %s", v.Code, v.Path)
			}
		}
		if strings.Join(got, "\n") != want {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
		}
	}
	for _, o := range []format.Options{csv, jsonl, json, {Format: "csv", Delimiter: "\t", Quote: "none", NullText: []string{"NA", ""}, Encoding: "windows-1252"}} {
		if vs := o.Validate(); len(vs) > 0 {
			t.Errorf("%+v: got %v", o, vs)
		}
	}
}

func TestSplittable(t *testing.T) {
	for _, c := range []struct {
		o    format.Options
		want bool
	}{
		{jsonl, true}, {json, false}, {csv, false}, {format.Options{Format: "csv", Quote: "none"}, true}, {format.Options{Format: "csv", Quote: "none", Encoding: "utf-16le"}, false},
	} {
		if got := c.o.Splittable(); got != c.want {
			t.Errorf("%+v: got %v", c.o, got)
		}
		if _, err := format.NewReader(strings.NewReader("x\n"), c.o, row.RowCodec(schema("x int64")), format.Start{Offset: 5, Skip: true, Header: []string{"x"}}); (err == nil) != c.want {
			t.Errorf("%+v: got %v", c.o, err)
		}
	}
}

// endless gives the same byte again and again.
type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

func TestRecordsHaveALimit(t *testing.T) {
	for _, c := range []struct {
		o           format.Options
		start, want string
	}{
		{jsonl, "{\"x\":1}\n{\"", "source: read record: in:2:1: the record is longer than 67108864 bytes [format.jsonl.too_long]"},
		{json, "[{\"x\":1},{\"", "source: read record: in:1:10: the record is longer than 67108864 bytes [format.json.too_long]"},
		{csv, "x\n1\n\"", "source: read record: in:3:1: the record is longer than 67108864 bytes [format.csv.too_long]"},
	} {
		var b record.Batch[row.Row]
		r, err := format.NewReader(io.MultiReader(strings.NewReader(c.start), endless('a')), c.o, row.RowCodec(schema("x int64")), format.Start{Name: "in"})
		for err == nil {
			err = r.Read(&b, 1000, 1<<20)
		}
		if err.Error() != c.want || b.Len() != 1 {
			t.Errorf("%s: got %d records and %v", c.o.Format, b.Len(), err)
		}
		if again := r.Read(&b, 1, 1); again != err {
			t.Errorf("%s: got %v the second time", c.o.Format, again)
		}
	}
}

func TestInputErrorsPassThrough(t *testing.T) {
	broken := fmt.Errorf("the line is dead")
	var b record.Batch[row.Row]
	r, err := format.NewReader(io.MultiReader(strings.NewReader("{\"x\":1}\n{"), iotest.ErrReader(broken)), jsonl, row.RowCodec(schema("x int64")), format.Start{Name: "in"})
	for err == nil {
		err = r.Read(&b, 1000, 1<<20)
	}
	if want := "source: read input: in:2:1: the line is dead [format.jsonl.read]"; err.Error() != want || b.Len() != 1 {
		t.Errorf("got %d records and %v", b.Len(), err)
	}
}

// A reader that has something does not wait for more: what comes line by line is read line by line.
func TestReadDoesNotWaitWhenItHasSomething(t *testing.T) {
	in, out := io.Pipe()
	next := make(chan bool)
	go func() {
		for range next {
			out.Write([]byte("{\"x\":1}\n{\"x\":2}\n{\"x\""))
			out.Write([]byte(":3}\n"))
		}
		out.Close()
	}()
	next <- true
	r, err := format.NewReader(in, jsonl, row.RowCodec(schema("x int64")), format.Start{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 1} {
		var b record.Batch[row.Row]
		if err := r.Read(&b, 1000, 1<<20); err != nil || b.Len() != want {
			t.Fatalf("got %d records and %v, want %d", b.Len(), err, want)
		}
	}
	close(next)
	var b record.Batch[row.Row]
	if err := r.Read(&b, 1000, 1<<20); err != io.EOF || b.Len() != 0 {
		t.Fatalf("got %d records and %v", b.Len(), err)
	}
}

func TestReadKeepsItsLimits(t *testing.T) {
	text := bytes.Repeat([]byte("{\"x\":1}\n"), 100)
	r, err := format.NewReader(bytes.NewReader(text), jsonl, row.RowCodec(schema("x int64")), format.Start{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ records, bytes, want int }{{7, 1 << 20, 7}, {1000, 17, 3}, {1000, 0, 1}, {1, 1 << 20, 1}, {1000, 1 << 20, 88}} {
		var b record.Batch[row.Row]
		if err := r.Read(&b, c.records, c.bytes); err != nil && err != io.EOF || b.Len() != c.want {
			t.Errorf("%d records, %d bytes: got %d and %v, want %d", c.records, c.bytes, b.Len(), err, c.want)
		}
	}
}

type person struct {
	ID    int32    `adf:"id"`
	Name  *string  `adf:"name"`
	Tags  []string `adf:"tags"`
	Where struct {
		X, Y float64
	} `adf:"where"`
}

func TestReaderOfStructs(t *testing.T) {
	codec := codecOf[person](t)
	b, err := read(codec, []byte(`{"id":1,"name":"a","tags":["x","y"],"where":{"X":1,"Y":2}}
{"id":3000000000,"tags":[],"where":{"X":1,"Y":2}}
{"id":2,"tags":[],"where":{"Y":2,"X":0.5}}
`), jsonl)
	if err != nil {
		t.Fatal(err)
	}
	if b.Len() != 2 || b.Values[0].Tags[1] != "y" || *b.Values[0].Name != "a" || b.Values[1].Name != nil || b.Values[1].Where.X != 0.5 || b.Values[1].ID != 2 {
		t.Errorf("got %+v", b.Values)
	}
	if want := "source: read record: in:2:1: field id: got 3000000000, which does not fit int32 [format.jsonl.value]"; len(b.Rejected) != 1 || b.Rejected[0].Err.Error() != want {
		t.Errorf("got %v", b.Rejected)
	}
}
