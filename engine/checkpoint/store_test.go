package checkpoint_test

import (
	"testing"

	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/checkpoint/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() checkpoint.Store {
		m := &checkpoint.Memory{}
		return func() checkpoint.Store { return m }
	})
}

func TestDirectory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() checkpoint.Store {
		dir := t.TempDir()
		return func() checkpoint.Store {
			d, err := checkpoint.OpenDirectory(dir)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
	})
}
