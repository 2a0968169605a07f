package flinkbridge

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/engine/checkpoint"
)

// TestOtherLayoutIsRefused: state belongs to the keys that it was saved under. A job with others says which numbers to give; as many of them read it.
func TestOtherLayoutIsRefused(t *testing.T) {
	f := adf.New("layout")
	adf.From(f, "in", &generate.Source[reading]{Records: 10, Splits: 3, Make: readingOf}).To("out", &discard.Sink[reading]{})
	g, err := f.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	open := func(lanes, buckets int, data []byte) (*enumerator, error) {
		j := newJob(t.Context(), spec{Run: newRunID(), Flow: "layout", Lanes: lanes, Buckets: buckets}, g, &checkpoint.Memory{}, slog.Default())
		return openEnumerator(j, j.node("in"), data)
	}
	e, err := open(4, 32, nil)
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := e.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	state := append(newToken(), snapshot...)
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	if e, err = open(4, 32, state); err != nil {
		t.Fatal(err)
	}
	if err := e.close(); err != nil {
		t.Fatal(err)
	}
	for _, other := range [][2]int{{6, 32}, {4, 128}} {
		_, err := open(other[0], other[1], state)
		if code(err) != "bridge.layout" || !strings.Contains(err.Error(), "--lanes 4 --buckets 32") {
			t.Errorf("%v: got %v, want bridge.layout with the numbers of the state", other, err)
		}
	}
}
