package splitsrpc

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/fault"
	servicev1 "github.com/activedataflow/adf/proto/adf/service/v1"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// numbers is a source of splits "a", "b", … of ten numbers each, read one by one.
type numbers struct {
	splits   int
	listing  error
	periodic time.Duration
}

type span struct {
	ID   string
	Next int64
}

func (s span) SplitID() string { return s.ID }

func (n *numbers) Boundedness() splits.Boundedness { return splits.Bounded }
func (n *numbers) Codec() splits.Codec[span]       { return splits.JSON[span]() }
func (n *numbers) Enumerator(_ context.Context, ec splits.EnumeratorContext[span], restored *splits.State) (splits.Enumerator[span], error) {
	return splits.List(ec, restored, splits.ListOptions[span]{Codec: n.Codec(), Every: n.periodic, Find: func(context.Context) ([]span, error) {
		var all []span
		for i := range n.splits {
			all = append(all, span{string(rune('a' + i)), 0})
		}
		return all, n.listing
	}})
}

func (n *numbers) Reader(_ context.Context, rc splits.ReaderContext) (splits.Reader[int64, span], error) {
	return splits.Multiplex(rc, func(_ context.Context, at span) (splits.SplitReader[int64, span], error) {
		return &spanReader{at}, nil
	}, splits.MultiplexOptions[span]{}), nil
}

type spanReader struct{ at span }

func (r *spanReader) Fetch(_ context.Context, dst *record.Batch[int64]) (span, bool, error) {
	dst.Append(r.at.Next, record.Meta{Position: r.at.Next})
	r.at.Next++
	return r.at, r.at.Next == 10, nil
}

func (r *spanReader) Close() error { return nil }

func erased(n *numbers) splits.Any {
	c, err := row.CodecOf[int64]()
	if err != nil {
		panic(err)
	}
	return splits.Erase(n, c)
}

// site is a server with a connection to it.
type site struct {
	*Server
	src   splits.Any
	conn  *grpc.ClientConn
	saved Checkpoint
}

func open(t *testing.T, n *numbers, o Options) *site {
	t.Helper()
	s := &site{src: erased(n)}
	var err error
	if s.Server, err = NewServer(s.src, o); err != nil {
		t.Fatal(err)
	}
	l := bufconn.Listen(1 << 20)
	g := grpc.NewServer()
	Register(g, map[string]*Server{"numbers": s.Server, "others": s.Server})
	var serving sync.WaitGroup
	serving.Go(func() { _ = g.Serve(l) })
	s.conn, err = grpc.NewClient("passthrough:///bufconn", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) { return l.Dial() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.conn.Close()
		_ = s.Close()
		g.Stop()
		serving.Wait()
	})
	return s
}

func (s *site) checkpoint(t *testing.T) {
	t.Helper()
	if err := s.Checkpoint(t.Context(), func(_ context.Context, c Checkpoint) error { s.saved = c; return nil }); err != nil {
		t.Fatal(err)
	}
}

// member is a reader with its session.
type member struct {
	t   *testing.T
	s   *Session
	r   splits.AnyReader
	got []string
}

func (s *site) join(t *testing.T, reader int) *member {
	t.Helper()
	m := &member{t: t}
	var err error
	if m.s, err = Join(t.Context(), s.conn, "numbers", reader); err != nil {
		t.Fatal(err)
	}
	if m.r, err = s.src.NewReader(t.Context(), m.s); err == nil {
		err = m.r.Start(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.leave)
	return m
}

func (m *member) leave() {
	_ = m.s.Close()
	_ = m.r.Close()
}

// read reads records until there are n more, the reader is at its end (true), or nothing comes for a while.
func (m *member) read(n int, while time.Duration) (end bool) {
	m.t.Helper()
	for deadline := time.Now().Add(while); n > 0 && time.Now().Before(deadline); {
		if err := m.s.Deliver(m.t.Context(), m.r); err != nil {
			m.t.Fatal(err)
		}
		b := &record.Batch[int64]{}
		status, err := m.r.Poll(b)
		if err != nil {
			m.t.Fatal(err)
		}
		m.r.Finished()
		for _, v := range b.Values {
			m.got = append(m.got, fmt.Sprint(b.Split, v))
			n--
		}
		switch status {
		case splits.End:
			return true
		case splits.Nothing:
			select {
			case <-m.r.Ready():
			case <-m.s.Changed():
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return false
}

// report reports, and waits until the report is acknowledged.
func (m *member) report(s *site) {
	m.t.Helper()
	n, err := m.s.Report(m.r)
	if err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, "the report is acknowledged", func() bool {
		s.checkpoint(m.t)
		if err := m.s.Deliver(m.t.Context(), m.r); err != nil {
			m.t.Fatal(err)
		}
		return m.s.Acknowledged() >= n
	})
}

func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is not so that %s", what)
		}
	}
}

const long, short = 10 * time.Second, 30 * time.Millisecond

func (s *site) finished() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	return s.Wait(ctx) == nil
}

func TestWhole(t *testing.T) {
	s := open(t, &numbers{splits: 1}, Options{Parallelism: 1})
	m := s.join(t, 0)
	if m.s.Parallelism() != 1 || m.s.Number() != 1 || m.s.Index() != 0 {
		t.Errorf("got parallelism %d, session %d, reader %d", m.s.Parallelism(), m.s.Number(), m.s.Index())
	}
	if m.read(4, long) || s.finished() {
		t.Error("finished in the middle")
	}
	m.report(s)
	if len(s.saved.Readers) != 1 || s.saved.Readers[0].Snapshot != 1 || string(s.saved.Readers[0].Splits[0].Data) != `{"ID":"a","Next":4}` {
		t.Errorf("saved %+v", s.saved)
	}
	if !m.read(100, long) {
		t.Error("no end")
	}
	if s.finished() {
		t.Error("finished before the last report was acknowledged")
	}
	m.report(s)
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Join(m.got, " "); got != "a0 a1 a2 a3 a4 a5 a6 a7 a8 a9" {
		t.Errorf("got %s", got)
	}
}

// A reader that has nothing more to read stays as long as another one could die with a split.
func TestHeldBack(t *testing.T) {
	s := open(t, &numbers{splits: 2}, Options{Parallelism: 2})
	slow, quick := s.join(t, 0), s.join(t, 1)
	slow.read(3, long)
	slow.report(s)
	slow.read(2, long) // not reported: read again
	if quick.read(11, short*10) || len(quick.got) != 10 {
		t.Fatalf("got %d records, and an end while another reader has a split", len(quick.got))
	}
	quick.report(s)
	if quick.read(1, short) {
		t.Fatal("an end while another reader has a split")
	}
	slow.leave()
	if !quick.read(100, long) {
		t.Fatal("no end")
	}
	quick.report(s)
	if err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(quick.got[10:], " "); got != "a3 a4 a5 a6 a7 a8 a9" {
		t.Errorf("behind its own split it read %s, want a3 to a9", got)
	}
}

// The same reader registers anew: the older session ends with an error, its splits go back first.
func TestAnew(t *testing.T) {
	s := open(t, &numbers{splits: 1}, Options{Parallelism: 2})
	old := s.join(t, 1)
	old.read(3, long)
	old.report(s)
	old.read(1, long)
	m := s.join(t, 1)
	if !m.read(100, long) {
		t.Error("no end")
	}
	if m.s.Number() != 2 || strings.Join(m.got, " ") != "a3 a4 a5 a6 a7 a8 a9" {
		t.Errorf("session %d read %v", m.s.Number(), m.got)
	}
	<-old.s.Changed()
	err := old.s.Deliver(t.Context(), old.r)
	const want = "source: take part as a reader: numbers: rpc error: code = Aborted desc = reader 1 has registered anew elsewhere [split.service]; " +
		"let only one process read with this number"
	if err == nil || err.Error() != want || fault.Retryable(err) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A reader whose heartbeats stay out is gone, though its connection stands.
func TestSilence(t *testing.T) {
	s := open(t, &numbers{splits: 1}, Options{Parallelism: 2, Heartbeat: 10 * time.Millisecond})
	stream, err := servicev1.NewEnumeratorClient(s.conn).Read(t.Context())
	if err == nil {
		err = errors.Join(
			stream.Send(&servicev1.ReadRequest{Event: &servicev1.ReadRequest_Register{Register: &servicev1.Register{Protocol: 1, Source: "numbers"}}}),
			stream.Send(&servicev1.ReadRequest{Event: &servicev1.ReadRequest_RequestSplit{RequestSplit: &servicev1.RequestSplit{}}}))
	}
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for err == nil {
		var r *servicev1.ReadResponse
		if r, err = stream.Recv(); err == nil {
			texts = append(texts, fmt.Sprintf("%T", r.Event))
		}
	}
	if want := "rpc error: code = DeadlineExceeded desc = no heartbeat of reader 0 for 30ms"; err.Error() != want || len(texts) != 2 {
		t.Errorf("got  %q and %v\nwant %s", texts, err, want)
	}
	m := s.join(t, 1)
	if !m.read(100, long) || len(m.got) != 10 {
		t.Errorf("the other reader got %v", m.got)
	}
}

func TestRefusals(t *testing.T) {
	s := open(t, &numbers{splits: 1}, Options{Parallelism: 2})
	for _, c := range []struct {
		source string
		reader int
		want   string
	}{
		{"letters", 0, `source: register a reader: letters: rpc error: code = NotFound desc = got the source "letters", want one of numbers, others [split.service]`},
		{"numbers", 2, "source: register a reader: numbers: rpc error: code = InvalidArgument desc = got the reader 2, want 0 to 1 [split.service]"},
	} {
		_, err := Join(t.Context(), s.conn, c.source, c.reader)
		if err == nil || err.Error() != c.want || fault.Retryable(err) {
			t.Errorf("got  %v\nwant %s", err, c.want)
		}
	}
	register := &servicev1.ReadRequest{Event: &servicev1.ReadRequest_Register{Register: &servicev1.Register{Protocol: 1, Source: "numbers"}}}
	snapshot := func(number, assignments int64, ids ...string) *servicev1.ReadRequest {
		m := &servicev1.Snapshot{Number: number, Assignments: assignments}
		for _, id := range ids {
			m.Splits = append(m.Splits, &adfv1.Split{Id: id})
		}
		return &servicev1.ReadRequest{Event: &servicev1.ReadRequest_Snapshot{Snapshot: m}}
	}
	for _, c := range []struct {
		send []*servicev1.ReadRequest
		want string
	}{
		{[]*servicev1.ReadRequest{snapshot(1, 0)}, "InvalidArgument desc = got *servicev1.ReadRequest_Snapshot, want a registration first"},
		{[]*servicev1.ReadRequest{{Event: &servicev1.ReadRequest_Register{Register: &servicev1.Register{Protocol: 9}}}},
			"InvalidArgument desc = got version 9 of the protocol, want 1"},
		{[]*servicev1.ReadRequest{register, register}, "InvalidArgument desc = got *servicev1.ReadRequest_Register, want a request, a snapshot or a heartbeat"},
		{[]*servicev1.ReadRequest{register, {}}, "InvalidArgument desc = got <nil>, want a request, a snapshot or a heartbeat"},
		{[]*servicev1.ReadRequest{register, snapshot(1, 0, "z")}, `InvalidArgument desc = snapshot 1 has the split "z", which the reader does not have`},
		{[]*servicev1.ReadRequest{register, snapshot(0, 0)}, "InvalidArgument desc = got snapshot 0 of 0 assignments, want one after 0, of 0 to 0"},
		{[]*servicev1.ReadRequest{register, snapshot(1, 7)}, "InvalidArgument desc = got snapshot 1 of 7 assignments, want one after 0, of 0 to 0"},
	} {
		stream, err := servicev1.NewEnumeratorClient(s.conn).Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range c.send {
			_ = stream.Send(q)
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if want := "rpc error: code = " + c.want; err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
	_, err := NewServer(erased(&numbers{}), Options{})
	if want := "configuration: serve splits: got parallelism 0, want at least 1 [split.service.parallelism]"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// An enumerator that fails ends the server and every session, and says why.
func TestFailure(t *testing.T) {
	denied := &fault.SourceError{Detail: fault.Detail{Code: "test.denied", Doing: "list", Retry: fault.RetryNever, Err: errors.New("access denied")}}
	s := open(t, &numbers{listing: denied}, Options{Parallelism: 1})
	if err := s.Wait(t.Context()); !errors.Is(err, denied) {
		t.Errorf("got %v, want the error of the listing", err)
	}
	if _, err := Join(t.Context(), s.conn, "numbers", 0); err == nil || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("got %v, want why", err)
	}
	if err := s.Checkpoint(t.Context(), nil); !errors.Is(err, denied) {
		t.Errorf("got %v", err)
	}

	n := &numbers{splits: 1, periodic: time.Millisecond}
	s = open(t, n, Options{Parallelism: 1})
	m := s.join(t, 0)
	m.read(1, long)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	eventually(t, "the session has ended", func() bool { return m.s.Deliver(t.Context(), m.r) != nil })
	err := m.s.Deliver(t.Context(), m.r)
	const want = "source: take part as a reader: numbers: rpc error: code = Unavailable desc = the enumerator ends [split.service]; " +
		"check that the enumerator service runs and can be reached"
	if err.Error() != want || !fault.Retryable(err) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A snapshot that could not be saved is not acknowledged.
func TestUnsaved(t *testing.T) {
	s := open(t, &numbers{splits: 1}, Options{Parallelism: 1})
	m := s.join(t, 0)
	m.read(5, long)
	if _, err := m.s.Report(m.r); err != nil {
		t.Fatal(err)
	}
	full := errors.New("the disk is full")
	eventually(t, "the report has come", func() (come bool) {
		err := s.Checkpoint(t.Context(), func(_ context.Context, c Checkpoint) error {
			come = c.Readers[0].Snapshot == 1
			return full
		})
		if err != full {
			t.Fatalf("got %v", err)
		}
		return come
	})
	m.leave()
	m = s.join(t, 0)
	if !m.read(100, long) || len(m.got) != 10 {
		t.Errorf("got %v, want all from the start", m.got)
	}
}

// A server goes on from the checkpoint of another.
func TestRestored(t *testing.T) {
	s := open(t, &numbers{splits: 3}, Options{Parallelism: 2})
	a, b := s.join(t, 0), s.join(t, 1)
	a.read(4, long)
	b.read(12, long) // the whole of its split, and some of the next
	a.report(s)
	b.report(s)
	kept := slices.Concat(a.got, b.got)
	a.read(3, long)
	saved := s.saved

	s = open(t, &numbers{splits: 3}, Options{Parallelism: 1, Restored: &saved})
	m := s.join(t, 0)
	if !m.read(100, long) {
		t.Error("no end")
	}
	all := slices.Concat(kept, m.got)
	slices.Sort(all)
	if len(all) != 30 || len(slices.Compact(all)) != 30 {
		t.Errorf("got %d records, %d different, want 30", len(all), len(slices.Compact(all)))
	}
}

// messages are those of released versions, which every later one must read.
var messages = []struct {
	message proto.Message
	bytes   string
}{
	{&servicev1.ReadRequest{Event: &servicev1.ReadRequest_Register{Register: &servicev1.Register{Protocol: 1, Source: "in", Reader: 2}}}, "0a0808011202696e1802"},
	{&servicev1.ReadRequest{Event: &servicev1.ReadRequest_RequestSplit{RequestSplit: &servicev1.RequestSplit{}}}, "1200"},
	{&servicev1.ReadRequest{Event: &servicev1.ReadRequest_Snapshot{Snapshot: &servicev1.Snapshot{
		Number: 3, Assignments: 4, Splits: []*adfv1.Split{{Id: "a", Version: 1, Data: []byte("{}")}},
	}}}, "1a0f080310041a090a016110011a027b7d"},
	{&servicev1.ReadRequest{Event: &servicev1.ReadRequest_Heartbeat{Heartbeat: &servicev1.Heartbeat{}}}, "2200"},
	{&servicev1.ReadResponse{Event: &servicev1.ReadResponse_Registered{Registered: &servicev1.Registered{Parallelism: 2, HeartbeatMs: 5000, Session: 7}}}, "0a0708021088271807"},
	{&servicev1.ReadResponse{Event: &servicev1.ReadResponse_Assigned{Assigned: &servicev1.Assigned{
		Splits: []*adfv1.Split{{Id: "a", Version: 1, Data: []byte("{}")}},
	}}}, "120b0a090a016110011a027b7d"},
	{&servicev1.ReadResponse{Event: &servicev1.ReadResponse_NoMoreSplits{NoMoreSplits: &servicev1.NoMoreSplits{}}}, "1a00"},
	{&servicev1.ReadResponse{Event: &servicev1.ReadResponse_Acknowledged{Acknowledged: &servicev1.Acknowledged{Number: 3}}}, "22020803"},
}

func TestGolden(t *testing.T) {
	for _, m := range messages {
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.message)
		if got := hex.EncodeToString(data); err != nil || got != m.bytes {
			t.Errorf("%v: got %s, %v, want %s", m.message, got, err, m.bytes)
		}
	}
}

// FuzzRead feeds a server what a reader could send: it may refuse, and never fails or loses a split.
func FuzzRead(f *testing.F) {
	for _, m := range messages {
		data, _ := proto.Marshal(m.message)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		q := &servicev1.ReadRequest{}
		if proto.Unmarshal(data, q) != nil {
			return
		}
		s, err := NewServer(erased(&numbers{splits: 2}), Options{Parallelism: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		x, err := s.join(0)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			_ = s.take(x, q)
		}
		if err := s.Checkpoint(t.Context(), func(context.Context, Checkpoint) error { return nil }); err != nil {
			t.Fatal(err)
		}
	})
}
