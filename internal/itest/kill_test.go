//go:build integration

package itest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// outputs are the sinks of testdata/numbers.yaml.
var outputs = []string{"numbers", "windows", "errors"}

// killed is a flow of numbered records that is killed again and again: at moments spread over 5 % to 95 % of the records that it has committed.
type killed struct {
	records, rate int
	kills         int
	restored      int  // how many restarts must have gone on from a checkpoint
	errors        bool // every hundredth record fails
}

func (k killed) args(dir string, rate int) []string {
	flow := "internal/itest/testdata/numbers.yaml"
	if k.errors {
		flow = "internal/itest/testdata/numbers-errors.yaml"
	}
	return []string{
		"run", flow, "--set", "out=" + dir, "--set", fmt.Sprintf("records=%d", k.records), "--set", fmt.Sprintf("rate=%d", rate),
		"--checkpoints", filepath.Join(dir, "checkpoints"), "--interval", "200ms", "--parallelism", "2", "--quiet", "--log-level", "info", "--log-format", "json",
	}
}

var restoredEpoch = regexp.MustCompile(`"msg":"restored".*"epoch":([0-9]+)`)

func (k killed) run(t *testing.T) {
	undisturbed, dir := t.TempDir(), t.TempDir()
	run(t, k.args(undisturbed, 0)...)
	restored := 0
	p := start(t, k.args(dir, k.rate)...)
	for n := range k.kills {
		share := 0.05 + 0.90*float64(n)/float64(max(1, k.kills-1))
		await(t, p, 2*time.Minute, func() bool { return committed(dir) >= int(share*float64(k.records)*0.99) })
		p.kill()
		if m := restoredEpoch.FindStringSubmatch(p.log.String()); m != nil && m[1] != "0" {
			restored++
		}
		p = start(t, k.args(dir, k.rate)...)
	}
	if code := p.wait(t, 3*time.Minute); code != 0 {
		t.Fatalf("exit code %d\n%s", code, p.log.String())
	}
	if m := restoredEpoch.FindStringSubmatch(p.log.String()); m != nil && m[1] != "0" {
		restored++
	}
	if restored < k.restored {
		t.Errorf("%d of %d restarts went on from a checkpoint, want at least %d", restored, k.kills, k.restored)
	}
	for _, o := range outputs {
		same(t, o, lines(t, filepath.Join(dir, o)), lines(t, filepath.Join(undisturbed, o)))
		if stray := staged(t, filepath.Join(dir, o)); len(stray) > 0 {
			t.Errorf("stray files: %v", stray)
		}
	}
	if n := len(lines(t, filepath.Join(dir, "numbers"))) + len(lines(t, filepath.Join(dir, "errors"))); n != k.records {
		t.Errorf("got %d records, want %d", n, k.records)
	}
}

// committed counts the records under final names in numbers/.
func committed(dir string) int {
	n := 0
	paths, _ := filepath.Glob(filepath.Join(dir, "numbers", "*"))
	for _, path := range paths {
		if data, err := os.ReadFile(path); err == nil {
			n += strings.Count(string(data), "\n")
		}
	}
	return n
}

// await polls until something is so; the process must be alive meanwhile.
func await(t *testing.T, p *process, most time.Duration, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); time.Sleep(20 * time.Millisecond) {
		select {
		case <-p.done:
			t.Fatalf("the process ended early: %v\n%s%s", p.err, p.out.String(), p.log.String())
		default:
		}
		if time.Since(began) > most {
			p.kill()
			t.Fatalf("waited for %s:\n%s", most, p.log.String())
		}
	}
}

func TestKill(t *testing.T) {
	killed{records: 120_000, rate: 20_000, kills: 4, restored: 3}.run(t)
}

func TestKillWithErrors(t *testing.T) {
	killed{records: 120_000, rate: 20_000, kills: 3, restored: 2, errors: true}.run(t)
}
