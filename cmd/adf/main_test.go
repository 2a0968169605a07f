package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestEveryConnectorIsLinked: a connector's folder that registers something is registered here.
func TestEveryConnectorIsLinked(t *testing.T) {
	main, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	folders, err := filepath.Glob("../../connectors/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	linked := 0
	for _, file := range folders {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), "\nfunc Register(r *connectors.Registry) error {") {
			continue
		}
		linked++
		if name := filepath.Base(filepath.Dir(file)); !strings.Contains(string(main), name+".Register") {
			t.Errorf("connectors/%s is not linked", name)
		}
	}
	if linked < 4 {
		t.Errorf("got %d connectors: the list is not whole", linked)
	}
}

// TestProcess runs the built command: its streams, its exit codes, and a signal from outside.
func TestProcess(t *testing.T) {
	adf := filepath.Join(t.TempDir(), "adf")
	if out, err := exec.Command("go", "build", "-o", adf, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	dir := t.TempDir()
	run := func(stdin string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
		var stdout, stderr bytes.Buffer
		c := exec.Command(adf, args...)
		c.Dir, c.Stdin, c.Stdout, c.Stderr = dir, strings.NewReader(stdin), &stdout, &stderr
		return c, &stdout, &stderr
	}

	c, stdout, stderr := run("id\n1\n2\n", "run", "/dev/null")
	if c.Run(); c.ProcessState.ExitCode() != 2 || stdout.Len() > 0 || stderr.Len() == 0 {
		t.Errorf("got %d, %q and %q, want 2 and an error", c.ProcessState.ExitCode(), stdout, stderr)
	}

	pipe := "flow: pipe\nversion: 1\nsources:\n  in: {stdin: {format: csv}, schema: {id: int64}}\nsinks:\n  out: {from: in, stdout: {}}\n"
	if err := os.WriteFile(filepath.Join(dir, "pipe.yaml"), []byte(pipe), 0o644); err != nil {
		t.Fatal(err)
	}
	c, stdout, stderr = run("id\n1\n2\n", "run", "pipe.yaml")
	if c.Run(); c.ProcessState.ExitCode() != 0 || stdout.String() != "{\"id\":1}\n{\"id\":2}\n" {
		t.Errorf("got %d, %q and %q, want the records and nothing else on standard output", c.ProcessState.ExitCode(), stdout, stderr)
	}

	endless := "flow: endless\nversion: 1\nsources:\n  in: {generate: {rate: 1000, fields: [id sequence]}}\nsinks:\n  out: {from: in, discard: {}}\n"
	c, _, stderr = run(endless, "run", "-", "--checkpoints", "state", "--interval", "50ms")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if saved, _ := filepath.Glob(filepath.Join(dir, "state/endless/epoch-*")); len(saved) > 1 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err := c.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if c.Wait(); c.ProcessState.ExitCode() != 3 {
		t.Errorf("got %d and %q, want 3", c.ProcessState.ExitCode(), stderr)
	}
}
