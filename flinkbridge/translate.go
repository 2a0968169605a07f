package flinkbridge

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/fault"
)

// requirementStable is Beam's name of the requirement that makes a runner keep a step's input back until a checkpoint has it.
const requirementStable = "beam:requirement:pardo:stable_input:v1"

// translate makes the portable form of a pipeline, for a cluster: with names and ids that come of the names of the flow's nodes, so that state is found again
// when the flow has changed elsewhere, and a dashboard can be read.
func translate(ctx context.Context, s spec, p *beam.Pipeline, env *pipepb.Environment) (*pipepb.Pipeline, error) {
	edges, _, err := p.Build()
	if err != nil {
		return nil, err
	}
	pipeline, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		return nil, err
	}
	if err := rename(pipeline.Components, &pipeline.RootTransformIds); err != nil {
		return nil, &fault.RuntimeError{Detail: fault.Detail{Code: "bridge.pipeline", Doing: "name the steps of a pipeline", Flow: s.Flow, Retry: fault.RetryNever, Err: err}}
	}
	if s.Streaming {
		if err := requireStable(pipeline); err != nil {
			return nil, err
		}
	}
	return pipeline, nil
}

// environmentOf is where the workers of a job run: a pool beside each TaskManager, or a command there.
func environmentOf(ctx context.Context, pool, boot string) (*pipepb.Environment, error) {
	if boot == "" {
		return graphx.CreateEnvironment(ctx, graphx.URNEnvExternal, func(context.Context) string { return pool })
	}
	config, err := json.Marshal(map[string]string{"command": boot})
	if err != nil {
		return nil, err
	}
	return graphx.CreateEnvironment(ctx, graphx.URNEnvProcess, func(context.Context) string { return string(config) })
}

// rename gives transforms and PCollections names and ids of their own. A transform is called by its scopes, as "per_day/process"; a PCollection by the one that gives
// it. A state of a cluster's savepoint is known by the name of the stage's input, and a timer by the id of its transform: so both are stable, and used once.
func rename(c *pipepb.Components, roots *[]string) error {
	transforms := map[string]string{} // old id → new
	taken := map[string]string{}
	for id, t := range c.Transforms {
		name := stepName(t)
		if other, twice := taken[name]; twice {
			return fmt.Errorf("the steps %s and %s have the name %s both", other, id, name)
		}
		taken[name] = id
		transforms[id] = name
		t.UniqueName = name
	}
	collections := map[string]string{}
	for id, t := range c.Transforms {
		if len(t.Subtransforms) > 0 {
			continue
		}
		for tag, out := range t.Outputs {
			name := transforms[id] + ".out" // the runner takes a collection and a transform with one id for the same
			if len(t.Outputs) > 1 {
				name += "." + tag
			}
			if other, twice := collections[out]; twice && other != name {
				return fmt.Errorf("%s and %s give the same collection", other, name)
			}
			collections[out] = name
		}
	}
	for id, t := range c.Transforms {
		for tag, in := range t.Inputs {
			if collections[in] == "" {
				return fmt.Errorf("%s reads %s, which nobody gives", id, in)
			}
			t.Inputs[tag] = collections[in]
		}
		for tag, out := range t.Outputs {
			if collections[out] == "" {
				return fmt.Errorf("%s gives %s, which none of its parts gives", id, out)
			}
			t.Outputs[tag] = collections[out]
		}
		for i, sub := range t.Subtransforms {
			t.Subtransforms[i] = transforms[sub]
		}
	}
	all := map[string]*pipepb.PTransform{}
	for id, t := range c.Transforms {
		all[transforms[id]] = t
	}
	c.Transforms = all
	pcollections := map[string]*pipepb.PCollection{}
	for id, p := range c.Pcollections {
		name := collections[id]
		if name == "" {
			return fmt.Errorf("nobody gives the collection %s", id)
		}
		p.UniqueName = name
		pcollections[name] = p
	}
	c.Pcollections = pcollections
	if err := nameInputs(c); err != nil {
		return err
	}
	for i, id := range *roots {
		(*roots)[i] = transforms[id]
	}
	return nil
}

// nameInputs calls the input of a step with state by the step, whoever gives it: the step's state is found by that name.
func nameInputs(c *pipepb.Components) error {
	readers := map[string]string{}
	for name, t := range c.Transforms {
		payload := &pipepb.ParDoPayload{}
		if t.GetSpec().GetUrn() != graphx.URNParDo || len(t.Subtransforms) > 0 {
			continue
		}
		if err := proto.Unmarshal(t.Spec.Payload, payload); err != nil {
			return err
		}
		if len(payload.TimerFamilySpecs) > 1 {
			return fmt.Errorf("%s has timers of %d kinds: the workers' harness takes one", name, len(payload.TimerFamilySpecs))
		}
		if len(payload.StateSpecs) == 0 {
			continue
		}
		for _, in := range t.Inputs {
			if other := readers[in]; other != "" {
				return fmt.Errorf("%s and %s have state and the same input %s", other, name, in)
			}
			readers[in] = name
			c.Pcollections[in].UniqueName = "→ " + name
		}
	}
	return nil
}

// stepName is a transform's name without those that Beam adds: "numbers/read/flinkbridge.laneFn" is "numbers/read".
func stepName(t *pipepb.PTransform) string {
	parts := strings.Split(strings.TrimSuffix(t.UniqueName, "/"), "/")
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" || p == "root" })
	if n := len(parts) - 1; n > 0 && len(t.Subtransforms) == 0 && (strings.HasPrefix(parts[n], "flinkbridge.") || parts[n] == "Impulse" || parts[n] == "CoGBK" || parts[n] == "Flatten") {
		parts = parts[:n]
		return strings.Join(parts, "/")
	}
	if len(t.Subtransforms) > 0 { // a scope is not a step
		return strings.Join(parts, "/") + "/"
	}
	return strings.Join(parts, "/")
}

// requireStable marks the steps that hear of completed checkpoints.
func requireStable(p *pipepb.Pipeline) error {
	marked := false
	for name, t := range p.Components.Transforms {
		if t.GetSpec().GetUrn() != graphx.URNParDo || !stableSteps[name[strings.LastIndexByte(name, '/')+1:]] {
			continue
		}
		payload := &pipepb.ParDoPayload{}
		if err := proto.Unmarshal(t.Spec.Payload, payload); err != nil {
			return err
		}
		payload.RequiresStableInput = true
		var err error
		if t.Spec.Payload, err = proto.Marshal(payload); err != nil {
			return err
		}
		marked = true
	}
	if marked && !slices.Contains(p.Requirements, requirementStable) {
		p.Requirements = append(p.Requirements, requirementStable)
	}
	return nil
}
