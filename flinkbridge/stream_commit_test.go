package flinkbridge

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/sinks"
)

// cells are the value states of one key, as a runner keeps them.
type cells struct {
	state.Provider // whatever else is asked for is not there
	of             map[string]any
}

func (c *cells) ReadValueState(id string) (any, []state.Transaction, error) {
	return c.of[id], nil, nil
}
func (c *cells) WriteValueState(t state.Transaction) error {
	c.of[t.Key] = t.Val
	return nil
}

// shard is one shard of a sink with its state: what it gets is numbered and committed.
type shard struct {
	t    *testing.T
	job  *job
	data []byte
	*cells
}

// run is a new run of the flow that goes on from the state.
func (s *shard) run(saved map[string]any, rewind bool) *shard {
	sp := s.job.spec
	sp.Run, sp.Rewind = newRunID(), rewind
	n := &shard{t: s.t, job: newJob(s.t.Context(), sp, s.job.graph, &checkpoint.Memory{}, slog.Default()), cells: &cells{of: maps.Clone(saved)}}
	s.t.Cleanup(keep(n.job))
	var err error
	if n.data, err = json.Marshal(sp); err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *shard) saved() map[string]any { return maps.Clone(s.of) }

// give numbers parts, none for a call, and gives what is to be committed.
func (s *shard) give(parts ...string) ([]*adfv1.Committable, error) {
	s.t.Helper()
	in := &adfv1.SinkState{Node: "out"}
	if len(parts) > 0 {
		in.Pending = []*adfv1.Committable{{}}
	}
	for _, p := range parts {
		in.Pending[0].Parts = append(in.Pending[0].Parts, &adfv1.Part{Content: &adfv1.Part_Value{Value: []byte(p)}})
	}
	value, err := proto.Marshal(in)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []*adfv1.Committable
	f := &sequenceFn{Job: s.data, Node: "out", Next: state.MakeValueState[[]byte]("next")}
	err = f.ProcessElement(s.t.Context(), s, []byte{0, 0, 0, 1}, value, func(_, value []byte) {
		c := &adfv1.Committable{}
		if err := proto.Unmarshal(value, c); err != nil {
			s.t.Error(err)
		}
		out = append(out, c)
	})
	return out, err
}

// commit gives and commits.
func (s *shard) commit(parts ...string) {
	s.t.Helper()
	out, err := s.give(parts...)
	if err == nil && len(out) > 0 {
		err = s.job.commitAll(s.t.Context(), "out", out)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// TestFork: of two runs that go on from one savepoint the second is refused, also when the first has committed nothing but that it was there; --rewind lets it.
func TestFork(t *testing.T) {
	var out memory.Store[int64]
	var windows memory.Store[window[int64]]
	g := built(t, endless(1, &out, &windows))
	sp := specified(t, g, Options{Parallelism: 1, Until: Until{Idle: true}})
	sp.Streaming = true
	first := (&shard{t: t, job: newJob(t.Context(), sp, g, nil, slog.Default())}).run(map[string]any{}, false)
	first.commit()
	early := first.saved()
	first.commit("", "", "")
	savepoint := first.saved()
	if out, err := first.give(); err != nil || len(out) != 0 {
		t.Errorf("got %v and %v for a call, want nothing", out, err)
	}

	refused := func(saved map[string]any, want string) {
		t.Helper()
		_, err := first.run(saved, false).give("")
		d, _ := fault.DetailOf(err)
		if err == nil || d.Code != "bridge.behind" || fault.Retryable(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want that the savepoint is behind: %s", err, want)
		}
		if d, final := rest.FaultOf("java.lang.RuntimeException: " + err.Error() + "\n\tat org.apache"); !final || d.Code != "bridge.behind" || !strings.Contains(d.Err.Error(), want) {
			t.Errorf("got %+v of what a cluster shows, want the error", d)
		}
	}
	refused(early, "knows 0 parts of shard 1, and the sink has 3")

	second := first.run(savepoint, false)
	second.commit() // the seal alone
	refused(savepoint, "knows 3 parts of shard 1, and the sink has 4")
	second.commit("", "")

	third := first.run(early, true)
	third.commit("")
	for _, c := range []struct {
		s    *shard
		want int64
	}{{first, 3}, {second, 1}, {third, 0}} {
		committer, err := g.Node("out").Sink.(sinks.AnyExact).NewCommitter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := committer.Progress(t.Context(), sinks.Shard{Flow: c.s.job.Flow, Node: "out", Run: c.s.job.Run, Shard: 1}); err != nil || got != c.want {
			t.Errorf("got the progress %d and %v, want %d", got, err, c.want)
		}
		if err := committer.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestMarked: what is no final error is not marked as one.
func TestMarked(t *testing.T) {
	if d, final := rest.FaultOf("java.lang.RuntimeException: runtime: read: no [sink.read]\n\tat x"); final || d.Code != "sink.read" {
		t.Errorf("got %+v, %v", d, final)
	}
	if got := marked(context.Canceled); got != context.Canceled {
		t.Errorf("got %v, want the error as it is", got)
	}
	later := &fault.SinkError{Detail: fault.Detail{Code: "sink.commit", Retry: fault.RetryLater, Err: errors.New("busy")}}
	if got := marked(later); got != error(later) {
		t.Errorf("got %v, want the error as it is", got)
	}
	if err := marked(nil); err != nil {
		t.Errorf("got %v, want nil", err)
	}
}
