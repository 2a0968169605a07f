package engine

import (
	"context"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/task"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/sinks"
)

// shard is one shard of an exactly-once sink: its write task, its place in the sequence, and a blob for the large parts of the epoch.
type shard struct {
	a     *attempt
	write *task.Write
	seq   int64 // of the next part
	blob  *checkpoint.Blob
}

func newShard(a *attempt, sink sinks.AnyExact) *shard {
	s := &shard{a: a}
	s.write = task.NewWrite(sink, s.spill)
	return s
}

// spill keeps a large part until its commit. It is called under the write task's lock.
func (s *shard) spill(ctx context.Context, part []byte) (*adfv1.BlobRange, error) {
	if s.blob == nil {
		blob, err := s.a.session.NewBlob(ctx, "parts")
		if err != nil {
			return nil, err
		}
		s.blob = blob
	}
	if s.a.staged.Add(int64(len(part))) > stagedBytes {
		signal(s.a.full)
	}
	return s.blob.Append(part)
}

// take gives the epoch's parts; those in the blob are durable then. Nobody adds meanwhile.
func (s *shard) take(ctx context.Context) ([]*adfv1.Part, error) {
	parts, err := s.write.Take(ctx)
	if err != nil || s.blob == nil {
		return parts, err
	}
	if err := s.blob.Commit(); err != nil {
		return nil, err
	}
	s.blob = nil
	return parts, nil
}

// abort removes what was not taken.
func (s *shard) abort() error {
	if s.blob == nil {
		return nil
	}
	return s.blob.Abort()
}
