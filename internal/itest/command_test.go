//go:build integration

package itest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// command is the adf command, built once for all tests.
var command string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "adf-itest")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	command = filepath.Join(dir, "adf")
	if out, err := exec.Command("go", "build", "-o", command, "github.com/activedataflow/adf/cmd/adf").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build adf: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// root is the repository's root, where the example flows are to be run from.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// process is one run of the command.
type process struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	log  bytes.Buffer
	done chan struct{}
	err  error
}

// start starts adf in the repository's root; it is killed when the test ends.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(command, args...), done: make(chan struct{})}
	p.cmd.Dir = root(t)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.kill)
	return p
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// wait gives the exit code.
func (p *process) wait(t *testing.T, most time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(most):
		p.kill()
		t.Fatalf("%v did not end within %s:\n%s", p.cmd.Args[1:], most, p.log.String())
	}
	var exit *exec.ExitError
	switch {
	case p.err == nil:
		return 0
	case errors.As(p.err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(p.err)
	return -1
}

// run runs adf to its end, which must be a good one, and gives what it printed.
func run(t *testing.T, args ...string) string {
	t.Helper()
	p := start(t, args...)
	if code := p.wait(t, 3*time.Minute); code != 0 {
		t.Fatalf("adf %s: exit code %d\n%s%s", strings.Join(args, " "), code, p.out.String(), p.log.String())
	}
	return p.out.String()
}

// lines are the lines of all files of a sink's directory, sorted. Hidden files are the sink's own.
func lines(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	for _, path := range visible(t, dir) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		s := bufio.NewScanner(f)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			all = append(all, s.Text())
		}
		f.Close()
		if s.Err() != nil {
			t.Fatal(s.Err())
		}
	}
	slices.Sort(all)
	return all
}

// visible are the files under final names.
func visible(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") && path != dir {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return paths
}

// staged are the files that wait to be committed; after an orderly end there are none.
func staged(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(filepath.Join(dir, ".adf", "staging"), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if !d.IsDir() {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// same compares two sets of lines, each line as often as it is there.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	count := map[string]int{}
	for _, l := range want {
		count[l]--
	}
	for _, l := range got {
		count[l]++
	}
	shown := 0
	for _, l := range slices.Sorted(maps.Keys(count)) {
		if n := count[l]; n != 0 && shown < 10 {
			t.Logf("%s: %+d × %s", what, n, l)
			shown++
		}
	}
	t.Errorf("%s: got %d lines, want %d, and they differ", what, len(got), len(want))
}

// canonical gives JSON lines one form: fields in the order of their names.
func canonical(t *testing.T, lines []string) []string {
	t.Helper()
	all := make([]string, len(lines))
	for i, l := range lines {
		var v map[string]any
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = string(b)
	}
	slices.Sort(all)
	return all
}
