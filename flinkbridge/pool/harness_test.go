//go:build integration

package pool

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Beam's own harness takes what a pool gives it, sleeps for ever when its control stream was closed, and is ended then.
func TestBeamHarness(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "harness")
	if out, err := exec.Command("go", "build", "-o", binary, "./testdata/harness").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	job := newRunner(t, "")
	job.give(binary)
	p, c, log := newPool(t, nil)
	job.mustStart(c, "1-1", "1-2")
	job.closeControl("1-1")
	eventually(t, "the worker ends", func() bool { return len(p.Status().Workers) == 1 })
	if e := p.Status().Ended[0]; e.ID != "1-1" || e.Reason != "its control connection is gone" {
		t.Errorf("got %+v", e)
	}
	if !strings.Contains(log.String(), "Worker exited successfully!") {
		t.Error("the worker ended otherwise")
	}
	job.stream("1-2")
	job.die()
	eventually(t, "the other ends too", func() bool { return len(p.Status().Workers) == 0 })
	if e := p.Status().Ended[1]; e.Exit != "exit status 1" || !e.Failed || !strings.Contains(log.String(), "Worker failed: ") {
		t.Errorf("got %+v, want its own words", e)
	}
}
