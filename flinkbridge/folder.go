package flinkbridge

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/activedataflow/adf/fault"
)

// worker says that this process is a runner's worker: it serves one job, and its current folder is the job's.
var worker atomic.Bool

// astray is the folder of the job when it is not on this machine; nil when it is.
var astray atomic.Pointer[string]

// enter makes a folder the current one. Where it is not there, the current folder becomes one that nothing can be in, so that relative paths fail instead of leading to
// whatever folder the pool was started in.
func enter(dir string) error {
	if dir == "" || !worker.Load() {
		return nil
	}
	err := os.Chdir(dir)
	if err == nil {
		return nil
	}
	astray.Store(&dir)
	nowhere, merr := os.MkdirTemp("", "adf-nowhere-")
	if merr == nil {
		merr = errors.Join(os.Chdir(nowhere), os.Remove(nowhere))
	}
	return errors.Join(err, merr)
}

// lost tells with an error of a worker that its relative paths lead nowhere.
func lost(err error) error {
	dir := astray.Load()
	if dir == nil {
		return err
	}
	d, ok := fault.DetailOf(err)
	if ok && d.Retry == fault.RetryNever {
		d.Fix = fmt.Sprintf("relative paths of the flow start at %s, which is not on this machine: make them absolute, or let all machines share the folder", *dir)
	}
	return err
}
