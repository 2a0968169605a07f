package flinkbridge

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/fault"
)

// TestEnter: a worker works in the folder where the flow was submitted; without it relative paths fail, and it is told why.
func TestEnter(t *testing.T) {
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(before) // goes back at the end
	dir := t.TempDir()
	if err := enter(dir); err != nil {
		t.Fatal(err)
	}
	if here, _ := os.Getwd(); here != before {
		t.Errorf("got %s: only a worker goes elsewhere", here)
	}
	worker.Store(true)
	defer worker.Store(false)
	defer astray.Store(nil)
	if err := enter(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("here", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "here")); err != nil {
		t.Error(err)
	}

	missing := filepath.Join(dir, "missing")
	if err := enter(missing); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v", err)
	}
	if err := os.MkdirAll("out", 0o755); err == nil {
		t.Error("a relative path leads somewhere")
	}
	f := adf.New("astray")
	adf.From(f, "lines", &file.Source[justN]{Path: "in/*.csv", Format: "csv"}).To("out", &discard.Sink[justN]{})
	g, err := f.Build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), g, RunOptions{})
	d, ok := fault.DetailOf(err)
	if want := "relative paths of the flow start at " + missing + ", which is not on this machine"; !ok || !strings.Contains(d.Fix, want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
