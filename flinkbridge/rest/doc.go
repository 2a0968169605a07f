// Package rest is a client of Flink's REST API, as far as running flows needs it: the cluster, its jobs, their checkpoints, savepoints and metrics,
// and JARs.
//
// Every error is a [fault.RuntimeError] with a code that begins with "flink.", what the server said, whether a retry can help, and a fix. The client does not
// retry by itself, but for one thing: who waits for a savepoint or a job's end waits through the outages that pass.
//
// It imports fault and the standard library.
package rest
