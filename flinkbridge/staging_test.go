package flinkbridge

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/checkpoint"
)

// TestSweep: what old runs of the flow have left in staging goes; what is young, of this run or of another flow stays.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	store, err := checkpoint.OpenDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out memory.Store[int64]
	var windows memory.Store[window[int64]]
	g := built(t, endless(1, &out, &windows))
	s := specified(t, g, Options{Until: Until{Idle: true}})
	old := newRunID()
	j := newJob(t.Context(), s, g, store, slog.Default())
	for name, age := range map[string]time.Duration{
		"endless." + old:                  stagedFor + time.Hour, // a crash, or a batch run
		"endless." + newRunID():           stagedFor - time.Hour,
		"endless." + s.Run:                stagedFor + time.Hour,
		"endless":                         stagedFor + time.Hour, // checkpoints of an engine
		"endless.other." + newRunID():     stagedFor + time.Hour,
		"other." + newRunID():             stagedFor + time.Hour,
		"endless." + newRunID()[:14]:      stagedFor + time.Hour,
		"endless." + newRunID() + "-more": stagedFor + time.Hour,
	} {
		if err := store.CreateEpoch(t.Context(), name, 1, []byte("manifest")); err != nil {
			t.Fatal(err)
		}
		w, err := store.NewBlob(t.Context(), name, "parts-1")
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Commit(); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(-age)
		for _, file := range []string{"epoch-0000000001", "parts-1.blob", "."} {
			if err := os.Chtimes(filepath.Join(dir, name, file), at, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	there := func() map[string]bool {
		all := map[string]bool{}
		files, _ := filepath.Glob(dir + "/*")
		for _, f := range files {
			all[filepath.Base(f)] = true
		}
		return all
	}
	before := there()
	j.sweep(t.Context())
	after := there()
	var gone []string
	for name := range before {
		if !after[name] {
			gone = append(gone, name)
		}
	}
	if len(before) != 8 || !slices.Equal(gone, []string{"endless." + old}) {
		t.Errorf("got %v gone of %v, want one old run of the flow", gone, slices.Sorted(maps.Keys(before)))
	}
}
