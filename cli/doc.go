// Package cli is the command line: run, validate, explain, graph, preview, connectors, schema, version and completion, for flows in files and
// for flows that a program builds itself.
//
//	func main() { cli.Main(build, file.Register, memory.Register) }
//
//	func build(f *adf.Flow, p cli.Params) error {
//		flights := adf.From(f, "flights", &file.Source[Flight]{Path: p.String("path", "flights/*.csv"), Format: "csv"})
//		…
//	}
//
// The one idea: an [App] is data, and [Run] is a function of it, the arguments and the three streams to an exit code. Nothing here is global, so
// the tests of a program run its commands as its users do.
//
// It imports the root package, engine and connectors, and no single connector: a program brings along those it wants.
package cli
