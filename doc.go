// Package adf is ActiveDataFlow: a data flow is sources, steps and sinks, written once, in Go or YAML, and run by any runtime.
//
//	f := adf.New("delays")
//	flights := adf.From(f, "flights", &file.Source[Flight]{Path: "flights/*.csv.gz"}).EventTime(scheduled, 24*time.Hour)
//	daily := adf.Aggregate(adf.KeyBy(flights, carrier).Window(adf.Tumbling(24*time.Hour)), "per_day", stats{})
//	daily.To("out", &file.Sink[Daily]{Path: "out"})
//	result, err := engine.Run(ctx, f, engine.Options{})
//
// The one idea: a [Flow] is checked once and becomes a [Graph]: a [Plan], which is plain data that any runtime and any process can read, and
// the live parts that belong to it. Mistakes are collected and told together, each with its place.
//
// It imports splits, sinks, operators, record, connectors and fault, and no runtime.
package adf

// Version is the version of ActiveDataFlow, in the form of semantic versioning. Connectors say which versions they work with.
const Version = "0.1.0"
