// Package fault holds the four errors of ActiveDataFlow: configuration, source, sink and runtime.
//
// The one idea: an error is data. It tells what was being done, where (connector, split, place, node),
// why, whether a retry can help, a code that stays stable between releases, and how to mend it.
// Connectors classify; the runtime adds flow, run and node once, and decides how often to retry.
//
// It imports the standard library only.
package fault
