package splitsrpc

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/activedataflow/adf/fault"
	servicev1 "github.com/activedataflow/adf/proto/adf/service/v1"
	"github.com/activedataflow/adf/splits"
)

// Session is a reader's side of its registration; it is the splits.ReaderContext to make the reader with. The process that runs the reader
// calls Deliver whenever Changed has a value, and Report from time to time: splits that were read to their end are finished only
// when a report without them has been acknowledged.
//
// RequestSplit, Acknowledged and Close may be called from anywhere, the other methods from the reader's goroutine.
type Session struct {
	reader, parallelism int
	number              int64
	source              string
	stream              grpc.BidiStreamingClient[servicev1.ReadRequest, servicev1.ReadResponse]
	cancel              context.CancelFunc
	wg                  sync.WaitGroup
	changed             chan struct{}

	// Of the reader's goroutine.
	gives     int64 // Assigned messages delivered
	snapshots int64
	reports   map[int64][]splits.Envelope // not yet acknowledged

	mu    sync.Mutex
	out   []*servicev1.ReadRequest
	wake  chan struct{} // has a value when out is not empty
	in    []*servicev1.ReadResponse
	acked int64
	err   error
}

// Join registers a reader of the source on the server at conn, which stays the caller's. ctx ends the session.
func Join(ctx context.Context, conn grpc.ClientConnInterface, source string, reader int) (*Session, error) {
	ctx, cancel := context.WithCancel(ctx)
	s := &Session{
		reader: reader, source: source, cancel: cancel,
		changed: make(chan struct{}, 1), wake: make(chan struct{}, 1), reports: map[int64][]splits.Envelope{},
	}
	var err error
	var first *servicev1.ReadResponse
	if s.stream, err = servicev1.NewEnumeratorClient(conn).Read(ctx); err == nil {
		_ = s.stream.Send(&servicev1.ReadRequest{Event: &servicev1.ReadRequest_Register{Register: &servicev1.Register{
			Protocol: protocol, Source: source, Reader: uint32(reader),
		}}}) // Recv tells why it failed
		first, err = s.stream.Recv()
	}
	if err == nil && first.GetRegistered() == nil {
		err = errors.New("the server did not confirm the registration")
	}
	if err != nil {
		cancel()
		return nil, s.failed("register a reader", err)
	}
	r := first.GetRegistered()
	s.parallelism, s.number = int(r.Parallelism), r.Session
	s.wg.Go(func() { s.sendAll(ctx, time.Duration(max(1, r.HeartbeatMs))*time.Millisecond) })
	s.wg.Go(s.receiveAll)
	return s, nil
}

// failed makes an error of a gRPC status.
func (s *Session) failed(doing string, err error) error {
	retry, fix := fault.RetryLater, "check that the enumerator service runs and can be reached"
	switch status.Code(err) {
	case codes.InvalidArgument, codes.NotFound, codes.FailedPrecondition, codes.Unimplemented, codes.PermissionDenied, codes.Unauthenticated:
		retry, fix = fault.RetryNever, ""
	case codes.Aborted:
		retry, fix = fault.RetryNever, "let only one process read with this number"
	}
	return &fault.SourceError{Detail: fault.Detail{Code: "split.service", Doing: doing, At: s.source, Retry: retry, Fix: fix, Err: err}}
}

// Index is the reader's id.
func (s *Session) Index() int { return s.reader }

// Parallelism is the number of readers of the source.
func (s *Session) Parallelism() int { return s.parallelism }

// Number is the session's: Checkpoint calls it so.
func (s *Session) Number() int64 { return s.number }

// RequestSplit gives the enumerator one credit.
func (s *Session) RequestSplit() {
	s.post(&servicev1.ReadRequest{Event: &servicev1.ReadRequest_RequestSplit{RequestSplit: &servicev1.RequestSplit{}}})
}

// Changed has a value when there is something to deliver, or the session has failed.
func (s *Session) Changed() <-chan struct{} { return s.changed }

// Acknowledged is the number of the newest report that is part of a completed checkpoint, 0 when none is.
func (s *Session) Acknowledged() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acked
}

// Deliver hands the reader what has come for it: splits, NoMoreSplits, completed checkpoints. An error is the end of the session:
// whatever the reader read since the last acknowledged report is read by others.
func (s *Session) Deliver(ctx context.Context, r splits.AnyReader) error {
	s.mu.Lock()
	in, err := s.in, s.err
	s.in = nil
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, m := range in {
		switch e := m.Event.(type) {
		case *servicev1.ReadResponse_Assigned:
			added := make([]splits.Envelope, len(e.Assigned.GetSplits()))
			for i, w := range e.Assigned.GetSplits() {
				added[i] = envelope(w)
			}
			s.gives++
			if err := r.AddSplits(added); err != nil {
				return err
			}
		case *servicev1.ReadResponse_NoMoreSplits:
			r.NoMoreSplits()
		case *servicev1.ReadResponse_Acknowledged:
			if err := s.complete(ctx, r, e.Acknowledged.GetNumber()); err != nil {
				return err
			}
		}
	}
	return nil
}

// complete tells the reader of a completed checkpoint, and forgets the reports before it.
func (s *Session) complete(ctx context.Context, r splits.AnyReader, number int64) error {
	done := s.reports[number]
	for n := range s.reports {
		if n <= number {
			delete(s.reports, n)
		}
	}
	s.mu.Lock()
	s.acked = number
	s.mu.Unlock()
	return r.CheckpointComplete(ctx, done)
}

// Report takes a snapshot of the reader and sends it. All records polled so far must be safe wherever they are collected, for from the
// acknowledgement of this number on nobody reads them again.
func (s *Session) Report(r splits.AnyReader) (number int64, err error) {
	es, err := r.Snapshot()
	if err != nil {
		return 0, err
	}
	s.snapshots++
	s.reports[s.snapshots] = es
	s.post(&servicev1.ReadRequest{Event: &servicev1.ReadRequest_Snapshot{Snapshot: &servicev1.Snapshot{
		Number: s.snapshots, Assignments: s.gives, Splits: wire(es),
	}}})
	return s.snapshots, nil
}

// Close ends the session. Splits that are not finished go to other readers.
func (s *Session) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}

func (s *Session) post(q *servicev1.ReadRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = append(s.out, q)
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// sendAll sends what is posted, and heartbeats.
func (s *Session) sendAll(ctx context.Context, heartbeat time.Duration) {
	t := time.NewTicker(heartbeat)
	defer t.Stop()
	for {
		select {
		case <-s.wake:
		case <-t.C:
			s.post(&servicev1.ReadRequest{Event: &servicev1.ReadRequest_Heartbeat{Heartbeat: &servicev1.Heartbeat{}}})
		case <-ctx.Done():
			return
		}
		s.mu.Lock()
		out := s.out
		s.out = nil
		s.mu.Unlock()
		for _, q := range out {
			if s.stream.Send(q) != nil {
				return // Recv tells why
			}
		}
	}
}

func (s *Session) receiveAll() {
	for {
		m, err := s.stream.Recv()
		s.mu.Lock()
		if err != nil {
			s.err = s.failed("take part as a reader", err)
		} else {
			s.in = append(s.in, m)
		}
		s.mu.Unlock()
		select {
		case s.changed <- struct{}{}:
		default:
		}
		if err != nil {
			s.cancel()
			return
		}
	}
}
