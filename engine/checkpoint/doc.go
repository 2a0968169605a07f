// Package checkpoint keeps where a flow stood, so that it can go on from there.
//
// The one idea: a flow's checkpoints are epochs, numbered from 1 and each created exactly once. Whoever creates an epoch owns it;
// whoever finds it taken has lost the flow to another run and stops. So two runs of one flow can never both go on, without a lock
// that a dead process could keep.
//
// A [Store] keeps epochs and blobs (the large pieces that epochs refer to) and knows nothing of their meaning; [Session] is
// one run's hold on a flow: it claims, saves, reads back, prunes. Stores are [Memory], [Directory], and the gRPC client in checkpointrpc;
// storetest is the suite that a store passes.
//
// It imports fault, proto/adf/v1 and internal/errorfs.
package checkpoint
