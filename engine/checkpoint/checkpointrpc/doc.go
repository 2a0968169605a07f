// Package checkpointrpc puts a checkpoint store behind gRPC: [Register] serves any checkpoint.Store, [NewClient] is a
// checkpoint.Store that asks such a server. A flow's process then needs no disk of its own: it can die with its machine and go on elsewhere.
package checkpointrpc
