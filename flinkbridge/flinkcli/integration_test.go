//go:build integration

package flinkcli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/flinkbridge/cluster"
)

// TestCommand is the built command with a real cluster: up, doctor, status, list, down.
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
