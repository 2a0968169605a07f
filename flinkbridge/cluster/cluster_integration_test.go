//go:build integration

package cluster

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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

func TestUpAndDown(t *testing.T) {
	began := time.Now()
	c := up(t, Options{Slots: 3})
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("up took %s, want at most 15 s", took)
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

func TestKillAndStart(t *testing.T) {
	c := up(t, Options{HighAvailability: true, TaskManagers: 2, Slots: 1})
	r := client(t, c)
	for _, name := range []string{TaskManager(2), JobManager} {
		if err := c.Kill(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		p, _ := c.process(name)
		before := p.PID
		if p.Alive() {
			t.Errorf("%s lives", name)
		}
		began := time.Now()
		if err := c.Start(name); err != nil {
			t.Fatal(err)
		}
		if err := c.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Logf("%s is back in %s", name, time.Since(began).Round(10*time.Millisecond))
		if p, _ := c.process(name); p.PID == before || !p.Alive() {
			t.Errorf("%s: got %d after %d", name, p.PID, before)
		}
		if again, err := Open(c.Dir()); err != nil || !slices.EqualFunc(again.Processes(), c.Processes(), func(a, b Process) bool { return a.PID == b.PID }) {
			t.Errorf("the file does not know the new process: %v", err)
		}
	}
	onlyLoopback(t, c)
	all, err := r.TaskManagers(t.Context())
	if err != nil || len(all) < 2 {
		t.Errorf("got %+v, %v", all, err)
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
