package pool

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// booted starts the boot command as Flink's TaskManager does.
func booted(t *testing.T, job *runner) (cmd *exec.Cmd, log *logged) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	job.mu.Lock()
	q := job.request("1-1")
	job.info.ControlEndpoint, job.info.LoggingEndpoint, job.info.ArtifactEndpoint = q.ControlEndpoint, q.LoggingEndpoint, q.ArtifactEndpoint
	job.mu.Unlock()
	cmd, log = exec.Command(exe, "--id=1-1", "--provision_endpoint="+job.others, "--semi_persist_dir=/tmp", "--dir="+sharedDir), &logged{}
	cmd.Env = append(os.Environ(), roleVariable+"=boot")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		noProcesses(t)
	})
	return cmd, log
}

func TestBoot(t *testing.T) {
	job := newRunner(t, "tell")
	cmd, log := booted(t, job)
	job.stream("1-1")
	target, err := os.Readlink("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/exe")
	if err != nil || filepath.Base(target) != "worker-"+job.sum {
		t.Errorf("the process runs %s (%v), want the worker binary", target, err)
	}
	if want := `"--control_endpoint=` + job.control + `" "--semi_persist_dir=/tmp"]`; !strings.Contains(log.String(), want) {
		t.Errorf("got %s, want %s", log.String(), want)
	}
	cmd.Process.Kill()
	cmd.Wait()
}

// A worker that nobody looks after ends by itself.
func TestExitWithControl(t *testing.T) {
	job := newRunner(t, "exit")
	cmd, log := booted(t, job)
	job.stream("1-1")
	time.Sleep(1500 * time.Millisecond)
	if !alive(cmd.Process.Pid) {
		t.Fatal("it ended while connected")
	}
	job.closeControl("1-1")
	if err := cmd.Wait(); err != nil || !strings.Contains(log.String(), "Worker exited successfully!") {
		t.Errorf("got %v, %s", err, log.String())
	}
}

func TestBootFails(t *testing.T) {
	job := newRunner(t, "")
	job.says(strings.Repeat("0", 64))
	cmd, log := booted(t, job)
	if err := cmd.Wait(); err == nil || !strings.Contains(log.String(), "[flink.pool.checksum]") {
		t.Errorf("got %v, %s", err, log.String())
	}
	job.mu.Lock()
	defer job.mu.Unlock()
	if len(job.logged) != 1 || !strings.HasPrefix(job.logged[0], "CRITICAL runtime: start worker 1-1: the worker binary from ") {
		t.Errorf("got %q in the runner's log, want the failure", job.logged)
	}
}

func TestBootArguments(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--id and --provision_endpoint are needed"},
		{[]string{"--id=1", "--wrong=2"}, "flag provided but not defined: -wrong"},
		{[]string{"--id=1", "--provision_endpoint=x:1", "more"}, `unexpected argument "more"`},
	} {
		want := "configuration: boot a worker: " + c.want + " [flink.pool.boot]; this command is for Flink's TaskManagers, which give it its arguments"
		if err := Boot(context.Background(), c.args); err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}
