package memory_test

import (
	"context"
	"strings"
	"testing"

	"github.com/activedataflow/adf/connectors/memory"
)

func TestSize(t *testing.T) {
	text := strings.Repeat("x", 100)
	many := make([]string, 5000)
	for i := range many {
		many[i] = text
	}
	for name, x := range map[string]struct {
		src         *memory.Source[string]
		least, most int64
		known       bool
	}{
		"many":    {&memory.Source[string]{Splits: [][]string{many[:10], many[10:]}}, 500_000, 600_000, true},
		"nothing": {&memory.Source[string]{}, 0, 0, true},
		"endless": {&memory.Source[string]{Splits: [][]string{many}, Follow: true}, 0, 0, false},
	} {
		if got, known := x.src.Size(context.Background()); got < x.least || got > x.most || known != x.known {
			t.Errorf("%s: got %d and %v, want %d to %d", name, got, known, x.least, x.most)
		}
	}
}
