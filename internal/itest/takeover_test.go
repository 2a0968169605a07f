//go:build integration

package itest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Two runs of one flow at once: the one that came first has lost the flow, says so, and the output is exact.
func TestTheOlderOfTwoRunsIsFencedOff(t *testing.T) {
	k := killed{records: 100_000, rate: 20_000}
	undisturbed, dir := t.TempDir(), t.TempDir()
	run(t, k.args(undisturbed, 0)...)
	older := start(t, k.args(dir, k.rate)...)
	await(t, older, time.Minute, func() bool { return committed(dir) > k.records/5 })
	newer := start(t, k.args(dir, k.rate)...)
	if code := older.wait(t, time.Minute); code != 4 {
		t.Errorf("the older run: exit code %d, want 4", code)
	}
	for _, want := range []string{"checkpoint.fenced", "taken over by run"} {
		if !strings.Contains(older.log.String(), want) {
			t.Errorf("the older run does not say %q:\n%s", want, older.log.String())
		}
	}
	if code := newer.wait(t, 2*time.Minute); code != 0 {
		t.Fatalf("the newer run: exit code %d\n%s", code, newer.log.String())
	}
	for _, o := range outputs {
		same(t, o, lines(t, filepath.Join(dir, o)), lines(t, filepath.Join(undisturbed, o)))
	}
}

// An older copy of the checkpoints is behind what the sink has: refused, and with --rewind allowed, and said.
func TestAnOlderCopyOfTheCheckpointsIsRefused(t *testing.T) {
	k := killed{records: 100_000, rate: 20_000}
	dir := t.TempDir()
	p := start(t, k.args(dir, k.rate)...)
	await(t, p, time.Minute, func() bool { return committed(dir) > k.records/5 })
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.wait(t, time.Minute); code != 3 {
		t.Fatalf("after SIGTERM: exit code %d, want 3\n%s", code, p.log.String())
	}
	before := committed(dir)
	checkpoints, old := filepath.Join(dir, "checkpoints"), filepath.Join(dir, "old")
	if err := os.CopyFS(old, os.DirFS(checkpoints)); err != nil {
		t.Fatal(err)
	}
	p = start(t, k.args(dir, k.rate)...)
	await(t, p, time.Minute, func() bool { return committed(dir) > k.records/2 })
	p.cmd.Process.Signal(syscall.SIGTERM)
	if code := p.wait(t, time.Minute); code != 3 {
		t.Fatalf("after SIGTERM: exit code %d, want 3\n%s", code, p.log.String())
	}
	after := committed(dir)
	if err := os.RemoveAll(checkpoints); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, checkpoints); err != nil {
		t.Fatal(err)
	}
	p = start(t, k.args(dir, 0)...)
	if code := p.wait(t, time.Minute); code != 4 {
		t.Errorf("from an older copy: exit code %d, want 4", code)
	}
	for _, want := range []string{"checkpoint.behind", "--rewind"} {
		if !strings.Contains(p.log.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, p.log.String())
		}
	}
	if n := committed(dir); n != after {
		t.Errorf("the refused run committed %d records", n-after)
	}
	p = start(t, append(k.args(dir, 0), "--rewind")...)
	if code := p.wait(t, time.Minute); code != 0 {
		t.Fatalf("with --rewind: exit code %d\n%s", code, p.log.String())
	}
	if !strings.Contains(p.log.String(), "will be repeated") {
		t.Errorf("it does not say that output is repeated:\n%s", p.log.String())
	}
	if n, want := committed(dir), k.records+after-before; n != want {
		t.Errorf("got %d records, want %d: all, and those of the second run twice", n, want)
	}
}

// The disk with the checkpoints and the output fills up: the run says so, waits, and goes on exactly when there is room again.
func TestFullDisk(t *testing.T) {
	k := killed{records: 100_000, rate: 20_000}
	undisturbed, dir := t.TempDir(), t.TempDir()
	run(t, k.args(undisturbed, 0)...)
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Fatalf("a small disk needs root: %v\n%s", err, out)
	}
	t.Cleanup(func() { exec.Command("umount", "-l", dir).Run() })
	p := start(t, append(k.args(dir, k.rate), "--retries", "12")...)
	await(t, p, time.Minute, func() bool { return committed(dir) > k.records/5 })
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 64<<10); ; {
		if _, err := f.Write(block); err != nil {
			break // full
		}
	}
	f.Close()
	await(t, p, time.Minute, func() bool { return strings.Contains(p.log.String(), "no space left on device") })
	time.Sleep(time.Second)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(t, 2*time.Minute); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.log.String())
	}
	for _, o := range outputs {
		same(t, o, lines(t, filepath.Join(dir, o)), lines(t, filepath.Join(undisturbed, o)))
		if stray := staged(t, filepath.Join(dir, o)); len(stray) > 0 {
			t.Errorf("stray files: %v", stray)
		}
	}
}
