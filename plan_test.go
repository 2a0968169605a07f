package adf_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

var updateFlow = flag.Bool("update-flow", false, "rewrite the golden files of plans and explanations")

// shape is what a flow of these tests is made of; each field changes something that a plan says.
type shape struct {
	flow, step     string
	outOfOrder     time.Duration
	idle           time.Duration
	window         adf.Window
	ttl            time.Duration
	path           string
	parallelism    int
	late, errors   bool
	fromStep       bool
	endless        bool
	anotherColumns bool
}

func basic() shape {
	return shape{
		flow: "trips", step: "odd", outOfOrder: time.Minute, idle: 2 * time.Minute, window: adf.Tumbling(24 * time.Hour).AllowedLateness(time.Hour),
		ttl: time.Hour, path: "out", parallelism: 3, late: true, errors: true,
	}
}

func (s shape) build(t testing.TB) *adf.Graph {
	t.Helper()
	f := adf.New(s.flow)
	src := trips()
	if s.endless {
		src = endless()
	}
	in := adf.From(f, "in", src).EventTime(whenOf, s.outOfOrder).IdleAfter(s.idle).Parallelism(s.parallelism)
	odd := in.Filter(s.step, isOdd)
	counts := adf.Aggregate(adf.KeyBy(odd, cityOf).Window(s.window), "counts", counting{})
	counts.To("out", &file.Sink[count]{Path: s.path, Format: "jsonl"})
	own := adf.Process(adf.KeyBy(odd, cityOf), "own", s.ttl, func() operators.Processor[trip, string, trip] { return passing{} })
	if s.fromStep {
		own = adf.Union(own, odd)
	}
	own.To("all", none[trip]())
	if s.late {
		counts.Late().To("late", none[trip]())
	}
	if s.errors {
		f.Errors().To("dead", none[sinks.DeadLetter]())
	}
	if s.anotherColumns {
		adf.Map(odd, "cities", func(t trip) (string, error) { return t.City, nil }).To("cities-out", none[string]())
	}
	g, err := f.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestPlanGolden(t *testing.T) {
	data, err := basic().build(t).Plan.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	const name = "testdata/flow/plan-v1.bin"
	if *updateFlow {
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	p, err := adf.UnmarshalPlan(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		got, err := adf.UnmarshalPlan(data)
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("got\n%s\nwant\n%s", prototext.Format(got.Proto()), prototext.Format(p.Proto()))
	}
	again, err := p.Marshal()
	if err != nil || !bytes.Equal(again, want) {
		t.Errorf("read and written again it is something else (%v)", err)
	}
	if p.Flow() != "trips" || p.Buckets() != adf.DefaultBuckets || p.Shards() != adf.DefaultShards {
		t.Errorf("got the flow %s with %d buckets and %d shards", p.Flow(), p.Buckets(), p.Shards())
	}
}

// The digest is that of the content: the same for the same flow, and another one for any other.
func TestPlanDigest(t *testing.T) {
	digest := func(change func(s *shape)) string {
		s := basic()
		change(&s)
		return s.build(t).Plan.Digest()
	}
	same := digest(func(*shape) {})
	for range 20 {
		if again := digest(func(*shape) {}); again != same {
			t.Fatalf("got %s and %s for the same flow", same, again)
		}
	}
	seen := map[string]string{same: "the flow as it was"}
	for what, change := range map[string]func(*shape){
		"flow":            func(s *shape) { s.flow = "tours" },
		"step":            func(s *shape) { s.step = "uneven" },
		"out of order":    func(s *shape) { s.outOfOrder++; s.outOfOrder += time.Second },
		"idle":            func(s *shape) { s.idle += time.Second },
		"window size":     func(s *shape) { s.window = adf.Tumbling(12 * time.Hour).AllowedLateness(time.Hour) },
		"window lateness": func(s *shape) { s.window = adf.Tumbling(24 * time.Hour) },
		"window offset": func(s *shape) {
			s.window = adf.Tumbling(24 * time.Hour).AllowedLateness(time.Hour).Offset(6 * time.Hour)
		},
		"ttl":         func(s *shape) { s.ttl = 2 * time.Hour },
		"option":      func(s *shape) { s.path = "elsewhere" },
		"parallelism": func(s *shape) { s.parallelism = 4 },
		"edge less":   func(s *shape) { s.late = false },
		"errors":      func(s *shape) { s.errors = false },
		"edge more":   func(s *shape) { s.fromStep = true },
		"bounded":     func(s *shape) { s.endless = true },
		"node more":   func(s *shape) { s.anotherColumns = true },
	} {
		d := digest(change)
		if before, twice := seen[d]; twice {
			t.Errorf("a change of %s has the digest of %s", what, before)
		}
		seen[d] = what
	}
}

func TestPlanOfAFile(t *testing.T) {
	var first []byte
	for range 5 {
		f, err := adf.Parse(t.Context(), "everything.yaml", []byte(everything), options(t))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			g, err := f.Build(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			data, err := g.Plan.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = data
			}
			if !bytes.Equal(data, first) {
				t.Fatal("the same file gives two plans")
			}
		}
	}
	if bytes.Contains(first, []byte("hunter2")) {
		t.Error("the plan has a secret")
	}
}

func TestPlanOfAnotherRelease(t *testing.T) {
	for _, c := range []struct {
		data []byte
		code string
		want string
	}{
		{[]byte{0xff}, "plan.form", "runtime: read plan: "},
		{nil, "plan.version", "runtime: read plan: got version 0 of the plan's form, want 1 to 1 [plan.version]; run both sides with the same release"},
		{marshal(t, &adfv1.Plan{Version: 2, Flow: "f"}), "plan.version",
			"runtime: read plan: got version 2 of the plan's form, want 1 to 1 [plan.version]; run both sides with the same release"},
	} {
		_, err := adf.UnmarshalPlan(c.data)
		var r *fault.RuntimeError
		if !errors.As(err, &r) || r.Code != c.code || fault.Retryable(err) || !bytes.HasPrefix([]byte(err.Error()), []byte(c.want)) {
			t.Errorf("%x: got %v, want %s", c.data, err, c.want)
		}
	}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func FuzzUnmarshalPlan(f *testing.F) {
	if golden, err := os.ReadFile("testdata/flow/plan-v1.bin"); err == nil {
		f.Add(golden)
	}
	f.Add([]byte{8, 1})
	f.Add(marshal(f, &adfv1.Plan{Version: 1, Flow: "f", Nodes: []*adfv1.PlanNode{{Name: "n", Inputs: []*adfv1.PlanEdge{{From: "m"}}}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := adf.UnmarshalPlan(data)
		if err != nil {
			if d, ok := fault.DetailOf(err); !ok || d.Code != "plan.form" && d.Code != "plan.version" {
				t.Fatalf("got %v", err)
			}
			return
		}
		written, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := adf.UnmarshalPlan(written)
		if err != nil {
			t.Fatal(err)
		}
		if again.Digest() != p.Digest() || !proto.Equal(again.Proto(), p.Proto()) {
			t.Error("read again it is something else")
		}
		_, _, _ = p.Flow(), p.Buckets(), p.Shards()
	})
}

// A plan names every schema that a worker of another process has to agree with.
func TestPlanHasSchemas(t *testing.T) {
	for _, n := range basic().build(t).Plan.Proto().Nodes {
		if _, err := row.ParseSchema(n.Schema); err != nil || n.Schema == "" {
			t.Errorf("%s: got the schema %q, %v", n.Name, n.Schema, err)
		}
	}
}
