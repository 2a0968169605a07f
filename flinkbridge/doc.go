// Package flinkbridge runs flows on Beam: in this process on Beam's direct runner and on prism, and as a pipeline that any Beam runner takes.
//
// The one idea: no user function and no user type reaches Beam. A handful of DoFns over bytes carry the digest of the plan, the name of a node and what
// the run was started with; a worker, which is the same binary, makes the flow again and drives the same tasks as the engine does. So closures and
// generics just work, and an answer is the same wherever it is computed.
//
// It imports the root package and everything below it, engine/task, engine/checkpoint for what is staged, the engine for its result, and Beam. Nothing but
// programs that want Beam imports it.
package flinkbridge
