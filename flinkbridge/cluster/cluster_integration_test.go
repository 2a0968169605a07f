//go:build integration

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/deploy/flink/runner"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// repositoryCache is where the repository's tests keep what is fetched once.
func repositoryCache(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../.cache")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func up(t *testing.T, o Options) *Cluster {
	t.Helper()
	o.Dir, o.Cache = t.TempDir(), repositoryCache(t)
	if _, err := Distribution(t.Context(), o.Cache, FlinkVersion); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c, err := Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := c.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Logf("up in %s", time.Since(began).Round(10*time.Millisecond))
	return c
}

func client(t *testing.T, c *Cluster) *rest.Client {
	t.Helper()
	r, err := rest.New(rest.Config{Address: c.Address()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// TestBoundedManifestIsItsSource: the class that jobs take along is what its source compiles to.
func TestBoundedManifestIsItsSource(t *testing.T) {
	lib, err := Distribution(t.Context(), repositoryCache(t), FlinkVersion)
	if err != nil {
		t.Fatal(err)
	}
	file := strings.ReplaceAll(runner.BoundedManifestName, ".", "/")
	classes := t.TempDir()
	javac := exec.CommandContext(t.Context(), "javac", "-g:none", "--release", "11", "-cp", filepath.Join(lib, "*"), "-d", classes, "../../deploy/flink/runner/java/"+file+".java")
	if out, err := javac.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := os.ReadFile(filepath.Join(classes, file+".class"))
	if err != nil || !bytes.Equal(got, runner.BoundedManifest) {
		t.Errorf("the source gives %d bytes that are not those in the repository, %v", len(got), err)
	}
}

func TestUpAndDown(t *testing.T) {
	began := time.Now()
	c := up(t, Options{Slots: 3})
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("up took %s, want at most 30 s even on a busy machine", took)
	}
	r := client(t, c)
	o, err := r.Overview(t.Context())
	if err != nil || o.Version != FlinkVersion || o.TaskManagers != 1 || o.Slots != 3 || o.FreeSlots != 3 {
		t.Errorf("got %+v, %v", o, err)
	}
	config, err := r.Config(t.Context())
	if err != nil || config["state.checkpoints.dir"] != "file://"+c.Checkpoints() || config["state.backend.type"] != "rocksdb" {
		t.Errorf("got %v, %v", config, err)
	}
	onlyLoopback(t, c)

	_, err = Up(t.Context(), Options{Dir: c.Dir(), Cache: repositoryCache(t)})
	if d, ok := fault.DetailOf(err); !ok || d.Code != "flink.cluster.running" {
		t.Errorf("a second cluster in the folder: got %v", err)
	}
	again, err := Open(c.Dir())
	if err != nil || !again.Alive() || again.Address() != c.Address() {
		t.Fatalf("got %v, %v", again, err)
	}
	processes := again.Processes()
	if err := again.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		if _, err := os.Stat("/proc/" + strconv.Itoa(p.PID)); p.Alive() || err == nil && !zombie(p.PID) {
			t.Errorf("%s lives", p.Name)
		}
	}
	if _, err := Open(c.Dir()); err == nil {
		t.Error("the cluster is not forgotten")
	}
	if _, err := r.Overview(t.Context()); err == nil {
		t.Error("somebody answers still")
	}
}

func zombie(pid int) bool {
	_, err := born(pid)
	return errors.Is(err, os.ErrProcessDone)
}

// onlyLoopback: no process of the cluster listens at another address.
func onlyLoopback(t *testing.T, c *Cluster) {
	t.Helper()
	sockets := map[string]string{} // inode: address
	for _, table := range []string{"tcp", "tcp6"} {
		data, err := os.ReadFile("/proc/net/" + table)
		if err != nil {
			t.Fatal(err)
		}
		for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
			if f := strings.Fields(s.Text()); len(f) > 9 && f[3] == "0A" {
				sockets[f[9]] = f[1]
			}
		}
	}
	seen := 0
	for _, p := range c.Processes() {
		all, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range all {
			to, _ := os.Readlink(fd)
			m := regexp.MustCompile(`^socket:\[(\d+)\]$`).FindStringSubmatch(to)
			if m == nil || sockets[m[1]] == "" {
				continue
			}
			seen++
			address := sockets[m[1]]
			if !strings.HasPrefix(address, "0100007F:") && !strings.HasPrefix(address, "0000000000000000FFFF00000100007F:") && !strings.HasPrefix(address, "00000000000000000000000001000000:") {
				t.Errorf("%s listens at %s", p.Name, address)
			}
		}
	}
	if seen < 4 {
		t.Errorf("found %d sockets: the search is not right", seen)
	}
}

// numbers is the JAR of testdata/Numbers.java.
func numbers(t *testing.T) string {
	t.Helper()
	lib, err := Distribution(t.Context(), repositoryCache(t), FlinkVersion)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := exec.Command("javac", "-nowarn", "-cp", filepath.Join(lib, "*"), "-d", dir, "testdata/Numbers.java").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	entries := []string{"META-INF/MANIFEST.MF", "Manifest-Version: 1.0\nMain-Class: Numbers\n\n"}
	for _, class := range []string{"Numbers.class", "Numbers$Count.class"} {
		data, err := os.ReadFile(filepath.Join(dir, class))
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, class, string(data))
	}
	return jar(t, filepath.Join(dir, "numbers.jar"), entries...)
}

// A job goes on when its TaskManager and its JobManager are killed and started again, and from a savepoint.
func TestKillAndStart(t *testing.T) {
	c := up(t, Options{HighAvailability: true, TaskManagers: 2, Slots: 1})
	r := client(t, c)
	uploaded, err := r.UploadJar(t.Context(), numbers(t))
	if err != nil {
		t.Fatal(err)
	}
	id, err := r.RunJar(t.Context(), uploaded, rest.RunJar{Parallelism: 2})
	if err != nil {
		t.Fatal(err)
	}
	running(t, r, id)
	checkpoints(t, r, id, 2)
	for _, name := range []string{TaskManager(2), JobManager} {
		if err := c.Kill(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		p, _ := c.process(name)
		before := p.PID
		began := time.Now()
		if err := c.Start(name); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		back := time.Since(began)
		if p, _ := c.process(name); p.PID == before || !p.Alive() {
			t.Errorf("%s: got %d after %d", name, p.PID, before)
		}
		if again, err := Open(c.Dir()); err != nil || !slices.EqualFunc(again.Processes(), c.Processes(), func(a, b Process) bool { return a.PID == b.PID }) {
			t.Errorf("the file does not know the new process: %v", err)
		}
		restored(t, r, id)
		running(t, r, id)
		checkpoints(t, r, id, 1)
		t.Logf("%s is back in %s, the job in %s", name, back.Round(10*time.Millisecond), time.Since(began).Round(10*time.Millisecond))
	}
	onlyLoopback(t, c)

	path, err := r.Savepoint(t.Context(), id, "")
	if err != nil || !strings.HasPrefix(path, "file:"+c.Savepoints()+"/") {
		t.Errorf("got %q, %v", path, err)
	}
	if _, err := r.Savepoint(t.Context(), id, "file:///proc/none"); code(err) != "flink.savepoint" {
		t.Errorf("got %v", err)
	}
	if path, err = r.Stop(t.Context(), id, false, ""); err != nil {
		t.Fatal(err)
	}
	if end, err := r.WaitEnd(t.Context(), id); err != nil || end != rest.Finished {
		t.Errorf("got %q, %v", end, err)
	}
	if _, err := r.RunJar(t.Context(), uploaded, rest.RunJar{SavepointPath: path + "-none"}); code(err) != "flink.program" || !strings.Contains(err.Error(), "Cannot find checkpoint or savepoint") {
		t.Errorf("got %v", err)
	}
	next, err := r.RunJar(t.Context(), uploaded, rest.RunJar{SavepointPath: path, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	running(t, r, next)
	if k, err := r.Checkpoints(t.Context(), next); err != nil || k.Latest.Restored == nil || k.Latest.Restored.Path != path {
		t.Errorf("got %+v, %v", k.Latest, err)
	}
	if err := r.Cancel(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	if end, err := r.WaitEnd(t.Context(), next); err != nil || end != rest.Canceled {
		t.Errorf("got %q, %v", end, err)
	}
	if err := r.DeleteJar(t.Context(), uploaded); err != nil {
		t.Error(err)
	}
	if jars, err := r.Jars(t.Context()); err != nil || len(jars) != 0 {
		t.Errorf("got %v, %v", jars, err)
	}
}

func running(t *testing.T, r *rest.Client, id string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := r.WaitRunning(ctx, id); err != nil {
		t.Fatal(err)
	}
}

// restored waits until the job has gone back to a checkpoint, by this JobManager.
func restored(t *testing.T, r *rest.Client, id string) {
	t.Helper()
	wait(t, "the job to be restored", func() bool {
		k, err := r.Checkpoints(t.Context(), id)
		return err == nil && k.Counts.Restored > 0
	})
}

// checkpoints waits for so many new ones.
func checkpoints(t *testing.T, r *rest.Client, id string, n int64) {
	t.Helper()
	before := int64(-1)
	wait(t, "checkpoints", func() bool {
		k, err := r.Checkpoints(t.Context(), id)
		if err == nil && before < 0 {
			before = k.Counts.Completed
		}
		return err == nil && k.Counts.Completed >= before+n
	})
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	if !until(t.Context(), time.Minute, done) {
		t.Fatalf("waited in vain for %s", what)
	}
}

func TestRunnerJarOfTheRegistry(t *testing.T) {
	cache := repositoryCache(t)
	jar, err := RunnerJar(t.Context(), RunnerOptions{Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := InspectRunner(jar); err != nil || r != (Runner{Beam: BeamVersion, Flink: FlinkMinor}) {
		t.Errorf("got %+v, %v", r, err)
	}
	if again, ok := CachedRunner(RunnerOptions{Cache: cache}); !ok || again != jar {
		t.Errorf("got %q, %v: it is not in the cache", again, ok)
	}
}
