package connectors

import (
	"context"

	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// Config is a connector's configuration: a struct whose pointer declares every option once.
type Config interface{ Fields(*Binder) }

// Ptr lets a registry make a C while Fields is a method of *C.
type Ptr[C any] interface {
	*C
	Config
}

// Descriptor tells what a connector is.
type Descriptor struct {
	// Name is the type name in flows: lower case, digits and underscores.
	Name string
	// Doc is one sentence for listings, then a blank line and more, in Markdown.
	Doc string
	// Version is the connector's own semantic version; Core the versions of ActiveDataFlow it works with, as ">=0.1, <2".
	Version, Core string
}

// SourceType says how a source of row.Row is made from its configuration.
type SourceType[P Config] struct {
	// Open makes the source. schema is what the flow declares or Infer found; nil when Schema is set.
	Open func(ctx context.Context, config P, schema *row.Schema) (splits.Any, error)
	// Schema tells the schema of a source that knows its own; nil when the flow must declare one or let it be inferred.
	Schema func(ctx context.Context, config P) (*row.Schema, error)
	// Infer finds a schema from at most records records; nil when the source can not.
	Infer func(ctx context.Context, config P, records int) (*row.Schema, error)
	// Bounded tells whether the source ends under this configuration.
	Bounded func(config P) bool
}

// SinkType says how a sink for row.Row is made from its configuration.
type SinkType[P Config] struct {
	// Open makes the sink for rows of a schema; it checks what can be checked without writing.
	Open func(ctx context.Context, config P, schema *row.Schema) (sinks.Any, error)
}
