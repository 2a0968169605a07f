// Package yaml reads YAML and JSON files into trees with places, and expands references in them.
//
// The one idea: a file is parsed first, and ${NAME} is expanded in each scalar afterwards, so what a variable holds is never more than a piece of
// one scalar. Of YAML only what a configuration needs is read: one document of maps, lists and scalars. Anchors, aliases, tags, merge keys and
// several documents are refused, each with its place.
//
// It imports connectors, for the tree, and fault.
package yaml
