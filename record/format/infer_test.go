package format_test

import (
	"strings"
	"testing"

	"github.com/activedataflow/adf/record/format"
)

func TestInfer(t *testing.T) {
	for _, c := range []struct {
		name    string
		o       format.Options
		records int
		text    string
		want    string // a schema, or an error
	}{
		{"flights", format.Options{Format: "csv", NullText: []string{"NA"}}, 0,
			"year,dep_delay,carrier,tailnum,air_time,time_hour\n2013,2,UA,N14228,227,2013-01-01T10:00:00Z\n2013,NA,AA,NA,NA,2013-01-01T11:00:00Z\n",
			"year int64, dep_delay int64, carrier string, tailnum string, air_time int64, time_hour timestamp"},
		{"csv kinds", csv, 0, "a,b,c,d,e,f,g,h,i,j,k\n1,1,true,2012-02-29,01234,+47,12345678901234567890,,1e3,\"7\",0\n,2.5,FALSE,2013-01-01,1,5,1,,-0.5,8,-0\n",
			"a int64, b float64, c bool, d date, e string, f string, g string, h string, i float64, j int64, k int64"},
		{"csv mixed", csv, 0, "a,b,c\n1,true,2013-01-01\nx,1,2013-01-01T00:00:00Z\n", "a string, b string, c string"},
		{"csv first records only", csv, 1, "a\n1\nx\n", "a int64"},
		{"csv without header", format.Options{Format: "csv", NoHeader: true}, 0, "1,x\n2,y\n", "column1 int64, column2 string"},
		{"csv header only", csv, 0, "a,b\n", "a string, b string"},
		{"csv empty", csv, 0, "", "source in: infer the schema: got no record"},
		{"csv column twice", csv, 0, "a,a\n1,2\n", `source: read header: in: the column "a" is there twice [format.csv.header]; give every column a name of its own`},
		{"csv bad record", csv, 0, "a,b\n1\n", "source: read record: in:2:1: got 1 columns, want 2 [format.csv.columns]"},
		{"jsonl", jsonl, 0, `{"id":1,"x":null,"f":1,"s":"a","t":"2013-01-01T00:00:00Z","d":"2013-01-01","b":true,"n":"12","big":12345678901234567890}
{"f":2.5,"id":null,"new":[1,null],"r":{"a":{"b":[]}}}
{"r":{"a":{"c":"x"},"l":[{"x":1},{"y":"2013-01-01"}]}}
`, "id int64, x string, f float64, s string, t timestamp, d date, b bool, n string, big float64, new list<int64>, r row<a row<b list<string>, c string>, l list<row<x int64, y date>>>"},
		{"jsonl mixed texts", jsonl, 0, `{"a":"2013-01-01"}` + "\n" + `{"a":"x"}`, "a string"},
		{"jsonl conflict", jsonl, 0, `{"r":{"a":1}}` + "\n" + `{"r":{"a":"x"}}`, `source: read record: in:2:11: field r.a is string here and was int64 before [format.jsonl.infer]; declare the schema`},
		{"jsonl malformed", jsonl, 0, `{"a":1`, `source: read record: in:1:7: got the end of the record, want "," or "}" [format.jsonl.syntax]`},
		{"jsonl empty", jsonl, 0, "\n", "source: infer the schema: in: got no record [format.jsonl.infer]; declare the schema"},
		{"json", json, 0, `[{"a":1},{"b":[[1.5]]}]`, "a int64, b list<list<float64>>"},
		{"json cut off behind what is wanted", json, 1, `[{"a":1},{"a":`, "a int64"},
		{"json element", json, 0, `[1]`, `source: read record: in:1:2: got "1", want an object [format.json.syntax]`},
	} {
		s, err := format.Infer(strings.NewReader(c.text), c.o, "in", c.records)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = s.String()
		}
		want := c.want
		if c.name == "csv empty" {
			want = "source: infer the schema: in: got no record [format.csv.infer]; declare the schema"
		}
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, want)
		}
	}
}
