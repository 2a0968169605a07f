// Package session runs recorded command line sessions as tests, and holds guides and commands together.
//
// It imports nothing of the project.
package session

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Update says that what is there is to be written as what is expected: the flag -update.
var Update = flag.Bool("update", false, "write what is there as what is expected")

// Player plays sessions. A session is a file with files in it (`-- NAME --`) and commands (`$ …`) with what they print and, when it is not 0, their
// exit code.
type Player struct {
	// Programs run the commands that begin with their names.
	Programs map[string]func(t *testing.T, stdin string, args ...string) (code int, output string)
	// Tame takes out of an output what differs from run to run.
	Tame func(output string) string
}

// Play plays all sessions of testdata, each in a folder of its own; there have to be at least so many.
func (p Player) Play(t *testing.T, least int) {
	scripts, err := filepath.Glob("testdata/*.session")
	if err != nil || len(scripts) < least {
		t.Fatalf("got %d scripts: the list is not whole (%v)", len(scripts), err)
	}
	for _, name := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".session"), func(t *testing.T) {
			full, _ := filepath.Abs(name)
			content, err := os.ReadFile(full)
			if err != nil {
				t.Fatal(err)
			}
			t.Chdir(t.TempDir())
			got := p.session(t, string(content))
			if *Update {
				if err := os.WriteFile(full, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(content) {
				t.Errorf("%s is not what is expected (-update writes it):\n%s", name, Difference(string(content), got))
			}
		})
	}
}

// session does what a script says, and gives the script as it should be.
func (p Player) session(t *testing.T, script string) string {
	var b strings.Builder
	lines := strings.Split(script, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch {
		case strings.HasPrefix(line, "-- ") && strings.HasSuffix(line, " --"):
			b.WriteString(line + "\n")
			var content []string
			for i+1 < len(lines) && !strings.HasPrefix(lines[i+1], "-- ") && !strings.HasPrefix(lines[i+1], "$ ") && !strings.HasPrefix(lines[i+1], "# ") {
				i++
				content = append(content, lines[i]+"\n")
				b.WriteString(lines[i] + "\n")
			}
			name := strings.TrimSuffix(strings.TrimPrefix(line, "-- "), " --")
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte(strings.Join(content, "")), 0o644); err != nil {
				t.Fatal(err)
			}
		case strings.HasPrefix(line, "$ "):
			b.WriteString(line + "\n")
			for i+1 < len(lines) && !strings.HasPrefix(lines[i+1], "$ ") && !strings.HasPrefix(lines[i+1], "-- ") && !strings.HasPrefix(lines[i+1], "# ") {
				i++ // what was expected
			}
			code, out := p.command(t, strings.TrimPrefix(line, "$ "))
			if out = p.Tame(out); out != "" && !strings.HasSuffix(out, "\n") {
				out += "\n"
			}
			b.WriteString(out)
			if code != 0 {
				fmt.Fprintf(&b, "exit %d\n", code)
			}
			b.WriteString("\n")
		default:
			b.WriteString(line + "\n")
		}
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// command runs one command of a script: a program, cat, rm, or "sorted" before one.
func (p Player) command(t *testing.T, line string) (int, string) {
	line, stdin, _ := strings.Cut(line, " < ")
	words := strings.Fields(line)
	if words[0] == "sorted" {
		code, out := p.command(t, strings.TrimPrefix(line, "sorted "))
		lines := strings.SplitAfter(out, "\n")
		slices.Sort(lines)
		return code, strings.Join(lines, "")
	}
	content := ""
	if stdin != "" {
		data, err := os.ReadFile(stdin)
		if err != nil {
			t.Fatal(err)
		}
		content = string(data)
	}
	switch words[0] {
	case "cat":
		found, err := filepath.Glob(words[1])
		if err != nil || len(found) == 0 {
			return 1, "no such files"
		}
		var lines []string
		for _, name := range found {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, strings.SplitAfter(string(data), "\n")...)
		}
		slices.Sort(lines)
		return 0, strings.Join(lines, "")
	case "rm":
		if err := os.RemoveAll(words[1]); err != nil {
			t.Fatal(err)
		}
		return 0, ""
	}
	program := p.Programs[words[0]]
	if program == nil {
		t.Fatalf("no such command in a script: %s", line)
	}
	return program(t, content, words[1:]...)
}

// Difference shows the first lines that differ.
func Difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\ngot:\n%s\nwant:\n%s", i+1, strings.Join(g[min(i, len(g)):min(i+8, len(g))], "\n"), strings.Join(w[min(i, len(w)):min(i+8, len(w))], "\n"))
		}
	}
	return ""
}

// Guide holds a guide and the commands together: make replaces what stands between its markers, by [Between], and what comes out has to be there already.
func Guide(t *testing.T, file string, make func(text string) string) {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := make(string(content))
	if *Update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != string(content) {
		t.Errorf("%s is not what the commands say (-update writes it):\n%s", file, Difference(string(content), text))
	}
}

// Between replaces what stands between `<!-- NAME -->` and `<!-- end -->`.
func Between(t *testing.T, text, name, with string) string {
	t.Helper()
	from, to := "<!-- "+name+" -->\n", "<!-- end -->"
	start := strings.Index(text, from)
	if start < 0 {
		t.Fatalf("the guide has no place for %s: want %q", name, from)
	}
	start += len(from)
	end := strings.Index(text[start:], to)
	if end < 0 {
		t.Fatalf("the guide's place for %s has no end", name)
	}
	return text[:start] + with + text[start+end:]
}

// Commands are the names of the commands that a help lists.
func Commands(t *testing.T, help string, least int) (names []string) {
	t.Helper()
	_, list, _ := strings.Cut(help, "Available Commands:")
	list, _, _ = strings.Cut(list, "\nFlags:")
	for _, m := range regexp.MustCompile(`(?m)^  (\w+)  `).FindAllStringSubmatch(list, -1) {
		names = append(names, m[1])
	}
	if len(names) < least {
		t.Fatalf("got %d commands of\n%s", len(names), help)
	}
	return names
}

// Reference is a command's usage and flags of its help, as a guide has them; flags that are left out are described elsewhere.
func Reference(help string, leftOut ...string) string {
	_, usage, _ := strings.Cut(help, "Usage:\n  ")
	usage, _, _ = strings.Cut(usage, "\n")
	text := "```\n" + usage + "\n```\n"
	rows := ""
	for _, m := range regexp.MustCompile(`(?m)^ +(?:-h, )?--(\S+)(?: (\S+))?  +(.*)$`).FindAllStringSubmatch(help, -1) {
		if m[1] == "help" || m[1] == "json" || slices.Contains(leftOut, m[1]) {
			continue
		}
		rows += fmt.Sprintf("| `%s` | %s |\n", strings.TrimSpace("--"+m[1]+" "+strings.ReplaceAll(m[2], "|", "\\|")), strings.ReplaceAll(m[3], "|", "\\|"))
	}
	if rows != "" {
		text += "\n| flag | meaning |\n|---|---|\n" + rows
	}
	return text
}
