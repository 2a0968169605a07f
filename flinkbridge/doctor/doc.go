// Package doctor looks whether a Flink cluster can run a flow, before the flow is submitted: each check says what it has found and, where something is to be
// put right, how.
//
// It sees what the REST server tells and what is on this machine; what it can not see is a note, not a guess.
//
// It imports flinkbridge/rest, flinkbridge/cluster and fault; no Beam.
package doctor
