package flinkbridge

import (
	"encoding/json"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/sinks"
)

// unbounded is the plan for input that does not end: lanes and buckets are keys, and what drives them are timers.
//
//	impulse → clock → route → discover → route → read + chain → route → keyed + chain → route → … → sequence → commit
func unbounded(s spec, g *adf.Graph) (p *beam.Pipeline, err error) {
	s.Streaming = true
	data, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	defer recovered(s, &err)
	p, root := beam.NewPipelineWithRoot()
	clock := &clockFn{}
	for _, n := range g.Nodes {
		if n.Kind == adf.KindSource {
			clock.To = append(clock.To, n.Name)
		}
	}
	ticking := beam.ParDo(root.Scope(clockStep), clock, beam.Impulse(root.Scope(startStep)))
	outputs := map[string]beam.PCollection{}
	var first beam.PCollection    // of what the first source's discover gives
	var places []beam.PCollection // of where everything stands
	tells := func(scope beam.Scope, from string, c beam.PCollection) {
		if s.Checkpoints != "" {
			places = append(places, beam.ParDo(scope.Scope(from+" to positions"), &routeFn{To: positionsName}, c))
		}
	}
	for _, n := range g.Nodes {
		scope := root.Scope(n.Name)
		switch n.Kind {
		case adf.KindSource:
			begin := beam.ParDo(scope.Scope("from clock"), &routeFn{To: n.Name}, ticking)
			found := beam.ParDo(scope.Scope("discover"), &discoverFn{
				Job: data, Node: n.Name, State: state.MakeValueState[[]byte]("enumerator"), Tick: timers.InProcessingTime("tick"),
			}, begin)
			if n == g.Nodes[0] {
				first = found
			}
			outputs[n.Name] = beam.ParDo(scope.Scope("read"), &laneFn{
				Job: data, Node: n.Name, State: state.MakeValueState[[]byte]("lane"), Poll: timers.InProcessingTime("poll"),
				Acknowledged: acknowledges(n),
			}, beam.ParDo(scope.Scope("from discover"), &routeFn{To: n.Name}, found))
			if acknowledges(n) {
				beam.ParDo0(scope.Scope(acknowledgeStep), &acknowledgeFn{Job: data, Node: n.Name, Keyed: state.MakeValueState[[]byte]("keyed")},
					beam.ParDo(scope.Scope("read to acknowledge"), &routeFn{To: acknowledgeName(n.Name)}, outputs[n.Name]))
			}
			tells(scope, "discover", found)
			tells(scope, "read", outputs[n.Name])
		case adf.KindKeyed:
			var called []beam.PCollection
			if !n.Keyed.EventTime() { // it has timers of the clock
				called = append(called, beam.ParDo(scope.Scope("from discover"), &routeFn{To: n.Name}, first))
			}
			outputs[n.Name] = beam.ParDo(scope.Scope("process"), &bucketFn{
				Job: data, Node: n.Name, Behind: behind(g, n), Last: last(s, g, n), Log: state.MakeBagState[[]byte]("log"), Token: state.MakeValueState[[]byte]("token"),
				Event: timers.InEventTime("event"),
			}, route(scope, g, n.Name, outputs, called...))
		case adf.KindSink:
			if _, ok := n.Sink.(sinks.AnyExact); !ok {
				continue // it is in the chains
			}
			numbered := beam.ParDo(scope.Scope("sequence"), &sequenceFn{
				Job: data, Node: n.Name, Next: state.MakeValueState[[]byte]("next"),
			}, route(scope, g, n.Name, outputs, beam.ParDo(scope.Scope("from discover"), &routeFn{To: n.Name}, first)))
			beam.ParDo0(scope.Scope(commitStep), &stableFn{Job: data, Node: n.Name, Keyed: state.MakeValueState[[]byte]("keyed")},
				beam.ParDo(scope.Scope("from sequence"), &routeFn{To: n.Name}, numbered))
			tells(scope, "sequence", numbered)
		}
	}
	if len(places) > 0 {
		scope := root.Scope(positionsScope)
		beam.ParDo0(scope.Scope(positionsStep), &positionsFn{Job: data, Keyed: state.MakeValueState[[]byte]("keyed")}, beam.Flatten(scope.Scope("all"), places...))
	}
	return p, nil
}

const (
	startStep = "start"
	clockStep = "clock"

	positionsScope = "flow.positions"
)

// The steps whose input has to be stable: they hear of completed checkpoints.
const (
	commitStep      = "commit"
	acknowledgeStep = "acknowledge"
	positionsStep   = "save"
)

var stableSteps = map[string]bool{commitStep: true, acknowledgeStep: true, positionsStep: true}

// last is the watermark of the runner at which the input of a keyed step is at its end: after all that the steps before it give, and before that of lanes with nothing
// more to read.
func last(s spec, g *adf.Graph, n *adf.Node) int64 {
	if !s.Ends {
		return 0
	}
	return far.Add(time.Duration(depth(g, n)-1) * time.Second).Add(-24 * time.Hour).UnixMilli()
}

// depth is how many keyed steps there are up to a step.
func depth(g *adf.Graph, n *adf.Node) int {
	most := 0
	for _, from := range g.Nodes {
		if from.Kind == adf.KindKeyed && from != n && reaches(g, from, n.Name) {
			most = max(most, depth(g, from))
		}
	}
	return most + 1
}

// behind is by how much the watermark of a keyed step trails that of the runner: the steps before it may give results so late.
func behind(g *adf.Graph, n *adf.Node) int64 {
	most := int64(0)
	for _, from := range g.Nodes {
		if from.Kind == adf.KindKeyed && from != n && reaches(g, from, n.Name) {
			most = max(most, behind(g, from)+from.Keyed.OutputDelay())
		}
	}
	return most
}
