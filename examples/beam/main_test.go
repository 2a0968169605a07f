package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/flinkbridge"
)

func TestMain(m *testing.M) {
	flinkbridge.Register("delayed", build)
	flag.Parse()
	beam.Init()
	os.Exit(m.Run())
}

// TestRun runs the program on the direct runner, and the flow on the engine: the same lines.
func TestRun(t *testing.T) {
	t.Chdir("../..")
	dir := t.TempDir()
	for name, value := range map[string]string{"runner": "direct", "out": dir + "/beam"} {
		if err := flag.Set(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Run(context.Background(), flow(*in, dir+"/engine", *least), engine.Options{}); err != nil {
		t.Fatal(err)
	}
	got, want := lines(t, dir+"/beam"), lines(t, dir+"/engine")
	if len(want) < 1000 || len(got) != len(want) {
		t.Fatalf("got %d lines, want %d", len(got), len(want))
	}
	for line := range want {
		if !got[line] {
			t.Errorf("want %s", line)
		}
	}
}

func lines(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			all[line] = true
		}
	}
	return all
}
