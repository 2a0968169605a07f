// Package splitsrpc lets readers in other processes share a source: [Server] runs its enumerator and serves the gRPC service
// Enumerator, [Join] makes a reader's session with it.
//
// The one idea: a split belongs to the reader it was assigned to, at the position of the reader's last acknowledged snapshot, until that
// reader has finished it or is gone. A reader is gone when its stream breaks, when its heartbeats stay out, or when it
// registers anew; then its splits go back to the enumerator, and whatever it read since is read again. So whoever collects the readers'
// records keeps those up to the acknowledged snapshots and discards the rest.
//
// Readers die alone here, so NoMoreSplits must not let one go that could still be needed: the server keeps it back until no other
// reader has a split, and asks the enumerator again for those it kept waiting when splits come back.
//
// It imports splits, fault, the generated service and gRPC. Credentials are the gRPC options of the caller.
package splitsrpc
