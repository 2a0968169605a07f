// Package cluster starts and ends a Flink session cluster on this machine, for trying flows out and for tests, and makes the runner JAR.
//
// Flink comes from the package registry of Python, where its whole distribution is a package; its processes are plain JVMs that this package starts, listening on
// the loopback address only. Everything a cluster has is in one folder: configuration, logs, checkpoints, and a file that says which processes it consists
// of. So whoever opens the folder later can end exactly those, or kill and restart one to see what happens.
//
// The runner JAR is Beam's portable Flink runner in one file: Maven resolves its parts, [RunnerJar] merges them, the cache keeps the result.
//
// It imports flinkbridge/rest, deploy/flink/runner and fault; no Beam.
package cluster
