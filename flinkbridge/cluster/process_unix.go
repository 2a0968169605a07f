//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const (
	terminate = syscall.SIGTERM
	kill      = syscall.SIGKILL
)

// start starts the process in a session of its own, so that a terminal's signals do not reach it.
func (p *Process) start(dir string) error {
	out, err := os.OpenFile(p.out(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	command := strings.Split(strings.ReplaceAll(strings.Join(p.Command, "\x00"), portOf, strconv.Itoa(p.Port)), "\x00")
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	p.PID = cmd.Process.Pid
	p.Born, err = born(p.PID)
	go cmd.Wait() // for as long as this process lives, its children must not stay as zombies
	if err != nil {
		return errors.Join(errors.New("it has died at once"+p.lastWords()), err)
	}
	return nil
}

// Alive says whether the process lives: the one that was started, and no other that has got its PID meanwhile.
func (p Process) Alive() bool {
	if p.PID <= 0 || p.Born == "" {
		return false
	}
	b, err := born(p.PID)
	return err == nil && b == p.Born
}

func (p Process) signal(s syscall.Signal) {
	if p.Alive() {
		_ = syscall.Kill(p.PID, s) // gone meanwhile: the caller looks
	}
}

// born tells when a living process began, in a text that no other process with its PID has. A zombie does not live.
func born(pid int) (string, error) {
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err == nil {
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
			return "", os.ErrProcessDone
		}
		boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
		return strings.TrimSpace(string(boot)) + " " + fields[19], err
	}
	if _, ok := os.Stat("/proc/self/stat"); ok == nil {
		return "", err
	}
	out, err := exec.Command("ps", "-o", "state=,lstart=", "-p", strconv.Itoa(pid)).Output()
	text := strings.Join(strings.Fields(string(out)), " ")
	if err != nil || text == "" || strings.HasPrefix(text, "Z") {
		return "", errors.Join(os.ErrProcessDone, err)
	}
	_, started, _ := strings.Cut(text, " ")
	return started, nil
}

// lock takes a file for one process.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s is taken: %w", path, err)
	}
	return func() { f.Close() }, nil
}
