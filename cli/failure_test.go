package cli

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/activedataflow/adf/fault"
)

func TestFailures(t *testing.T) {
	read := &fault.SourceError{Detail: fault.Detail{
		Code: "file.gone", Doing: "read row", Connector: "file", Split: "a.csv", At: "a.csv:3:7", Retry: fault.RetryLater, Fix: "bring it back", Err: errors.New("no such file"),
	}}
	config := fault.Config(fault.Violation{File: "main.go", Line: 4, Path: "out", Got: "1", Want: "2", Code: "x.y"})
	for name, c := range map[string]struct {
		err  error
		code int
		want string
	}{
		"plain": {errors.New("it broke"), exitFailed, "error: it broke\n"},
		"a fault, wrapped by the engine and joined with another": {
			fault.Within(errors.Join(read, errors.New("close: broken pipe")), "f", "r", "flights"), exitFailed,
			"error: file: read row: a.csv:3:7: no such file\n  where node flights, split a.csv, flow f, run r\n  fix   bring it back\n  also  close: broken pipe\n  code  file.gone\n",
		},
		"a fault that tells its cause's place": {
			&fault.RuntimeError{Detail: fault.Detail{Code: "record.failed", Doing: "read row", At: "a.csv:3:7", Node: "n", Err: read}}, exitFailed,
			"error: file: read row: a.csv:3:7: no such file\n  where node n, split a.csv\n  fix   bring it back\n  code  record.failed\n",
		},
		"state that is lost":           {&fault.RuntimeError{Detail: fault.Detail{Code: "checkpoint.corrupt", Err: errors.New("checksum")}}, exitRefused, "error: checksum\n  code  checkpoint.corrupt\n"},
		"a violation without a column": {config, exitWrong, "main.go:4: out: got 1, want 2\nerror: 1 mistake, nothing has run\n"},
		"a violation, wrapped":         {fmt.Errorf("later: %w", config), exitWrong, "main.go:4: out: got 1, want 2\nerror: 1 mistake, nothing has run\n"},
	} {
		f := failureOf(c.err)
		var b strings.Builder
		f.write(&b)
		if b.String() != c.want || f.exitCode() != c.code {
			t.Errorf("%s: got %d and\n%s\nwant %d and\n%s", name, f.exitCode(), b.String(), c.code, c.want)
		}
	}
}

func TestThisMachine(t *testing.T) {
	for address, want := range map[string]bool{
		"localhost:1": true, "127.0.0.1:1": true, "[::1]:1": true, "unix:/run/x": true, "localhost": true,
		"10.0.0.1:1": false, "example.org:1": false, "": false, "localhost.example.org:1": false, ":9090": false,
	} {
		if got := thisMachine(address); got != want {
			t.Errorf("%q: got %t, want %t", address, got, want)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1000: "-1,000", -100: "-100", 1234567: "1,234,567"} {
		if got := grouped(n); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTable(t *testing.T) {
	table := &table{right: map[int]bool{1: true}}
	table.row("city", "n", "")
	table.row("東京", "10", "x")
	var b strings.Builder
	if err := table.write(&b, " "); err != nil || b.String() != " city   n\n 東京  10  x\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}
