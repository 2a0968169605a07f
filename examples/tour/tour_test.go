package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const page = "../../docs/tour.md"

var update = flag.Bool("update", false, "write what is printed to the page")

// TestTour does what the tour says, command after command, in a directory of its own with the examples and without anything else, and wants the output
// that is printed there. What differs from run to run is taken for the same: times, ids, and how far a run had come when it was killed.
func TestTour(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(root, "examples"), filepath.Join(dir, "examples")); err != nil {
		t.Fatal(err)
	}
	address := free(t)
	commands := 0
	got := regexp.MustCompile("(?ms)^```console\n.*?^```$").ReplaceAllStringFunc(string(text), func(block string) string {
		sessions := regexp.MustCompile(`(?m)^\$ `).Split(strings.TrimSuffix(block, "```"), -1)
		for i, session := range sessions[1:] {
			commands++
			command, want, _ := strings.Cut(session, "\n")
			out := run(t, root, dir, strings.ReplaceAll(command, metricsAt, address))
			if tame(out) == tame(want) {
				continue
			}
			if !*update {
				t.Fatalf("%s prints\n%s\nand %s says (-update writes it)\n%s", command, out, page, want)
			}
			out = regexp.MustCompile(info).ReplaceAllString(out, "")
			sessions[i+1] = command + "\n" + strings.TrimRight(out, "\n") + "\n\n"
			if i == len(sessions)-2 {
				sessions[i+1] = strings.TrimRight(sessions[i+1], "\n") + "\n"
			}
		}
		return strings.Join(sessions, "$ ") + "```"
	})
	if *update {
		if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if commands < 15 {
		t.Errorf("got %d commands: the page has lost its marks", commands)
	}
}

// run runs a command in dir; programs are built from the sources, to where the other commands look for them.
func run(t *testing.T, root, dir, command string) string {
	c := exec.Command("sh", "-c", command)
	c.Dir = dir
	if strings.HasPrefix(command, "go build ") {
		c = exec.Command("sh", "-c", strings.ReplaceAll(command, "-o bin/", "-o "+dir+"/bin/"))
		c.Dir = root
	}
	out, err := c.CombinedOutput()
	if _, exit := err.(*exec.ExitError); err != nil && !exit {
		t.Fatal(err)
	}
	return string(out)
}

// metricsAt is where the tour has metrics served.
const metricsAt = "127.0.0.1:9464"

func free(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// info is a line of the log that a terminal does not get: it gets warnings only.
const info = `(?m)^time=\S+ level=INFO .*\n`

// tames are what differs from run to run, or from a terminal, as the page shows it, to a pipe.
var tames = []struct{ what, with string }{
	{info, ""},
	{`(?m)^.*\bKilled\b.*\n`, ""}, // some shells tell
	{`\b[0-9a-f]{16,32}\b`, "ID"},
	{`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`, "TIME"},
	{`in [0-9.]+m?s:`, "in TOOK:"},
	{`(?m)^\d{1,4}$`, "SOME"},
	{`(?m)(\}) [0-9.e+]+$`, "$1 N"},
	{` +`, " "},
	{`(?m)^(\S+ sink .*) \d+$`, "$1 PARTS"}, // as many as there are lanes
}

func tame(out string) string {
	for _, t := range tames {
		out = regexp.MustCompile(t.what).ReplaceAllString(out, t.with)
	}
	if strings.Contains(out, ", from epoch ") { // the rest of a run that was killed
		out = regexp.MustCompile(`[0-9,]*[0-9]`).ReplaceAllString(out, "N")
	}
	return strings.TrimSpace(out)
}

// The page's numbers are told apart where it counts.
func TestTame(t *testing.T) {
	for _, same := range [][2]string{
		{"done in 20ms: 5 records", "done in 1.25s: 5 records"},
		{"out  sink file  12  2", "out  sink file  12   4"},
		{"time=2026-11-24T19:52:27.203Z level=INFO msg=restored\n1234\n", "987"},
	} {
		if a, b := tame(same[0]), tame(same[1]); a != b {
			t.Errorf("got %q and %q, want the same", a, b)
		}
	}
	for _, other := range [][2]string{
		{"done in 20ms: 5 records", "done in 20ms: 6 records"}, {"10000", "10001"}, {"out  sink file  12  2", "out  sink file  13  2"},
	} {
		if a, b := tame(other[0]), tame(other[1]); a == b {
			t.Errorf("got %q for both of %s", a, fmt.Sprint(other))
		}
	}
}
