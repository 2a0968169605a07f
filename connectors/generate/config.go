package generate

import (
	"context"
	"errors"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// Register registers the connector.
func Register(r *connectors.Registry) error {
	return r.Source(connectors.Descriptor{
		Name: "generate", Doc: "Makes records up, each from its number and a seed.", Version: "0.1.0", Core: ">=0.1.0-0, <1.0.0",
	}, func() connectors.SourceConfig { return &Source[row.Row]{} })
}

// Fields declares the options.
func (s *Source[T]) Fields(b *connectors.Binder) {
	connectors.Value(b, "records", &s.Records).Doc("How many records there are; without it they never end.").Check(notNegative)
	connectors.Value(b, "rate", &s.Rate).Doc("Records per second, all splits together; without it as fast as possible.").Check(notNegative)
	connectors.Value(b, "live", &s.Live).Doc("Make each record when its event time has come, and what is overdue at once, instead of at a rate.")
	connectors.Value(b, "seed", &s.Seed).Doc("Another seed gives other records.")
	connectors.Value(b, "splits", &s.Splits).Default(8).Check(func(n int) error {
		if n < 1 || n > 4096 {
			return errors.New("1 to 4096")
		}
		return nil
	}).Doc("How many splits the records are dealt to, one after another: the most readers that can share the work. It stays the same for a flow's life.")
	connectors.Value(b, "start", &s.Start).Default("2024-01-01T00:00:00Z").Doc("Event time of record 0.").Check(func(text string) error {
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return errors.New(`a time as "2024-01-01T00:00:00Z"`)
		}
		return nil
	})
	connectors.Value(b, "step", &s.Step).Default(time.Millisecond).Doc("Event time from one record to the next.")
	connectors.Strings(b, "fields", &s.Columns).Default(defaultColumns).
		Doc("The fields of a row, each its name and how it is made: " + wantKind + ".").Example("[id sequence, user key(10000), at time]")
	b.Check(func() []fault.Violation {
		if s.Live && s.Rate > 0 {
			return []fault.Violation{{Path: "rate", Got: "a rate beside live", Want: "one of the two", Code: "generate.rate", Fix: "with live, step is how far records are apart"}}
		}
		return nil
	})
	b.Check(func() []fault.Violation {
		_, _, err := columns(s.Columns, s.Seed)
		var wrong *columnError
		if errors.As(err, &wrong) {
			return []fault.Violation{{Path: "fields", Got: wrong.got, Want: wrong.want, Code: "generate.field", Fix: wrong.fix}}
		}
		return nil
	})
}

func notNegative[N int64 | float64](n N) error {
	if n < 0 {
		return errors.New("a number that is not negative")
	}
	return nil
}

// Source makes the source of a flow in a file.
func (s *Source[T]) Source(_ context.Context, env connectors.SourceEnv) (splits.Any, error) {
	c, err := s.RecordCodec()
	if err != nil {
		return nil, err
	}
	if env.Schema != nil && !env.Schema.Equal(c.Schema()) {
		return nil, fault.Config(fault.Violation{
			Path: "schema", Got: env.Schema.String(), Want: c.Schema().String() + ", which the fields make", Code: "generate.schema",
			Fix: "leave the schema out",
		})
	}
	return splits.Erase(s, c), nil
}
