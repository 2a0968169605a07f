package doctor

import (
	"archive/zip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// healthy are the answers of a cluster without problems; %s is its folder.
func healthy() map[string]string {
	return map[string]string{
		"/overview":     `{"taskmanagers":1,"slots-total":4,"slots-available":3,"flink-version":"1.19.3"}`,
		"/taskmanagers": `{"taskmanagers":[{"id":"tm","path":"pekko.tcp://flink@127.0.0.1:1/user/rpc/taskmanager_0","slotsNumber":4}]}`,
		"/config":       `{"features":{"web-submit":true}}`,
		"/jobmanager/config": `[{"key":"state.checkpoints.dir","value":"file://DIR/checkpoints"},{"key":"state.savepoints.dir","value":"file://DIR/savepoints"},
			{"key":"high-availability.type","value":"zookeeper"}]`,
		"/taskmanagers/tm/log":    "2026-11-24 INFO  x.TaskManagerRunner [] -  JVM: OpenJDK\n2026-11-24 INFO  x.TaskManagerRunner [] -  Arch: amd64\n",
		"/jobmanager/environment": `{"jvm":{"arch":"amd64"}}`,
	}
}

// program writes a Linux program for a machine, as far as it is looked at.
func program(t *testing.T, machine uint16) string {
	t.Helper()
	head := make([]byte, 64)
	copy(head, "\x7fELF\x02\x01\x01")
	binary.LittleEndian.PutUint16(head[16:], 2) // executable
	binary.LittleEndian.PutUint16(head[18:], machine)
	binary.LittleEndian.PutUint32(head[20:], 1)
	binary.LittleEndian.PutUint16(head[52:], 64)
	binary.LittleEndian.PutUint16(head[54:], 56)
	binary.LittleEndian.PutUint16(head[58:], 64)
	path := filepath.Join(t.TempDir(), "worker")
	if err := os.WriteFile(path, head, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

const amd64, arm64 = 62, 183

func runner(t *testing.T, flink string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "runner.jar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for name, content := range map[string]string{
		"org/apache/beam/runners/flink/FlinkPipelineRunner.class": "", "META-INF/adf-runner.properties": "flink.version=" + flink + "\n",
		"org/apache/beam/sdk/sdk.properties": "version=2.62.0\n",
	} {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

type setup struct {
	says  map[string]string
	wants Wants
	dir   string
}

func TestExamine(t *testing.T) {
	for _, x := range []struct {
		name   string
		change func(t *testing.T, s *setup)
		// want are the lines that differ from "ok"; an empty list is a cluster without problems.
		want []string
	}{
		{"healthy", func(*testing.T, *setup) {}, nil},
		{"no runner", func(_ *testing.T, s *setup) { s.wants.RunnerJar = "" },
			[]string{"problem runner: there is no runner JAR -> adf flink up makes it; or give one by --runner-jar"}},
		{"a JAR without a runner", func(t *testing.T, s *setup) { s.wants.RunnerJar = program(t, amd64) },
			[]string{"problem runner: FILE: zip: not a valid zip file -> give the JAR that adf flink up has made, or a job-server JAR of Beam for this version of Flink (beam-runners-flink-X.Y-job-server)"}},
		{"a runner for another Flink", func(t *testing.T, s *setup) { s.wants.RunnerJar = runner(t, "1.18") },
			[]string{"problem cluster: Flink 1.19.3 at URL, and the runner JAR is for Flink 1.18 -> use a runner JAR for Flink 1.19, or a cluster of Flink 1.18"}},
		{"1.1 is not 1.19", func(t *testing.T, s *setup) { s.wants.RunnerJar = runner(t, "1.1") },
			[]string{"problem cluster: Flink 1.19.3 at URL, and the runner JAR is for Flink 1.1 -> use a runner JAR for Flink 1.19, or a cluster of Flink 1.1"}},
		{"no submit", func(_ *testing.T, s *setup) { s.says["/config"] = `{"features":{"web-submit":false}}` },
			[]string{"problem submit: the cluster takes no JARs -> set web.submit.enable: true in its configuration; an application cluster takes none"}},
		{"too few slots", func(_ *testing.T, s *setup) { s.wants.Slots = 4 },
			[]string{"problem slots: 3 of 4 free, 4 wanted, at 1 TaskManager -> ask for a smaller parallelism, end a job (adf flink list), or start TaskManagers or ones with more slots (taskmanager.numberOfTaskSlots)"}},
		{"no TaskManager", func(_ *testing.T, s *setup) {
			s.says["/overview"] = `{"flink-version":"1.19.3"}`
			s.says["/taskmanagers"] = `{"taskmanagers":[]}`
		}, []string{
			"problem slots: there is no TaskManager -> start one, and see its log when it does not register",
			"note worker: FILE is for linux/amd64; what Flink runs on can not be seen -> "}},
		{"nothing configured", func(_ *testing.T, s *setup) { s.says["/jobmanager/config"] = `[]` }, []string{
			"problem checkpoints: no folder is configured -> set state.checkpoints.dir in the cluster's configuration: without it state is in the JobManager's memory",
			"note savepoints: no folder is configured -> set state.savepoints.dir in the cluster's configuration, or give --to with savepoint and stop",
			"note availability: none: a JobManager that dies takes its jobs with it -> set high-availability.type for jobs that have to survive it"}},
		{"a file where checkpoints go", func(t *testing.T, s *setup) {
			if err := os.WriteFile(filepath.Join(s.dir, "checkpoints"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, []string{"problem checkpoints: DIR/checkpoints is no folder -> make the folder, and let the user that Flink runs as write to it"}},
		{"checkpoints elsewhere", func(_ *testing.T, s *setup) {
			s.says["/jobmanager/config"] = `[{"key":"execution.checkpointing.dir","value":"s3://bucket/x"},{"key":"state.savepoints.dir","value":"s3://bucket/y"},{"key":"high-availability","value":"kubernetes"}]`
		}, []string{"note checkpoints: s3://bucket/x: can not be seen from here -> ", "note savepoints: s3://bucket/y: can not be seen from here -> "}},
		{"two machines", func(_ *testing.T, s *setup) {
			s.says["/taskmanagers"] = `{"taskmanagers":[{"id":"tm","path":"pekko.tcp://flink@10.0.0.1:1/user"},{"id":"tm","path":"pekko.tcp://flink@10.0.0.2:1/user"}]}`
		}, []string{
			"note checkpoints: file://DIR/checkpoints, with TaskManagers on 2 machines -> make sure that all machines share this folder",
			"note savepoints: file://DIR/savepoints, with TaskManagers on 2 machines -> make sure that all machines share this folder"}},
		{"no pool", func(_ *testing.T, s *setup) {
			s.wants.Answers = func(context.Context, string) error { return errors.New("nobody there") }
		}, []string{"problem pool: 127.0.0.1:5 does not answer: nobody there -> run adf flink pool beside each TaskManager, or give its address by --pool"}},
		{"pool unknown", func(_ *testing.T, s *setup) { s.wants.Pool = "" },
			[]string{"note pool: no worker pool is known -> adf flink pool runs one beside each TaskManager; give its address by --pool"}},
		{"pool without a port", func(_ *testing.T, s *setup) { s.wants.Pool = "here" },
			[]string{"problem pool: address here: missing port in address -> give its address as HOST:PORT"}},
		{"another architecture", func(t *testing.T, s *setup) { s.wants.Worker = program(t, arm64) },
			[]string{"problem worker: FILE is for linux/arm64, and Flink runs on linux/amd64: tm -> build it with CGO_ENABLED=0 GOOS=linux GOARCH=amd64"}},
		{"Java's name of it", func(t *testing.T, s *setup) {
			s.wants.Worker = program(t, arm64)
			s.says["/taskmanagers/tm/log"] = "  x [] -  Arch: aarch64\n"
		}, nil},
		{"only the JobManager tells", func(t *testing.T, s *setup) {
			s.wants.Worker = program(t, arm64)
			delete(s.says, "/taskmanagers/tm/log")
		}, []string{"problem worker: FILE is for linux/arm64, and Flink runs on linux/amd64 -> build it with CGO_ENABLED=0 GOOS=linux GOARCH=amd64"}},
		{"nobody tells", func(t *testing.T, s *setup) {
			delete(s.says, "/taskmanagers/tm/log")
			delete(s.says, "/jobmanager/environment")
		}, []string{"note worker: FILE is for linux/amd64; what Flink runs on can not be seen -> "}},
		{"no program", func(t *testing.T, s *setup) { s.wants.Worker = runner(t, "1.19") },
			[]string{"problem worker: FILE is no Linux program -> build it for the TaskManagers' machines: CGO_ENABLED=0 GOOS=linux GOARCH=amd64 (or arm64) go build"}},
		{"nowhere to stage", func(_ *testing.T, s *setup) { s.wants.Staging = "/dev/null/staging" },
			[]string{"problem staging: open /dev/null/staging/.adf-doctor: not a directory -> make the folder, and let the user that Flink runs as write to it"}},
		{"somewhere to stage", func(_ *testing.T, s *setup) { s.wants.Staging = s.dir + "/staging" }, nil},
		{"a savepoint", func(t *testing.T, s *setup) {
			s.wants.Savepoint = "file://" + s.dir
			if err := os.WriteFile(s.dir+"/_metadata", nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"no savepoint", func(_ *testing.T, s *setup) { s.wants.Savepoint = s.dir + "/none" },
			[]string{"problem savepoint: stat DIR/none: no such file or directory -> give the path that adf flink stop or savepoint has printed"}},
		{"a folder that is no savepoint", func(_ *testing.T, s *setup) { s.wants.Savepoint = s.dir },
			[]string{"problem savepoint: DIR has no file _metadata: it is no savepoint, or one that did not come to its end -> give the path that adf flink stop or savepoint has printed"}},
		{"a savepoint elsewhere", func(_ *testing.T, s *setup) { s.wants.Savepoint = "s3://bucket/savepoint-1" },
			[]string{"note savepoint: s3://bucket/savepoint-1: can not be seen from here -> make sure that every process of the cluster sees it"}},
		{"not Flink", func(_ *testing.T, s *setup) { s.says["/overview"] = `{"hello":"there"}` }, []string{
			"problem cluster: URL answers, but not as Flink does -> check that it is the address of Flink's REST server",
			"note worker: FILE is for linux/amd64; what Flink runs on can not be seen -> "}},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := &setup{says: healthy(), dir: t.TempDir()}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				says, ok := s.says[r.URL.Path]
				if !ok {
					w.WriteHeader(http.StatusNotFound)
				}
				io.WriteString(w, strings.ReplaceAll(says, "DIR", s.dir))
			}))
			defer server.Close()
			client, err := rest.New(rest.Config{Address: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			s.wants = Wants{Client: client, RunnerJar: runner(t, "1.19"), Pool: "127.0.0.1:5", Answers: func(context.Context, string) error { return nil }, Worker: program(t, amd64)}
			x.change(t, s)
			r := Examine(t.Context(), s.wants)
			var got []string
			problem := false
			for _, c := range r.Checks {
				problem = problem || c.Status == Problem
				if c.Status != OK {
					line := fmt.Sprintf("%s %s: %s -> %s", c.Status, c.Name, c.Says, c.Fix)
					line = regexp.MustCompile(`\.adf-doctor-\d+`).ReplaceAllString(line, ".adf-doctor")
					got = append(got, strings.NewReplacer(server.URL, "URL", s.dir, "DIR", s.wants.Worker, "FILE", cmpFile(s.wants.RunnerJar), "FILE").Replace(line))
				}
			}
			if strings.Join(got, "\n") != strings.Join(x.want, "\n") {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(x.want, "\n"))
			}
			if r.OK == problem || (r.Err() == nil) == problem {
				t.Errorf("got %v and %v", r.OK, r.Err())
			}
			if d, ok := fault.DetailOf(r.Err()); problem && (!ok || d.Code != "flink.doctor" || d.Fix == "") {
				t.Errorf("got %v", r.Err())
			}
		})
	}
}

// cmpFile is a file's name, or what is nowhere in a text.
func cmpFile(name string) string {
	if name == "" {
		return "\x00"
	}
	return name
}

// What goes to another machine in the clear is a problem when it is secret.
func TestSecretsInTheClear(t *testing.T) {
	for _, x := range []struct {
		address string
		secret  bool
		want    bool
	}{{"http://flink.example:8081", true, false}, {"http://flink.example:8081", false, true}, {"https://flink.example:8081", true, true}, {"http://localhost:8081", true, true}, {"http://[::1]:8081", true, true}} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, healthy()[r.URL.Path]) }))
		client, err := rest.New(rest.Config{Address: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		e := &examination{Wants: Wants{Client: client, Secret: x.secret}, local: loopback(x.address), address: x.address}
		e.cluster(t.Context())
		if got := e.checks[0].Status == OK; got != x.want {
			t.Errorf("%s: got %+v", x.address, e.checks)
		}
		client.Close()
		server.Close()
	}
}

func TestWritable(t *testing.T) {
	dir := t.TempDir()
	if err := writable(filepath.Join(dir, "not", "yet")); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writable(filepath.Join(dir, "file", "below")); err == nil {
		t.Error("a folder below a file is no error")
	}
	if left, _ := os.ReadDir(dir); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}
