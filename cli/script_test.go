package cli_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write what is there as what is expected")

// files is the command for flows in files, as cmd/adf.
var files = cli.App{Name: "adf", Connectors: []cli.Connector{file.Register, generate.Register, discard.Register}}

// own is a program with a flow of its own.
var own = cli.App{Name: "own", Flow: "own-flow", Build: build, Connectors: files.Connectors}

type flight struct {
	Carrier string `adf:"carrier"`
	Delay   *int64 `adf:"delay"`
}

func build(f *adf.Flow, p cli.Params) error {
	least := p.Int("least", 0)
	p.Duration("within", time.Hour)
	in := adf.From(f, "flights", &file.Source[flight]{Path: p.String("path", "flights.csv"), Format: "csv"})
	switch p.String("wrong", "") {
	case "error":
		return os.ErrPermission
	case "panic":
		panic("build has lost its way")
	case "step":
		in = in.Filter("delayed", func(flight) bool { panic("filter has lost its way") })
	}
	in.Filter("late", func(x flight) bool { return x.Delay != nil && *x.Delay >= least }).
		To("out", &file.Sink[flight]{Path: p.String("to", "out"), Format: "jsonl"})
	return nil
}

// execute runs a command line as a shell would, with all output in one place.
func execute(t *testing.T, app cli.App, stdin string, args ...string) (code int, output string) {
	t.Helper()
	var out locked
	code = cli.Run(t.Context(), args, strings.NewReader(stdin), &out, &out, app)
	return code, out.String()
}

// locked is a buffer that the command and its test use at once.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestScripts runs the sessions in testdata: files (`-- NAME --`), then commands (`$ …`) with what they print and, when it is not 0, their exit code.
func TestScripts(t *testing.T) {
	scripts, err := filepath.Glob("testdata/*.session")
	if err != nil || len(scripts) < 8 {
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
			got := session(t, string(content))
			if *update {
				if err := os.WriteFile(full, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(content) {
				t.Errorf("%s is not what is expected (-update writes it):\n%s", name, difference(string(content), got))
			}
		})
	}
}

// session does what a script says, and gives the script as it should be.
func session(t *testing.T, script string) string {
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
			code, out := command(t, strings.TrimPrefix(line, "$ "))
			if out = tame(out); out != "" && !strings.HasSuffix(out, "\n") {
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

// command runs one command of a script: adf, own, cat and rm.
func command(t *testing.T, line string) (int, string) {
	line, stdin, _ := strings.Cut(line, " < ")
	words := strings.Fields(line)
	if words[0] == "sorted" {
		code, out := command(t, strings.TrimPrefix(line, "sorted "))
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
	case "adf":
		return execute(t, files, content, words[1:]...)
	case "own":
		return execute(t, own, content, words[1:]...)
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
	t.Fatalf("no such command in a script: %s", line)
	return 0, ""
}

// tames are what differs from run to run.
var tames = []struct {
	what *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\b[0-9a-f]{16,32}\b`), "ID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC`), "TIME"},
	{regexp.MustCompile(`(time|saved)=\S+`), "$1=TIME"},
	{regexp.MustCompile(`"time":"[^"]+Z","level"`), `"time":"TIME","level"`},
	{regexp.MustCompile(`"(finished_before)": "[^"]+"`), `"$1": "TIME"`},
	{regexp.MustCompile(`(in|after) [0-9.]+m?s:`), "$1 TOOK:"},
	{regexp.MustCompile(`[0-9,]+/s, `), "RATE/s, "},
	{regexp.MustCompile(`/\S*/(flights.csv: not a directory)`), "DIR/$1"},
	{regexp.MustCompile(`"stack": ".*"`), `"stack": "STACK"`},
	{regexp.MustCompile(`stack=".*"`), "stack=STACK"},
	{regexp.MustCompile(`"took_ns": \d+`), `"took_ns": 0`},
	{regexp.MustCompile(`go1\.\S+ \w+/\w+`), "GO"},
	{regexp.MustCompile(`(?m)^.*/(\w+_test\.go):\d+: `), "$1:LINE: "},
	{regexp.MustCompile(`part-[a-z0-9]+-`), "part-RUN-"},
}

func tame(out string) string {
	for _, t := range tames {
		out = t.what.ReplaceAllString(out, t.with)
	}
	return out
}

// difference shows the first lines that differ.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(w), len(g)) {
		if i >= len(w) || i >= len(g) || w[i] != g[i] {
			return fmt.Sprintf("line %d\ngot:\n%s\nwant:\n%s", i+1, strings.Join(g[min(i, len(g)):min(i+8, len(g))], "\n"), strings.Join(w[min(i, len(w)):min(i+8, len(w))], "\n"))
		}
	}
	return ""
}
