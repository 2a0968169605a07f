// Command tour is the last flow of the tour, in Go: flights by carrier and day.
package main

import (
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/operators"
)

func main() { cli.Main(build, file.Register) }

// Flight is what the flow reads of a flight: columns that are not named here are not read.
type Flight struct {
	Carrier  string    `adf:"carrier"`
	DepDelay *int64    `adf:"dep_delay"` // minutes; nil when it was cancelled
	TimeHour time.Time `adf:"time_hour"`
}

// Day is the flights of one carrier on one day.
type Day struct {
	Carrier   string    `adf:"carrier"`
	Day       time.Time `adf:"day"`
	Flights   int64     `adf:"flights"`
	Left      int64     `adf:"left"`
	MeanDelay *float64  `adf:"mean_delay"`
}

// build reads the parameters; flow makes the flow, so that a test can.
func build(f *adf.Flow, p cli.Params) error {
	flow(f, p.String("path", "examples/flights/*.csv.gz"), p.String("out", "out/tour/go"), p.Duration("bound", 24*time.Hour))
	return nil
}

func flow(f *adf.Flow, path, out string, bound time.Duration) {
	flights := adf.From(f, "flights", &file.Source[Flight]{Path: path, Format: "csv", NullText: []string{"NA"}}).
		EventTime(func(x Flight) time.Time { return x.TimeHour }, bound)
	byCarrier := adf.KeyBy(flights, func(x Flight) string { return x.Carrier })
	days := adf.Aggregate(byCarrier.Window(adf.Tumbling(24*time.Hour)), "per_day", delays{})
	days.To("out", &file.Sink[Day]{Path: out + "/days", Format: "jsonl"})
	days.Late().To("late", &file.Sink[Flight]{Path: out + "/late", Format: "jsonl"})
}

// delays counts flights and adds up their delays, in whole minutes: the result does not depend on the order.
type delays struct{}

type sum struct{ Flights, Left, Delay int64 }

func (delays) New() sum { return sum{} }

func (delays) Add(s *sum, x Flight) {
	s.Flights++
	if x.DepDelay != nil {
		s.Left++
		s.Delay += *x.DepDelay
	}
}

func (delays) Merge(s *sum, o sum) {
	s.Flights, s.Left, s.Delay = s.Flights+o.Flights, s.Left+o.Left, s.Delay+o.Delay
}

func (delays) Result(carrier string, w operators.Span, s sum) Day {
	d := Day{Carrier: carrier, Day: time.UnixMilli(w.Start).UTC(), Flights: s.Flights, Left: s.Left}
	if s.Left > 0 {
		d.MeanDelay = new(float64(s.Delay) / float64(s.Left))
	}
	return d
}
