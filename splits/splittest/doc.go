// Package splittest is the conformance suite of sources: what a source must do to be read exactly once on every runtime.
//
// The one idea: the suite is a small runtime of its own. It drives a source's enumerator and readers through [splits.Any], as an engine does, but
// stops, snapshots, restores, kills and closes them at every step, and compares what was read, split by split, with an undisturbed read.
//
// A connector's test is one call of [Run]. With a call of [Child] in TestMain, the suite also reads with two processes
// over the gRPC Enumerator service and kills one of them.
package splittest
