package main

import (
	"context"
	"strconv"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/operators"
)

// build makes the flow of its parameters, in every worker.
func build(_ context.Context, params map[string]string) (*adf.Flow, error) {
	least, err := strconv.ParseInt(params["least"], 10, 64)
	if err != nil {
		return nil, err
	}
	return flow(params["in"], params["out"], least), nil
}

// Flight is what the flow reads of a flight.
type Flight struct {
	Carrier  string    `adf:"carrier"`
	DepDelay *int64    `adf:"dep_delay"` // minutes; nil when it was cancelled
	TimeHour time.Time `adf:"time_hour"`
}

// Day is how many flights of a carrier left late on a day.
type Day struct {
	Carrier string    `adf:"carrier"`
	Day     time.Time `adf:"day"`
	Delayed int64     `adf:"delayed"`
}

// flow counts delayed flights by carrier and day. The filter captures its limit, which Beam's own functions could not.
func flow(in, out string, least int64) *adf.Flow {
	f := adf.New("delayed")
	flights := adf.From(f, "flights", &file.Source[Flight]{Path: in, Format: "csv", NullText: []string{"NA"}}).
		EventTime(func(x Flight) time.Time { return x.TimeHour }, 24*time.Hour)
	delayed := flights.Filter("delayed", func(x Flight) bool { return x.DepDelay != nil && *x.DepDelay >= least })
	byCarrier := adf.KeyBy(delayed, func(x Flight) string { return x.Carrier })
	adf.Aggregate(byCarrier.Window(adf.Tumbling(24*time.Hour)), "per_day", counts{}).
		To("out", &file.Sink[Day]{Path: out, Format: "jsonl"})
	return f
}

// counts counts flights.
type counts struct{}

func (counts) New() int64                 { return 0 }
func (counts) Add(n *int64, _ Flight)     { *n++ }
func (counts) Merge(n *int64, more int64) { *n += more }
func (counts) Result(carrier string, w operators.Span, n int64) Day {
	return Day{carrier, time.UnixMilli(w.Start).UTC(), n}
}
