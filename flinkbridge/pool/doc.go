// Package pool starts and ends the worker processes that Beam's portable Flink runner asks for.
//
// A TaskManager runs the JVM's side of a job; a flow's own code runs in a worker process beside it. A [Pool] is the service that the runner's
// EXTERNAL environment asks for workers (Beam's ExternalWorkerPool), and [Boot] is the command that its PROCESS environment starts.
// Both ask the runner what to run, fetch the worker binary from it by checksum, and start it.
//
// The one idea: a worker lives as long as its control connection. A Beam worker whose control stream was closed sleeps for ever, the runner may die before
// it says that a worker is done, and what it says (StopWorker) names the worker by an id that every job has. So a pool looks at the connection itself: in the kernel's table
// of the worker's sockets, which needs no word from the worker or the runner, works for any version of both, and stands outside of the data's way.
// A worker whose connection is gone is ended with everything it started, and reaped. On systems without that table the pool asks whether the control endpoint still answers.
//
// A pool runs what it is sent: whoever reaches its address can run a program as its user. It listens on loopback unless told otherwise. Beam's runner speaks plain gRPC to
// pools and workers, so there is no TLS: beyond loopback the network must keep others out.
//
// It imports fault, gRPC and the generated model of Beam, and nothing else of Beam or of ActiveDataFlow.
package pool
