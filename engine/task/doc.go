// Package task holds all that is done with records, in pieces that a driver puts together: read, chain, keyed, write, commit.
//
// The one idea: a task starts no goroutine and owns no clock. It is handed batches, payloads, watermarks and the time, and hands on what
// comes of them; so the engine can drive it with goroutines and channels, and another runtime with its own means, and the answers are the same.
//
// A [Read] is one lane of a source; a [Keyed] owns some buckets of a keyed step; a [Chain] is everything fused behind either of them, up to the
// next shuffle or sink; a [Write] is one shard of an exactly-once sink; [Commit] makes its parts visible.
//
// It imports the root package and everything below it, and never the engine.
package task
