// Package connectors holds what all connectors share: the registry, where a connector is found by its type name, and the
// binder, with which it declares each of its options once.
//
// The one idea: one method, Fields, serves to decode a configuration, to fill in defaults, to check, to report every mistake
// with its place, to hide secrets, and to write the JSON Schema and the documentation of the connector.
//
// Each connector is a folder below this one, none imports another, and each looks like its neighbours: doc.go, config.go, source.go,
// sink.go, split.go.
package connectors
