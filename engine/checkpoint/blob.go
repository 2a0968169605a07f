package checkpoint

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

// NewBlob starts a blob outside of any session, for a runtime with a checkpointing of its own; kind is part of its name, for whoever looks into the
// store. No session sweeps such blobs: whoever makes them removes them, and what a crash leaves goes by age ([Sweeper]).
func NewBlob(ctx context.Context, store Store, flow, kind string) (*Blob, error) {
	nonce := make([]byte, 8)
	rand.Read(nonce) // never fails
	name := kind + "-" + hex.EncodeToString(nonce)
	w, err := store.NewBlob(ctx, flow, name)
	if err != nil {
		return nil, err
	}
	return &Blob{w: w, name: name}, nil
}

// ReadRange reads a piece of a blob outside of any session, as [Session.ReadRange] does.
func ReadRange(ctx context.Context, store Store, flow string, r *adfv1.BlobRange, buf []byte) ([]byte, error) {
	return (&Session{store: store, flow: flow}).ReadRange(ctx, r, buf)
}
