package flinkbridge

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

func init() {
	Register("ticks", func(context.Context, map[string]string) (*adf.Flow, error) { return ticks(), nil })
}

func ticks() *adf.Flow {
	f := adf.New("ticks")
	adf.From(f, "numbers", &generate.Source[justN]{Make: func(n int64) justN { return justN{n} }}).To("out", &discard.Sink[justN]{})
	return f
}

type justN struct {
	N int64 `adf:"n"`
}

// flink is a REST server that takes a JAR and runs a job, as far as a submission can see. It answers with the options that are in the JAR, as Beam's runner would.
type flink struct {
	*httptest.Server
	t      *testing.T
	access rest.Config // how it is reached, if not at its address

	mu      sync.Mutex
	jars    map[string]string // id → name
	started chan struct{}     // closed when a job is there
	id      string
	status  rest.Status
	user    map[string]string // the options in the JAR
	config  map[string]string // the options of Flink for the job
	classes []string          // that the JAR brings besides the runner's
	cluster []any             // the cluster's configuration
	seen    []string

	// What is wrong with the cluster.
	change   func(f *flink)                             // when the job is there
	answer   func(path string, body map[string]any)     // before an answer goes out
	refuse   func(w http.ResponseWriter, r string) bool // answers instead
	failures []string                                   // stack traces
}

func newFlink(t *testing.T) *flink {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	f := &flink{t: t, jars: map[string]string{}, started: make(chan struct{})}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(f.serve))
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.Start()
	t.Cleanup(f.Close)
	return f
}

func (f *flink) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	path := strings.ReplaceAll(r.URL.Path, f.id, "ID")
	if f.id == "" {
		path = r.URL.Path
	}
	request := r.Method + " " + path
	f.seen = append(f.seen, request)
	if f.refuse != nil && f.refuse(w, request) {
		return
	}
	var a map[string]any
	switch {
	case request == "POST /jars/upload":
		name := f.upload(body)
		f.jars["1_"+name] = name
		a = map[string]any{"filename": "/tmp/upload/1_" + name}
	case request == "GET /jars":
		var files []any
		for id, name := range f.jars {
			files = append(files, map[string]any{"id": id, "name": name})
		}
		a = map[string]any{"files": files}
	case r.Method == "DELETE":
		delete(f.jars, strings.TrimPrefix(path, "/jars/"))
		a = map[string]any{}
	case strings.HasSuffix(request, "/run"):
		var q rest.RunJar
		if err := json.Unmarshal(body, &q); err != nil || q.EntryClass != cluster.EntryClass {
			f.t.Errorf("got %+v, %v", q, err)
		}
		f.id, f.status, f.config = q.JobID, rest.Running, q.Config
		if f.change != nil {
			f.change(f)
		}
		close(f.started)
		a = map[string]any{"jobid": f.id}
	case request == "GET /jobmanager/config":
		json.NewEncoder(w).Encode(append([]any{}, f.cluster...))
		return
	case f.id == "":
		w.WriteHeader(http.StatusNotFound)
		io.WriteString(w, `{"errors":["Job not found"]}`)
		return
	case request == "PATCH /jobs/ID":
		f.status = rest.Canceled
		a = map[string]any{}
	case path == "/jobs/ID":
		tasks := map[string]any{"RUNNING": 2}
		a = map[string]any{"jid": f.id, "state": f.status, "plan": map[string]any{"type": "STREAMING"}, "vertices": []any{
			map[string]any{"name": "Source: Impulse", "parallelism": 1, "maxParallelism": 128, "tasks": tasks},
			map[string]any{"name": "numbers/read", "parallelism": 2, "maxParallelism": 128, "tasks": tasks},
		}}
	case path == "/jobs/ID/config":
		a = map[string]any{"execution-config": map[string]any{"job-parallelism": 2, "user-config": f.user}}
	case path == "/jobs/ID/checkpoints/config":
		a = map[string]any{"mode": "exactly_once", "interval": 2000, "timeout": 60000, "min_pause": 1000, "max_concurrent": 33,
			"externalization": map[string]any{"enabled": true, "delete_on_cancellation": false}}
	case path == "/jobs/ID/checkpoints": // one is taken, or asked for
		a = map[string]any{"counts": map[string]any{"completed": 1}}
	case path == "/jobs/ID/exceptions":
		root := ""
		entries := []any{}
		for _, trace := range f.failures {
			root = trace
			entries = append(entries, map[string]any{"stacktrace": trace})
		}
		a = map[string]any{"root-exception": root, "exceptionHistory": map[string]any{"entries": entries}}
	default:
		f.t.Errorf("got the request %s", request)
	}
	if f.answer != nil {
		f.answer(path, a)
	}
	json.NewEncoder(w).Encode(a)
}

// upload reads the options of an uploaded JAR, in the way of the runner: numbers as "80.0", names as in Java.
func (f *flink) upload(form []byte) (name string) {
	_, rest, _ := bytes.Cut(form, []byte(`filename="`))
	name, _, _ = strings.Cut(string(rest[:min(len(rest), 200)]), `"`)
	_, jar, _ := bytes.Cut(form, []byte("\r\n\r\n"))
	z, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil {
		f.t.Errorf("the JAR: %v", err)
		return name
	}
	entry, err := z.Open("BEAM-PIPELINE/ticks/pipeline-options.json")
	if err != nil {
		f.t.Errorf("the JAR: %v", err)
		return name
	}
	defer entry.Close()
	var options map[string]any
	if err := json.NewDecoder(entry).Decode(&options); err != nil {
		f.t.Error(err)
	}
	f.user = map[string]string{}
	for _, x := range z.File {
		if strings.HasSuffix(x.Name, ".class") && !strings.HasPrefix(x.Name, "org/apache/beam/") {
			f.classes = append(f.classes, x.Name)
		}
	}
	for key, value := range options {
		key = camelCase(strings.TrimSuffix(strings.TrimPrefix(key, "beam:option:"), ":v1"))
		if n, ok := value.(float64); ok && strings.HasPrefix(key, "max") {
			f.user[key] = fmt.Sprintf("%.1f", n)
		} else {
			f.user[key] = fmt.Sprint(value)
		}
	}
	return name
}

// runnerJar is one with nothing to run in it.
func runnerJar(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "runner.jar")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(file)
	if _, err := z.Create("org/apache/beam/runners/flink/FlinkPipelineRunner.class"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), file.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// submit submits the flow, and looks that nothing is left when that fails.
func (f *flink) submit(ctx context.Context, with func(*SubmitOptions)) (Submission, error) {
	f.t.Helper()
	access := f.access
	access.Address, access.Timeout, access.Outage = cmp.Or(access.Address, f.URL), 5*time.Second, 300*time.Millisecond
	c, err := rest.New(access)
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	worker := filepath.Join(f.t.TempDir(), "worker")
	if err := os.WriteFile(worker, []byte("a program"), 0o755); err != nil {
		f.t.Fatal(err)
	}
	o := SubmitOptions{Builder: "ticks", RunnerJar: runnerJar(f.t), Worker: worker, Pool: "127.0.0.1:1", Parallelism: 2, Interval: 2 * time.Second, Timeout: time.Minute}
	if with != nil {
		with(&o)
	}
	sub, err := Submit(ctx, c, ticks(), o)
	f.mu.Lock()
	defer f.mu.Unlock()
	if left, _ := os.ReadDir(os.Getenv("TMPDIR")); len(left) > 0 {
		f.t.Errorf("%v stay", left)
	}
	if err != nil && f.id != "" && !f.status.Ended() && f.refuse == nil {
		f.t.Error("the job runs on")
	}
	if len(f.jars) > 0 && f.refuse == nil {
		f.t.Errorf("the JARs %v stay", slices.Collect(maps.Values(f.jars)))
	}
	return sub, err
}

func TestSubmit(t *testing.T) {
	f := newFlink(t)
	sub, err := f.submit(t.Context(), nil)
	if err != nil || sub.Job != f.id || !sub.Streaming || sub.Flow != "ticks" || sub.Dashboard != f.URL+"/#/job/running/"+f.id+"/overview" || f.status != rest.Running {
		t.Errorf("got %+v, %v", sub, err)
	}
	want := map[string]string{"maxBundleTimeMills": "20.0", "maxBundleSize": "128.0", "numConcurrentCheckpoints": "33", "finishBundleBeforeCheckpointing": "true", "operatorChaining": "false"}
	for name, value := range want {
		if f.user[name] != value {
			t.Errorf("%s is %s, want %s", name, f.user[name], value)
		}
	}
}

// TestSubmitByHTTPS: a cluster behind TLS and a token gets the token with every request.
func TestSubmitByHTTPS(t *testing.T) {
	f := newFlink(t)
	proxied := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer 17" {
			t.Errorf("%s %s comes without the token", r.Method, r.URL)
		}
		f.serve(w, r)
	}))
	defer proxied.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxied.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	f.access = rest.Config{Address: proxied.URL, CA: ca, Headers: map[string]string{"Authorization": "Bearer 17"}}
	if sub, err := f.submit(t.Context(), nil); err != nil || sub.Job != f.id || !strings.HasPrefix(sub.Dashboard, proxied.URL) {
		t.Errorf("got %+v, %v", sub, err)
	}
}

// TestBoundedManifest: a job brings the class that bounds RocksDB's manifest, and names it, but for a cluster that sets RocksDB's options itself.
func TestBoundedManifest(t *testing.T) {
	f := newFlink(t)
	if sub, err := f.submit(t.Context(), nil); err != nil || len(sub.Notes) != 1 { // how the runner places keys
		t.Errorf("got %+v, %v", sub, err)
	}
	if f.config[optionsFactory] != "activedataflow.BoundedManifest" || !slices.Equal(f.classes, []string{"activedataflow/BoundedManifest.class"}) {
		t.Errorf("got the options %v and the classes %v", f.config, f.classes)
	}
	f = newFlink(t)
	f.cluster = []any{map[string]any{"key": optionsFactory, "value": "their.Own"}}
	sub, err := f.submit(t.Context(), nil)
	if err != nil || len(f.config) > 0 || !slices.ContainsFunc(sub.Notes, func(n string) bool { return strings.Contains(n, "their.Own") }) {
		t.Errorf("got the options %v, %+v, %v", f.config, sub, err)
	}
}

// TestNotInEffect: every option that correctness stands on is compared with what the cluster says, and a job without it does not stay.
func TestNotInEffect(t *testing.T) {
	for _, x := range []struct{ path, key, got, want string }{
		{"/jobs/ID/config", "execution-config.user-config.finishBundleBeforeCheckpointing", "false", "finish_bundle_before_checkpointing is false, want true"},
		{"/jobs/ID/config", "execution-config.user-config.finishBundleBeforeCheckpointing", "", "finish_bundle_before_checkpointing is not known to the runner, want true"},
		{"/jobs/ID/config", "execution-config.user-config.numConcurrentCheckpoints", "1", "num_concurrent_checkpoints is 1, want 33"},
		{"/jobs/ID/config", "execution-config.user-config.maxBundleSize", "100000.0", "max_bundle_size is 100000, want 128"},
		{"/jobs/ID/config", "execution-config.user-config.maxBundleTimeMills", "10000.0", "max_bundle_time_mills is 10000, want 20"},
		{"/jobs/ID/config", "execution-config.user-config.operatorChaining", "true", "operator_chaining is true, want false"},
		{"/jobs/ID/config", "execution-config.user-config.maxParallelism", "-1.0", "max_parallelism is -1, want 128"},
		{"/jobs/ID/config", "execution-config.user-config.streaming", "false", "streaming is false, want true"},
		{"/jobs/ID/config", "execution-config.job-parallelism", "1", "parallelism is 1, want 2"},
		{"/jobs/ID", "plan.type", "BATCH", "the kind of job is BATCH, want STREAMING"},
		{"/jobs/ID/checkpoints/config", "mode", "at_least_once", "the mode of checkpoints is at_least_once, want exactly_once"},
		{"/jobs/ID/checkpoints/config", "interval", "9223372036854775807", "the interval of checkpoints in ms is 9223372036854775807, want 2000"},
		{"/jobs/ID/checkpoints/config", "timeout", "1000", "the timeout of checkpoints in ms is 1000, want 60000"},
		{"/jobs/ID/checkpoints/config", "min_pause", "0", "the pause between checkpoints in ms is 0, want 1000"},
		{"/jobs/ID/checkpoints/config", "max_concurrent", "1", "the number of concurrent checkpoints is 1, want 33"},
		{"/jobs/ID/checkpoints/config", "externalization.enabled", "false", "externalized checkpoints is false, want true"},
		{"/jobs/ID/checkpoints/config", "externalization.delete_on_cancellation", "true", "their end with a cancelled job is true, want false"},
	} {
		t.Run(x.want, func(t *testing.T) {
			f := newFlink(t)
			f.answer = func(path string, body map[string]any) {
				if path == x.path {
					set(body, strings.Split(x.key, "."), x.got)
				}
			}
			_, err := f.submit(t.Context(), nil)
			d, ok := fault.DetailOf(err)
			if !ok || d.Code != "flink.options" || d.Err.Error() != x.want || d.Flow != "ticks" || fault.Retryable(err) {
				t.Errorf("got %v, want %s", err, x.want)
			}
		})
	}
	t.Run("steps", func(t *testing.T) {
		f := newFlink(t)
		f.answer = func(path string, body map[string]any) {
			if path == "/jobs/ID" {
				v := body["vertices"].([]any)[1].(map[string]any)
				v["name"], v["parallelism"], v["maxParallelism"] = "a -> b", 1, 64
			}
		}
		_, err := f.submit(t.Context(), nil)
		const want = "a -> b is a chain of steps, want operator_chaining false; max_parallelism of a -> b is 64, want 128; the largest parallelism of a step is 1, want 2"
		if d, ok := fault.DetailOf(err); !ok || d.Code != "flink.options" || d.Err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

// set changes a value, keeping its type; "" takes it away.
func set(body map[string]any, path []string, text string) {
	if len(path) > 1 {
		if user, ok := body[path[0]].(map[string]string); ok {
			user = maps.Clone(user)
			user[path[1]] = text
			if text == "" {
				delete(user, path[1])
			}
			body[path[0]] = user
			return
		}
		set(body[path[0]].(map[string]any), path[1:], text)
		return
	}
	switch body[path[0]].(type) {
	case string:
		body[path[0]] = text
	default:
		body[path[0]] = json.RawMessage(text)
	}
}

const otherPlan = "java.lang.RuntimeException: " + rest.FinalMark +
	"runtime: find the flow of a pipeline: this worker builds the plan b, and the pipeline was made of a (flow ticks, run 1) [bridge.digest]; run the same program\n"

// TestItDoesNotStart: a job that will not come to run is given up, with what its worker has said.
func TestItDoesNotStart(t *testing.T) {
	notYet := func(path string, body map[string]any) {
		if path == "/jobs/ID/checkpoints" {
			body["counts"] = map[string]any{"completed": 0}
		}
	}
	for _, x := range []struct {
		name, code, want string
		change           func(*flink)
	}{
		{"a plan of another version", "bridge.digest", "this worker builds the plan b, and the pipeline was made of a", func(f *flink) { f.failures = []string{otherPlan} }},
		{"a worker that crashes", "flink.pool.worker.exited", "it has failed 3 times: start worker 1-1: it ended: exit status 3; its last words: no luck", func(f *flink) {
			trace := "java.lang.RuntimeException: runtime: start worker 1-1: it ended: exit status 3; its last words:\nno luck [flink.pool.worker.exited]\n"
			f.failures = []string{trace, trace, trace}
		}},
		{"no slots", "flink.job", "it gets no slots: NoResourceAvailableException: none", func(f *flink) {
			f.failures = []string{"org.apache.flink.x.NoResourceAvailableException: none"}
		}},
		{"failed", "flink.job", "IOException: no checkpoint folder", func(f *flink) {
			f.status, f.failures = rest.Failed, []string{"java.io.IOException: no checkpoint folder\n"}
		}},
		{"cancelled by somebody", "flink.job", "it is CANCELED", func(f *flink) { f.status = rest.Canceled }},
		{"ended", "flink.job", "it has ended already", func(f *flink) { f.status = rest.Finished }},
	} {
		t.Run(x.name, func(t *testing.T) {
			f := newFlink(t)
			f.change, f.answer = x.change, notYet
			_, err := f.submit(t.Context(), nil)
			d, ok := fault.DetailOf(err)
			if !ok || d.Code != x.code || !strings.Contains(d.Err.Error(), x.want) || d.Flow != "ticks" || d.Run == "" || d.Fix == "" || fault.Retryable(err) {
				t.Errorf("got %v, want %s", err, x.want)
			}
		})
	}
}

// TestJarRefused: what Flink says when it runs the JAR, with what to do.
func TestJarRefused(t *testing.T) {
	for _, x := range []struct{ says, code, fix string }{
		{"java.lang.IllegalStateException: Failed to rollback to checkpoint/savepoint s. Cannot map checkpoint/savepoint state for operator 1 to the new program, because the operator is not available in " +
			"the new program. If you want to allow to skip this, you can set the --allowNonRestoredState option on the CLI.", "flink.savepoint.dropped", "--allow-dropped"},
		{"java.io.FileNotFoundException: Cannot find checkpoint or savepoint file/directory 's' on file system 's3'.", "flink.savepoint.missing", "adf flink stop"},
		{"java.lang.NoSuchMethodError: made for another Flink", "flink.program", "the JobManager's log"},
	} {
		t.Run(x.code, func(t *testing.T) {
			f := newFlink(t)
			f.refuse = func(w http.ResponseWriter, r string) bool {
				if !strings.HasSuffix(r, "/run") {
					return false
				}
				w.WriteHeader(http.StatusBadRequest)
				json.NewEncoder(w).Encode(map[string]any{"errors": []string{x.says}})
				return true
			}
			_, err := f.submit(t.Context(), func(o *SubmitOptions) { o.Savepoint = "s" })
			d, ok := fault.DetailOf(err)
			if !ok || d.Code != x.code || !strings.Contains(d.Fix, x.fix) {
				t.Errorf("got %v", err)
			}
			if len(f.jars) > 0 {
				t.Errorf("%v stay", f.jars)
			}
		})
	}
}

// TestInterrupted: whenever the signal comes, the job is cancelled and the JAR deleted.
func TestInterrupted(t *testing.T) {
	for _, at := range []string{"POST /jars/upload", "/run", "GET /jobs/ID/config", "GET /jobs/ID/checkpoints"} {
		t.Run(at, func(t *testing.T) {
			f := newFlink(t)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			f.answer = func(path string, body map[string]any) {
				if strings.HasSuffix(f.seen[len(f.seen)-1], at) {
					interrupt()
				}
				if path == "/jobs/ID/checkpoints" {
					body["counts"] = map[string]any{"completed": 0}
				}
			}
			_, err := f.submit(ctx, nil)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want that it was interrupted", err)
			}
			if at != "POST /jars/upload" && f.status != rest.Canceled {
				t.Errorf("the job is %s", f.status)
			}
		})
	}
}

// TestClusterDies: nobody waits for ever, and it is told that the job may run on.
func TestClusterDies(t *testing.T) {
	f := newFlink(t)
	f.refuse = func(w http.ResponseWriter, r string) bool {
		if r == "GET /jobs/ID/config" {
			f.id = "gone"
		}
		if f.id == "gone" {
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, `{"errors":["no leader"]}`)
			return true
		}
		return false
	}
	sub, err := f.submit(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "no leader") || !strings.Contains(err.Error(), "[flink.unavailable]") ||
		!strings.Contains(err.Error(), "it may run on: for 300ms already: no leader") || !strings.Contains(err.Error(), "adf flink cancel "+sub.Job) {
		t.Errorf("got %v", err)
	}
}

// TestJarNotMade: no room, no folder, no program.
func TestJarNotMade(t *testing.T) {
	f := newFlink(t)
	wrong := func(code, what string, err error) {
		t.Helper()
		d, ok := fault.DetailOf(err)
		if !ok || d.Code != code || d.Fix == "" || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want %s [%s]", err, what, code)
		}
		if len(f.seen) > 0 {
			t.Errorf("the cluster was asked for %v", f.seen)
		}
	}
	_, err := f.submit(t.Context(), func(o *SubmitOptions) { o.Worker = "missing" })
	wrong("bridge.jar", "open missing: no such file", err)
	_, err = f.submit(t.Context(), func(o *SubmitOptions) { o.RunnerJar = o.Worker })
	wrong("flink.runner", "zip: not a valid zip file", err)
	t.Setenv("TMPDIR", "/nowhere/to/be/found")
	_, err = f.submit(t.Context(), nil)
	wrong("bridge.jar", "no such file or directory", err)

	worker := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(worker, make([]byte, 1<<20), 0o755); err != nil {
		t.Fatal(err)
	}
	g := built(t, ticks())
	d, err := SubmitOptions{Builder: "ticks", RunnerJar: runnerJar(t), Worker: worker, Pool: "127.0.0.1:1"}.deploy(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.jar.write(full{}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("got %v, want that the disk is full", err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestOptionsRefused: what is wrong with the options is told before anything is sent.
func TestOptionsRefused(t *testing.T) {
	for _, x := range []struct {
		with func(*SubmitOptions)
		want string
	}{
		{func(o *SubmitOptions) { o.Lanes = 1 }, "options.lanes: got 1, want at least the parallelism, 2"},
		{func(o *SubmitOptions) { o.Parallelism = 200 }, "options.parallelism: got 200, want 1 to 128"},
		{func(o *SubmitOptions) { o.Builder = "nobody's" }, `options.builder: got "nobody's", want the name of a registered builder`},
		{func(o *SubmitOptions) { o.RunnerJar = "" }, "options.runner_jar: got nothing, want the path of a runner JAR"},
		{func(o *SubmitOptions) { o.Boot = "/boot" }, "options.pool: got both or neither of a pool and a boot command, want one of them"},
	} {
		f := newFlink(t)
		_, err := f.submit(t.Context(), x.with)
		if err == nil || err.Error() != x.want {
			t.Errorf("got %v, want %s", err, x.want)
		}
		if len(f.seen) > 0 {
			t.Errorf("the cluster was asked for %v", f.seen)
		}
	}
}

// TestBundles: as many payloads as there are buckets bring what a bundle may hold, and no more; and there are more concurrent checkpoints than can be under way.
func TestBundles(t *testing.T) {
	for _, buckets := range []int{1, 16, 128, 4096} {
		o := optionsFor(SubmitOptions{Parallelism: 1, Interval: time.Second, Timeout: time.Second}, spec{Lanes: 2, Buckets: buckets})
		if size := o.bundleSize * flushedBytes / buckets; o.bundleSize < 1 || size > mostBundle || size < mostBundle/2 {
			t.Errorf("%d buckets: a bundle of %d payloads has %d bytes", buckets, o.bundleSize, size)
		}
	}
	for _, x := range []struct {
		interval, timeout time.Duration
		want              int
	}{{10 * time.Second, 10 * time.Minute, 63}, {time.Second, time.Second, 8}, {7 * time.Second, time.Minute, 12}} {
		if o := optionsFor(SubmitOptions{Parallelism: 1, Interval: x.interval, Timeout: x.timeout}, spec{Lanes: 1, Buckets: 1}); o.concurrent != x.want || o.pause != x.interval/2 {
			t.Errorf("%+v: got %d and %s", x, o.concurrent, o.pause)
		}
	}
}

// TestForm: a worker refuses the pipeline of another release, and says what it has found and what it knows.
func TestForm(t *testing.T) {
	s := specified(t, built(t, ticks()), Options{Builder: "ticks", Until: Until{Idle: true}})
	s.Form = 2
	for data, want := range map[string]string{
		marshal(t, s): "the pipeline has the form 2, and this worker knows the form 1",
		`{"run":"x"}`: "the pipeline has the form 0, and this worker knows the form 1",
		"no JSON":     "invalid character",
	} {
		_, err := find([]byte(data))
		d, _ := fault.DetailOf(err)
		if err == nil || d.Code != "bridge.form" || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), rest.FinalMark) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	s.Form, s.Digest = form, "another"
	if _, err := find([]byte(marshal(t, s))); err == nil || !strings.Contains(err.Error(), "this worker builds the plan "+built(t, ticks()).Plan.Digest()+", and the pipeline was made of another") {
		t.Errorf("got %v", err)
	}
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
