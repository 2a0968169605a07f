//go:build unix

package cluster

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// java is a command that says that it is Java 17, and then does something.
func java(t *testing.T, version, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "java")
	text := "#!/bin/sh\nif [ \"$1\" = -version ]; then echo 'openjdk version \"" + version + "\"' >&2; exit 0; fi\n" + script
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// home is a distribution with nothing in it.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	jar(t, filepath.Join(dir, "lib", "flink-dist-1.19.3.jar"))
	return dir
}

// What can not start says why, and leaves nothing running and nothing that looks like a cluster.
func TestUpFails(t *testing.T) {
	for _, x := range []struct {
		name string
		o    Options
		code string
		want []string
	}{
		{"no Java", Options{Java: "no-such-java"}, "flink.java", []string{"no-such-java", "install Java 17 or 11"}},
		{"old Java", Options{Java: java(t, "1.8.0_412", "")}, "flink.java", []string{`openjdk version "1.8.0_412"`}},
		{"new Java", Options{Java: java(t, "21.0.1", "")}, "flink.java", []string{`openjdk version "21.0.1"`}},
		{"no Flink", Options{Java: java(t, "17.0.1", ""), Home: t.TempDir()}, "flink.home", []string{"lib"}},
		{"too little memory", Options{TaskManagerMemory: 500}, "flink.config", []string{"taskmanager-memory: got 500, want 1408 or more"}},
		{"a JVM that dies", Options{Java: java(t, "17.0.1", "echo 'no memory for me' >&2; exit 1")}, "flink.cluster.", []string{"jobmanager", "no memory for me"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.o.Dir, x.o.Cache = filepath.Join(t.TempDir(), "cluster"), t.TempDir()
			if x.o.Home == "" {
				x.o.Home = home(t)
			}
			_, err := Up(t.Context(), x.o)
			if !strings.HasPrefix(code(err), x.code) {
				t.Fatalf("got %v", err)
			}
			for _, w := range x.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("got %v, want %q in it", err, w)
				}
			}
			if _, err := Open(x.o.Dir); code(err) != "flink.cluster.none" {
				t.Errorf("there is a cluster still: %v", err)
			}
		})
	}
}

// A start that is given up ends what it has started, also what does not end by itself.
func TestUpIsGivenUp(t *testing.T) {
	dir := t.TempDir()
	pids := filepath.Join(dir, "pids")
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	_, err := Up(ctx, Options{Dir: dir, Cache: dir, Home: home(t), Java: java(t, "17.0.1", "echo $$ >>"+pids+"; exec sleep 600"), HighAvailability: true, TaskManagers: 2})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	data, _ := os.ReadFile(pids)
	started := strings.Fields(string(data))
	if len(started) != 4 {
		t.Errorf("got %d processes", len(started))
	}
	for _, text := range started {
		pid, _ := strconv.Atoi(text)
		if _, err := born(pid); err == nil {
			t.Errorf("%d lives", pid)
		}
	}
}

func TestPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o := Options{Dir: t.TempDir(), Cache: t.TempDir(), Home: home(t), Java: java(t, "17.0.1", ""), Port: l.Addr().(*net.TCPAddr).Port}
	if _, err := Up(t.Context(), o); code(err) != "flink.cluster.port" || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("got %v", err)
	}
}

// sleeper is a cluster's process that sleeps.
func sleeper(t *testing.T, dir, name string) Process {
	t.Helper()
	p := Process{Name: name, Log: filepath.Join(dir, name+".log"), Command: []string{"sleep", "600"}}
	if err := p.start(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.signal(kill) })
	return p
}

func TestKillStartDown(t *testing.T) {
	dir := t.TempDir()
	stranger := sleeper(t, dir, "stranger")
	reused := stranger
	reused.Name, reused.Born = "taskmanager-9", "before this machine was started"
	c := &Cluster{dir: dir, state: state{Format: 1, Processes: []Process{sleeper(t, dir, JobManager), sleeper(t, dir, TaskManager(1)), reused}}}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	if err := c.Start(JobManager); code(err) != "flink.cluster.running" {
		t.Errorf("got %v", err)
	}
	if err := c.Kill(t.Context(), TaskManager(1)); err != nil {
		t.Fatal(err)
	}
	if c.state.Processes[1].Alive() || !c.Alive() {
		t.Error("the wrong process has been killed")
	}
	if err := c.Start(TaskManager(1)); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(t.Context(), "taskmanager-2"); code(err) != "flink.cluster.process" || !strings.Contains(err.Error(), `there is no "taskmanager-2", only jobmanager, taskmanager-1`) {
		t.Errorf("got %v", err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.state.Processes[1].PID != c.state.Processes[1].PID || !again.state.Processes[1].Alive() {
		t.Error("the new process is not noted")
	}
	unlock, err := lock(filepath.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Down(t.Context()); code(err) != "flink.cluster.busy" {
		t.Errorf("got %v", err)
	}
	unlock()
	if err := again.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Processes() {
		if p.Alive() {
			t.Errorf("%s lives", p.Name)
		}
	}
	if !stranger.Alive() {
		t.Error("a process has been ended that only has the PID of a former one")
	}
	if err := again.Down(t.Context()); err != nil {
		t.Errorf("a second time: got %v", err)
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir); code(err) != "flink.cluster.none" || !strings.Contains(err.Error(), "adf flink up starts one") {
		t.Errorf("got %v", err)
	}
	for _, content := range []string{"{", `{"format":2}`} {
		if err := os.WriteFile(filepath.Join(dir, stateFile), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir); code(err) != "flink.cluster.dir" {
			t.Errorf("%s: got %v", content, err)
		}
	}
}

// archive is a distribution as the registry of Python has it.
func archive(t *testing.T, names ...string) (path, digest string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "apache-flink-libraries-1.19.3.tar.gz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for _, name := range names {
		err = errors.Join(err, w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(name)), Typeflag: tar.TypeReg}))
		_, more := w.Write([]byte(name))
		err = errors.Join(err, more)
	}
	if err := errors.Join(err, w.Close(), z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	data, _ := os.ReadFile(path)
	h := sha256.Sum256(data)
	return path, hex.EncodeToString(h[:])
}

func TestUnpack(t *testing.T) {
	const dist = "apache-flink-libraries-1.19.3/deps/lib/flink-dist-1.19.3.jar"
	from, digest := archive(t, dist, "x/deps/lib/log4j-api.jar", "x/deps/lib/flink-table-runtime-1.19.3.jar", "x/deps/opt/flink-python.jar", "x/deps/lib/notes.txt", "../../lib/evil.jar")
	to := filepath.Join(t.TempDir(), "lib")
	if err := unpack(t.Context(), from, to, digest); err != nil {
		t.Fatal(err)
	}
	var got []string
	all, _ := os.ReadDir(to)
	for _, e := range all {
		got = append(got, e.Name())
	}
	if want := []string{"evil.jar", "flink-dist-1.19.3.jar", "log4j-api.jar"}; !slices.Equal(got, want) { // by its last name: nothing leaves the folder
		t.Errorf("got %v", got)
	}
	if v, err := versionOf(to); err != nil || v != "1.19.3" {
		t.Errorf("got %q, %v", v, err)
	}
	if err := unpack(t.Context(), from, filepath.Join(t.TempDir(), "lib"), strings.Repeat("0", 64)); !errors.Is(err, errChecksum) {
		t.Errorf("got %v", err)
	}
	none, digest := archive(t, "x/deps/lib/log4j-api.jar")
	if err := unpack(t.Context(), none, filepath.Join(t.TempDir(), "lib"), digest); err == nil || !strings.Contains(err.Error(), "there is no flink-dist") {
		t.Errorf("got %v", err)
	}
	wheel := jar(t, filepath.Join(t.TempDir(), "apache_flink_libraries-1.20.5-py3-none-any.whl"), "pyflink/lib/flink-dist-1.20.5.jar", "x", "pyflink/opt/y.jar", "y")
	to = filepath.Join(t.TempDir(), "lib")
	if err := unpack(t.Context(), wheel, to, ""); err != nil {
		t.Fatal(err)
	}
	if v, err := versionOf(to); err != nil || v != "1.20.5" {
		t.Errorf("got %q, %v", v, err)
	}
}

// The parts of the memory are the whole, and options of the user win.
func TestPlan(t *testing.T) {
	for _, total := range []int{LeastTaskManager, 1792, 4096} {
		p, err := plan(Options{Dir: "/d", TaskManagers: 2, Slots: 3, JobManagerMemory: 640, TaskManagerMemory: total, HighAvailability: true,
			Pool:   func(address string) []string { return []string{"pool", address} },
			Config: map[string]string{"heartbeat.timeout": "5", "x": "it's"}}, "/lib", "java")
		if err != nil {
			t.Fatal(err)
		}
		config := map[string]string{}
		for line := range strings.Lines(p.files["conf/config.yaml"]) {
			k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
			config[k] = v
		}
		sum := 0
		for _, key := range []string{"framework.heap.size", "task.heap.size", "framework.off-heap.size", "task.off-heap.size", "network.max", "managed.size", "jvm-metaspace.size", "jvm-overhead.max"} {
			n, err := strconv.Atoi(strings.Trim(config["taskmanager.memory."+key], "'m"))
			if err != nil || n <= 0 {
				t.Errorf("%s: got %q", key, config["taskmanager.memory."+key])
			}
			sum += n
		}
		if sum != total {
			t.Errorf("got %d MiB, want %d", sum, total)
		}
		if config["heartbeat.timeout"] != "'5'" || config["x"] != "'it''s'" || config["high-availability.type"] != "'zookeeper'" {
			t.Errorf("got %v", config)
		}
		var names []string
		for _, q := range p.processes {
			names = append(names, q.Name)
		}
		if want := []string{ZooKeeper, Pool, JobManager, TaskManager(1), TaskManager(2)}; !slices.Equal(names, want) {
			t.Errorf("got %v", names)
		}
		if !slices.Equal(p.processes[1].Command, []string{"pool", p.pool}) || !strings.HasPrefix(p.pool, "127.0.0.1:") {
			t.Errorf("got %v", p.processes[1])
		}
	}
}

// A zombie does not live: its parent has only not asked yet.
func TestZombie(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !until(t.Context(), 5*time.Second, func() bool { _, err := born(cmd.Process.Pid); return err != nil }) {
		t.Error("it lives")
	}
	cmd.Wait()
}
