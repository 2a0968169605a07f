package cli_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/internal/session"
)

// TestGuide holds docs/cli.md and the commands together: what stands between its markers is made from them (-update writes it).
func TestGuide(t *testing.T) {
	session.Guide(t, "../docs/cli.md", func(text string) string {
		codes := "| code | says |\n|---|---|\n"
		for _, c := range cli.ExitCodes() {
			codes += fmt.Sprintf("| %d | %s |\n", c.Code, c.Meaning)
		}
		text = session.Between(t, text, "exit codes", codes)
		_, help := execute(t, files, "", "--help")
		for _, name := range session.Commands(t, help, 10) {
			if name != "help" {
				_, help := execute(t, files, "", name, "--help")
				text = session.Between(t, text, name, session.Reference(help))
			}
		}
		return text
	})
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
