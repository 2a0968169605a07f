package adf

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/splits"
)

// DefaultBuckets is how many buckets keys are spread over, and DefaultShards how many sequences of commits an exactly-once sink has. Both
// are fixed for a flow's life.
const (
	DefaultBuckets = 128
	DefaultShards  = 4
)

// planVersion is the version of the plan's form.
const planVersion = 1

// Plan is a flow as data: nodes, edges, schemas, configurations and guarantees, without any user type and without a runtime.
// It is what explain shows, what a checkpoint is matched with, and what a worker in another process checks its own flow against.
type Plan struct {
	proto *adfv1.Plan
}

// Proto is the plan's message; nobody changes it.
func (p *Plan) Proto() *adfv1.Plan { return p.proto }

// Marshal gives the plan's bytes; the same flow gives the same bytes.
func (p *Plan) Marshal() ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(p.proto)
}

// UnmarshalPlan reads a plan of any version up to this one.
func UnmarshalPlan(data []byte) (*Plan, error) {
	p := &adfv1.Plan{}
	if err := proto.Unmarshal(data, p); err != nil {
		return nil, &fault.RuntimeError{Detail: fault.Detail{Code: "plan.form", Doing: "read plan", Retry: fault.RetryNever, Err: err}}
	}
	if p.Version == 0 || p.Version > planVersion {
		return nil, &fault.RuntimeError{Detail: fault.Detail{
			Code: "plan.version", Doing: "read plan", Retry: fault.RetryNever, Err: versionError(p.Version),
			Fix: "run both sides with the same release",
		}}
	}
	return &Plan{p}, nil
}

// Digest names the plan by its content.
func (p *Plan) Digest() string {
	data, err := p.Marshal()
	if err != nil {
		panic(err) // a message made here is always well formed
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// Flow is the flow's name, Buckets and Shards what is fixed for its life.
func (p *Plan) Flow() string { return p.proto.Flow }

// Buckets is how many buckets keys are spread over.
func (p *Plan) Buckets() int { return int(p.proto.Buckets) }

// Shards is how many sequences of commits an exactly-once sink has.
func (p *Plan) Shards() int { return int(p.proto.Shards) }

func planOf(flow string, g *Graph) *Plan {
	p := &adfv1.Plan{Version: planVersion, Flow: flow, Buckets: DefaultBuckets, Shards: DefaultShards}
	for _, n := range g.Nodes {
		m := &adfv1.PlanNode{
			Name: n.Name, Kind: adfv1.PlanNode_Kind(n.Kind + 1), Type: n.Type, Schema: n.Out.Schema().String(),
			Parallelism: uint32(n.Parallelism), Emit: n.Emit,
		}
		if n.Config != nil {
			if config, err := json.Marshal(n.Config); err == nil { // maps are written in the order of their keys
				m.Config = string(config)
			}
		}
		for _, e := range n.Inputs {
			m.Inputs = append(m.Inputs, &adfv1.PlanEdge{From: e.From.Node, Port: e.From.Port, Input: uint32(e.Input)})
		}
		if n.Kind == KindSource {
			m.Bounded = n.Source.Boundedness() == splits.Bounded
			if n.Time != nil {
				m.Time = &adfv1.PlanTime{OutOfOrdernessMs: n.Time.OutOfOrderness.Milliseconds(), IdleAfterMs: n.Time.IdleAfter.Milliseconds()}
			}
		}
		if n.Kind == KindSink {
			m.Guarantee = n.Sink.Guarantee().String()
		}
		p.Nodes = append(p.Nodes, m)
	}
	return &Plan{p}
}
