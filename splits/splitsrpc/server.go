package splitsrpc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/activedataflow/adf/fault"
	servicev1 "github.com/activedataflow/adf/proto/adf/service/v1"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/splits"
)

// protocol is the version of the messages.
const protocol = 1

// silences is how many heartbeats in a row a reader may miss.
const silences = 3

// Options are those of a Server.
type Options struct {
	// Parallelism is the number of readers: ids 0 to Parallelism-1; at least 1.
	Parallelism int
	// Heartbeat is how often readers show that they live, 0 is 5 s. After three that stay out a reader is gone.
	Heartbeat time.Duration
	// Restored, if set, is where an earlier server stood.
	Restored *Checkpoint
}

// Checkpoint is where a source stands.
type Checkpoint struct {
	Enumerator splits.State
	Readers    []ReaderState // by session
}

// ReaderState is where a reader stands.
type ReaderState struct {
	Reader int
	// Session numbers the reader's registration, Snapshot its newest snapshot in it, 0 when there is none: its records up to there count.
	Session, Snapshot int64
	// Splits are those that it has not finished.
	Splits []splits.Envelope
}

// Server runs the enumerator of one source for readers in other processes.
type Server struct {
	o      Options
	ctx    context.Context
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	over   chan struct{} // closed when every split is finished, or after a failure

	mu       sync.Mutex // the enumerator's lock
	enum     splits.AnyEnumerator
	sessions map[int]*session // by reader
	count    int64            // of sessions
	restored []splits.Envelope
	err      error
	closed   bool
}

// session is one registration of a reader. Its fields are under the server's lock.
type session struct {
	reader  int
	number  int64
	base    []splits.Envelope // as the acknowledged snapshot had them
	given   []given           // assigned since, which the acknowledged snapshot does not have
	gives   int64             // number of Assigned messages
	told    bool              // NoMoreSplits has been sent
	noMore  bool              // the enumerator has signalled it
	last    int64             // newest acknowledged snapshot
	report  *report           // newest snapshot, not yet acknowledged
	queue   []*servicev1.ReadResponse
	wake    chan struct{} // has a value when queue is not empty
	gone    chan struct{} // closed when the session has ended
	why     error         // a gRPC status; set before gone is closed
	silence *time.Timer
}

type given struct {
	number int64 // of its Assigned message
	split  splits.Envelope
}

type report struct {
	number, gives int64
	splits        []splits.Envelope
}

// NewServer starts the enumerator of a source. Its errors, and those of discovery, end the server, see [Server.Wait].
func NewServer(src splits.Any, o Options) (*Server, error) {
	o.Heartbeat = cmp.Or(o.Heartbeat, 5*time.Second)
	if o.Parallelism < 1 {
		return nil, &fault.ConfigurationError{Detail: fault.Detail{
			Code: "split.service.parallelism", Doing: "serve splits", Retry: fault.RetryNever, Err: fmt.Errorf("got parallelism %d, want at least 1", o.Parallelism),
		}}
	}
	s := &Server{o: o, over: make(chan struct{}), sessions: map[int]*session{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var state *splits.State
	if o.Restored != nil {
		state = &o.Restored.Enumerator
		for _, r := range o.Restored.Readers {
			s.restored = append(s.restored, r.Splits...)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.enum, err = src.NewEnumerator(s.ctx, (*enumContext)(s), state); err != nil {
		s.cancel()
		return nil, err
	}
	err = s.enum.Start(s.ctx)
	if err == nil && len(s.restored) > 0 {
		// The readers of the earlier server are gone; no reader of this one is blamed.
		err = s.enum.AddSplitsBack(s.ctx, s.restored, -1)
		s.restored = nil
	}
	if err != nil {
		s.fail(err)
		s.mu.Unlock()
		_ = s.Close()
		s.mu.Lock()
		return nil, err
	}
	return s, nil
}

// Register serves sources, by name, on a gRPC server. Whoever reaches it can take their splits: put credentials on it, or keep it on a
// loopback address.
func Register(g grpc.ServiceRegistrar, sources map[string]*Server) {
	servicev1.RegisterEnumeratorServer(g, &service{sources: sources})
}

// Wait returns when every split has been read to its end under an acknowledged snapshot, with nil; when the enumerator has failed, with its
// error; or when ctx ends.
func (s *Server) Wait(ctx context.Context) error {
	select {
	case <-s.over:
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Checkpoint takes a consistent cut: the enumerator, and every reader at its newest snapshot. When save has kept it, these snapshots are
// acknowledged. Nothing is assigned meanwhile, so save should be short.
func (s *Server) Checkpoint(ctx context.Context, save func(context.Context, Checkpoint) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.closed {
		return cmp.Or(s.err, errClosed)
	}
	var c Checkpoint
	var err error
	if c.Enumerator, err = s.enum.Snapshot(ctx); err != nil {
		return err
	}
	sessions := slices.SortedFunc(maps.Values(s.sessions), func(a, b *session) int { return cmp.Compare(a.number, b.number) })
	for _, x := range sessions {
		r := ReaderState{x.reader, x.number, x.last, x.has()}
		if x.report != nil {
			r.Snapshot, r.Splits = x.report.number, x.reported()
		}
		c.Readers = append(c.Readers, r)
	}
	if err := save(ctx, c); err != nil {
		return err
	}
	for _, x := range sessions {
		if x.report == nil {
			continue
		}
		x.base, x.last = x.report.splits, x.report.number
		x.given = slices.DeleteFunc(x.given, func(g given) bool { return g.number <= x.report.gives })
		x.report = nil
		x.send(&servicev1.ReadResponse{Event: &servicev1.ReadResponse_Acknowledged{Acknowledged: &servicev1.Acknowledged{Number: x.last}}})
	}
	s.settle()
	return nil
}

// Close ends the enumerator and all sessions.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, x := range s.sessions {
		x.end(status.Error(codes.Unavailable, "the enumerator ends"))
	}
	clear(s.sessions)
	s.cancel()
	s.mu.Unlock()
	s.tasks.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.enum.Close()
}

var errClosed = errors.New("the server is closed")

// has is what the reader has, as far as is acknowledged.
func (x *session) has() []splits.Envelope {
	all := slices.Clone(x.base)
	for _, g := range x.given {
		all = append(all, g.split)
	}
	return all
}

// reported is what the reader has by its newest snapshot.
func (x *session) reported() []splits.Envelope {
	all := slices.Clone(x.report.splits)
	for _, g := range x.given {
		if g.number > x.report.gives {
			all = append(all, g.split)
		}
	}
	return all
}

func (x *session) send(r *servicev1.ReadResponse) {
	x.queue = append(x.queue, r)
	select {
	case x.wake <- struct{}{}:
	default:
	}
}

// end ends the session with a gRPC status.
func (x *session) end(why error) {
	x.why = why
	x.silence.Stop()
	close(x.gone)
}

// call follows every call of the enumerator, whose error ends the server.
func (s *Server) call(err error) {
	if err != nil {
		s.fail(err)
	}
	s.settle()
}

func (s *Server) fail(err error) {
	if s.err != nil || s.closed {
		return
	}
	s.err = err
	code := codes.Unavailable
	if !fault.Retryable(err) {
		code = codes.FailedPrecondition
	}
	for _, x := range s.sessions {
		x.end(status.Error(code, "the enumerator has failed: "+err.Error()))
	}
	clear(s.sessions)
	s.finish()
}

func (s *Server) finish() {
	select {
	case <-s.over:
	default:
		close(s.over)
	}
}

// settle passes NoMoreSplits on to readers whom nobody can need any more, and sees whether everything is finished.
func (s *Server) settle() {
	if s.err != nil || s.closed {
		return
	}
	left, finished := 0, len(s.sessions) > 0
	for _, x := range s.sessions {
		left += len(x.base) + len(x.given)
		finished = finished && x.noMore
	}
	for _, x := range s.sessions {
		if x.noMore && !x.told && left == len(x.base)+len(x.given) {
			x.told = true
			x.send(&servicev1.ReadResponse{Event: &servicev1.ReadResponse_NoMoreSplits{NoMoreSplits: &servicev1.NoMoreSplits{}}})
		}
	}
	if finished && left == 0 {
		s.finish()
	}
}

// join registers a reader; an older session of it ends.
func (s *Server) join(reader int) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed || s.err != nil:
		return nil, status.Error(codes.Unavailable, cmp.Or(s.err, errClosed).Error())
	case reader >= s.o.Parallelism:
		return nil, status.Errorf(codes.InvalidArgument, "got the reader %d, want 0 to %d", reader, s.o.Parallelism-1)
	}
	if old := s.sessions[reader]; old != nil {
		s.leave(old, status.Errorf(codes.Aborted, "reader %d has registered anew elsewhere", reader))
	}
	s.count++
	x := &session{reader: reader, number: s.count, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	x.silence = time.AfterFunc(silences*s.o.Heartbeat, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.leave(x, status.Errorf(codes.DeadlineExceeded, "no heartbeat of reader %d for %v", reader, silences*s.o.Heartbeat))
	})
	s.sessions[reader] = x
	x.send(&servicev1.ReadResponse{Event: &servicev1.ReadResponse_Registered{Registered: &servicev1.Registered{
		Parallelism: uint32(s.o.Parallelism), HeartbeatMs: s.o.Heartbeat.Milliseconds(), Session: x.number,
	}}})
	s.call(s.enum.AddReader(s.ctx, reader))
	return x, nil
}

// leave ends a session and gives its splits back.
func (s *Server) leave(x *session, why error) {
	if s.sessions[x.reader] != x {
		return
	}
	delete(s.sessions, x.reader)
	x.end(why)
	err := s.enum.AddSplitsBack(s.ctx, x.has(), x.reader)
	for _, reader := range (*enumContext)(s).Readers() {
		// What the enumerator answered these readers holds no longer. They are asked for anew before anything is settled.
		if o := s.sessions[reader]; o != nil && o.noMore && !o.told && err == nil {
			o.noMore = false
			err = s.enum.HandleSplitRequest(s.ctx, o.reader)
		}
	}
	s.call(err)
}

// take takes one message of a reader.
func (s *Server) take(x *session, q *servicev1.ReadRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[x.reader] != x {
		return x.why
	}
	x.silence.Reset(silences * s.o.Heartbeat)
	switch e := q.Event.(type) {
	case *servicev1.ReadRequest_Heartbeat:
	case *servicev1.ReadRequest_RequestSplit:
		s.call(s.enum.HandleSplitRequest(s.ctx, x.reader))
	case *servicev1.ReadRequest_Snapshot:
		return x.take(e.Snapshot)
	default:
		return status.Errorf(codes.InvalidArgument, "got %T, want a request, a snapshot or a heartbeat", q.Event)
	}
	return nil
}

// take takes a snapshot. It may only have splits that the reader has.
func (x *session) take(m *servicev1.Snapshot) error {
	last, gives := x.last, int64(0)
	if x.report != nil {
		last, gives = x.report.number, x.report.gives
	}
	if m.Number <= last || m.Assignments < gives || m.Assignments > x.gives {
		return status.Errorf(codes.InvalidArgument, "got snapshot %d of %d assignments, want one after %d, of %d to %d",
			m.Number, m.Assignments, last, gives, x.gives)
	}
	has := map[string]bool{}
	for _, e := range x.base {
		has[e.ID] = true
	}
	for _, g := range x.given {
		if g.number <= m.Assignments {
			has[g.split.ID] = true
		}
	}
	r := &report{m.Number, m.Assignments, make([]splits.Envelope, len(m.Splits))}
	for i, e := range m.Splits {
		if !has[e.GetId()] {
			return status.Errorf(codes.InvalidArgument, "snapshot %d has the split %q, which the reader does not have", m.Number, e.GetId())
		}
		delete(has, e.GetId())
		r.splits[i] = envelope(e)
	}
	x.report = r
	return nil
}

func envelope(e *adfv1.Split) splits.Envelope {
	return splits.Envelope{ID: e.GetId(), State: splits.State{Version: int(e.GetVersion()), Data: e.GetData()}}
}

func wire(es []splits.Envelope) []*adfv1.Split {
	ws := make([]*adfv1.Split, len(es))
	for i, e := range es {
		ws[i] = &adfv1.Split{Id: e.ID, Version: uint32(e.Version), Data: e.Data}
	}
	return ws
}

// enumContext is the server as its enumerator sees it; its methods are called under the lock.
type enumContext Server

func (c *enumContext) Parallelism() int { return c.o.Parallelism }
func (c *enumContext) Readers() []int   { return slices.Sorted(maps.Keys(c.sessions)) }

func (c *enumContext) Assign(reader int, assigned ...splits.Envelope) {
	s := (*Server)(c)
	x := s.sessions[reader]
	if x == nil || x.told {
		s.fail(&fault.RuntimeError{Detail: fault.Detail{
			Code: "split.assign", Doing: "assign splits", Retry: fault.RetryNever,
			Err: fmt.Errorf("the enumerator assigned to reader %d, which is not registered or was told that nothing more comes", reader),
		}})
		return
	}
	x.noMore = false
	x.gives++
	for _, e := range assigned {
		x.given = append(x.given, given{x.gives, e})
	}
	x.send(&servicev1.ReadResponse{Event: &servicev1.ReadResponse_Assigned{Assigned: &servicev1.Assigned{Splits: wire(assigned)}}})
}

func (c *enumContext) NoMoreSplits(reader int) {
	if x := c.sessions[reader]; x != nil {
		x.noMore = true
	}
}

func (c *enumContext) Every(period time.Duration, work func(context.Context) func() error) {
	s := (*Server)(c)
	s.tasks.Go(func() {
		for {
			handle := work(s.ctx)
			s.mu.Lock()
			if s.ctx.Err() == nil && s.err == nil {
				s.call(handle())
			}
			s.mu.Unlock()
			if period == 0 {
				return
			}
			t := time.NewTimer(period)
			select {
			case <-t.C:
			case <-s.ctx.Done():
				t.Stop()
				return
			}
		}
	})
}

type service struct {
	servicev1.UnimplementedEnumeratorServer
	sources map[string]*Server
}

func (v *service) Read(stream grpc.BidiStreamingServer[servicev1.ReadRequest, servicev1.ReadResponse]) error {
	q, err := stream.Recv()
	if err != nil {
		return err
	}
	reg := q.GetRegister()
	switch {
	case reg == nil:
		return status.Errorf(codes.InvalidArgument, "got %T, want a registration first", q.Event)
	case reg.Protocol != protocol:
		return status.Errorf(codes.InvalidArgument, "got version %d of the protocol, want %d", reg.Protocol, protocol)
	case v.sources[reg.Source] == nil:
		return status.Errorf(codes.NotFound, "got the source %q, want one of %s", reg.Source, strings.Join(slices.Sorted(maps.Keys(v.sources)), ", "))
	}
	s := v.sources[reg.Source]
	x, err := s.join(int(reg.Reader))
	if err != nil {
		return err
	}
	broken := make(chan error, 1)
	go func() { // ends with the stream, which ends when this method returns
		for {
			q, err := stream.Recv()
			if err == nil {
				err = s.take(x, q)
			}
			if err != nil {
				broken <- err
				return
			}
		}
	}()
	err = s.serve(stream, x, broken)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(x, err)
	return x.why
}

// serve sends what there is for a reader until the session ends.
func (s *Server) serve(stream grpc.BidiStreamingServer[servicev1.ReadRequest, servicev1.ReadResponse], x *session, broken <-chan error) error {
	for {
		select {
		case <-x.wake:
		case <-x.gone:
			return x.why
		case err := <-broken:
			if status.Code(err) == codes.Unknown { // io.EOF: the reader has left
				return nil
			}
			return err
		}
		s.mu.Lock()
		queue := x.queue
		x.queue = nil
		s.mu.Unlock()
		for _, r := range queue {
			if err := stream.Send(r); err != nil {
				return err
			}
		}
	}
}
