// Package sinks is the core of every sink: how records leave a flow, with which guarantee, and what happens to those that the
// target refuses.
//
// The one idea: what may happen only after a checkpoint is a committable with the identity (flow, node, run, shard, seq).
// The runtime keeps the records of a checkpoint as parts; after the checkpoint it opens the sink's Writer, feeds it the parts
// of one shard in order, and hands what it prepared to the Committer, which changes the data and the
// progress of the shard in one conditional, atomic action of the target. So a record is there once, whatever was killed when.
//
// A sink without such an action is [Direct]: written inside the chain, flushed before each checkpoint, at least once.
//
// sinktest holds the conformance suite. This package imports record, record/row and fault.
package sinks
