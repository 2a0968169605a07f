package checkpointrpc

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	servicev1 "github.com/activedataflow/adf/proto/adf/service/v1"
)

// NewServer makes a gRPC server that serves a store, and lets epochs through that are larger than gRPC's usual message. Whoever reaches it can
// read and write every flow: give it credentials by an option, or listen on a loopback address only.
func NewServer(store checkpoint.Store, o ...grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(append([]grpc.ServerOption{grpc.MaxRecvMsgSize(maxEpoch)}, o...)...)
	Register(s, store)
	return s
}

// Register serves a store on a gRPC server that serves other things too. The server must take messages as large as an epoch
// (grpc.MaxRecvMsgSize); [NewServer] does.
func Register(s grpc.ServiceRegistrar, store checkpoint.Store) {
	servicev1.RegisterCheckpointsServer(s, &server{store: store})
}

// maxEpoch bounds an epoch's content in bytes, which is one message.
const maxEpoch = 1 << 30

type server struct {
	servicev1.UnimplementedCheckpointsServer
	store checkpoint.Store
}

// chunk is how much of a blob one message carries.
const chunk = 1 << 20

// failed gives an error its gRPC status.
func failed(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, checkpoint.ErrExists):
		return status.Error(codes.AlreadyExists, err.Error())
	case errors.Is(err, checkpoint.ErrNotFound):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, io.ErrUnexpectedEOF):
		return status.Error(codes.OutOfRange, err.Error())
	case !fault.Retryable(err):
		return status.Error(codes.FailedPrecondition, err.Error())
	default:
		return status.Error(codes.Unavailable, err.Error())
	}
}

// named refuses names that could leave the flow's place in the store.
func named(names ...string) error {
	for _, n := range names {
		if err := checkpoint.CheckName(n); err != nil {
			return status.Error(codes.InvalidArgument, err.Error())
		}
	}
	return nil
}

func (s *server) Epochs(ctx context.Context, q *servicev1.EpochsRequest) (*servicev1.EpochsResponse, error) {
	if err := named(q.Flow); err != nil {
		return nil, err
	}
	epochs, err := s.store.Epochs(ctx, q.Flow)
	return &servicev1.EpochsResponse{Epochs: epochs}, failed(err)
}

func (s *server) ReadEpoch(ctx context.Context, q *servicev1.ReadEpochRequest) (*servicev1.ReadEpochResponse, error) {
	if err := named(q.Flow); err != nil {
		return nil, err
	}
	content, err := s.store.ReadEpoch(ctx, q.Flow, q.Epoch)
	return &servicev1.ReadEpochResponse{Content: content}, failed(err)
}

func (s *server) CreateEpoch(ctx context.Context, q *servicev1.CreateEpochRequest) (*servicev1.CreateEpochResponse, error) {
	if err := named(q.Flow); err != nil {
		return nil, err
	}
	return &servicev1.CreateEpochResponse{}, failed(s.store.CreateEpoch(ctx, q.Flow, q.Epoch, q.Content))
}

func (s *server) RemoveEpoch(ctx context.Context, q *servicev1.RemoveEpochRequest) (*servicev1.RemoveEpochResponse, error) {
	if err := named(q.Flow); err != nil {
		return nil, err
	}
	return &servicev1.RemoveEpochResponse{}, failed(s.store.RemoveEpoch(ctx, q.Flow, q.Epoch))
}

func (s *server) WriteBlob(in grpc.ClientStreamingServer[servicev1.WriteBlobRequest, servicev1.WriteBlobResponse]) error {
	q, err := in.Recv()
	if err != nil {
		return err
	}
	if err := named(q.Flow, q.Name); err != nil {
		return err
	}
	w, err := s.store.NewBlob(in.Context(), q.Flow, q.Name)
	if err != nil {
		return failed(err)
	}
	for {
		if _, err := w.Write(q.Data); err != nil {
			return failed(errors.Join(err, w.Abort()))
		}
		if q.Last {
			break
		}
		if q, err = in.Recv(); err != nil { // the client has given up, or is gone
			return failed(errors.Join(errors.New("the blob broke off"), w.Abort()))
		}
	}
	if err := w.Commit(); err != nil {
		return failed(errors.Join(err, w.Abort()))
	}
	return in.SendAndClose(&servicev1.WriteBlobResponse{})
}

func (s *server) ReadBlob(q *servicev1.ReadBlobRequest, out grpc.ServerStreamingServer[servicev1.ReadBlobResponse]) error {
	if err := named(q.Flow, q.Name); err != nil {
		return err
	}
	if q.Offset < 0 || q.Length < 0 {
		return status.Errorf(codes.InvalidArgument, "got offset %d and length %d, want none below 0", q.Offset, q.Length)
	}
	r, err := s.store.ReadBlob(out.Context(), q.Flow, q.Name, q.Offset, q.Length)
	if err != nil {
		return failed(err)
	}
	defer r.Close()
	buf := make([]byte, min(chunk, max(q.Length, 1)))
	for left := q.Length; left > 0; {
		n, err := io.ReadFull(r, buf[:min(left, int64(len(buf)))])
		if err != nil {
			return failed(err)
		}
		if err := out.Send(&servicev1.ReadBlobResponse{Data: buf[:n]}); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

func (s *server) Blobs(ctx context.Context, q *servicev1.BlobsRequest) (*servicev1.BlobsResponse, error) {
	if err := named(q.Flow); err != nil {
		return nil, err
	}
	names, err := s.store.Blobs(ctx, q.Flow)
	return &servicev1.BlobsResponse{Names: names}, failed(err)
}

func (s *server) RemoveBlob(ctx context.Context, q *servicev1.RemoveBlobRequest) (*servicev1.RemoveBlobResponse, error) {
	if err := named(q.Flow, q.Name); err != nil {
		return nil, err
	}
	return &servicev1.RemoveBlobResponse{}, failed(s.store.RemoveBlob(ctx, q.Flow, q.Name))
}
