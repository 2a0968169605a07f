package flinkbridge

import (
	"strings"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/splits"
)

// Mode is the kind of job that a flow becomes.
type Mode string

const (
	// Auto makes a batch job of a flow whose input ends, by itself or by Until, and a streaming job of another; so does "".
	Auto Mode = "auto"
	// Batch is a job that works through its input once, and commits at the end.
	Batch Mode = "batch"
	// Streaming is a job with checkpoints that commits with each. Where all sources end, windows close at their end as in a batch job, but the job does not end by
	// itself: its timers stand on a clock that goes on. [Await] ends it then, and so does a stop.
	Streaming Mode = "streaming"
)

// kind says what kind of job a flow becomes, and whether its input ends by itself.
func (o SubmitOptions) kind(g *adf.Graph) (streaming, ends bool, err error) {
	var endless []string
	for _, n := range g.Nodes {
		if n.Kind == adf.KindSource && n.Source.Boundedness() == splits.Unbounded {
			endless = append(endless, n.Name)
		}
	}
	ends = len(endless) == 0
	refuse := func(path, got, want string) error {
		return fault.Config(fault.Violation{Path: "options." + path, Got: got, Want: want, Code: "bridge.options"})
	}
	switch o.Mode {
	case Auto, "":
		return !ends && o.Until == (Until{}), ends, nil
	case Batch:
		if !ends && o.Until == (Until{}) {
			err = refuse("mode", "a batch job of sources that do not end: "+strings.Join(endless, ", "), "until, which ends them, or a streaming job")
		}
		return false, ends, err
	case Streaming:
		if o.Until != (Until{}) {
			err = refuse("until", "an end of the sources of a streaming job", "none, or a batch job")
		}
		return true, ends, err
	}
	return false, ends, refuse("mode", string(o.Mode), "auto, batch or streaming")
}
