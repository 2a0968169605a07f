//go:build integration

package flinkcli_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestReadme: the README has its three headings about Beam and Flink, and the commands under them run as printed, one after another.
func TestReadme(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	section := func(heading string) (commands []string) {
		_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
		section, _, _ = strings.Cut(section, "\n## ")
		for line := range strings.Lines(section) {
			if command, ok := strings.CutPrefix(line, "    "); ok {
				commands = append(commands, strings.TrimSpace(command))
			}
		}
		if !found || len(commands) == 0 {
			t.Fatalf("the README has no heading %q with commands", heading)
		}
		return commands
	}
	submit, direct, watch := section("Submit to a Flink cluster"), section("Run locally on Beam's direct runner"), section("Watch in the Flink dashboard")
	// What is watched runs until it is stopped.
	var commands []string
	for _, c := range submit {
		if strings.Contains(c, "flink stop") {
			commands = append(commands, watch...)
		}
		commands = append(commands, c)
	}

	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(root, "examples"), filepath.Join(dir, "examples")); err != nil {
		t.Fatal(err)
	}
	run := func(dir, command string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
		defer cancel()
		c := exec.CommandContext(ctx, "bash", "-ec", command)
		c.Dir, c.WaitDelay = dir, 10*time.Second
		c.Env = append(os.Environ(), "CGO_ENABLED=0", "ADF_CACHE="+filepath.Join(root, ".cache"), "ADF_FLINK_DIR="+filepath.Join(dir, "cluster"), "ADF_FLINK=")
		began := time.Now()
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", command, err, out)
		}
		t.Logf("%s: %s", command, time.Since(began).Round(100*time.Millisecond))
		return string(out)
	}
	run(root, "go build -o "+filepath.Join(dir, "bin", "adf")+" ./cmd/adf")
	lines := func(files string) int { return strings.Count(run(dir, "cat "+files), "\n") }

	for _, c := range direct {
		if strings.HasPrefix(c, "go run ") {
			run(root, c+" --out="+filepath.Join(dir, "out", "beam")) // which is all that is changed: nothing is to be left in the tree
			continue
		}
		run(dir, c)
	}
	if n := lines("out/flights-by-day/*.jsonl"); n != 5442 {
		t.Errorf("the direct runner: got %d lines", n)
	}
	run(dir, "rm -r out")

	t.Cleanup(func() {
		_ = exec.Command(filepath.Join(dir, "bin", "adf"), "flink", "down", "--dir", filepath.Join(dir, "cluster")).Run()
	})
	for _, c := range commands {
		c = strings.Replace(c, "flink up", "flink up --port 0", 1) // another test may have the one that is printed
		out := run(dir, c)
		switch {
		case strings.Contains(c, "flink status") && (!strings.Contains(out, "per_second") || !strings.Contains(out, "WATERMARK")):
			t.Errorf("%s: got\n%s", c, out)
		case strings.Contains(c, "flights/flow.yaml") && lines("out/flights-by-day/*.jsonl") != 5442:
			t.Errorf("%s: got\n%s", c, out)
		}
	}
	if lines("out/sensors/*.jsonl") == 0 {
		t.Error("the streaming job has no results")
	}
}
