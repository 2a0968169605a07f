// Package adftest tests flows: scripted input in, exact output out, whatever is cut off when.
//
//	r := adftest.Run(t, f,
//		adftest.In("flights", early, onTime),
//		adftest.Watermark("flights", midnight),
//		adftest.In("flights", tooLate),
//		adftest.CrashAnywhere())
//	days := adftest.Out[Day](r, "out")
//
// The one idea: a test is a script. The sources of the flow are replaced by one list of records, promises and pauses, read in the order in
// which it is written, over all sources, splits and lanes; every output is collected exactly once and given in an order that does not depend on
// goroutines. So a test is the same at every run, at any parallelism, and after a crash at any record. Inside a testing/synctest bubble the pauses
// are virtual: an hour takes no time.
//
// It imports the root package, engine, connectors, splits, sinks, record and fault.
package adftest
