package lines

import "github.com/activedataflow/adf/connectors"

// Register makes the connector known by its name.
func Register(r *connectors.Registry) error {
	d := connectors.Descriptor{Name: "lines", Doc: "Files of text lines.", Version: "1.0.0", Core: ">=0.1.0, <1.0.0"}
	if err := r.Source(d, func() connectors.SourceConfig { return &Source{} }); err != nil {
		return err
	}
	return r.Sink(d, func() connectors.SinkConfig { return &Sink{} })
}
