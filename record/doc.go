// Package record holds the batch, the unit in which data is read, moved, snapshotted and shuffled.
//
// The one idea: types are erased once per batch, never per record. User code sees Batch[T]; the house
// between sees [Any]. A source's batch never spans two splits and goes with the position after it.
//
// It imports the standard library only; record/row and record/format stand on it.
package record
