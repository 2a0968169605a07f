package flinkbridge

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/memory"
)

// TestNames: names and ids of a pipeline come of the flow's nodes, and are the same whatever else is in the flow.
func TestNames(t *testing.T) {
	var out memory.Store[int64]
	var windows memory.Store[window[int64]]
	g := built(t, endless(2000, &out, &windows))
	for _, c := range []struct {
		plan          func(spec, *adf.Graph) (*beam.Pipeline, error)
		streaming     bool
		checkpoints   string
		steps, inputs string
		shown         string
	}{
		{bounded, false, "", "commit/all commit/commit commit/from count commit/from numbers commit/group count/from numbers count/group count/process " +
			"numbers/enumerate numbers/read start", "",
			"aggregate count, write windows; commit all output; find splits of numbers; group for all output; group for count; " +
				"read numbers, map number, write out, map reading; start; to all output; to count"},
		{unbounded, true, "", "clock count/from numbers count/process numbers/discover numbers/from clock numbers/from discover numbers/read " +
			"out/all out/commit out/from discover out/from numbers out/from sequence out/sequence " +
			"start windows/all windows/commit windows/from count windows/from discover windows/from sequence windows/sequence",
			"→ count/process, → numbers/discover, → numbers/read, → out/commit, → out/sequence, → windows/commit, → windows/sequence",
			"aggregate count; clock; commit out; commit windows; find splits of numbers; number parts of out; number parts of windows; " +
				"read numbers, map number, map reading; start; to count; to numbers; to out; to windows"},
		// What saves positions is there besides, and changes no other name.
		{unbounded, true, "checkpoints", "clock count/from numbers count/process flow.positions/all flow.positions/save numbers/discover numbers/discover to positions " +
			"numbers/from clock numbers/from discover numbers/read numbers/read to positions " +
			"out/all out/commit out/from discover out/from numbers out/from sequence out/sequence out/sequence to positions " +
			"start windows/all windows/commit windows/from count windows/from discover windows/from sequence windows/sequence windows/sequence to positions",
			"→ count/process, → flow.positions/save, → numbers/discover, → numbers/read, → out/commit, → out/sequence, → windows/commit, → windows/sequence",
			"aggregate count; clock; commit out; commit windows; find splits of numbers; number parts of out; number parts of windows; " +
				"read numbers, map number, map reading; save positions; start; to count; to numbers; to out; to positions; to windows"},
	} {
		s := specified(t, g, Options{Parallelism: 2, Until: Until{Idle: true}})
		s.Streaming, s.Checkpoints = c.streaming, c.checkpoints
		pipeline := translated(t, c.plan, s, g)
		steps := slices.Sorted(maps.Keys(pipeline.Components.Transforms))
		steps = slices.DeleteFunc(steps, func(s string) bool { return strings.HasSuffix(s, "/") || strings.Contains(s, "Reshuffle") })
		if got := strings.Join(steps, " "); got != c.steps {
			t.Errorf("got the steps %s, want %s", got, c.steps)
		}
		var inputs []string
		for id, p := range pipeline.Components.Pcollections {
			if p.UniqueName != id {
				inputs = append(inputs, p.UniqueName)
			}
		}
		slices.Sort(inputs)
		if got := strings.Join(inputs, ", "); got != c.inputs {
			t.Errorf("got the inputs %s, want %s", got, c.inputs)
		}
		if got := slices.Contains(pipeline.Requirements, requirementStable); got != c.streaming {
			t.Errorf("got %v for the stable input of commits, want %v", got, c.streaming)
		}
		whole(t, pipeline.Components)

		label(pipeline, s, g)
		shown := map[string]bool{}
		taken := map[string]bool{}
		for id, x := range pipeline.Components.Transforms {
			if taken[x.UniqueName] {
				t.Errorf("%s is called %s as another one is, which the runner refuses", id, x.UniqueName)
			}
			taken[x.UniqueName] = true
			if len(x.Subtransforms) == 0 && !strings.Contains(x.UniqueName, "Reshuffle") {
				name, _, _ := strings.Cut(x.UniqueName, "/")
				shown[name] = true
			}
		}
		if got := strings.Join(slices.Sorted(maps.Keys(shown)), "; "); got != c.shown {
			t.Errorf("got the names %s, want %s", got, c.shown)
		}
	}
}

// translated gives the pipeline of a plan as the runner gets it, for workers of a pool.
func translated(t *testing.T, plan func(spec, *adf.Graph) (*beam.Pipeline, error), s spec, g *adf.Graph) *pipepb.Pipeline {
	t.Helper()
	p, err := plan(s, g)
	if err != nil {
		t.Fatal(err)
	}
	env, err := environmentOf(t.Context(), "127.0.0.1:1", "")
	if err != nil {
		t.Fatal(err)
	}
	pipeline, err := translate(t.Context(), s, p, env)
	if err != nil {
		t.Fatal(err)
	}
	return pipeline
}

// whole: everything that is named is there.
func whole(t *testing.T, c *pipepb.Components) {
	t.Helper()
	for id, x := range c.Transforms {
		for _, sub := range x.Subtransforms {
			if c.Transforms[sub] == nil {
				t.Errorf("%s has the part %s, which is not there", id, sub)
			}
		}
		for _, side := range []map[string]string{x.Inputs, x.Outputs} {
			for _, collection := range side {
				if c.Pcollections[collection] == nil {
					t.Errorf("%s has the collection %s, which is not there", id, collection)
				}
			}
		}
	}
}
