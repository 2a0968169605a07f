package file

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
	"github.com/activedataflow/adf/splits/splittest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type person struct {
	ID   int64   `adf:"id"`
	Name string  `adf:"name"`
	Note *string `adf:"note"`
}

func write(t splittest.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatalf("%v", err)
	}
	data := []byte(text)
	var out bytes.Buffer
	switch filepath.Ext(path) {
	case ".gz": // two members, as gzip -c a b gives
		for _, half := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
			z := gzip.NewWriter(&out)
			z.Write(half)
			z.Close()
		}
		data = out.Bytes()
	case ".zst":
		z, _ := zstd.NewWriter(&out)
		z.Write(data)
		z.Close()
		data = out.Bytes()
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatalf("%v", err)
	}
}

// lanes is the world of an enumerator that a test drives by hand: one lane with credit for everything.
type lanes struct {
	assigned []Split
	find     func() error
	over     bool
}

func (l *lanes) Parallelism() int                { return 1 }
func (l *lanes) Readers() []int                  { return []int{0} }
func (l *lanes) Assign(_ int, assigned ...Split) { l.assigned = append(l.assigned, assigned...) }
func (l *lanes) NoMoreSplits(int)                { l.over = true }
func (l *lanes) Every(_ time.Duration, discover func(context.Context) ([]Split, error), handle func([]Split, error) error) {
	l.find = func() error { return handle(discover(context.Background())) }
}

// enumerate lists once and gives what was assigned.
func enumerate[T any](s *Source[T], restored *splits.State) ([]Split, splits.Enumerator[Split], error) {
	ctx := context.Background()
	l := &lanes{}
	e, err := s.Enumerator(ctx, l, restored)
	if err != nil {
		return nil, nil, err
	}
	if err := e.Start(ctx); err != nil {
		return nil, nil, err
	}
	if err := l.find(); err != nil {
		return nil, nil, err
	}
	for n := -1; n < len(l.assigned); {
		n = len(l.assigned)
		if err := e.HandleSplitRequest(ctx, 0); err != nil {
			return nil, nil, err
		}
	}
	return l.assigned, e, nil
}

// got is what was read.
type got struct {
	records  []string // as JSON
	rejected []string // the errors
	ids      []string // of the splits
}

// readSplits reads splits to their ends. After every batch it goes on from the split's wire form, in a new reader.
func readSplits[T any](s *Source[T], all []Split) (got, error) {
	var g got
	c, err := s.RecordCodec()
	if err != nil {
		return g, err
	}
	b := c.NewBatch().(*record.Batch[T])
	for _, split := range all {
		g.ids = append(g.ids, split.ID)
		for done := false; !done; {
			data, err := s.Codec().Encode(split)
			if err != nil {
				return g, err
			}
			if split, err = s.Codec().Decode(1, data); err != nil {
				return g, err
			}
			r, err := s.open(c, split)
			if err != nil {
				return g, err
			}
			b.Reset()
			split, done, err = r.Fetch(context.Background(), b)
			for i := range b.Values {
				g.records = append(g.records, string(c.AppendJSON(nil, b, i)))
			}
			for _, rej := range b.Rejected {
				g.rejected = append(g.rejected, rej.Err.Error())
			}
			r.Close()
			if err != nil {
				return g, err
			}
		}
	}
	return g, nil
}

func readAll[T any](s *Source[T]) (got, error) {
	all, _, err := enumerate(s, nil)
	if err != nil {
		return got{}, err
	}
	return readSplits(s, all)
}

func mustRead[T any](t *testing.T, s *Source[T]) got {
	t.Helper()
	g, err := readAll(s)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func people(n int) (csv, jsonl, array string, all []person) {
	var c, l strings.Builder
	c.WriteString("id,name,note\n")
	for i := range n {
		p := person{ID: int64(i), Name: strings.Repeat("n", i%17)}
		note := "NA"
		jnote := "null"
		if i%3 != 0 {
			text := fmt.Sprintf("note %d", i)
			p.Note, note, jnote = &text, text, fmt.Sprintf("%q", text)
		}
		all = append(all, p)
		fmt.Fprintf(&c, "%d,%s,%s\n", i, p.Name, note)
		fmt.Fprintf(&l, `{"id":%d,"name":%q,"note":%s}`+"\n", i, p.Name, jnote)
	}
	array = "[" + strings.ReplaceAll(strings.TrimSuffix(l.String(), "\n"), "\n", ",\n") + "]\n"
	return c.String(), l.String(), array, all
}

// TestConformance reads each format, in several files of several batches each.
func TestConformance(t *testing.T) {
	const files, each = 5, 1050
	csv, jsonl, array, _ := people(files * each)
	header, rows, _ := strings.Cut(csv, "\n")
	cut := func(text string, i int) string {
		all := strings.SplitAfter(text, "\n")
		return strings.Join(all[i*each:(i+1)*each], "")
	}
	arrays := func(i int) string {
		return "[" + strings.Trim(strings.TrimSpace(cut(array, i)), "[],") + "]"
	}
	csvs := func(i int) string { return header + "\n" + cut(rows, i) }
	jsonls := func(i int) string { return cut(jsonl, i) }
	_, _, _, want := people((files) * each)
	for name, c := range map[string]struct {
		src  func() *Source[person]
		ext  string
		text func(i int) string
	}{
		"csv": {func() *Source[person] { return &Source[person]{Format: "csv", NullText: []string{"NA"}} }, ".csv", csvs},
		"csv in ranges": {func() *Source[person] {
			return &Source[person]{Format: "csv", NullText: []string{"NA"}, Quote: "none", SplitSize: 20_000}
		}, ".csv", csvs},
		"jsonl":           {func() *Source[person] { return &Source[person]{Format: "jsonl"} }, ".jsonl", jsonls},
		"jsonl in ranges": {func() *Source[person] { return &Source[person]{Format: "jsonl", SplitSize: 30_000} }, ".jsonl", jsonls},
		"jsonl gzip":      {func() *Source[person] { return &Source[person]{Format: "jsonl"} }, ".jsonl.gz", jsonls},
		"csv zstd":        {func() *Source[person] { return &Source[person]{Format: "csv", NullText: []string{"NA"}} }, ".csv.zst", csvs},
		"json":            {func() *Source[person] { return &Source[person]{Format: "json"} }, ".json", arrays},
		"watch":           {func() *Source[person] { return &Source[person]{Format: "jsonl", Watch: time.Millisecond} }, ".jsonl", jsonls},
	} {
		t.Run(name, func(t *testing.T) {
			splittest.Run(t, splittest.Harness[person, Split]{
				Enough: files * each,
				Want:   want,
				New: func(tb splittest.TB) splittest.Input[person, Split] {
					dir := tb.TempDir()
					for i := range files {
						write(tb, filepath.Join(dir, fmt.Sprintf("%d%s", i, c.ext)), c.text(i))
					}
					s := c.src()
					s.Path = filepath.Join(dir, "*")
					grown := files
					return splittest.Input[person, Split]{Source: s, Grow: func() int {
						write(tb, filepath.Join(dir, fmt.Sprintf("%d%s", grown, c.ext)), c.text(0))
						grown++
						return each
					}}
				},
			})
		})
	}
}

// Wherever a file is cut, every record is in one range.
func TestRangesHoldEveryRecordOnce(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	dir := t.TempDir()
	for round := range 200 {
		var text strings.Builder
		var want []string
		newline := []string{"\n", "\r\n"}[round%2]
		for i, n := 0, 1+rng.Intn(40); i < n; i++ {
			line := fmt.Sprintf(`{"id":%d,"name":"%s","note":null}`, i, strings.Repeat("ä", rng.Intn(30)))
			want = append(want, line)
			text.WriteString(line)
			if i < n-1 || rng.Intn(2) == 0 {
				text.WriteString(newline)
			}
			if i < n-1 && rng.Intn(5) == 0 {
				text.WriteString(newline) // an empty line
			}
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.jsonl", round))
		write(t, path, text.String())
		g := mustRead(t, &Source[person]{Path: path, Format: "jsonl", SplitSize: 1 + rng.Int63n(int64(text.Len()))})
		if !slices.Equal(g.records, want) || len(g.rejected) > 0 {
			t.Fatalf("round %d: %q: got %q (rejected %q), want %q", round, g.ids, g.records, g.rejected, want)
		}
	}
	for round := range 100 {
		text := "id;name;note" + "\n"
		var want []string
		for i := range 1 + rng.Intn(20) {
			text += fmt.Sprintf("%d;%s;\"\n", i, strings.Repeat("x", rng.Intn(9)))
			want = append(want, fmt.Sprint(i))
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.csv", round))
		write(t, path, text)
		g := mustRead(t, &Source[person]{Path: path, Format: "csv", Quote: "none", Delimiter: ";", SplitSize: 1 + rng.Int63n(60)})
		var ids []string
		for _, r := range g.records {
			ids = append(ids, strings.TrimPrefix(r[:strings.Index(r, ",")], `{"id":`))
		}
		if !slices.Equal(ids, want) || len(g.rejected) > 0 {
			t.Fatalf("round %d: %q: got %q (rejected %q), want %q", round, g.ids, g.records, g.rejected, want)
		}
	}
}

func TestSplitIDs(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"b.jsonl", "a.jsonl", "sub/c.jsonl", ".hidden.jsonl", "sub/.d/e.jsonl", "z.jsonl.gz", "other.csv"} {
		write(t, name, strings.Repeat("{}\n", 10))
	}
	for _, c := range []struct {
		src  *Source[person]
		want []string
	}{
		{&Source[person]{Path: "*.jsonl", Format: "jsonl"}, []string{"a.jsonl", "b.jsonl"}},
		{&Source[person]{Path: "**/*.jsonl", Format: "jsonl"}, []string{"a.jsonl", "b.jsonl", "sub/c.jsonl"}},
		{&Source[person]{Path: "./**", Format: "jsonl"}, []string{"a.jsonl", "b.jsonl", "other.csv", "sub/c.jsonl", "z.jsonl.gz"}},
		{&Source[person]{Paths: []string{"sub/*", "{b,a}.jsonl", "a.*"}, Format: "jsonl"}, []string{"a.jsonl", "b.jsonl", "sub/c.jsonl"}},
		{&Source[person]{Path: ".hidden*", Format: "jsonl"}, []string{".hidden.jsonl"}},
		{&Source[person]{Path: "a.jsonl", Format: "jsonl", SplitSize: 12}, []string{"a.jsonl:0-12", "a.jsonl:12-24", "a.jsonl:24-"}},
		{&Source[person]{Path: "a.jsonl", Format: "jsonl", SplitSize: 30}, []string{"a.jsonl"}},
		{&Source[person]{Path: "z.jsonl.gz", Format: "jsonl", SplitSize: 12}, []string{"z.jsonl.gz"}},
		{&Source[person]{Path: "other.csv", Format: "csv", SplitSize: 12}, []string{"other.csv"}},
		{&Source[person]{Path: "other.csv", Format: "csv", Quote: "none", SplitSize: 15}, []string{"other.csv:0-15", "other.csv:15-"}},
		{&Source[person]{Path: "other.csv", Format: "csv", Quote: "none", Encoding: "utf-16le", SplitSize: 15}, []string{"other.csv"}},
	} {
		all, _, err := enumerate(c.src, nil)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, s := range all {
			ids = append(ids, s.ID)
		}
		if !slices.Equal(ids, c.want) {
			t.Errorf("%s %q: got %q, want %q", c.src.Path, c.src.Paths, ids, c.want)
		}
	}
}

// What is cut stays cut: neither a file that grew nor another split_size nor other options give splits that share records.
func TestLayoutStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.jsonl")
	write(t, path, strings.Repeat("{}\n", 10))
	ids := func(s *Source[person], from *splits.State) (ids []string, state splits.State) {
		all, e, err := enumerate(s, from)
		if err != nil {
			t.Fatal(err)
		}
		for _, split := range all {
			ids = append(ids, strings.TrimPrefix(split.ID, path))
		}
		if state, err = e.Snapshot(context.Background()); err != nil {
			t.Fatal(err)
		}
		return ids, state
	}
	first, state := ids(&Source[person]{Path: path, Format: "jsonl", SplitSize: 12}, nil)
	if want := []string{":0-12", ":12-24", ":24-"}; !slices.Equal(first, want) {
		t.Fatalf("got %q, want %q", first, want)
	}
	write(t, path, strings.Repeat("{}\n", 40))
	for _, s := range []*Source[person]{
		{Path: path, Format: "jsonl", SplitSize: 12}, {Path: path, Format: "jsonl", SplitSize: 20}, {Path: path, Format: "jsonl"}, {Path: path, Format: "csv"},
	} {
		if again, _ := ids(s, &state); len(again) > 0 {
			t.Errorf("split_size %d, %s: got %q again", s.SplitSize, s.Format, again)
		}
	}
	// Once whole, always whole.
	_, state = ids(&Source[person]{Path: path, Format: "csv"}, nil)
	if again, _ := ids(&Source[person]{Path: path, Format: "csv", Quote: "none", SplitSize: 12}, &state); len(again) > 0 {
		t.Errorf("got %q again", again)
	}
	s := &Source[person]{Path: path, Format: "csv"}
	_, err := readSplits(s, []Split{{ID: "x", Path: path, Start: 12, Offset: 12, End: 24}})
	if d, _ := fault.DetailOf(err); d == nil || d.Code != "file.range" || fault.Retryable(err) {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotGolden(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.jsonl", "{}\n{}\n")
	write(t, "b.jsonl", "{}\n")
	all, e, err := enumerate(&Source[person]{Path: "*.jsonl", Format: "jsonl", SplitSize: 3}, nil)
	if err != nil {
		t.Fatal(err)
	}
	state, err := e.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"files":{"a.jsonl":{"size":6,"cut":3},"b.jsonl":{"size":3,"cut":3}},"list":{"Version":1,"Data":`
	if state.Version != 1 || !strings.HasPrefix(string(state.Data), want) {
		t.Errorf("got version %d %s\nwant %s…", state.Version, state.Data, want)
	}
	s := all[1]
	s.Line, s.Begun, s.Header = 4, true, []string{"a", "b"}
	data, _ := (&Source[person]{}).Codec().Encode(s)
	const split = `{"id":"a.jsonl:3-","path":"a.jsonl","start":3,"offset":3,"line":4,"begun":true,"header":["a","b"]}`
	if string(data) != split {
		t.Errorf("got %s\nwant %s", data, split)
	}
}

// Errors name the line, in ranges too.
func TestRejectedRecords(t *testing.T) {
	t.Chdir(t.TempDir())
	var text strings.Builder
	for i := range 3000 {
		if i == 1500 || i == 2900 {
			text.WriteString(`{"id":"x"}` + "\n")
		} else {
			fmt.Fprintf(&text, `{"id":%d,"name":"n","note":null}`+"\n", i)
		}
	}
	write(t, "a.jsonl", text.String())
	write(t, "a.jsonl.gz", text.String())
	for _, c := range []struct {
		path  string
		size  int64
		split []string
	}{
		{"a.jsonl", 0, []string{"a.jsonl", "a.jsonl"}},
		{"a.jsonl", 40_000, []string{"a.jsonl:40000-80000", "a.jsonl:80000-"}},
		{"a.jsonl.gz", 0, []string{"a.jsonl.gz", "a.jsonl.gz"}},
	} {
		g := mustRead(t, &Source[person]{Path: c.path, Format: "jsonl", SplitSize: c.size})
		if len(g.records) != 2998 || len(g.rejected) != 2 {
			t.Fatalf("%s: got %d records, rejected %q", c.path, len(g.records), g.rejected)
		}
		for i, line := range []int{1501, 2901} {
			if want := fmt.Sprintf("%s:%d:7", c.path, line); !strings.Contains(g.rejected[i], want) || !strings.Contains(g.rejected[i], "split "+c.split[i]) {
				t.Errorf("got %s\nwant %s and split %s in it", g.rejected[i], want, c.split[i])
			}
		}
	}
}

func TestSourceErrors(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "data/a.jsonl", `{"id":1,"name":"a","note":null}`+"\n")
	write(t, "data/cut.jsonl.gz", strings.Repeat(`{"id":1}`+"\n", 9))
	whole, _ := os.ReadFile("data/cut.jsonl.gz")
	os.WriteFile("data/cut.jsonl.gz", whole[:len(whole)-9], 0o644)
	os.WriteFile("data/no.jsonl.gz", []byte("this is no gzip"), 0o644)
	os.WriteFile("data/no.jsonl.zst", []byte("this is no zstd"), 0o644)
	os.WriteFile("data/empty.jsonl.gz", nil, 0o644)
	for _, c := range []struct{ path, want string }{
		{"data/*.csv", `source file: list files: no file matches "data/*.csv" [file.no_match]; relative paths start at ` + dir},
		{"data", `source file: list files: data: it is a directory [file.directory]; for the files in it write "data/*", for those below it too "data/**"`},
		{"data/", `source file: list files: data/: it is a directory [file.directory]; for the files in it write "data/*", for those below it too "data/**"`},
		{"data/cut.jsonl.gz", `source file: decompress: data/cut.jsonl.gz: the compressed file ends in the middle (split data/cut.jsonl.gz) [file.truncated]; write files under another name and rename them when they are whole`},
		{"data/empty.jsonl.gz", `source file: decompress: data/empty.jsonl.gz: the compressed file ends in the middle [file.truncated]; write files under another name and rename them when they are whole`},
		{"data/no.jsonl.gz", `source file: decompress: data/no.jsonl.gz: gzip: invalid header [file.corrupt]; replace the file, or name its compression`},
		{"data/no.jsonl.zst", `source file: decompress: data/no.jsonl.zst: invalid input: magic number mismatch (split data/no.jsonl.zst) [file.corrupt]; replace the file, or name its compression`},
	} {
		_, err := readAll(&Source[person]{Path: c.path, Format: "jsonl"})
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v\nwant %s", c.path, err, c.want)
		}
		if fault.Retryable(err) {
			t.Errorf("%s: a retry does not help: %v", c.path, err)
		}
	}
	s := &Source[person]{Path: "data/a.jsonl", Format: "jsonl"}
	all, _, err := enumerate(s, nil)
	if err != nil {
		t.Fatal(err)
	}
	all[0].Offset, all[0].Begun = 100, true
	for _, path := range []string{"data/a.jsonl", "data/a.jsonl.gz", "data/a.jsonl.zst"} {
		write(t, path, `{"id":1,"name":"a","note":null}`+"\n")
		all[0].ID, all[0].Path = path, path
		_, err = readSplits(s, all)
		want := "source file: go on reading: " + path + ": it has 32 bytes of text, but had been read up to 100: it was replaced or cut since the checkpoint [file.shrunk]; " +
			"put the former file back, or start the flow over with --fresh"
		if err == nil || err.Error() != want || fault.Retryable(err) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	os.Remove("data/a.jsonl")
	all[0].Path = "data/a.jsonl"
	_, err = readSplits(s, all)
	want := "source file: open: data/a.jsonl: no such file or directory [file.gone]; the file was there when files were listed: put it back, or start over without it"
	if err == nil || err.Error() != want || fault.Retryable(err) {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

func TestSourceOptions(t *testing.T) {
	for _, c := range []struct {
		src  *Source[person]
		want string
	}{
		{&Source[person]{Format: "csv"}, `path: got nothing, want the files to read; for example path: data/*.csv`},
		{&Source[person]{Path: "a", Paths: []string{"b"}, Format: "csv"}, `paths: got paths beside path, want one of the two`},
		{&Source[person]{Path: "a[", Format: "csv"}, `path: got a[, want a path in which *, **, ?, [a-z] and {a,b} stand for something, and a backslash takes that from them`},
		{&Source[person]{Path: "a"}, `format: got nothing, want a string; for example format: csv`},
		{&Source[person]{Path: "a", Format: "xml"}, `format: got xml, want one of csv, jsonl, json`},
		{&Source[person]{Path: "a", Format: "jsonl", Delimiter: ";"}, `delimiter: got ";", want it only with csv`},
		{&Source[person]{Path: "a", Format: "csv", Compression: "bzip2"}, `compression: got bzip2, want one of auto, none, gzip, zstd`},
		{&Source[person]{Path: "a", Format: "csv", InferRecords: -1}, `infer_records: got -1, want a number above 0`},
	} {
		_, _, err := enumerate(c.src, nil)
		if err == nil || err.Error() != c.want {
			t.Errorf("got %v\nwant %s", err, c.want)
		}
	}
	if _, err := (&Source[chan int]{Path: "a", Format: "csv"}).RecordCodec(); err == nil || !strings.Contains(err.Error(), "chan int") {
		t.Errorf("got %v", err)
	}
}

// Options come from files, too.
func TestDecode(t *testing.T) {
	text := func(key, value string) connectors.TreeField {
		return connectors.TreeField{Key: key, Value: &connectors.Tree{Kind: connectors.TreeScalar, Text: value}}
	}
	list := func(key string, values ...string) connectors.TreeField {
		l := &connectors.Tree{Kind: connectors.TreeList}
		for _, v := range values {
			l.Items = append(l.Items, &connectors.Tree{Kind: connectors.TreeScalar, Text: v})
		}
		return connectors.TreeField{Key: key, Value: l}
	}
	tree := func(fields ...connectors.TreeField) *connectors.Tree {
		return &connectors.Tree{Kind: connectors.TreeMap, Fields: fields}
	}
	csv := []connectors.TreeField{text("format", "csv"), text("delimiter", ";"), text("quote", "none"), text("no_header", "true"), list("null_text", "NA")}
	src := &Source[row.Row]{}
	vs := connectors.Decode(tree(append(csv, list("paths", "a", "b"), text("encoding", "utf-16le"), text("compression", "gzip"), text("watch", "10s"),
		text("split_size", "16MB"), text("infer_records", "5"))...), "", src)
	if len(vs) > 0 {
		t.Error(vs)
	}
	if want := (&Source[row.Row]{
		Paths: []string{"a", "b"}, Format: "csv", Delimiter: ";", Quote: "none", NoHeader: true, NullText: []string{"NA"}, Encoding: "utf-16le",
		Compression: gz, Watch: 10 * time.Second, SplitSize: 16_000_000, InferRecords: 5,
	}); !reflect.DeepEqual(src, want) {
		t.Errorf("got %+v", src)
	}
	sink := &Sink[row.Row]{}
	vs = connectors.Decode(tree(append(csv, text("path", "out"), text("compression", "zstd"), text("roll_size", "1GB"), list("partition_by", "a"), text("prefix", "p"))...), "", sink)
	if len(vs) > 0 {
		t.Error(vs)
	}
	if want := (&Sink[row.Row]{
		Path: "out", Format: "csv", Delimiter: ";", Quote: "none", NoHeader: true, NullText: []string{"NA"}, Compression: zst, RollSize: 1_000_000_000,
		PartitionBy: []string{"a"}, Prefix: "p",
	}); !reflect.DeepEqual(sink, want) {
		t.Errorf("got %+v", sink)
	}
}

func TestRegister(t *testing.T) {
	r := connectors.NewRegistry("0.1.0")
	if err := Register(r); err != nil {
		t.Fatal(err)
	}
	if _, err := r.LookupSource("file"); err != nil {
		t.Error(err)
	}
	if _, err := r.LookupSink("file"); err != nil {
		t.Error(err)
	}
}

// A watching source waits for its first file, finds what comes later, and is found again from a snapshot.
func TestWatch(t *testing.T) {
	dir := t.TempDir()
	s := &Source[person]{Path: filepath.Join(dir, "in", "*.jsonl"), Format: "jsonl", Watch: time.Minute}
	l := &lanes{}
	e, err := s.Enumerator(context.Background(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	tick := func(want ...string) {
		t.Helper()
		if err := l.find(); err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, s := range l.assigned {
			ids = append(ids, filepath.Base(s.ID))
		}
		if !slices.Equal(ids, want) || l.over {
			t.Fatalf("got %q (no more: %t), want %q", ids, l.over, want)
		}
	}
	for range 9 {
		if err := e.HandleSplitRequest(context.Background(), 0); err != nil {
			t.Fatal(err)
		}
	}
	tick()
	write(t, filepath.Join(dir, "in", "b.jsonl"), "{}\n")
	tick("b.jsonl")
	tick("b.jsonl")
	write(t, filepath.Join(dir, "in", "a.jsonl"), "{}\n")
	write(t, filepath.Join(dir, "in", ".c.jsonl"), "{}\n")
	tick("b.jsonl", "a.jsonl")
	os.Rename(filepath.Join(dir, "in", ".c.jsonl"), filepath.Join(dir, "in", "c.jsonl"))
	state, err := e.Snapshot(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	l = &lanes{}
	if e, err = s.Enumerator(context.Background(), l, &state); err != nil {
		t.Fatal(err)
	}
	if err := e.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := e.HandleSplitRequest(context.Background(), 0); err != nil {
		t.Fatal(err)
	}
	tick("c.jsonl")
}

func TestInfer(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "a.csv", "")
	write(t, "b.csv", "id,delay,when\n1,NA,2013-01-01T10:00:00Z\n2,-3,2013-01-01T11:00:00Z\n3,late,x\n")
	s := &Source[row.Row]{Path: "*.csv", Format: "csv", NullText: []string{"NA"}, InferRecords: 2}
	c, err := s.RecordCodec()
	if err != nil {
		t.Fatal(err)
	}
	if want := "id int64, delay int64, when timestamp"; c.Schema().String() != want {
		t.Errorf("got %s, want %s", c.Schema(), want)
	}
	g := mustRead(t, &Source[row.Row]{Path: "b.csv", Format: "csv", NullText: []string{"NA"}, Schema: c.Schema()})
	if want := []string{`{"id":1,"delay":null,"when":"2013-01-01T10:00:00Z"}`, `{"id":2,"delay":-3,"when":"2013-01-01T11:00:00Z"}`}; !slices.Equal(g.records, want) {
		t.Errorf("got %q, want %q", g.records, want)
	}
	if len(g.rejected) != 1 || !strings.Contains(g.rejected[0], "b.csv:4:3") {
		t.Errorf("rejected %q", g.rejected)
	}
	for _, src := range []*Source[row.Row]{{Path: "none.csv", Format: "csv"}, {Path: "a.csv", Format: "csv"}, {Path: "none.csv", Format: "csv", Watch: time.Second}} {
		if _, err := src.RecordCodec(); err == nil || fault.Retryable(err) {
			t.Errorf("%s: got %v", src.Path, err)
		}
	}
	declared, _ := row.ParseSchema("id int64")
	any, err := (&Source[row.Row]{Path: "none.csv", Format: "csv"}).Source(context.Background(), connectors.SourceEnv{Schema: declared})
	if err != nil || any.Codec().Schema() != declared {
		t.Errorf("got %v", err)
	}
}

// TestData has the inputs that go wrong elsewhere.
func TestData(t *testing.T) {
	t.Chdir(t.TempDir())
	schema, err := row.ParseSchema("id int64, day date, at timestamp, name string")
	if err != nil {
		t.Fatal(err)
	}
	utf16 := func(s string) string {
		out := []byte{0xff, 0xfe}
		for _, r := range s {
			out = append(out, byte(r), byte(r>>8))
		}
		return string(out)
	}
	const header = "id,day,at,name\n"
	for i, c := range []struct {
		what, text string
		src        *Source[row.Row]
		want       []string
	}{
		{"empty csv without header", "", &Source[row.Row]{Format: "csv", NoHeader: true}, nil},
		{"empty jsonl", "", &Source[row.Row]{Format: "jsonl"}, nil},
		{"empty array", "[]", &Source[row.Row]{Format: "json"}, nil},
		{"header only", header, &Source[row.Row]{Format: "csv"}, nil},
		{"header without line end", strings.TrimSpace(header), &Source[row.Row]{Format: "csv"}, nil},
		{"one row", header + "1,2024-02-29,2024-02-29T12:00:00Z,x", &Source[row.Row]{Format: "csv"},
			[]string{`{"id":1,"day":"2024-02-29","at":"2024-02-29T12:00:00Z","name":"x"}`}},
		{"nulls", header + ",NA,NA,NA\n", &Source[row.Row]{Format: "csv", NullText: []string{"NA"}}, []string{`{"id":null,"day":null,"at":null,"name":null}`}},
		{"daylight saving", header + "1,2013-03-10,2013-03-10T01:59:59-05:00,a\n2,2013-03-10,2013-03-10T03:00:00-04:00,b\n", &Source[row.Row]{Format: "csv"}, []string{
			`{"id":1,"day":"2013-03-10","at":"2013-03-10T06:59:59Z","name":"a"}`, `{"id":2,"day":"2013-03-10","at":"2013-03-10T07:00:00Z","name":"b"}`}},
		{"line breaks in quotes", header + "1,,,\"a\nb\"\"\r\nc\"\n2,,,d\n", &Source[row.Row]{Format: "csv", SplitSize: 5},
			[]string{`{"id":1,"day":null,"at":null,"name":"a\nb\"\r\nc"}`, `{"id":2,"day":null,"at":null,"name":"d"}`}},
		{"latin 1", header + "1,,,M\xfcller\n", &Source[row.Row]{Format: "csv", Encoding: "iso-8859-1"}, []string{`{"id":1,"day":null,"at":null,"name":"Müller"}`}},
		{"utf-16", utf16(header + "1,,,Müller\n"), &Source[row.Row]{Format: "csv", Encoding: "utf-16le"}, []string{`{"id":1,"day":null,"at":null,"name":"Müller"}`}},
	} {
		path := fmt.Sprintf("%02d", i)
		write(t, path, c.text)
		s := c.src
		s.Path, s.Schema = path, schema
		g, err := readAll(s)
		if err != nil || !slices.Equal(g.records, c.want) || len(g.rejected) > 0 {
			t.Errorf("%s: got %q, rejected %q, %v\nwant %q", c.what, g.records, g.rejected, err, c.want)
		}
	}
	write(t, "bad.csv", header+"1,,,M\xfcller\n2,,,ok\n")
	g := mustRead(t, &Source[row.Row]{Path: "bad.csv", Schema: schema, Format: "csv"})
	if len(g.records) != 1 || len(g.rejected) != 1 || !strings.Contains(g.rejected[0], "bad.csv:2:") {
		t.Errorf("non-UTF-8: got %q, rejected %q", g.records, g.rejected)
	}
}

// A disk that fails while reading is no bad text.
func TestReadFailure(t *testing.T) {
	s := &stream{path: "a.csv", text: io.MultiReader(strings.NewReader("x"), failing{})}
	_, err := io.ReadAll(s)
	if !reflect.DeepEqual(err, s.failed) || !fault.Retryable(err) || err.Error() != "source file: read: a.csv: input/output error [file.io]" {
		t.Errorf("got %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) {
	return 0, &os.PathError{Op: "read", Path: "a.csv", Err: syscall.EIO}
}
