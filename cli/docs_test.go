package cli_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/activedataflow/adf/cli"
)

const guide = "../docs/cli.md"

// TestGuide holds docs/cli.md and the commands together: what stands between its markers is made from them (-update writes it).
func TestGuide(t *testing.T) {
	content, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	codes := "| code | says |\n|---|---|\n"
	for _, c := range cli.ExitCodes() {
		codes += fmt.Sprintf("| %d | %s |\n", c.Code, c.Meaning)
	}
	text = between(t, text, "exit codes", codes)
	_, help := execute(t, files, "", "--help")
	commands := regexp.MustCompile(`(?m)^  (\w+)  `).FindAllStringSubmatch(help[strings.Index(help, "Available Commands:"):strings.Index(help, "\nFlags:")], -1)
	if len(commands) < 10 {
		t.Fatalf("got %d commands of\n%s", len(commands), help)
	}
	for _, m := range commands {
		if m[1] == "help" {
			continue
		}
		_, help := execute(t, files, "", m[1], "--help")
		text = between(t, text, m[1], reference(help))
	}
	if *update {
		if err := os.WriteFile(guide, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != string(content) {
		t.Errorf("%s is not what the commands say (-update writes it):\n%s", guide, difference(string(content), text))
	}
}

// between replaces what stands between two markers.
func between(t *testing.T, text, name, with string) string {
	t.Helper()
	from, to := "<!-- "+name+" -->\n", "<!-- end -->"
	start := strings.Index(text, from)
	if start < 0 {
		t.Fatalf("%s has no place for %s: want %q", guide, name, from)
	}
	start += len(from)
	end := strings.Index(text[start:], to)
	if end < 0 {
		t.Fatalf("%s: the place for %s has no end", guide, name)
	}
	return text[:start] + with + text[start+end:]
}

// reference is a command's usage and flags, as a guide has them.
func reference(help string) string {
	_, usage, _ := strings.Cut(help, "Usage:\n  ")
	usage, _, _ = strings.Cut(usage, "\n")
	text := "```\n" + usage + "\n```\n"
	rows := ""
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-h, )?--(\S+)(?: (\S+))?  +(.*)$`).FindAllStringSubmatch(help, -1) {
		if m[1] == "help" || m[1] == "json" {
			continue
		}
		rows += fmt.Sprintf("| `%s` | %s |\n", strings.TrimSpace("--"+m[1]+" "+strings.ReplaceAll(m[2], "|", "\\|")), strings.ReplaceAll(m[3], "|", "\\|"))
	}
	if rows != "" {
		text += "\n| flag | meaning |\n|---|---|\n" + rows
	}
	return text
}

// TestExitCodes: every code is reached by a session or a test, and none is there that is not listed.
func TestExitCodes(t *testing.T) {
	var listed []string
	for _, c := range cli.ExitCodes() {
		listed = append(listed, fmt.Sprint(c.Code))
	}
	reached := map[string]bool{"0": true}
	note := func(file, rule string) {
		t.Helper()
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(rule).FindAllStringSubmatch(string(content), -1) {
			reached[m[1]] = true
			if !slices.Contains(listed, m[1]) {
				t.Errorf("%s has the exit code %s, which is not listed", file, m[1])
			}
		}
	}
	for _, s := range []string{"usage", "failing", "state", "own", "params", "run"} {
		note("testdata/"+s+".session", `(?m)^exit (\d+)$`)
	}
	note("run_test.go", `\.ends\((\d+)\)`)
	for _, l := range listed {
		if !reached[l] {
			t.Errorf("no test reaches the exit code %s", l)
		}
	}
}
