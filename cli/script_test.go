package cli_test

import (
	"bytes"
	"os"
	"regexp"
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
	"github.com/activedataflow/adf/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// TestScripts runs the sessions in testdata.
func TestScripts(t *testing.T) {
	program := func(app cli.App) func(*testing.T, string, ...string) (int, string) {
		return func(t *testing.T, stdin string, args ...string) (int, string) { return execute(t, app, stdin, args...) }
	}
	session.Player{Programs: map[string]func(*testing.T, string, ...string) (int, string){"adf": program(files), "own": program(own)}, Tame: tame}.Play(t, 8)
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
