//go:build integration

package flinkcli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// TestCommand is the built command with a real cluster: up, doctor, status, list, submissions, down.
func TestCommand(t *testing.T) {
	dir := t.TempDir()
	adf := filepath.Join(dir, "adf")
	build := exec.Command("go", "build", "-o", adf, "github.com/activedataflow/adf/cmd/adf")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cache, err := filepath.Abs("../../.cache")
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "cluster")
	run := func(want int, answer any, args ...string) string {
		t.Helper()
		var stdout, stderr bytes.Buffer
		c := exec.Command(adf, append([]string{"flink"}, args...)...)
		c.Env = append(os.Environ(), "ADF_CACHE="+cache, "ADF_FLINK_DIR="+folder, "ADF_FLINK=")
		c.Stdout, c.Stderr = &stdout, &stderr
		began := time.Now()
		c.Run()
		if code := c.ProcessState.ExitCode(); code != want {
			t.Fatalf("%v: got %d, want %d\n%s%s", args, code, want, &stdout, &stderr)
		}
		t.Logf("%v: %s", args, time.Since(began).Round(10*time.Millisecond))
		if answer != nil {
			if err := json.Unmarshal(stdout.Bytes(), answer); err != nil {
				t.Fatalf("%v: %v: %s", args, err, &stdout)
			}
		}
		return stdout.String() + stderr.String()
	}
	defer run(0, nil, "down")
	var up struct {
		Address, Pool string
		RunnerJar     string `json:"runner_jar"`
		Processes     []cluster.Process
	}
	run(0, &up, "up", "--json", "--port", "0", "--slots", "2")
	if !strings.HasPrefix(up.Address, "http://127.0.0.1:") || len(up.Processes) != 3 || up.Pool == "" || up.RunnerJar == "" {
		t.Errorf("got %+v", up)
	}
	if got := run(1, nil, "up"); !strings.Contains(got, "flink.cluster.running") {
		t.Errorf("a second one: got %s", got)
	}
	type report struct {
		OK     bool
		Checks []struct{ Check, Status, Says, Fix string }
	}
	var r report
	check := func(want int, name, status string, args ...string) {
		t.Helper()
		r = report{}
		run(want, &r, append([]string{"doctor", "--json"}, args...)...)
		for _, c := range r.Checks {
			if c.Check == name && c.Status == status {
				return
			}
		}
		t.Errorf("%v: %s is not %s: %+v", args, name, status, r.Checks)
	}
	check(0, "worker", "ok")
	check(0, "checkpoints", "ok")
	check(0, "pool", "ok")
	check(1, "slots", "problem", "--parallelism", "3")
	check(1, "pool", "problem", "--pool", "127.0.0.1:1")
	check(1, "runner", "problem", "--runner-jar", adf)
	check(1, "worker", "problem", "--binary", up.RunnerJar)
	var status struct {
		Flink string
		Slots int
	}
	run(0, &status, "status", "--json")
	if status.Flink != cluster.FlinkVersion || status.Slots != 2 {
		t.Errorf("got %+v", status)
	}
	if got := run(0, nil, "list"); !strings.Contains(got, "there are no jobs") {
		t.Errorf("got %s", got)
	}
	submissions(t, adf, up.Address, func(dir string) *exec.Cmd {
		c := exec.Command(adf)
		c.Dir, c.Env = dir, append(os.Environ(), "ADF_CACHE="+cache, "ADF_FLINK_DIR="+folder, "ADF_FLINK=", "TMPDIR="+t.TempDir())
		return c
	})
	flows(t, adf, dir, run, append(os.Environ(), "ADF_CACHE="+cache, "ADF_FLINK_DIR="+folder, "ADF_FLINK="))
	run(0, nil, "down")
	for _, p := range up.Processes {
		if p.Alive() {
			t.Errorf("%s lives", p.Name)
		}
	}
	if got := run(1, nil, "list", "--flink", up.Address); !strings.Contains(got, "flink.unreachable") {
		t.Errorf("got %s", got)
	}
}

// submissions are some that go wrong in ways that only a real cluster shows, and one that goes well, from a folder that its paths are relative to. Whatever goes wrong,
// no job runs on, no JAR stays, and no file.
func submissions(t *testing.T, adf, address string, command func(dir string) *exec.Cmd) {
	dir := t.TempDir()
	crash, other := filepath.Join(dir, "crash"), filepath.Join(dir, "other")
	for file, pkg := range map[string]string{crash: "./testdata/crash", other: "./testdata/other"} {
		build := exec.Command("go", "build", "-o", file, pkg)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	for name, text := range map[string]string{
		"flow.yaml": `flow: rows
version: 1
sources:
  rows: {file: {path: "in/*.jsonl", format: jsonl, watch: 1s}, schema: {n: int}}
sinks:
  out: {from: rows, file: {path: out/rows, format: jsonl}}
`,
		"renamed.yaml": `flow: rows
version: 1
sources:
  rows: {file: {path: "in/*.jsonl", format: jsonl, watch: 1s}, schema: {n: int}}
sinks:
  kept: {from: rows, file: {path: out/rows, format: jsonl}}
`,
		"in/a.jsonl": "{\"n\":1}\n{\"n\":2}\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	client, err := rest.New(rest.Config{Address: address})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// submit begins a submission; the result waits for its end.
	submit := func(args ...string) (c *exec.Cmd, end func(want int) string) {
		var output bytes.Buffer
		c = command(dir)
		c.Args = append([]string{adf, "flink", "submit", "--interval", "1s"}, args...)
		c.Stdout, c.Stderr = &output, &output
		began := time.Now()
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return c, func(want int) string {
			t.Helper()
			_ = c.Wait()
			t.Logf("%v: %d after %s: %s", args, c.ProcessState.ExitCode(), time.Since(began).Round(10*time.Millisecond), &output)
			if got := c.ProcessState.ExitCode(); got != want {
				t.Errorf("%v: got %d, want %d", args, got, want)
			}
			return output.String()
		}
	}
	clean := func(t *testing.T, c *exec.Cmd) {
		t.Helper()
		jobs, err := client.Jobs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if !j.Status.Ended() {
				t.Errorf("%s is %s", j.ID, j.Status)
			}
		}
		if jars, err := client.Jars(t.Context()); err != nil || len(jars) > 0 {
			t.Errorf("the JARs %v stay (%v)", jars, err)
		}
		tmp := strings.TrimPrefix(c.Env[len(c.Env)-1], "TMPDIR=")
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("%v stay (%v)", left, err)
		}
	}
	t.Run("a worker that crashes", func(t *testing.T) {
		c, end := submit("flow.yaml", "--binary", crash)
		if got := end(1); !strings.Contains(got, "it has failed 3 times") || !strings.Contains(got, "exit status 3; its last words: no luck today") ||
			!strings.Contains(got, "flink.pool.worker.exited") {
			t.Errorf("got %s", got)
		}
		clean(t, c)
	})
	t.Run("a plan of another version", func(t *testing.T) {
		c, end := submit("flow.yaml", "--binary", other)
		if got := end(1); !strings.Contains(got, "bridge.digest") || !strings.Contains(got, "this worker builds the plan") || !strings.Contains(got, "let the workers run the program") {
			t.Errorf("got %s", got)
		}
		clean(t, c)
	})
	t.Run("interrupted", func(t *testing.T) {
		c, end := submit("flow.yaml")
		for running := false; !running; time.Sleep(50 * time.Millisecond) {
			jobs, err := client.Jobs(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			running = len(jobs) > 0 && jobs[0].Status == rest.Running
		}
		if err := c.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if got := end(130); !strings.Contains(got, "is cancelled") || !strings.Contains(got, "interrupted") {
			t.Errorf("got %s", got)
		}
		clean(t, c)
	})
	t.Run("from its folder, and state of a step that is gone", func(t *testing.T) {
		_, end := submit("flow.yaml")
		id := strings.TrimSpace(end(0))
		id = id[strings.LastIndexByte(id, '\n')+1:]
		path, err := client.Stop(t.Context(), id, false, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.WaitEnd(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		rows := ""
		files, _ := filepath.Glob(filepath.Join(dir, "out/rows/*.jsonl"))
		for _, f := range files {
			data, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			rows += string(data)
		}
		if strings.Count(rows, "\n") != 2 {
			t.Errorf("got the rows %q in %v, want both", rows, files)
		}
		c, end := submit("renamed.yaml", "--savepoint", path)
		if got := end(1); !strings.Contains(got, "flink.savepoint.dropped") || !strings.Contains(got, "--allow-dropped") {
			t.Errorf("got %s", got)
		}
		clean(t, c)
	})
}

// flows runs flows there: with workers that the TaskManager starts itself, as a run of this process, and until a signal comes.
func flows(t *testing.T, adf, dir string, run func(want int, answer any, args ...string) string, env []string) {
	write := func(name, content string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	count := func(folder string) (n int) {
		files, _ := filepath.Glob(filepath.Join(dir, folder, "*.jsonl"))
		for _, name := range files {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			n += bytes.Count(content, []byte("\n"))
		}
		return n
	}
	flow := func(name string, records, rate int, out string) string {
		return write(name+".yaml", fmt.Sprintf("flow: %s\nversion: 1\nsources:\n  in: {generate: {records: %d, rate: %d, fields: [id sequence]}}\nsinks:\n  out: {from: in, file: {path: %s, format: jsonl}}\n",
			name, records, rate, filepath.Join(dir, out)), 0o644)
	}

	boot := write("boot", "#!/bin/sh\nexec "+adf+" flink boot \"$@\" --dir "+filepath.Join(dir, "workers")+"\n", 0o755)
	run(0, nil, "submit", flow("booted", 5000, 0, "booted"), "--boot", boot, "--wait")
	if got := count("booted"); got != 5000 {
		t.Errorf("workers by boot: got %d records, want 5000", got)
	}
	if started, _ := filepath.Glob(filepath.Join(dir, "workers", "*")); len(started) == 0 {
		t.Error("the boot command has started no worker")
	}

	here := func(args ...string) (c *exec.Cmd, stdout *bytes.Buffer, stderr func() string) {
		file, err := os.CreateTemp(dir, "stderr-*")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		stdout = &bytes.Buffer{}
		c = exec.Command(adf, append([]string{"run", "--runner", "flink"}, args...)...)
		c.Env, c.Stdout, c.Stderr = env, stdout, file
		return c, stdout, func() string {
			content, err := os.ReadFile(file.Name())
			if err != nil {
				t.Fatal(err)
			}
			return string(content)
		}
	}
	c, _, stderr := here(flow("ends", 5000, 0, "ends"))
	if c.Run(); c.ProcessState.ExitCode() != 0 || count("ends") != 5000 || !strings.Contains(stderr(), "ends runs as a batch job") || !strings.Contains(stderr(), "ends finished in") {
		t.Errorf("got %d, %d records and %s", c.ProcessState.ExitCode(), count("ends"), stderr())
	}

	c, stdout, stderr := here(flow("endless", 0, 500, "endless"), "--json")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); !strings.Contains(stderr(), "endless runs as a streaming job") && time.Since(began) < 2*time.Minute; {
		time.Sleep(200 * time.Millisecond)
	}
	if err := c.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	c.Wait()
	_, savepoint, _ := strings.Cut(stderr(), "--savepoint ")
	path := strings.TrimPrefix(strings.TrimSpace(savepoint), "file:")
	if _, err := os.Stat(filepath.Join(path, "_metadata")); err != nil || c.ProcessState.ExitCode() != 3 || !strings.Contains(stdout.String(), `"stopped": true`) || count("endless") == 0 {
		t.Errorf("got %d, %d records, %v, %s and %s", c.ProcessState.ExitCode(), count("endless"), err, stdout, stderr())
	}
}
