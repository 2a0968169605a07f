package flinkcli_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/flinkbridge/flinkcli"
	"github.com/activedataflow/adf/flinkbridge/pool"
	"github.com/activedataflow/adf/internal/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var app = cli.App{Name: "adf", Commands: []cli.Commands{flinkcli.Commands}, Connectors: []cli.Connector{generate.Register, discard.Register, file.Register}}

func execute(t *testing.T, stdin string, args ...string) (code int, output string) {
	t.Helper()
	var out locked
	code = cli.Run(t.Context(), args, strings.NewReader(stdin), &out, &out, app)
	return code, out.String()
}

type locked struct {
	mu sync.Mutex
	b  strings.Builder
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

const job = "668da5c0dbdf7cf3b124779c1cbcf70c"

// fake is a cluster that answers with what a real one has answered, and whose job ends when it is told to; asking for the list starts it again.
func fake(t *testing.T) *httptest.Server {
	data, err := os.ReadFile("../rest/testdata/flink-1.19.3.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name string          `json:"name"`
		Body json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	recorded := map[string]string{}
	for _, a := range list {
		recorded[a.Name] = string(a.Body)
	}
	running := func() string {
		return strings.Replace(recorded["/jobs/overview"], `"FINISHED"`, `"RUNNING"`, 1)
	}
	ended := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := r.Method + " " + strings.Replace(r.URL.RequestURI(), job, "JOB", 1)
		name := strings.TrimPrefix(request, "GET ")
		// A cluster whose address ends so has that wrong.
		wrong := ""
		for _, kind := range []string{"unset", "unwritable"} {
			if rest, ok := strings.CutPrefix(name, "/"+kind+"/"); ok {
				wrong, name = kind, "/"+rest
			}
		}
		switch {
		case strings.HasPrefix(request, "POST /jars"):
			t.Errorf("got %s, want that nothing is submitted", request)
		case wrong == "unset" && name == "/jobmanager/config":
			io.WriteString(w, "[]")
			return
		case name == "/jobmanager/config":
			to := "file://" + t.TempDir()
			if wrong == "unwritable" {
				to = "file:///dev/null"
			}
			io.WriteString(w, strings.ReplaceAll(recorded[name], "file:///flink", to))
			return
		case name == "/jobs/overview":
			ended = ""
			io.WriteString(w, running())
			return
		case name == "/jobs/JOB" && ended != "":
			io.WriteString(w, strings.Replace(recorded["job"], `"RUNNING"`, `"`+ended+`"`, 1))
			return
		case strings.HasPrefix(name, "/jobs/76cabc8bf2afe0533e0e97cac821accd"):
			name = strings.Replace(name, "76cabc8bf2afe0533e0e97cac821accd", "JOB", 1)
		case strings.HasPrefix(name, "/jobs/JOB/vertices/bc764cd8ddf7a0cff126f51c16239658/subtasks/metrics"):
			io.WriteString(w, `[{"id":"Source_ numbers.numbers_records_out","min":3356,"max":3356,"sum":3356},{"id":"Source_ numbers.numbers_splits","min":1,"max":1,"sum":1},
				{"id":"Source_ numbers.numbers_lag_ms","min":1250,"max":1250,"sum":1250},{"id":"Source_ numbers.numbers_watermark_ms","min":1795551731000,"max":1795551731000,"sum":1795551731000}]`)
			return
		case strings.HasPrefix(name, "/jobs/JOB/vertices/20ba6b65f97481d5570070de90e4e791/subtasks/metrics"):
			io.WriteString(w, `[{"id":"sum.sum_records_in","min":3348,"max":3348,"sum":3348},{"id":"sum.sum_records_late","min":2,"max":2,"sum":2},{"id":"sum.sum_records_failed","min":0,"max":1,"sum":1}]`)
			return
		case request == "POST /jobs/JOB/stop":
			ended = "FINISHED"
		case request == "PATCH /jobs/JOB?mode=cancel":
			ended = "CANCELED"
		}
		body, ok := recorded[map[string]string{
			"/jobs/JOB": "job", "/jobs/JOB/checkpoints": "job/checkpoints", "/jobs/JOB/exceptions": "failures", "/jobs/JOB/metrics?get=numRestarts": "job metrics",
			"POST /jobs/JOB/savepoints": "savepoint", "/jobs/JOB/savepoints/549d0de73503b2ad1805b748c9568bd0": "savepoint done",
			"POST /jobs/JOB/stop": "stop", "/jobs/JOB/savepoints/6ee351c36bd0fd3bd0c569eac5a3ca99": "stop done", "PATCH /jobs/JOB?mode=cancel": "cancel",
		}[name]]
		if !ok {
			body, ok = recorded[name]
		}
		if !ok {
			http.Error(w, `{"errors":["Not found: `+request+`"]}`, http.StatusNotFound)
			return
		}
		io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

// TestScripts runs the sessions in testdata.
func TestScripts(t *testing.T) {
	s := fake(t)
	cache := t.TempDir()
	t.Setenv("ADF_FLINK", s.URL)
	t.Setenv("ADF_CACHE", cache)
	t.Setenv("ADF_FLINK_DIR", "")
	workers, err := pool.Start(pool.Options{Address: "127.0.0.1:0", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer workers.Close()
	took := regexp.MustCompile(`connection error: desc = ".*refused"`)
	session.Player{
		Programs: map[string]func(*testing.T, string, ...string) (int, string){
			"adf": func(t *testing.T, stdin string, args ...string) (int, string) {
				for i, arg := range args {
					args[i] = strings.NewReplacer("http://flink:8081", s.URL, "POOL", workers.Address()).Replace(arg)
				}
				return execute(t, stdin, args...)
			},
			"make": parts,
		},
		Tame: func(out string) string {
			out = strings.NewReplacer(s.URL, "http://flink:8081", workers.Address(), "POOL", cache, "CACHE").Replace(out)
			out = regexp.MustCompile(`\.adf-doctor-\d+`).ReplaceAllString(out, ".adf-doctor")
			out = regexp.MustCompile(`\S+/flinkcli\.test is for linux/\w+`).ReplaceAllString(out, "PROGRAM is for linux/ARCH")
			return took.ReplaceAllString(out, "connection refused")
		},
	}.Play(t, 4)
}

// parts makes what a submission needs: "make JAR ENTRY[:CONTENT]…" and "make PROGRAM ARCHITECTURE".
func parts(t *testing.T, _ string, args ...string) (int, string) {
	t.Helper()
	var b bytes.Buffer
	switch args[1] {
	case "amd64", "arm64":
		head := make([]byte, 64)
		copy(head, "\x7fELF\x02\x01\x01")
		binary.LittleEndian.PutUint16(head[16:], 2) // executable
		binary.LittleEndian.PutUint16(head[18:], map[string]uint16{"amd64": 62, "arm64": 183}[args[1]])
		binary.LittleEndian.PutUint32(head[20:], 1)
		binary.LittleEndian.PutUint16(head[52:], 64)
		binary.LittleEndian.PutUint16(head[54:], 56)
		binary.LittleEndian.PutUint16(head[58:], 64)
		b.Write(head)
	default:
		z := zip.NewWriter(&b)
		for _, entry := range args[1:] {
			name, content, _ := strings.Cut(entry, ":")
			w, err := z.Create(name)
			if err == nil {
				_, err = io.WriteString(w, content)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(args[0], b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return 0, ""
}

// TestGuide holds docs/flink.md and the commands together.
func TestGuide(t *testing.T) {
	_, flags := execute(t, "", "flink", "list", "--help")
	var connection []string
	for _, m := range regexp.MustCompile(`--(flink\S*)`).FindAllStringSubmatch(flags[strings.Index(flags, "Flags:"):], -1) {
		connection = append(connection, m[1])
	}
	session.Guide(t, "../../docs/flink.md", func(text string) string {
		_, help := execute(t, "", "flink", "--help")
		for _, name := range session.Commands(t, help, 8) {
			if !strings.Contains(text, fmt.Sprintf("<!-- flink %s -->", name)) && name == "help" {
				continue
			}
			_, help := execute(t, "", "flink", name, "--help")
			leftOut := connection
			if name == "list" {
				leftOut = nil
			}
			text = session.Between(t, text, "flink "+name, session.Reference(help, leftOut...))
		}
		return text
	})
}

// TestTLS is a cluster behind https that wants a token: the command line's flags bring both, for every request of a command.
func TestTLS(t *testing.T) {
	cluster := fake(t)
	var denied atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			denied.Add(1)
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		cluster.Config.Handler.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	dir := t.TempDir()
	t.Setenv("ADF_FLINK_DIR", dir)
	ca, token := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "token")
	if err := errors.Join(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644),
		os.WriteFile(token, []byte("Authorization: Bearer secret\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	at := []string{"--flink", s.URL}
	for _, x := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"list"}, 1, "flink.certificate"},
		{[]string{"list", "--flink-ca", ca}, 1, "flink.denied"},
		{[]string{"list", "--flink-ca", ca, "--flink-header", "@" + token}, 0, "RUNNING"},
		{[]string{"stop", "numbers", "--flink-ca", ca, "--flink-header", "Authorization: Bearer secret"}, 0, "savepoint-668da5"},
		{[]string{"doctor", "--flink-ca", ca, "--flink-header", "@" + token, "--pool", "127.0.0.1:1"}, 1, "Flink 1.19.3 at " + s.URL},
	} {
		code, out := execute(t, "", append(append([]string{"flink"}, x.args...), at...)...)
		if code != x.code || !strings.Contains(out, x.want) {
			t.Errorf("%v: got %d and %s, want %d and %s", x.args, code, out, x.code, x.want)
		}
		if strings.Contains(out, "secret") {
			t.Errorf("%v tells the secret: %s", x.args, out)
		}
	}
	if denied.Load() != 1 {
		t.Errorf("%d requests went without the token", denied.Load())
	}
}
