package splittest_test

import (
	"fmt"
	"testing"

	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/splits/splittest"
)

func TestX(t *testing.T) {
	h := splittest.Harness[string, memory.Split]{
		New: func(tb splittest.TB) splittest.Input[string, memory.Split] {
			var l memory.Log[string]
			for s := range 5 {
				for i := range 40 + s {
					l.Append(s, fmt.Sprint("v", s, "-", i))
				}
			}
			return splittest.Input[string, memory.Split]{
				Source: &memory.Source[string]{Log: &l, Batch: 7},
				Grow: func() int {
					l.Append(5, "a", "b", "c")
					return 3
				},
			}
		},
	}
	splittest.Run(t, h)
}
