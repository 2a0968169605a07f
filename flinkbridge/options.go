package flinkbridge

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/splits"
)

// Options say how a flow becomes a pipeline. The zero value is for runners that run it in this process.
type Options struct {
	// Builder is the name that the flow's builder was registered under, and Params what it gets: a worker in another process makes the flow with them.
	// They are part of the pipeline, which runners show: secrets go by reference, and are resolved where the flow is built.
	Builder string
	Params  map[string]string
	// Staging is a directory that all workers share, for output that waits to be committed and for large shuffles. Without it output waits in memory, and
	// only this process can run the pipeline.
	Staging string
	// Parallelism is what an enumerator is told of the number of readers, for sources that do not say it themselves; 0 means GOMAXPROCS.
	Parallelism int
	// Buckets is how many buckets keys are spread over; 0 means what the plan says, or more when sources say that there is more than 1 MB of input for each: a runner
	// may hold all of a bucket's records in memory at once.
	Buckets int
	// Until ends sources that do not end by themselves; a flow with one is refused without it.
	Until Until
}

// MaxBuckets is the largest number of buckets.
const MaxBuckets = 4096

// Until is where a source that does not end by itself ends: the first of what is set.
type Until struct {
	// Idle ends it when there has been nothing to read for a second.
	Idle bool
	// Span ends it so long after the first splits were opened.
	Span time.Duration
	// Records ends it after so many records.
	Records int64
}

// ParseUntil reads "idle", a duration as "30s", or "records=N".
func ParseUntil(text string) (Until, error) {
	if text == "idle" {
		return Until{Idle: true}, nil
	}
	if number, ok := strings.CutPrefix(text, "records="); ok {
		if n, err := strconv.ParseInt(number, 10, 64); err == nil && n > 0 {
			return Until{Records: n}, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return Until{Span: d}, nil
	}
	return Until{}, &fault.ConfigurationError{Detail: fault.Detail{
		Code: "bridge.until", Doing: "read until", Retry: fault.RetryNever, Err: fmt.Errorf("got %q, want idle, a duration as 30s, or records=N", text),
	}}
}

// check says what is wrong with the options for a flow.
func (o Options) check(_ context.Context, g *adf.Graph) error {
	var wrong []fault.Violation
	refuse := func(path, got, want string) {
		wrong = append(wrong, fault.Violation{Path: path, Got: got, Want: want, Code: "bridge.options"})
	}
	if o.Buckets < 0 || o.Buckets > MaxBuckets {
		refuse("options.buckets", strconv.Itoa(o.Buckets), fmt.Sprintf("0 to %d", MaxBuckets))
	}
	if o.Parallelism < 0 {
		refuse("options.parallelism", strconv.Itoa(o.Parallelism), "a number that is not negative")
	}
	if o.Until.Span < 0 || o.Until.Records < 0 {
		refuse("options.until", "a negative span or number", "one that is not negative")
	}
	if _, err := builder(o.Builder); o.Builder != "" && err != nil {
		refuse("options.builder", strconv.Quote(o.Builder), "the name of a registered builder")
	}
	if o.Until == (Until{}) {
		for _, n := range g.Nodes {
			if n.Kind == adf.KindSource && n.Source.Boundedness() == splits.Unbounded {
				wrong = append(wrong, fault.Violation{
					File: n.Place.File, Line: n.Place.Line, Col: n.Place.Col, Path: n.Name, Code: "bridge.unbounded",
					Got: "a source that does not end", Want: "until: idle, a duration as 30s, or records=N",
				})
			}
		}
	}
	return fault.Config(wrong...)
}

var errNoBuilder = errors.New("no builder of this name is registered in this program")
