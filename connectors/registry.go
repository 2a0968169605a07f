package connectors

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// SourceConfig is the configuration of a source, from which the source is made once it is decoded or checked.
type SourceConfig interface {
	Config
	// Source makes the source. It may look at the input, to infer a schema for example; reading begins later.
	Source(ctx context.Context, env SourceEnv) (splits.Any, error)
}

// SourceEnv is what a flow tells a source when it is made.
type SourceEnv struct {
	Flow, Node string
	// Schema is that of the records, as the flow declares it; nil: infer it, or use the source's own.
	Schema *row.Schema
}

// Schemaless is for source configurations whose records have no schema of their own: a flow must declare one or say schema: infer.
type Schemaless interface{ Schemaless() bool }

// SinkConfig is the configuration of a sink of rows, from which the sink is made once it is decoded or checked.
type SinkConfig interface {
	Config
	Sink(c *row.Codec[row.Row]) (sinks.Any, error)
}

// Descriptor says what a connector is.
type Descriptor struct {
	// Name is the type name in files: lower case, as "file".
	Name string `json:"name"`
	// Doc says in a sentence what it reads or writes.
	Doc string `json:"doc"`
	// Version is the connector's own semantic version.
	Version string `json:"version"`
	// Core is the semver constraint on the versions of ActiveDataFlow it works with, as ">=0.1.0, <1.0.0".
	Core string `json:"core"`
}

// Entry is a registered connector. New makes an empty configuration.
type Entry[C Config] struct {
	Descriptor
	New func() C
}

// Options are the options of the connector.
func (e Entry[C]) Options() []Option { return Describe(e.New()) }

// Registry is where connectors are found by their type names. There is no global one: a program fills its own at its start, and from then
// on it is safe for concurrent use.
type Registry struct {
	core     string
	sources  map[string]Entry[SourceConfig]
	sinks    map[string]Entry[SinkConfig]
	runtimes map[string]Entry[Config]
}

// NewRegistry makes an empty registry for the given core version, a semantic version.
func NewRegistry(core string) *Registry {
	return &Registry{core: core, sources: map[string]Entry[SourceConfig]{}, sinks: map[string]Entry[SinkConfig]{}, runtimes: map[string]Entry[Config]{}}
}

// Source registers a source.
func (r *Registry) Source(d Descriptor, make func() SourceConfig) error {
	return register(r, "source", r.sources, Entry[SourceConfig]{d, make})
}

// Sink registers a sink. A connector with both has the same name for both.
func (r *Registry) Sink(d Descriptor, make func() SinkConfig) error {
	return register(r, "sink", r.sinks, Entry[SinkConfig]{d, make})
}

// Runtime registers what runs flows; its configuration are the options of a run.
func (r *Registry) Runtime(d Descriptor, make func() Config) error {
	return register(r, "runtime", r.runtimes, Entry[Config]{d, make})
}

// LookupSource finds a source by its type name. The error has one violation, which lists what is registered.
func (r *Registry) LookupSource(name string) (Entry[SourceConfig], error) {
	return lookup("source", r.sources, name)
}

// LookupSink finds a sink by its type name. The error has one violation, which lists what is registered.
func (r *Registry) LookupSink(name string) (Entry[SinkConfig], error) {
	return lookup("sink", r.sinks, name)
}

// LookupRuntime finds a runtime by its name. The error has one violation, which lists what is registered.
func (r *Registry) LookupRuntime(name string) (Entry[Config], error) {
	return lookup("runtime", r.runtimes, name)
}

// Sources are the registered sources in the order of their names.
func (r *Registry) Sources() []Entry[SourceConfig] { return sorted(r.sources) }

// Sinks are the registered sinks in the order of their names.
func (r *Registry) Sinks() []Entry[SinkConfig] { return sorted(r.sinks) }

// Runtimes are the registered runtimes in the order of their names.
func (r *Registry) Runtimes() []Entry[Config] { return sorted(r.runtimes) }

var typeName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

// taken are the keys of sources and sinks that are no type names.
var taken = []string{"from", "schema", "time", "parallelism", "on_error"}

func register[C Config](r *Registry, what string, in map[string]Entry[C], e Entry[C]) error {
	refuse := func(code, fix, format string, args ...any) error {
		return &fault.ConfigurationError{Detail: fault.Detail{
			Code: code, Doing: "register " + what, Connector: e.Name, Retry: fault.RetryNever, Fix: fix, Err: fmt.Errorf(format, args...),
		}}
	}
	const declare = "connector.declaration"
	switch {
	case !typeName.MatchString(e.Name) || slices.Contains(taken, e.Name):
		return refuse(declare, "", "got the name %q, want lower case letters, digits, '_' and '-', and none of %s", e.Name, strings.Join(taken, ", "))
	case e.Doc == "":
		return refuse(declare, "", "got no Doc, want a sentence that says what it is")
	}
	if before, twice := in[e.Name]; twice {
		return refuse("connector.duplicate", "", "got the name %q a second time (version %s is registered), want names used once; registered are %s",
			e.Name, before.Version, strings.Join(slices.Sorted(maps.Keys(in)), ", "))
	}
	core, err := semver.StrictNewVersion(r.core)
	if err != nil {
		return refuse(declare, "", "got the core version %q, want a semantic version", r.core)
	}
	if _, err := semver.StrictNewVersion(e.Version); err != nil {
		return refuse(declare, "", "got its version %q, want a semantic version, as 1.2.0", e.Version)
	}
	constraint, err := semver.NewConstraint(e.Core)
	if err != nil {
		return refuse(declare, "", "got the core constraint %q, want one on semantic versions, as \">=0.1.0, <1.0.0\"", e.Core)
	}
	if !constraint.Check(core) {
		return refuse("connector.version", "use versions of both that fit together",
			"got version %s, which works with ActiveDataFlow %s, want one that works with this one, %s", e.Version, e.Core, r.core)
	}
	if m := mistakeIn(e.New()); m != "" {
		return refuse(declare, "", "%s", m)
	}
	in[e.Name] = e
	return nil
}

func lookup[C Config](what string, in map[string]Entry[C], name string) (Entry[C], error) {
	if e, ok := in[name]; ok {
		return e, nil
	}
	known := slices.Sorted(maps.Keys(in))
	v := fault.Violation{Got: fmt.Sprintf("the %s type %q", what, name), Code: "connector.unknown", Fix: fault.DidYouMean(name, known)}
	if v.Want = "one of " + strings.Join(known, ", "); len(known) == 0 {
		v.Want = "a registered one, and none is registered"
	}
	return Entry[C]{}, fault.Config(v)
}

func sorted[C Config](in map[string]Entry[C]) []Entry[C] {
	var all []Entry[C]
	for _, name := range slices.Sorted(maps.Keys(in)) {
		all = append(all, in[name])
	}
	return all
}
