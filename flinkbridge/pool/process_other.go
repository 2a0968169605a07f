//go:build unix && !linux

package pool

import (
	"os/exec"
	"syscall"
)

// ownGroup puts a process into a group of its own. It outlives a pool that is killed.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap waits for a process to end, and calls ended.
func reap(cmd *exec.Cmd, ended func()) error {
	defer ended()
	return cmd.Wait()
}

// resident is not told here.
func resident(int) int64 { return 0 }
