package rest

import (
	"context"
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
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorded are answers of a real cluster by name; stack traces are shortened.
var recorded = func() map[string]answer {
	data, err := os.ReadFile("testdata/flink-1.19.3.json")
	if err != nil {
		panic(err)
	}
	var list []struct {
		Name   string          `json:"name"`
		Status int             `json:"status"`
		Body   json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(data, &list); err != nil {
		panic(err)
	}
	all := map[string]answer{}
	for _, a := range list {
		all[a.Name] = answer{a.Status, string(a.Body)}
	}
	return all
}()

type answer struct {
	status int
	body   string
}

// server is a fake that answers with what is recorded.
type server struct {
	*httptest.Server
	mu sync.Mutex
	// says has the names of the answers to a request ("GET /overview"), one after the other; the last one stays.
	says map[string][]string
	seen []string // requests with their bodies
	head http.Header
}

func serve(t *testing.T, says map[string][]string) *server {
	t.Helper()
	s := &server{says: says}
	s.Server = httptest.NewServer(http.HandlerFunc(s.answer))
	t.Cleanup(s.Close)
	return s
}

func (s *server) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	request := r.Method + " " + r.URL.RequestURI()
	s.seen = append(s.seen, strings.TrimSpace(request+" "+string(body)))
	s.head = r.Header
	names := s.says[request]
	if len(names) == 0 {
		http.Error(w, `{"errors":["Not found: `+request+`"]}`, http.StatusNotFound)
		return
	}
	name := names[0]
	if len(names) > 1 {
		s.says[request] = names[1:]
	}
	a, ok := recorded[name]
	if !ok {
		var status int
		fmt.Sscanf(name, "%d", &status) // "503 text"
		a = answer{status, name[4:]}
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

func (s *server) client(t *testing.T) *Client {
	t.Helper()
	c, err := New(Config{Address: s.URL, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const id = "668da5c0dbdf7cf3b124779c1cbcf70c"

func TestCluster(t *testing.T) {
	s := serve(t, map[string][]string{
		"GET /overview": {"/overview"}, "GET /config": {"/config"}, "GET /jobmanager/config": {"/jobmanager/config"},
		"GET /jobmanager/environment": {"/jobmanager/environment"}, "GET /taskmanagers": {"/taskmanagers"},
		"GET /taskmanagers/taskmanager-1/log": {"200 first lines\nmore"},
	})
	c := s.client(t)
	o, err := c.Overview(t.Context())
	if err != nil || o.Version != "1.19.3" || o.TaskManagers != 1 || o.Slots != 4 || o.FreeSlots != 3 || o.JobsRunning != 1 {
		t.Errorf("got %+v, %v", o, err)
	}
	f, err := c.Features(t.Context())
	if err != nil || !f.Submit || !f.Cancel {
		t.Errorf("got %+v, %v", f, err)
	}
	config, err := c.Config(t.Context())
	if err != nil || config["state.backend.type"] != "rocksdb" || config["state.checkpoints.dir"] != "file:///flink/checkpoints" {
		t.Errorf("got %v, %v", config, err)
	}
	e, err := c.Environment(t.Context())
	if err != nil || e.JVM.Arch != "amd64" || len(e.ClassPath) == 0 {
		t.Errorf("got %+v, %v", e, err)
	}
	tms, err := c.TaskManagers(t.Context())
	if err != nil || len(tms) != 1 || tms[0].ID != "taskmanager-1" || tms[0].Slots != 4 || tms[0].FreeSlots != 3 || tms[0].Hardware.Cores != 2 {
		t.Errorf("got %+v, %v", tms, err)
	}
	text, err := c.TaskManagerLog(t.Context(), "taskmanager-1", 11)
	if err != nil || string(text) != "first lines" {
		t.Errorf("got %q, %v", text, err)
	}
	if got := c.DashboardURL(""); got != s.URL+"/#/overview" {
		t.Errorf("got %s", got)
	}
	if got := c.DashboardURL("7"); got != s.URL+"/#/job/running/7/overview" {
		t.Errorf("got %s", got)
	}
}

func TestJobs(t *testing.T) {
	s := serve(t, map[string][]string{
		"GET /jobs/overview": {"/jobs/overview"}, "GET /jobs/" + id: {"job"}, "GET /jobs/" + id + "/config": {"job/config"},
		"GET /jobs/" + id + "/checkpoints": {"job/checkpoints"}, "GET /jobs/" + id + "/checkpoints/config": {"job/checkpoints/config"},
		"GET /jobs/" + id + "/exceptions": {"failures"}, "GET /jobs/" + id + "/metrics?get=numRestarts": {"job metrics"},
		"GET /jobs/" + id + "/accumulators":       {`200 {"job-accumulators":[],"user-task-accumulators":[{"name":"counts","type":"C","value":"{\"metrics\":{}}"}]}`},
		"POST /jobs/" + id + "/checkpoints":       {`202 {"request-id":"549d0de73503b2ad1805b748c9568bd0"}`},
		"GET /jobs/" + id + "/vertices/v/metrics": {"metric names"},
		"GET /jobs/" + id + "/vertices/v/metrics?get=0.sum.numRecordsOut%2C0.currentInputWatermark%2C0.numRecordsIn": {"metrics"},
	})
	c := s.client(t)
	jobs, err := c.Jobs(t.Context())
	if err != nil || len(jobs) != 3 || jobs[0].Start < jobs[1].Start || jobs[0].Status != Canceled || jobs[1].Status != Failed || jobs[2].Status != Finished || jobs[2].ID != id {
		t.Errorf("got %+v, %v", jobs, err)
	}
	j, err := c.Job(t.Context(), id)
	if err != nil || j.Name != "numbers" || j.Status != Running || !j.Running() || len(j.Vertices) != 2 || j.Vertices[1].Name != "sum -> Sink: out" || j.Vertices[1].Parallelism != 1 || j.Plan.Type != "STREAMING" {
		t.Errorf("got %+v, %v", j, err)
	}
	jc, err := c.JobConfig(t.Context(), id)
	if err != nil || jc.Execution.Parallelism != 1 || jc.Execution.Mode != "PIPELINED" {
		t.Errorf("got %+v, %v", jc, err)
	}
	k, err := c.Checkpoints(t.Context(), id)
	if err != nil || k.Counts.Completed != 66 || k.Counts.Failed != 3 || k.Latest.Completed == nil || k.Latest.Completed.Status != "COMPLETED" || k.Latest.Restored != nil {
		t.Errorf("got %+v, %v", k, err)
	}
	kc, err := c.CheckpointConfig(t.Context(), id)
	if err != nil || kc.Mode != "exactly_once" || kc.Interval != 500 || kc.MaxConcurrent != 1 || !kc.Externalized.DeleteOnCancel || kc.StateBackend != "EmbeddedRocksDBStateBackend" {
		t.Errorf("got %+v, %v", kc, err)
	}
	x, err := c.Exceptions(t.Context(), id)
	if err != nil || len(x.History) != 3 || x.History[0].Task != "Source: numbers (1/1) - execution #2" || Cause(x.Root) != "IllegalStateException: the number 500 is not wanted" {
		t.Errorf("got %+v, %v", x, err)
	}
	a, err := c.Accumulators(t.Context(), id)
	if err != nil || len(a) != 1 || a["counts"] != `{"metrics":{}}` {
		t.Errorf("got %v, %v", a, err)
	}
	if err := c.Checkpoint(t.Context(), id); err != nil || !slices.Contains(s.seen, "POST /jobs/"+id+`/checkpoints {"checkpointType":"CONFIGURED"}`) {
		t.Errorf("got %v, %v", s.seen, err)
	}
	m, err := c.Metrics(t.Context(), id, "v")
	if err != nil || len(m) != 3 || m["0.numRecordsIn"] != "28955" {
		t.Errorf("got %v, %v", m, err)
	}
	m, err = c.JobMetrics(t.Context(), id, "numRestarts")
	if err != nil || m["numRestarts"] != "0" {
		t.Errorf("got %v, %v", m, err)
	}
}

func TestSavepointStopCancel(t *testing.T) {
	s := serve(t, map[string][]string{
		"POST /jobs/" + id + "/savepoints": {"savepoint"},
		"GET /jobs/" + id + "/savepoints/549d0de73503b2ad1805b748c9568bd0": {
			`200 {"status":{"id":"IN_PROGRESS"}}`, `503 {"errors":["Service temporarily unavailable due to an ongoing leader election. Please refresh."]}`, "savepoint done"},
		"POST /jobs/" + id + "/stop":                                       {"stop"},
		"GET /jobs/" + id + "/savepoints/6ee351c36bd0fd3bd0c569eac5a3ca99": {"stop done"},
		"PATCH /jobs/" + id + "?mode=cancel":                               {"cancel"},
		"GET /jobs/" + id:                                                  {"job", `200 {"state":"CANCELED"}`},
	})
	c := s.client(t)
	path, err := c.Savepoint(t.Context(), id, "")
	if err != nil || path != "file:/flink/savepoints/savepoint-668da5-bc8f69d99939" {
		t.Errorf("got %q, %v", path, err)
	}
	path, err = c.Stop(t.Context(), id, false, "s3://bucket/here")
	if err != nil || path != "file:/flink/savepoints/savepoint-668da5-be3b0f5d9358" {
		t.Errorf("got %q, %v", path, err)
	}
	if err := c.Cancel(t.Context(), id); err != nil {
		t.Error(err)
	}
	if end, err := c.WaitEnd(t.Context(), id); err != nil || end != Canceled {
		t.Errorf("got %q, %v", end, err)
	}
	for _, want := range []string{
		"POST /jobs/" + id + `/savepoints {"cancel-job":false}`,
		"POST /jobs/" + id + `/stop {"targetDirectory":"s3://bucket/here","drain":false}`,
	} {
		if !slices.Contains(s.seen, want) {
			t.Errorf("%s was not sent, but\n%s", want, strings.Join(s.seen, "\n"))
		}
	}
}

func TestJars(t *testing.T) {
	s := serve(t, map[string][]string{
		"POST /jars/upload": {"upload"}, "GET /jars": {"/jars"}, "POST /jars/some.jar/run": {"run"}, "DELETE /jars/some.jar": {"delete"},
	})
	c := s.client(t)
	jar := filepath.Join(t.TempDir(), "numbers.jar")
	if err := os.WriteFile(jar, []byte("what is in a JAR"), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := c.UploadJar(t.Context(), jar)
	if err != nil || got != "c798ac72-ed60-4308-afbb-efe9b1cf502e_numbers.jar" {
		t.Errorf("got %q, %v", got, err)
	}
	if sent := s.seen[0]; !strings.Contains(sent, `name="jarfile"; filename="numbers.jar"`) || !strings.Contains(sent, "\r\n\r\nwhat is in a JAR\r\n--") || s.head.Get("Content-Length") == "" {
		t.Errorf("sent %s with %v", sent, s.head)
	}
	jars, err := c.Jars(t.Context())
	if err != nil || len(jars) != 2 || jars[0].ID != got || jars[0].Uploaded.Time().IsZero() {
		t.Errorf("got %+v, %v", jars, err)
	}
	run, err := c.RunJar(t.Context(), "some.jar", RunJar{EntryClass: "x.Y", SavepointPath: "file:/s", AllowNonRestored: true, Parallelism: 3})
	if err != nil || run != "60a8ec4c01d761a4ec1fef9b1c283d33" {
		t.Errorf("got %q, %v", run, err)
	}
	if want := `POST /jars/some.jar/run {"entryClass":"x.Y","savepointPath":"file:/s","allowNonRestoredState":true,"parallelism":3}`; !slices.Contains(s.seen, want) {
		t.Errorf("%s was not sent, but\n%s", want, strings.Join(s.seen, "\n"))
	}
	if err := c.DeleteJar(t.Context(), "some.jar"); err != nil {
		t.Error(err)
	}
	if _, err := c.UploadJar(t.Context(), filepath.Join(t.TempDir(), "none.jar")); code(err) != "flink.jar" {
		t.Errorf("got %v", err)
	}
}

func code(err error) string {
	if d, ok := fault.DetailOf(err); ok {
		return d.Code
	}
	return ""
}

// Every failure has a code, what the server said in short, whether a retry helps, and a fix.
func TestErrors(t *testing.T) {
	for _, x := range []struct {
		says  string
		do    func(context.Context, *Client) error
		retry bool
		want  string
	}{
		{says: "no job", do: askJob, want: "runtime flink: ask for a job: there is no job ID [flink.missing]; adf flink list shows the jobs of the cluster"},
		{says: "no id", do: askJob, want: `runtime flink: ask for a job: Bad request, could not parse parameters: Cannot resolve path parameter (jobid) from value "zz": HandlerRequestException: Cannot resolve path parameter (jobid) from value "zz" [flink.refused]`},
		{says: "404 <html>\n<h1>Not Found</h1>", do: askJob, want: "runtime flink: ask for a job: URL does not have /jobs/ID: <html> <h1>Not Found</h1> [flink.answer]; check that it is Flink's REST server, and the version of Flink"},
		{says: "main fails", do: run, want: "runtime flink: run a JAR: Could not execute application: IllegalArgumentException: main does not want to [flink.program]; the JobManager's log has the whole of it"},
		{says: "no class", do: run, want: "runtime flink: run a JAR: ProgramInvocationException: The program's entry point class 'No' was not found in the jar file: ClassNotFoundException: No [flink.program]; the JobManager's log has the whole of it"},
		{says: "no jar", do: run, want: "runtime flink: run a JAR: Jar file /flink/upload/flink-web-upload/none.jar does not exist [flink.program]; the JobManager's log has the whole of it"},
		{says: "no savepoint", do: run, want: "runtime flink: run a JAR: Could not execute application: FileNotFoundException: Cannot find checkpoint or savepoint file/directory 'file:///nothing' on file system 'file' [flink.program]; the JobManager's log has the whole of it"},
		{says: `503 {"errors":["Service temporarily unavailable due to an ongoing leader election. Please refresh."]}`, do: run, retry: true,
			want: "runtime flink: run a JAR: Service temporarily unavailable due to an ongoing leader election. Please refresh [flink.unavailable]; wait: the JobManager is starting, or a leader is being elected"},
		{says: `500 {"errors":["Internal server error."]}`, do: askJob, retry: true, want: "runtime flink: ask for a job: Internal server error. [flink.server]; the JobManager's log has the whole of it"},
		{says: "500 ", do: askJob, retry: true, want: "runtime flink: ask for a job: 500 Internal Server Error [flink.server]; the JobManager's log has the whole of it"},
		{says: "413 too much", do: run, want: "runtime flink: run a JAR: too much [flink.too_large]; raise rest.server.max-content-length of the cluster, or the limit of what stands before it"},
		{says: "401 who are you", do: askJob, want: "runtime flink: ask for a job: 401 Unauthorized: who are you [flink.denied]; give what the server asks for: --flink-header for a token or password, --flink-cert and --flink-key for a certificate"},
		{says: "302 ", do: askJob, want: "runtime flink: ask for a job: URL sends on elsewhere [flink.redirect]; give the address where Flink answers itself; a page to log in at wants --flink-header"},
		{says: "200 <html>hello</html>", do: askJob, want: "runtime flink: ask for a job: the answer is no JSON as Flink gives it: invalid character '<' looking for beginning of value: <html>hello</html> [flink.answer]; check that URL is Flink's REST server, and the version of Flink"},
		{says: `200 {"status":"up"}`, do: func(ctx context.Context, c *Client) error { _, err := c.Overview(ctx); return err },
			want: "runtime flink: ask the cluster what it is: URL answers, but not as Flink does [flink.answer]; check that it is the address of Flink's REST server"},
		{says: "savepoint failed", do: savepoint, want: "runtime flink: take a savepoint: CheckpointException: An Exception occurred while triggering the checkpoint. IO-problem detected: IOException: Failed to create savepoint directory at file:/proc/nothing [flink.savepoint]; look whether the folder can be written by every TaskManager, and whether all tasks of the job run: URL/#/job/running/ID/overview"},
	} {
		t.Run(x.says, func(t *testing.T) {
			s := serve(t, map[string][]string{"GET /jobs/" + id: {x.says}, "POST /jars/j/run": {x.says}, "GET /overview": {x.says},
				"POST /jobs/" + id + "/savepoints": {"savepoint"}, "GET /jobs/" + id + "/savepoints/549d0de73503b2ad1805b748c9568bd0": {x.says}})
			err := x.do(t.Context(), s.client(t))
			if err == nil {
				t.Fatal("got no error")
			}
			got := strings.NewReplacer(s.URL, "URL", id, "ID").Replace(err.Error())
			if got != x.want {
				t.Errorf("got\n%s\nwant\n%s", got, x.want)
			}
			if fault.Retryable(err) != x.retry {
				t.Errorf("retry: got %v", !x.retry)
			}
		})
	}
}

func askJob(ctx context.Context, c *Client) error    { _, err := c.Job(ctx, id); return err }
func run(ctx context.Context, c *Client) error       { _, err := c.RunJar(ctx, "j", RunJar{}); return err }
func savepoint(ctx context.Context, c *Client) error { _, err := c.Savepoint(ctx, id, ""); return err }

func TestNobodyThere(t *testing.T) {
	s := httptest.NewServer(nil)
	s.Close()
	c, err := New(Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	err = askJob(t.Context(), c)
	if code(err) != "flink.unreachable" || !fault.Retryable(err) || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "adf flink up starts one") {
		t.Errorf("got %v", err)
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	c, err := New(Config{Address: s.URL, Timeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := askJob(t.Context(), c); code(err) != "flink.timeout" || !fault.Retryable(err) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := c.WaitEnd(ctx, id); code(err) != "flink.ended" || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := askJob(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// WaitRunning tells why a job that was to start has failed.
func TestWaitRunning(t *testing.T) {
	s := serve(t, map[string][]string{"GET /jobs/" + id: {"restarting job", "job"}})
	if j, err := s.client(t).WaitRunning(t.Context(), id); err != nil || !j.Running() {
		t.Errorf("got %+v, %v", j, err)
	}
	s = serve(t, map[string][]string{"GET /jobs/" + id: {`200 {"state":"FAILED"}`}, "GET /jobs/" + id + "/exceptions": {"failures"}})
	_, err := s.client(t).WaitRunning(t.Context(), id)
	if code(err) != "flink.job" || fault.Retryable(err) || !strings.Contains(err.Error(), "IllegalStateException: the number 500 is not wanted") {
		t.Errorf("got %v", err)
	}
}

func TestHeadersAndTLS(t *testing.T) {
	var got http.Header
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		io.WriteString(w, `{"flink-version":"1.19.3"}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Address: s.URL, CA: ca, Headers: map[string]string{"Authorization": "Bearer secret"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Overview(t.Context()); err != nil || got.Get("Authorization") != "Bearer secret" {
		t.Errorf("got %v, %v", got, err)
	}
	unknown, err := New(Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer unknown.Close()
	if _, err := unknown.Overview(t.Context()); code(err) != "flink.certificate" || fault.Retryable(err) {
		t.Errorf("got %v", err)
	}
}

func TestConfig(t *testing.T) {
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("no certificate"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		c    Config
		want string
	}{
		{Config{}, "address: got nothing, want the address of Flink's REST server, as http://127.0.0.1:8081"},
		{Config{Address: "localhost:8081"}, `address: got "localhost:8081", want the address of Flink's REST server, as http://127.0.0.1:8081; did you mean "http://localhost:8081"?`},
		{Config{Address: "ftp://x"}, `address: got "ftp://x", want the address of Flink's REST server, as http://127.0.0.1:8081`},
		{Config{Address: "https://x", CA: text}, `ca: got "` + text + `": there is no certificate in it, want a file with certificates in PEM`},
		{Config{Address: "https://x", Cert: "none.pem"}, `cert: got "none.pem" and "": open none.pem: no such file or directory, want a certificate and its key, both in PEM`},
		{Config{Address: "https://x", Headers: map[string]string{"A": "b\nc"}}, `headers: got a header named "A", want a header as NAME: VALUE, in one line`},
	} {
		_, err := New(x.c)
		if err == nil || err.Error() != x.want {
			t.Errorf("got\n%v\nwant\n%s", err, x.want)
		}
	}
	if c, err := New(Config{Address: "http://user:secret@x:1/flink/"}); err != nil || strings.Contains(c.Address(), "secret") || c.DashboardURL("") != "http://x:1/flink/#/overview" {
		t.Errorf("got %v, %v", c, err)
	}
}

// Whatever a server says becomes one line, and no longer than it was.
func FuzzCause(f *testing.F) {
	for _, a := range recorded {
		f.Add(a.body)
	}
	f.Add("java.util.concurrent.CompletionException: a.B: c\n\tat x\nCaused by: a.B: c\n\t... 3 more\nEnd of exception on server side>")
	f.Fuzz(func(t *testing.T, trace string) {
		got := Cause(trace)
		if strings.Contains(got, "\n") || len(got) > len(trace)+2 {
			t.Errorf("got %q of %q", got, trace)
		}
	})
}

// A worker's error comes through Beam's harness and Java, and is told as the worker has told it.
func TestDoomed(t *testing.T) {
	const harness = `org.apache.flink.runtime.taskmanager.AsynchronousException: Caught exception while processing timer.
	at org.apache.flink.streaming.runtime.tasks.StreamTask.invoke(StreamTask.java:859)
Caused by: TimerException{java.lang.RuntimeException: Failed to finish remote bundle}
	... 15 more
Caused by: java.lang.RuntimeException: Error received from SDK harness for instruction 4: process bundle failed for instruction 4 using plan 9-4 : while executing Process for Plan[9-4]:
1: DataSource[S[fn/read/numbers/from clock.out:0@localhost:36121], local_output] Out:4 Coder:W;fn/wire/numbers/from clock.out:0<KV;c2<bytes;c0,bytes;c0>>!GWC 
2: DataSink[S[fn/write/numbers/discover.out:0@localhost:36121]] Coder:W;fn/wire/numbers/from clock.out:0<KV;c2<bytes;c0,bytes;c0>>!GWC
	caused by:
source failed processing timers
	caused by:
	ontimer callback invocation failed
	error processing timer {[110 117 109 98 101 114 115] [@0:[]:{early false false 0 0}] numbers [[*]] {unknown true true 0 0} {  false 1795558641445 -inf}}
%s
	at org.apache.beam.runners.fnexecution.control.FnApiControlClient$ResponseStreamObserver.onNext(FnApiControlClient.java:180)
`
	const pool = `org.apache.beam.vendor.guava.v32_1_2_jre.com.google.common.util.concurrent.UncheckedExecutionException: java.lang.RuntimeException: %[1]s
	at org.apache.beam.vendor.guava.v32_1_2_jre.com.google.common.cache.LocalCache$Segment.get(LocalCache.java:2086)
Caused by: java.lang.RuntimeException: %[1]s
	at org.apache.beam.runners.fnexecution.environment.ExternalEnvironmentFactory.createEnvironment(ExternalEnvironmentFactory.java:1)
`
	const digest = "runtime: find the flow of a pipeline: this worker builds the plan df48, and the pipeline was made of 1269 (flow stream, run c975) [bridge.digest]; let the workers run the program that made the pipeline"
	const file = "source file: list files: in/*.csv: no such file or directory (flow stream, run c975, node flights) [file.missing]; give it"
	const crash = "runtime: start worker 58-1: the worker ended before it connected to localhost:39917: exit status 3; its last words:\nboom: no\nluck today [flink.pool.worker.exited]"
	for _, x := range []struct {
		name, state, trace string
		times              int
		code, node, want   string
	}{
		{"once", "RESTARTING", fmt.Sprintf(harness, file), 1, "", "", ""},
		{"again and again", "RESTARTING", fmt.Sprintf(harness, file), 3, "file.missing", "flights",
			"it has failed 3 times: source file: list files: in/*.csv: no such file or directory"},
		{"a plan of another version", "RUNNING", fmt.Sprintf(harness, FinalMark+digest), 1, "bridge.digest", "",
			"find the flow of a pipeline: this worker builds the plan df48, and the pipeline was made of 1269"},
		{"a worker that ends", "RUNNING", fmt.Sprintf(pool, crash), 3, "flink.pool.worker.exited", "",
			"it has failed 3 times: start worker 58-1: the worker ended before it connected to localhost:39917: exit status 3; its last words: boom: no luck today"},
		{"no slots", "RESTARTING", "org.apache.flink.runtime.JobException: Recovery is suppressed\nCaused by: org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException: Could not acquire the minimum required resources.\n",
			1, "flink.job", "", "it gets no slots: JobException: Recovery is suppressed: NoResourceAvailableException: Could not acquire the minimum required resources"},
		{"it has failed", "FAILED", "java.io.IOException: disk full\n\tat x.y(Z.java:1)\n", 1, "flink.job", "", "IOException: disk full"},
		{"it was cancelled", "CANCELED", "", 0, "flink.job", "", "it is CANCELED"},
		{"it has finished", "FINISHED", "", 0, "", "", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			entries := make([]string, x.times)
			for i := range entries {
				entries[i] = `{"exceptionName":"x"}`
			}
			root, err := json.Marshal(x.trace)
			if err != nil {
				t.Fatal(err)
			}
			s := serve(t, map[string][]string{"GET /jobs/" + id + "/exceptions": {
				`200 {"root-exception":` + string(root) + `,"exceptionHistory":{"entries":[` + strings.Join(entries, ",") + `]}}`}})
			c := s.client(t)
			err = c.Doomed(t.Context(), id, Status(x.state))
			if x.code == "" {
				if err != nil {
					t.Errorf("got %v", err)
				}
				return
			}
			d, ok := fault.DetailOf(err)
			if !ok || d.Code != x.code || d.Node != x.node || d.Err.Error() != x.want || fault.Retryable(err) || d.Fix == "" {
				t.Errorf("got %#v", d)
			}
		})
	}
}

// An outage is waited through, and not for ever.
func TestOutage(t *testing.T) {
	const gone = `503 {"errors":["no leader"]}`
	s := serve(t, map[string][]string{"GET /jobs/" + id: {gone, gone, `200 {"state":"FINISHED"}`}})
	if end, err := s.client(t).WaitEnd(t.Context(), id); err != nil || end != Finished {
		t.Errorf("got %s, %v", end, err)
	}
	s = serve(t, map[string][]string{"GET /jobs/" + id: {gone}})
	c := s.client(t)
	c.outage = 100 * time.Millisecond
	_, err := c.WaitEnd(t.Context(), id)
	if code(err) != "flink.unavailable" || !fault.Retryable(err) || !strings.Contains(err.Error(), "for 100ms already: no leader") {
		t.Errorf("got %v", err)
	}
}
