package stdio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/sinks/sinktest"
	"github.com/activedataflow/adf/splits"
)

func TestMain(m *testing.M) {
	if os.Getenv("ADF_STDIO_CHILD") != "" {
		if err := pass(&Source[row.Row]{Format: "csv"}, &Sink[row.Row]{}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

type event struct {
	ID   int64  `adf:"id"`
	Name string `adf:"name"`
}

func newEvent(i int) event { return event{int64(i), fmt.Sprintf("event %d", i)} }

func jsonl(from, to int) string {
	var b strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, `{"id":%d,"name":"event %d"}`+"\n", i, i)
	}
	return b.String()
}

// lane is a reader's context.
type lane struct{}

func (lane) Index() int    { return 0 }
func (lane) RequestSplit() {}

// open opens a reader of the given splits.
func open[T any](t *testing.T, s *Source[T], ss ...Split) splits.Reader[T, Split] {
	t.Helper()
	r, err := s.Reader(context.Background(), lane{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := r.AddSplits(ss); err != nil {
		t.Fatal(err)
	}
	r.NoMoreSplits()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// poll waits for a batch; nil at the end.
func poll[T any](r splits.Reader[T, Split]) (*record.Batch[T], error) {
	for {
		b := &record.Batch[T]{}
		status, err := r.Poll(b)
		switch {
		case err != nil || b.Len() > 0 || len(b.Rejected) > 0:
			return b, err
		case status == splits.End:
			return nil, nil
		case status == splits.Nothing:
			<-r.Ready()
		}
	}
}

func whole(in *input) Split { return Split{ID: in.id} }

// The suite of sources (splittest) is not for a pipe: it goes on in the middle, and reads the input several times.
func TestAllOfTheInputComesOnce(t *testing.T) {
	in := newInput(strings.NewReader(jsonl(0, 5000)))
	var got []event
	for r := open(t, &Source[event]{Format: "jsonl", in: in}, whole(in)); ; {
		b, err := poll(r)
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			break
		}
		got = append(got, b.Values...)
	}
	if len(got) != 5000 {
		t.Fatalf("got %d records, want 5000", len(got))
	}
	for i, e := range got {
		if e != newEvent(i) {
			t.Fatalf("record %d is %v", i, e)
		}
	}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		format, text string
		reject       string
	}{
		{"csv", "id,name\n0,event 0\nx,event x\n1,event 1\n", "stdin:3:1"},
		{"jsonl", "{\"id\":0,\"name\":\"event 0\"}\n{\"id\":\"x\",\"name\":\"event x\"}\n{\"id\":1,\"name\":\"event 1\"}\n", "stdin:2:"},
		{"json", `[{"id":0,"name":"event 0"}, {"id":"x","name":"event x"}, {"id":1,"name":"event 1"}]`, "stdin:1:"},
	} {
		t.Run(c.format, func(t *testing.T) {
			in := newInput(iotestOneByte(c.text))
			r := open(t, &Source[event]{Format: c.format, in: in}, whole(in))
			var got []event
			var rejected []string
			for {
				b, err := poll(r)
				if err != nil {
					t.Fatal(err)
				}
				if b == nil {
					break
				}
				got = append(got, b.Values...)
				for _, x := range b.Rejected {
					d, _ := fault.DetailOf(x.Err)
					rejected = append(rejected, d.At)
				}
				if b.Split != in.id {
					t.Errorf("the batch is of split %q, want %q", b.Split, in.id)
				}
			}
			if want := []event{newEvent(0), newEvent(1)}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if len(rejected) != 1 || !strings.HasPrefix(rejected[0], c.reject) {
				t.Errorf("rejected at %q, want one at %q", rejected, c.reject)
			}
			if ended := r.Finished(); !slices.Equal(ended, []string{in.id}) {
				t.Errorf("finished %v", ended)
			}
		})
	}
}

// iotestOneByte gives text in pieces of one byte, as a slow pipe does.
func iotestOneByte(text string) io.Reader {
	r := strings.NewReader(text)
	return readerFunc(func(p []byte) (int, error) { return r.Read(p[:min(1, len(p))]) })
}

func TestRecordsComeWhileTheWriterIsStillThere(t *testing.T) {
	pr, pw := io.Pipe()
	defer pw.Close()
	in := newInput(pr)
	r := open(t, &Source[event]{Format: "jsonl", in: in}, whole(in))
	for i := range 3 {
		if _, err := io.WriteString(pw, jsonl(i, i+1)); err != nil {
			t.Fatal(err)
		}
		b, err := poll(r)
		if err != nil || b == nil || !slices.Equal(b.Values, []event{newEvent(i)}) {
			t.Fatalf("got %v, %v", b, err)
		}
	}
}

func TestCloseDoesNotWaitForInput(t *testing.T) {
	pr, pw := io.Pipe()
	defer pw.Close()
	in := newInput(pr)
	r := open(t, &Source[event]{Format: "jsonl", in: in}, whole(in))
	time.Sleep(10 * time.Millisecond) // so that the reader waits, most often
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestInferenceTakesNothingAway(t *testing.T) {
	pr, pw := io.Pipe()
	in := newInput(pr)
	go func() {
		_, _ = io.WriteString(pw, jsonl(0, 3)) // as many as are waited for, and no end
	}()
	s := &Source[row.Row]{Format: "jsonl", InferRecords: 3, in: in}
	any, err := s.Source(context.Background(), connectors.SourceEnv{Flow: "flow", Node: "in"})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := any.Codec().Schema().String(), "id int64, name string"; got != want {
		t.Fatalf("schema %q, want %q", got, want)
	}
	go func() {
		_, _ = io.WriteString(pw, jsonl(3, 10))
		_ = pw.Close()
	}()
	var ids []int64
	for r := open(t, s, whole(in)); ; {
		b, err := poll(r)
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			break
		}
		for _, v := range b.Values {
			ids = append(ids, v.Get("id").Int())
		}
	}
	if want := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(ids, want) {
		t.Fatalf("got %v, want %v", ids, want)
	}
}

func TestInferenceCanBeCancelled(t *testing.T) {
	pr, pw := io.Pipe()
	defer pw.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := &Source[row.Row]{Format: "jsonl", in: newInput(pr)}
	if _, err := s.Source(ctx, connectors.SourceEnv{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want cancelled", err)
	}
}

func TestADeclaredSchemaWaitsForNothing(t *testing.T) {
	schema, err := row.ParseSchema("id int64 not null")
	if err != nil {
		t.Fatal(err)
	}
	s := &Source[row.Row]{Format: "jsonl", in: newInput(readerFunc(func([]byte) (int, error) { panic("somebody has read") }))}
	any, err := s.Source(context.Background(), connectors.SourceEnv{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	if any.Codec().Schema() != schema {
		t.Fatal("another schema")
	}
}

// fails gives the error that a source ends with.
func fails(t *testing.T, s *Source[event], split Split) error {
	t.Helper()
	r := open(t, s, split)
	for {
		b, err := poll(r)
		if err != nil {
			return err
		}
		if b == nil {
			t.Fatal("it came to an end, want an error")
		}
	}
}

func TestNobodyGoesOnWithAPipe(t *testing.T) {
	const fix = " [stdin.gone]; start the flow over with --fresh and give it the whole input again; to go on after a stop, read files instead"
	in := func() *input { return newInput(strings.NewReader(jsonl(0, 10))) }
	same := in()
	again := in()
	for _, err := poll(open(t, &Source[event]{Format: "jsonl", in: again}, whole(again))); err != nil; {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in    *input
		split Split
		want  string
	}{
		{in(), Split{ID: "stdin-of another"}, "source stdin: go on reading: standard input can not be continued: it was that of a process which has ended (split ID)" + fix},
		{same, Split{ID: same.id, Offset: 28}, "source stdin: go on reading: standard input can not be continued: the run goes back to byte 28 (split ID)" + fix},
		{again, whole(again), "source stdin: go on reading: standard input can not be continued: a flow of this process has read it before (split ID)" + fix},
	} {
		err := fails(t, &Source[event]{Format: "jsonl", in: c.in}, c.split)
		if got := strings.ReplaceAll(err.Error(), c.split.ID, "ID"); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
		if fault.Retryable(err) {
			t.Errorf("a retry does not help: %v", err)
		}
	}
}

func TestAFailingStreamEndsTheRun(t *testing.T) {
	in := newInput(io.MultiReader(strings.NewReader(jsonl(0, 3)), readerFunc(func([]byte) (int, error) { return 0, syscall.EIO })))
	err := fails(t, &Source[event]{Format: "jsonl", in: in}, whole(in))
	if !errors.Is(err, syscall.EIO) || fault.Retryable(err) {
		t.Fatalf("got %v, want one for good", err)
	}
}

// capture is an output that a test reads.
type capture struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.Write(p)
}

func (c *capture) text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}

func eventCodec(t sinktest.TB) *row.Codec[event] {
	c, err := row.CodecOf[event]()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return c
}

func TestSinkSuite(t *testing.T) {
	for _, f := range []string{"jsonl", "csv"} {
		t.Run(f, func(t *testing.T) {
			sinktest.RunDirect(t, sinktest.DirectHarness[event]{
				New: func(tb sinktest.TB) sinktest.DirectTarget[event] {
					c := &capture{}
					s := &Sink[event]{Format: f, out: &output{stream: c}}
					d, err := s.direct(eventCodec(tb))
					if err != nil {
						tb.Fatalf("%v", err)
					}
					return sinktest.DirectTarget[event]{
						Open: func() (sinks.Direct[event], error) { return d, nil },
						Read: func() ([]event, error) { return parse(eventCodec(tb), f, c.text()) },
					}
				},
				Data: sinktest.Data[event]{Record: newEvent},
			})
		})
	}
}

func parse(c *row.Codec[event], f, text string) ([]event, error) {
	if text == "" {
		return nil, nil
	}
	r, err := format.NewReader(strings.NewReader(text), format.Options{Format: f}, c, format.Start{Name: "out"})
	if err != nil {
		return nil, err
	}
	b := &record.Batch[event]{}
	for err == nil {
		err = r.Read(b, 1000, 1<<20)
	}
	if len(b.Rejected) > 0 {
		return nil, b.Rejected[0].Err
	}
	if err != io.EOF {
		return nil, err
	}
	return b.Values, nil
}

// torn is a stream that takes some bytes of each write, and fails.
type torn struct {
	capture
	takes []int // bytes of each write; what follows is whole
	err   error
}

func (f *torn) Write(p []byte) (int, error) {
	if len(f.takes) == 0 {
		return f.capture.Write(p)
	}
	n := min(f.takes[0], len(p))
	f.takes = f.takes[1:]
	_, _ = f.capture.Write(p[:n])
	return n, f.err
}

func TestWritersNeverMixRecords(t *testing.T) {
	for _, takes := range [][]int{{0}, {5}, {1, 0, 3}, {10_000}} {
		stream := &torn{takes: takes, err: syscall.ENOSPC}
		d, err := (&Sink[event]{Format: "csv", out: &output{stream: stream}}).direct(eventCodec(t))
		if err != nil {
			t.Fatal(err)
		}
		var writers []sinks.DirectWriter[event]
		for range 2 {
			w, err := d.Writer(context.Background(), sinks.WriterContext{})
			if err != nil {
				t.Fatal(err)
			}
			writers = append(writers, w)
		}
		for i := range 4 {
			b := &record.Batch[event]{}
			b.Append(newEvent(i), record.Meta{})
			w := writers[i%2]
			if err := w.Write(context.Background(), b, func(int, error) { t.Error("refused") }); err != nil {
				t.Fatal(err)
			}
			for tries := 0; ; tries++ {
				err := w.Flush(context.Background())
				if err == nil {
					break
				}
				if !errors.Is(err, syscall.ENOSPC) || !fault.Retryable(err) || tries > len(takes) {
					t.Fatalf("got %v", err)
				}
				w = writers[(i+1)%2] // another one comes in between, and brings the rest out
			}
		}
		if got, want := stream.text(), "id,name\n0,event 0\n1,event 1\n2,event 2\n3,event 3\n"; got != want {
			t.Errorf("takes %v: got %q, want %q", takes, got, want)
		}
	}
}

func TestAReaderThatIsGone(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_ = r.Close()
	d, err := (&Sink[event]{out: &output{stream: w}}).direct(eventCodec(t))
	if err != nil {
		t.Fatal(err)
	}
	dw, err := d.Writer(context.Background(), sinks.WriterContext{})
	if err != nil {
		t.Fatal(err)
	}
	b := &record.Batch[event]{}
	b.Append(newEvent(0), record.Meta{})
	if err := dw.Write(context.Background(), b, func(int, error) { t.Error("refused") }); err != nil {
		t.Fatal(err)
	}
	err = dw.Flush(context.Background())
	const want = "sink stdout: write: write |1: broken pipe [stdout.closed]; the program that reads standard output has ended"
	if err == nil || err.Error() != want || fault.Retryable(err) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestConfiguration(t *testing.T) {
	scalar := func(text string) *connectors.Tree { return &connectors.Tree{Kind: connectors.TreeScalar, Text: text} }
	tree := func(pairs ...string) *connectors.Tree {
		m := &connectors.Tree{Kind: connectors.TreeMap}
		for i := 0; i < len(pairs); i += 2 {
			m.Fields = append(m.Fields, connectors.TreeField{Key: pairs[i], Value: scalar(pairs[i+1])})
		}
		return m
	}
	for _, c := range []struct {
		config connectors.Config
		tree   *connectors.Tree
		want   string
	}{
		{newSource(), tree(), "[format: got nothing, want a string; for example format: jsonl]"},
		{newSource(), tree("format", "json"), "[]"},
		{newSource(), tree("format", "xml"), "[format: got xml, want one of csv, jsonl, json]"},
		{newSource(), tree("format", "csv", "infer_records", "-1"), "[infer_records: got -1, want a number above 0]"},
		{newSource(), tree("format", "jsonl", "delimiter", ";"), `[delimiter: got ";", want it only with csv]`},
		{newSink(), tree(), "[]"},
		{newSink(), tree("format", "json"), `[format: got json, want one of csv, jsonl; did you mean "jsonl"?]`},
		{newSink(), tree("formt", "csv"), `[formt: got an unknown option, want one of format, delimiter, quote, no_header, null_text; did you mean "format"?]`},
	} {
		if got := fmt.Sprint(connectors.Decode(c.tree, "", c.config)); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	r := connectors.NewRegistry("0.1.0")
	if err := Register(r); err != nil {
		t.Fatal(err)
	}
	if _, err := r.LookupSource("stdin"); err != nil {
		t.Error(err)
	}
	if _, err := r.LookupSink("stdout"); err != nil {
		t.Error(err)
	}
}

// pass passes records from a source to a sink.
func pass(s *Source[row.Row], out *Sink[row.Row]) error {
	ctx := context.Background()
	c, err := s.RecordCodec()
	if err != nil {
		return err
	}
	sink, err := out.Sink(c)
	if err != nil {
		return err
	}
	w, err := sink.(sinks.AnyDirect).NewWriter(ctx, sinks.WriterContext{})
	if err != nil {
		return err
	}
	r, err := s.Reader(ctx, lane{})
	if err != nil {
		return err
	}
	if err := errors.Join(r.Start(ctx), r.AddSplits([]Split{whole(s.input())})); err != nil {
		return err
	}
	r.NoMoreSplits()
	for {
		b, err := poll(r)
		if err != nil {
			return err
		}
		if b == nil {
			return errors.Join(w.Flush(ctx), r.Close(), w.Close())
		}
		if err := w.Write(ctx, b, func(_ int, err error) { fmt.Fprintln(os.Stderr, err) }); err != nil {
			return err
		}
	}
}

func TestTheProcessesOwn(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "ADF_STDIO_CHILD=1")
	cmd.Stdin = strings.NewReader("id,name\n1,one\n2,\"two\nlines\"\n3,\n")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err, errs.String())
	}
	if want := "{\"id\":1,\"name\":\"one\"}\n{\"id\":2,\"name\":\"two\\nlines\"}\n{\"id\":3,\"name\":null}\n"; string(out) != want {
		t.Fatalf("got %q, want %q", out, want)
	}
}
