package file

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/errorfs"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/sinks/sinktest"
)

// readBack reads a sink's directory with a source.
func readBack[T any](dir, format, ext string) ([]T, error) {
	src := &Source[T]{Path: filepath.Join(dir, "**", "*"+ext), Format: format}
	if format == "csv" {
		src.NullText = []string{"NA"}
	}
	all, _, err := enumerate(src, nil)
	if d, ok := fault.DetailOf(err); ok && d.Code == "file.no_match" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	c, err := src.RecordCodec()
	if err != nil {
		return nil, err
	}
	var records []T
	for _, split := range all {
		r, err := src.open(c, split)
		if err != nil {
			return nil, err
		}
		for done := false; !done; {
			var b record.Batch[T]
			if _, done, err = r.Fetch(context.Background(), &b); err != nil {
				return nil, err
			}
			if len(b.Rejected) > 0 {
				return nil, b.Rejected[0].Err
			}
			records = append(records, b.Values...)
		}
		r.Close()
	}
	return records, nil
}

func TestSinkConformance(t *testing.T) {
	for name, c := range map[string]struct {
		sink func() *Sink[person]
		ext  string
	}{
		"csv":           {func() *Sink[person] { return &Sink[person]{Format: "csv", NullText: []string{"NA"}} }, ".csv"},
		"jsonl":         {func() *Sink[person] { return &Sink[person]{Format: "jsonl"} }, ".jsonl"},
		"jsonl, rolled": {func() *Sink[person] { return &Sink[person]{Format: "jsonl", RollSize: 300} }, ".jsonl"},
		"json":          {func() *Sink[person] { return &Sink[person]{Format: "json"} }, ".json"},
		"jsonl gzip":    {func() *Sink[person] { return &Sink[person]{Format: "jsonl", Compression: gz} }, ".jsonl.gz"},
		"csv zstd":      {func() *Sink[person] { return &Sink[person]{Format: "csv", NullText: []string{"NA"}, Compression: zst} }, ".csv.zst"},
		"partitioned":   {func() *Sink[person] { return &Sink[person]{Format: "json", PartitionBy: []string{"name"}} }, ".json"},
	} {
		t.Run(name, func(t *testing.T) {
			codec, err := row.CodecOf[person]()
			if err != nil {
				t.Fatal(err)
			}
			h := sinktest.Harness[person, work]{
				New: func(tb sinktest.TB) sinktest.Target[person, work] {
					dir := filepath.Join(tb.TempDir(), "out")
					return sinktest.Target[person, work]{
						Open: func() (sinks.Exact[person, work], error) {
							s := c.sink()
							s.Path = dir
							return s.exact(codec)
						},
						Read: func() ([]person, error) {
							src, _, _ := strings.Cut(c.ext[1:], ".")
							return readBack[person](dir, src, c.ext)
						},
					}
				},
				Data: sinktest.Data[person]{Record: func(i int) person {
					p := person{ID: int64(i), Name: []string{"", "a", "../b", "__null__", "ü,\"\n"}[i%5]}
					if i%3 > 0 {
						note := fmt.Sprintf("note %d", i%7)
						p.Note = &note
					}
					return p
				}},
			}
			if name == "partitioned" {
				h.Refused = &person{Name: strings.Repeat("x", 300)}
			}
			sinktest.Run(t, h)
		})
	}
}

// commitRecords writes records through the whole sink, as one commit.
func commitRecords[T any](t *testing.T, s *Sink[T], c *row.Codec[T], records []T) {
	t.Helper()
	e, err := s.exact(c)
	if err != nil {
		t.Fatal(err)
	}
	var b record.Batch[T]
	for _, r := range records {
		b.Append(r, record.Meta{})
	}
	part, err := e.Encoder().Encode(nil, &b, func(i int, err error) { t.Errorf("record %d: %v", i, err) })
	if err != nil {
		t.Fatal(err)
	}
	cm, err := sinks.EraseExact(e).NewCommitter(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer cm.Close()
	if err := cm.Commit(context.Background(), testShard, 0, func(yield func([]byte, error) bool) { yield(part, nil) }); err != nil {
		t.Fatal(err)
	}
}

func TestFilesOfEachFormat(t *testing.T) {
	schema, err := row.ParseSchema("id int64, name string, at timestamp, d date")
	if err != nil {
		t.Fatal(err)
	}
	codec := row.RowCodec(schema)
	at := time.Date(2024, 2, 29, 23, 0, 0, 0, time.UTC)
	rows := []row.Row{
		{Schema: schema, Values: []row.Value{row.Int(1), row.String("a,\"b\"\n"), row.TimestampOf(at), row.Date(at.Unix() / 86400)}},
		{Schema: schema, Values: []row.Value{row.Null(), row.Null(), row.Null(), row.Null()}},
	}
	for format, want := range map[string]string{
		"csv":   "id,name,at,d\n1,\"a,\"\"b\"\"\n\",2024-02-29T23:00:00Z,2024-02-29\nNA,NA,NA,NA\n",
		"jsonl": `{"id":1,"name":"a,\"b\"\n","at":"2024-02-29T23:00:00Z","d":"2024-02-29"}` + "\n" + `{"id":null,"name":null,"at":null,"d":null}` + "\n",
		"json":  "[\n" + `{"id":1,"name":"a,\"b\"\n","at":"2024-02-29T23:00:00Z","d":"2024-02-29"}` + ",\n" + `{"id":null,"name":null,"at":null,"d":null}` + "\n]\n",
	} {
		dir := t.TempDir()
		s := &Sink[row.Row]{Path: dir, Format: format}
		if format == "csv" {
			s.NullText = []string{"NA"}
		}
		commitRecords(t, s, codec, rows)
		if got := tree(t, dir, testShard); len(got) != 1 || got["part-RUN-00-00000000-0."+format] != want {
			t.Errorf("%s: got %q\nwant %q", format, got, want)
		}
	}
}

func TestPartitionNames(t *testing.T) {
	for _, c := range []struct {
		field, text string
		null        bool
		want        string
	}{
		{"carrier", "UA", false, "carrier=UA"},
		{"carrier", "", false, "carrier="},
		{"carrier", "", true, "carrier=__null__"},
		{"carrier", "__null__", false, "carrier=%5F_null__"},
		{"carrier", "..", false, "carrier=.."},
		{"carrier", "../../etc/passwd", false, "carrier=..%2F..%2Fetc%2Fpasswd"},
		{"carrier", `a\b c=d%e:f*"`, false, "carrier=a%5Cb%20c%3Dd%25e%3Af%2A%22"},
		{"carrier", "Zürich 東京", false, "carrier=Zürich%20東京"},
		{"carrier", "\xff\x00\n", false, "carrier=%FF%00%0A"},
		{"at", "2013-01-01T10:00:00Z", false, "at=2013-01-01T10%3A00%3A00Z"},
		{"..", "x", false, "%2E.=x"},
		{"a/b=c", "x", false, "a%2Fb%3Dc=x"},
	} {
		got, err := appendDir(nil, c.field, c.text, c.null)
		if err != nil || string(got) != c.want {
			t.Errorf("%q %q: got %s, %v, want %s", c.field, c.text, got, err, c.want)
		}
	}
	_, err := appendDir(nil, "f", strings.Repeat("ü", 127), false)
	if want := "the directory name of the value of field f has 256 bytes, at most 255 can be"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func FuzzPartitionNames(f *testing.F) {
	f.Add("a/b", "..")
	f.Add("\xff", "%2F")
	f.Fuzz(func(t *testing.T, a, b string) {
		x, err := appendDir(nil, "f", a, false)
		y, err2 := appendDir(nil, "f", b, false)
		if err != nil || err2 != nil {
			return
		}
		if strings.ContainsAny(string(x), "/\\\x00") || string(x) == "f="+nullName {
			t.Errorf("%q became %q", a, x)
		}
		if (a == b) != (string(x) == string(y)) {
			t.Errorf("%q became %q, %q became %q", a, x, b, y)
		}
	})
}

func TestPartitions(t *testing.T) {
	codec, err := row.CodecOf[person]()
	if err != nil {
		t.Fatal(err)
	}
	x := "x"
	dir := t.TempDir()
	commitRecords(t, &Sink[person]{Path: dir, Format: "jsonl", PartitionBy: []string{"note", "id"}}, codec, []person{{1, "a", &x}, {2, "b", nil}, {1, "c", &x}})
	got := tree(t, dir, testShard)
	want := map[string]string{
		"note=x/id=1/part-RUN-00-00000000-0.jsonl":        `{"id":1,"name":"a","note":"x"}` + "\n" + `{"id":1,"name":"c","note":"x"}` + "\n",
		"note=__null__/id=2/part-RUN-00-00000000-0.jsonl": `{"id":2,"name":"b","note":null}` + "\n",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

// Two sinks in one directory do not get into each other's way.
func TestTwoSinksOneDirectory(t *testing.T) {
	dir := t.TempDir()
	p := place{fs: errorfs.OS{}, path: dir}
	for _, node := range []string{"a", "b"} {
		sh := testShard
		sh.Node = node
		w, err := newWriter(p, sh, 0, none, "part", 1000)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Write(context.Background(), partOf(lines, node+"\n")); err != nil {
			t.Fatal(err)
		}
		prepared, err := w.Prepare(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		cm, err := newCommitter(p)
		if err != nil {
			t.Fatal(err)
		}
		if err := cm.Commit(context.Background(), sinks.Committable[work]{Shard: sh, Value: prepared}); err != nil {
			t.Fatal(err)
		}
	}
	if got := tree(t, dir, testShard); len(got) != 2 {
		t.Errorf("got %q, want two files", got)
	}
}

func TestSinkOptions(t *testing.T) {
	schema, err := row.ParseSchema("id int64, tags list<string>, carrier string")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		sink *Sink[row.Row]
		want string
	}{
		{&Sink[row.Row]{Format: "jsonl"}, `path: got nothing, want a string; for example path: out/results`},
		{&Sink[row.Row]{Path: "p"}, `format: got nothing, want a string; for example format: csv`},
		{&Sink[row.Row]{Path: "p", Format: "jsonl", Compression: "auto"}, `compression: got auto, want one of none, gzip, zstd`},
		{&Sink[row.Row]{Path: "p", Format: "jsonl", Prefix: "../x"}, `prefix: got ../x, want up to 64 letters, digits, '.', '_' and '-', the first a letter or digit`},
		{&Sink[row.Row]{Path: "p", Format: "jsonl", PartitionBy: []string{"id", "id"}}, `partition_by: got id, id, want names of fields, each once`},
		{&Sink[row.Row]{Path: "p", Format: "jsonl", PartitionBy: []string{"carier"}}, `partition_by: got carier, want fields of the records; did you mean "carrier"?`},
		{&Sink[row.Row]{Path: "p", Format: "jsonl", PartitionBy: []string{"tags"}}, `partition_by: got tags, a list, want fields that have one value`},
	} {
		_, err := c.sink.Sink(row.RowCodec(schema))
		if err == nil || err.Error() != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
	if _, err := (&Sink[row.Row]{Path: "p", Format: "csv"}).Sink(row.RowCodec(schema)); err == nil || fault.Retryable(err) {
		t.Errorf("a list in csv: got %v", err)
	}
}

// The encoder allocates nothing for a record once it has warmed up.
func TestEncoderAllocations(t *testing.T) {
	schema, _ := row.ParseSchema("id int64, name string")
	s := &Sink[row.Row]{Path: t.TempDir(), Format: "jsonl"}
	e, err := s.exact(row.RowCodec(schema))
	if err != nil {
		t.Fatal(err)
	}
	var b record.Batch[row.Row]
	for i := range 1000 {
		b.Append(row.Row{Schema: schema, Values: []row.Value{row.Int(int64(i)), row.String("name")}}, record.Meta{})
	}
	enc := e.Encoder()
	part, _ := enc.Encode(nil, &b, nil)
	allocs := testing.AllocsPerRun(20, func() {
		if part, err = enc.Encode(part[:0], &b, nil); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 10 {
		t.Errorf("%v allocations for 1000 records", allocs)
	}
}

// A sink that may not write says so, and that a retry does not help.
func TestSinkIsAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := newCommitter(place{fs: errorfs.OS{}, path: path})
	want := "sink file: make directory: " + filepath.Join(path, ".adf", "staging") + ": not a directory [file.io]"
	if err == nil || err.Error() != want || fault.Retryable(err) {
		t.Errorf("got %v\nwant %s", err, want)
	}
}
