package cli_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/checkpoint/checkpointrpc"
)

// running is a command that goes on beside its test.
type running struct {
	t      *testing.T
	stdout locked
	stderr locked
	code   chan int
}

func start(t *testing.T, ctx context.Context, app cli.App, args ...string) *running {
	r := &running{t: t, code: make(chan int, 1)}
	go func() { r.code <- cli.Run(ctx, args, strings.NewReader(""), &r.stdout, &r.stderr, app) }()
	return r
}

// says waits until standard error says something, and gives what.
func (r *running) says(what string) []string {
	r.t.Helper()
	rule := regexp.MustCompile(what)
	for range 1000 {
		if m := rule.FindStringSubmatch(r.stderr.String()); m != nil {
			return m
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.t.Fatalf("it never says %q:\n%s", what, r.stderr.String())
	return nil
}

func (r *running) ends(code int) {
	r.t.Helper()
	select {
	case got := <-r.code:
		if got != code {
			r.t.Errorf("got exit code %d, want %d:\n%s%s", got, code, r.stdout.String(), r.stderr.String())
		}
	case <-time.After(20 * time.Second):
		r.t.Fatalf("it does not end:\n%s", r.stderr.String())
	}
}

func interrupt(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

// endless is a flow of numbered records that never end.
const endless = `
flow: endless
version: 1
sources:
  numbers: {generate: {rate: 5000, splits: 2, fields: [id sequence]}}
sinks:
  out: {from: numbers, file: {path: out, format: jsonl}}
`

// ended is the same with an end, to go on where the other one was stopped.
var ended = strings.Replace(endless, "{rate: 5000, ", "{records: 20000, ", 1)

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestSignalStopsInOrder: what was read is committed, the next run goes on there, and nothing is there twice.
func TestSignalStopsInOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "endless.yaml", endless)
	write(t, "ended.yaml", ended)
	r := start(t, t.Context(), files, "run", "endless.yaml", "--checkpoints", "state", "--interval", "100ms", "--progress", "on")
	r.says(`[1-9][0-9,]* records? read, .* epoch [2-9]`)
	interrupt(t)
	r.ends(3)
	r.says("stopping in order; a second signal ends the run at once")
	r.says("endless stopped in order after .*, saved as epoch [0-9]+\n")

	r = start(t, t.Context(), files, "run", "ended.yaml", "--checkpoints", "state", "--json")
	r.ends(0)
	var result struct {
		engine.Result
		Stopped bool
	}
	if err := json.Unmarshal([]byte(r.stdout.String()), &result); err != nil {
		t.Fatal(err)
	}
	if result.RestoredEpoch == 0 || result.Stopped || !result.Finished || result.Node("numbers").Out >= 20000 {
		t.Errorf("got %+v, want a run that goes on and finishes", result)
	}
	if n := records(t, "out"); n != 20000 {
		t.Errorf("got %d records, want 20000", n)
	}
}

// records counts the different lines of a directory's files, and refuses one that is there twice.
func records(t *testing.T, dir string) int {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, n := range names {
		data, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			if seen[line] {
				t.Errorf("%s is there twice", line)
			}
			seen[line] = true
		}
	}
	return len(seen)
}

// TestUntilSignal: a run that is to end by a signal is done when it gets one.
func TestUntilSignal(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "ended.yaml", ended)
	r := start(t, t.Context(), files, "run", "ended.yaml", "--until", "signal", "--progress", "on")
	r.says("20,000 records read")
	interrupt(t)
	r.ends(0)
}

// TestSecondSignal ends a run at once, also one whose code does not come back.
func TestSecondSignal(t *testing.T) {
	stuck := make(chan struct{})
	var once sync.Once
	entered := make(chan struct{})
	app := cli.App{Name: "stuck", Flow: "stuck", Build: func(f *adf.Flow, _ cli.Params) error {
		type number struct {
			ID int64 `adf:"id"`
		}
		numbers := adf.From(f, "numbers", &generate.Source[number]{Records: 10, Make: func(n int64) number { return number{n} }})
		numbers.Filter("slow", func(number) bool {
			once.Do(func() { close(entered) })
			<-stuck
			return true
		}).To("nowhere", &discard.Sink[number]{})
		return nil
	}}
	r := start(t, t.Context(), app, "run")
	select {
	case <-entered:
	case code := <-r.code:
		t.Fatalf("it has ended with %d: %s", code, r.stderr.String())
	}
	interrupt(t)
	r.says("stopping in order")
	interrupt(t)
	r.ends(130)
	r.says("error: ended at once: the next run goes on from the last checkpoint\n")
	close(stuck)
}

// TestContextEnds: whoever calls Run can end it, too.
func TestContextEnds(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "endless.yaml", endless)
	ctx, cancel := context.WithCancel(t.Context())
	r := start(t, ctx, files, "run", "endless.yaml", "--progress", "on", "--json")
	r.says("records read")
	cancel()
	r.ends(130)
	if !strings.Contains(r.stdout.String(), `"code": "run.ended"`) {
		t.Errorf("got %s", r.stdout.String())
	}
}

// TestPreviewIsStopped: a signal ends a preview that waits, and shows what is there.
func TestPreviewIsStopped(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "endless.yaml", strings.Replace(endless, "rate: 5000", "rate: 20", 1))
	r := start(t, t.Context(), files, "preview", "endless.yaml", "numbers", "--rows", "1000000", "--json")
	time.Sleep(700 * time.Millisecond)
	interrupt(t)
	r.ends(3)
	if !strings.HasPrefix(r.stdout.String(), `{"id":`) {
		t.Errorf("got %q, want records", r.stdout.String())
	}
	if _, err := os.Stat("out"); err == nil {
		t.Error("the preview has written to the flow's sink")
	}
}

// TestTakenOver: of two runs of a flow the older one ends, with a code of its own.
func TestTakenOver(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "endless.yaml", endless)
	write(t, "ended.yaml", ended)
	r := start(t, t.Context(), files, "run", "endless.yaml", "--checkpoints", "state", "--interval", "50ms", "--progress", "on")
	r.says("epoch [2-9]")
	start(t, t.Context(), files, "run", "ended.yaml", "--checkpoints", "state", "--interval", "10m").ends(0)
	r.ends(4)
	r.says(`\n  code  checkpoint.fenced\n`)
	if n := records(t, "out"); n != 20000 {
		t.Errorf("got %d records, want 20000", n)
	}
}

// TestCheckpointService keeps the state at a gRPC server.
func TestCheckpointService(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "ended.yaml", ended)
	listener, err := net.Listen("tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	server, store := grpc.NewServer(), &checkpoint.Memory{}
	checkpointrpc.Register(server, store)
	go server.Serve(listener)
	defer server.Stop()
	address := listener.Addr().String()
	start(t, t.Context(), files, "run", "ended.yaml", "--checkpoint-service", address).ends(0)
	r := start(t, t.Context(), files, "run", "ended.yaml", "--checkpoint-service", address)
	r.ends(0)
	r.says("had finished already")
	if epochs, err := store.Epochs(t.Context(), "endless"); err != nil || len(epochs) == 0 {
		t.Errorf("got epochs %v (%v), want some at the server", epochs, err)
	}
	r = start(t, t.Context(), files, "run", "ended.yaml", "--checkpoint-service", address, "--checkpoint-tls", "--retries", "0")
	r.ends(1)
	r.says("code  checkpoint.service")
}

// TestCheckpointsFromEnvironment: --checkpoints has a default there.
func TestCheckpointsFromEnvironment(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("ADF_CHECKPOINTS", "state")
	write(t, "ended.yaml", ended)
	start(t, t.Context(), files, "run", "ended.yaml").ends(0)
	if _, err := os.Stat("state/endless"); err != nil {
		t.Error(err)
	}
}

// TestMetrics are served while the flow runs.
func TestMetrics(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "endless.yaml", endless)
	r := start(t, t.Context(), files, "run", "endless.yaml", "--metrics", "localhost:0", "--progress", "on")
	url := r.says(`metrics at (http://\S+)/metrics\n`)[1]
	r.says("[1-9][0-9,]* records? read")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) string {
		t.Helper()
		answer, err := client.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", path, answer.Status, err)
		}
		return string(body)
	}
	if got := get("/healthz"); got != "ok\n" {
		t.Errorf("got health %q", got)
	}
	metrics := get("/metrics")
	for _, want := range []string{`adf_records_out_total{flow="endless",node="numbers"} [1-9]`, `adf_records_in_total{flow="endless",node="out"}`, `adf_checkpoint_epoch{flow="endless"}`, "go_goroutines"} {
		if !regexp.MustCompile(want).MatchString(metrics) {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	taken := strings.TrimPrefix(url, "http://")
	code, out := execute(t, files, "", "run", "endless.yaml", "--metrics", taken)
	if code != 2 || !strings.Contains(out, "address already in use\n  fix   give an address of this machine as HOST:PORT that is free, as localhost:9090\n") {
		t.Errorf("got %d and %s", code, out)
	}
	interrupt(t)
	r.ends(3)
}

// TestRegistrationFails: a program whose connectors do not fit says so.
func TestRegistrationFails(t *testing.T) {
	app := cli.App{Name: "twice", Connectors: []cli.Connector{file.Register, file.Register}}
	code, out := execute(t, app, "", "version", "--json")
	if code != 2 || !strings.Contains(out, `"code": "connector.duplicate"`) {
		t.Errorf("got %d and %s", code, out)
	}
}

// TestCompletion: the scripts are scripts, and what they ask for is answered.
func TestCompletion(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "endless.yaml", endless)
	for shell, has := range map[string]string{"bash": "__start_adf", "zsh": "#compdef adf", "fish": "complete -c adf", "powershell": "Register-ArgumentCompleter"} {
		code, out := execute(t, files, "", "completion", shell)
		if code != 0 || !strings.Contains(out, has) {
			t.Errorf("%s: got %d and %.200s", shell, code, out)
		}
		code, out = execute(t, files, "", "completion", shell, "--json")
		var answer struct{ Shell, Script string }
		if err := json.Unmarshal([]byte(out), &answer); err != nil || code != 0 || answer.Shell != shell || !strings.Contains(answer.Script, has) {
			t.Errorf("%s: got %d, %v and %.200s", shell, code, err, out)
		}
	}
	for _, c := range []struct{ line, want string }{
		{"run ", "yaml\nyml\njson\n:8\n"},
		{"preview endless.yaml ", "numbers\nout\n:4\n"},
		{"connectors f", "discard\nengine\nfile\ngenerate\n:4\n"},
		{"run endless.yaml --until ", "drained\nidle\nsignal\n:4\n"},
		{"graph endless.yaml --format ", "mermaid\ndot\n:4\n"},
		{"completion ", "bash\nzsh\nfish\npowershell\n:4\n"},
	} {
		words := strings.Split(c.line, " ")
		code, out := execute(t, files, "", append([]string{"__completeNoDesc"}, words...)...)
		if code != 0 || !strings.HasPrefix(out, c.want) {
			t.Errorf("%s: got %d and %q, want %q", c.line, code, out, c.want)
		}
	}
	code, out := execute(t, own, "", "__completeNoDesc", "preview", "")
	if want := "flights\nlate\nout\n:4\n"; code != 0 || !strings.HasPrefix(out, want) {
		t.Errorf("got %d and %q, want %q", code, out, want)
	}
}

// TestSchema is what editors get.
func TestSchema(t *testing.T) {
	code, out := execute(t, files, "", "schema")
	var schema map[string]any
	if err := json.Unmarshal([]byte(out), &schema); err != nil || code != 0 {
		t.Fatalf("got %d, %v", code, err)
	}
	if !strings.Contains(fmt.Sprint(schema["$schema"]), "2020-12") || !strings.Contains(out, "null_text") {
		t.Errorf("got %.300s, want the schema with the connectors' options", out)
	}
}
