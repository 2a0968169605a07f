// Package splits is the core of every source: how input is found, cut into splits, handed to readers, read, and
// resumed where it stood.
//
// The one idea (Flink's FLIP-27, in Go's words): an [Enumerator], one per source, finds splits and assigns them; a
// [Reader], one per lane, reads several splits and tells where each stands. Both are snapshotted, and their contexts own
// time and asynchronous work, so that neither starts a goroutine that nobody can stop.
//
// Two levels are public. Most connectors write a [SplitReader], which fetches one batch of one split and may block, and list
// their splits with [List]; [Multiplex] makes the Reader and [JSON] the codec. A connector that must do more implements
// Source, Enumerator and Reader itself.
//
// Assignment is by credit: a reader's request is one credit, and an enumerator assigns at will within the credits it was
// given or, for splits that never end, as soon as a reader is registered. In one process a request comes from the reader; on
// Flink nothing flows back from readers, so the runtime grants every reader credit by itself. An enumerator must be right
// under both.
//
// splittest holds the conformance suite. This package imports record, record/row and fault.
package splits
