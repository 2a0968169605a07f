package checkpointrpc

import (
	"context"
	"errors"
	"fmt"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	servicev1 "github.com/activedataflow/adf/proto/adf/service/v1"
)

// NewClient makes a store of a connection to a server. The connection stays the caller's. Without an answer a call waits as long as its
// context lets it: keepalive on the connection (grpc.WithKeepaliveParams) finds servers that are gone without a word.
func NewClient(conn grpc.ClientConnInterface) checkpoint.Store {
	return &client{servicev1.NewCheckpointsClient(conn)}
}

type client struct {
	service servicev1.CheckpointsClient
}

// answer turns a status back into the store's errors.
func answer(err error, doing, flow string) error {
	if err == nil {
		return nil
	}
	retry := fault.RetryLater
	switch status.Code(err) {
	case codes.AlreadyExists:
		return checkpoint.ErrExists
	case codes.NotFound:
		return checkpoint.ErrNotFound
	case codes.OutOfRange:
		return io.ErrUnexpectedEOF
	case codes.FailedPrecondition, codes.InvalidArgument, codes.ResourceExhausted:
		// The server's store has said why, and what to do.
		return &fault.RuntimeError{Detail: fault.Detail{
			Code: "checkpoint.service", Doing: doing, Flow: flow, Retry: fault.RetryNever, Err: errors.New(status.Convert(err).Message()),
		}}
	case codes.Unimplemented, codes.PermissionDenied, codes.Unauthenticated:
		retry = fault.RetryNever
	}
	return &fault.RuntimeError{Detail: fault.Detail{
		Code: "checkpoint.service", Doing: doing, Flow: flow, Retry: retry,
		Fix: "check that the checkpoint service runs and can be reached", Err: err,
	}}
}

func (c *client) Epochs(ctx context.Context, flow string) ([]int64, error) {
	a, err := c.service.Epochs(ctx, &servicev1.EpochsRequest{Flow: flow})
	return a.GetEpochs(), answer(err, "list epochs", flow)
}

func (c *client) ReadEpoch(ctx context.Context, flow string, epoch int64) ([]byte, error) {
	a, err := c.service.ReadEpoch(ctx, &servicev1.ReadEpochRequest{Flow: flow, Epoch: epoch}, grpc.MaxCallRecvMsgSize(maxEpoch))
	return a.GetContent(), answer(err, "read epoch", flow)
}

func (c *client) CreateEpoch(ctx context.Context, flow string, epoch int64, content []byte) error {
	_, err := c.service.CreateEpoch(ctx, &servicev1.CreateEpochRequest{Flow: flow, Epoch: epoch, Content: content}, grpc.MaxCallSendMsgSize(maxEpoch))
	return answer(err, fmt.Sprintf("save epoch %d", epoch), flow)
}

func (c *client) RemoveEpoch(ctx context.Context, flow string, epoch int64) error {
	_, err := c.service.RemoveEpoch(ctx, &servicev1.RemoveEpochRequest{Flow: flow, Epoch: epoch})
	return answer(err, "remove epoch", flow)
}

func (c *client) NewBlob(ctx context.Context, flow, name string) (checkpoint.BlobWriter, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.service.WriteBlob(ctx)
	if err != nil {
		cancel()
		return nil, answer(err, "write blob", flow)
	}
	return &blobWriter{stream: stream, cancel: cancel, flow: flow, name: name}, nil
}

type blobWriter struct {
	stream     grpc.ClientStreamingClient[servicev1.WriteBlobRequest, servicev1.WriteBlobResponse]
	cancel     context.CancelFunc
	flow, name string
}

func (b *blobWriter) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		piece := p[:min(len(p), chunk)]
		if err := b.send(&servicev1.WriteBlobRequest{Flow: b.flow, Name: b.name, Data: piece}); err != nil {
			return n, err
		}
		n += len(piece)
		p = p[len(piece):]
	}
	return n, nil
}

func (b *blobWriter) send(q *servicev1.WriteBlobRequest) error {
	err := b.stream.Send(q)
	if err == io.EOF { // the server has ended the stream: its status says why
		_, err = b.stream.CloseAndRecv()
	}
	return answer(err, "write blob", b.flow)
}

func (b *blobWriter) Commit() error {
	defer b.cancel()
	if err := b.send(&servicev1.WriteBlobRequest{Flow: b.flow, Name: b.name, Last: true}); err != nil {
		return err
	}
	_, err := b.stream.CloseAndRecv()
	return answer(err, "write blob", b.flow)
}

func (b *blobWriter) Abort() error {
	b.cancel() // the server removes what came
	return nil
}

func (c *client) ReadBlob(ctx context.Context, flow, name string, offset, length int64) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.service.ReadBlob(ctx, &servicev1.ReadBlobRequest{Flow: flow, Name: name, Offset: offset, Length: length})
	if err != nil {
		cancel()
		return nil, answer(err, "read blob", flow)
	}
	r := &blobReader{stream: stream, cancel: cancel, flow: flow}
	if length > 0 { // the first message tells whether the blob is there
		if err := r.fill(); err != nil {
			cancel()
			return nil, err
		}
	}
	return r, nil
}

type blobReader struct {
	stream grpc.ServerStreamingClient[servicev1.ReadBlobResponse]
	cancel context.CancelFunc
	flow   string
	rest   []byte
}

func (r *blobReader) fill() error {
	a, err := r.stream.Recv()
	if err == io.EOF {
		return err
	}
	r.rest = a.GetData()
	return answer(err, "read blob", r.flow)
}

func (r *blobReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *blobReader) Close() error {
	r.cancel()
	return nil
}

func (c *client) Blobs(ctx context.Context, flow string) ([]string, error) {
	a, err := c.service.Blobs(ctx, &servicev1.BlobsRequest{Flow: flow})
	return a.GetNames(), answer(err, "list blobs", flow)
}

func (c *client) RemoveBlob(ctx context.Context, flow, name string) error {
	_, err := c.service.RemoveBlob(ctx, &servicev1.RemoveBlobRequest{Flow: flow, Name: name})
	return answer(err, "remove blob", flow)
}
