package engine_test

import (
	"strings"
	"testing"

	"github.com/activedataflow/adf/connectors/connectortest"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
)

func TestOptions(t *testing.T) { connectortest.Run(t, engine.Register) }

func TestWrongOptionsAreRefused(t *testing.T) {
	f := windows(memory.Values(event{}), newTarget[total](), nil)
	_, err := engine.Run(t.Context(), f, engine.Options{Interval: -1, Until: "tomorrow", Parallelism: -2})
	for _, want := range []string{"options.interval: got -1ns", `options.until: got tomorrow, want one of drained, idle, signal`, "options.parallelism: got -2"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}
