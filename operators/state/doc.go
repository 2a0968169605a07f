// Package state holds the keyed state of one bucket: cells of typed values, timers and TTL.
//
// The one idea: a key belongs to bucket hash(key) mod B for a flow's whole life (Flink's key groups), and a bucket's state is a log of
// deltas. It lives decoded in memory; a snapshot appends what changed since the last one; when the log is
// twice its live size the snapshot replaces it by the whole. Timers are part of it, so one runner timer at their minimum is enough.
//
// Values carry the schema they were written with, so a newer program reads them by the evolution rules of rows; what it can not read, or
// has no cell for, is refused. A key without state takes no memory.
//
// It imports record, fault, proto/adf/v1 and its own operators/state/table.
package state
