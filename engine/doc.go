// Package engine runs a flow in one process: goroutines and bounded channels of batches around the tasks of engine/task.
//
// The one idea: epochs. Lanes read until the epoch is over; then they pause after their current batch, everything on its way is worked off, every part tells where it
// stands, and the whole is saved with the output that waits; lanes go on, and the output is committed behind them. A crash at any moment goes back to the last saved
// epoch, and nothing that was committed is committed again.
//
// It imports the root package and everything below it; engine/checkpoint holds the stores.
package engine
