package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// Options are what a cluster is to be.
type Options struct {
	// Dir is the cluster's folder: configuration, logs, checkpoints, savepoints, and which processes it has. It can be used for one cluster at a time;
	// checkpoints and savepoints stay in it when the cluster ends. "" is flink/cluster in the cache.
	Dir string
	// Cache is where the distribution is kept; "" is [DefaultCache].
	Cache string
	// Version is that of Flink; "" is [FlinkVersion].
	Version string
	// Home is a Flink distribution that is already here; its lib is used, and nothing is fetched.
	Home string
	// Java is the command; "" is the one of $JAVA_HOME, else java. Java 11 or 17.
	Java string
	// Port is that of the REST server and the dashboard; 0 is a free one.
	Port int
	// TaskManagers (0: 1) have Slots (0: 4) each.
	TaskManagers, Slots int
	// JobManagerMemory and TaskManagerMemory (each) are bounds in MiB for the whole process; 0: [DefaultJobManager] and [DefaultTaskManager].
	JobManagerMemory, TaskManagerMemory int
	// HighAvailability starts ZooKeeper, too: a JobManager that is killed and started again takes up its jobs.
	HighAvailability bool
	// Pool gives the command line of a worker pool that listens at an address; nil for none.
	Pool func(address string) []string
	// RunnerJar is noted for those who submit to the cluster, see [Cluster.RunnerJar].
	RunnerJar string
	// Config are options of Flink; they win over what the cluster has by itself.
	Config map[string]string
	// Note is told what takes its time; nil tells nobody.
	Note func(what string)
}

// DefaultDir is a cluster's folder when none is given.
func DefaultDir() (string, error) {
	cache, err := DefaultCache()
	return filepath.Join(cache, "flink", "cluster"), err
}

func (o Options) withDefaults() (Options, error) {
	cache, err := cacheOr(o.Cache)
	if err != nil {
		return o, err
	}
	o.Cache = cache
	if o.Dir == "" {
		o.Dir = filepath.Join(cache, "flink", "cluster")
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return o, failed("flink.cluster.dir", "find the cluster's folder", err, "")
	}
	o.Version = cmp.Or(o.Version, FlinkVersion)
	o.TaskManagers, o.Slots = cmp.Or(o.TaskManagers, 1), cmp.Or(o.Slots, 4)
	o.JobManagerMemory, o.TaskManagerMemory = cmp.Or(o.JobManagerMemory, DefaultJobManager), cmp.Or(o.TaskManagerMemory, DefaultTaskManager)
	if o.Note == nil {
		o.Note = func(string) {}
	}
	var wrong []fault.Violation
	for _, x := range []struct {
		path       string
		got, least int
	}{
		{"jobmanager-memory", o.JobManagerMemory, LeastJobManager}, {"taskmanager-memory", o.TaskManagerMemory, LeastTaskManager},
		{"taskmanagers", o.TaskManagers, 1}, {"slots", o.Slots, 1}, {"port", o.Port, 0},
	} {
		if x.got < x.least {
			wrong = append(wrong, fault.Violation{Path: x.path, Got: strconv.Itoa(x.got), Want: fmt.Sprintf("%d or more", x.least), Code: "flink.config"})
		}
	}
	return o, fault.Config(wrong...)
}

// Cluster is one that has been started, by this process or another. Its methods are for one goroutine at a time.
type Cluster struct {
	dir   string
	state state
	note  func(string)
}

// state is the content of the cluster's file.
type state struct {
	Format       int       `json:"format"`
	Address      string    `json:"address"`
	Pool         string    `json:"pool,omitempty"`
	RunnerJar    string    `json:"runner_jar,omitempty"`
	Version      string    `json:"version"`
	TaskManagers int       `json:"taskmanagers"`
	Slots        int       `json:"slots"`
	HA           bool      `json:"high_availability"`
	Processes    []Process `json:"processes"`
}

// Process is one of a cluster.
type Process struct {
	// Name is "jobmanager", "taskmanager-1" and so on, "zookeeper" or "pool".
	Name string `json:"name"`
	PID  int    `json:"pid"`
	// Born tells the process from a later one with the same PID.
	Born string `json:"born"`
	// Command is what it is started with; "{port}" in it stands for Port.
	Command []string `json:"command"`
	// Port is a TaskManager's own: another one at every start, which tells whether the JobManager knows of the new process.
	Port int `json:"port,omitempty"`
	// Log is a file; what the process says on its standard streams is beside it in NAME.out.
	Log string `json:"log"`
}

// The names of a cluster's single processes.
const (
	JobManager = "jobmanager"
	ZooKeeper  = "zookeeper"
	Pool       = "pool"
)

// TaskManager is the name of the i-th one, from 1 on.
func TaskManager(i int) string { return "taskmanager-" + strconv.Itoa(i) }

const portOf = "{port}"

const stateFile = "cluster.json"

// Open is the cluster whose folder it is; it may have died meanwhile, see [Cluster.Alive]. A folder without one is an error with the code "flink.cluster.none".
func Open(dir string) (*Cluster, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, failed("flink.cluster.dir", "find the cluster's folder", err, "")
	}
	data, err := os.ReadFile(filepath.Join(dir, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, failed("flink.cluster.none", "find the cluster", fmt.Errorf("there is none in %s", dir), "adf flink up starts one")
	}
	c := &Cluster{dir: dir, note: func(string) {}}
	if err == nil {
		if err = json.Unmarshal(data, &c.state); err == nil && c.state.Format != 1 {
			err = fmt.Errorf("its format is %d, not 1", c.state.Format)
		}
	}
	if err != nil {
		return nil, failed("flink.cluster.dir", "read "+filepath.Join(dir, stateFile), err, "another version of this program has written it: end the cluster with that one")
	}
	return c, nil
}

func (c *Cluster) save() error {
	data, err := json.MarshalIndent(c.state, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(c.dir, stateFile)
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// Address is that of the REST server and the dashboard.
func (c *Cluster) Address() string { return c.state.Address }

// PoolAddress is where the worker pool listens, as HOST:PORT; "" when there is none.
func (c *Cluster) PoolAddress() string { return c.state.Pool }

// RunnerJar is the runner JAR that the cluster was started for; "" when none was named.
func (c *Cluster) RunnerJar() string { return c.state.RunnerJar }

// Dir is the cluster's folder.
func (c *Cluster) Dir() string { return c.dir }

// Version is that of Flink.
func (c *Cluster) Version() string { return c.state.Version }

// Checkpoints and Savepoints are the folders that jobs write to.
func (c *Cluster) Checkpoints() string { return filepath.Join(c.dir, "checkpoints") }

// Savepoints is the folder of savepoints.
func (c *Cluster) Savepoints() string { return filepath.Join(c.dir, "savepoints") }

// Processes are those that belong to the cluster, dead ones, too.
func (c *Cluster) Processes() []Process { return slices.Clone(c.state.Processes) }

// Alive says whether any process of the cluster lives.
func (c *Cluster) Alive() bool { return slices.ContainsFunc(c.state.Processes, Process.Alive) }

// Up starts a cluster and waits until every TaskManager has offered its slots. What it has started ends when it fails. The processes
// belong to nobody afterwards: they go on when this one ends, until [Cluster.Down].
func Up(ctx context.Context, o Options) (c *Cluster, err error) {
	if o, err = o.withDefaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, failed("flink.cluster.dir", "make the cluster's folder", err, "give a folder that can be written")
	}
	unlock, err := lock(filepath.Join(o.Dir, "lock"))
	if err != nil {
		return nil, failed("flink.cluster.busy", "start a cluster in "+o.Dir, err, "somebody else is starting or ending one there: wait, or give another folder")
	}
	defer unlock()
	if old, err := Open(o.Dir); err == nil && old.Alive() {
		return nil, failed("flink.cluster.running", "start a cluster in "+o.Dir, errors.New("one runs there at "+old.Address()), "use it, or end it with adf flink down")
	} else if d, ok := fault.DetailOf(err); ok && d.Code != "flink.cluster.none" {
		return nil, err
	}
	java, err := findJava(ctx, o.Java)
	if err != nil {
		return nil, err
	}
	lib := filepath.Join(o.Home, "lib")
	if o.Home == "" {
		if lib, err = distribution(ctx, o); err != nil {
			return nil, err
		}
	}
	version, err := versionOf(lib)
	if err != nil {
		return nil, failed("flink.home", "find Flink", err, "give the folder of a Flink distribution, the one with lib in it")
	}
	p, err := plan(o, lib, java)
	if err != nil {
		return nil, err
	}
	for _, old := range []string{"tmp", "upload", "ha", "zookeeper"} {
		if err := os.RemoveAll(filepath.Join(o.Dir, old)); err != nil {
			return nil, failed("flink.cluster.dir", "clear the cluster's folder", err, "")
		}
	}
	if err := p.write(o.Dir); err != nil {
		return nil, failed("flink.cluster.dir", "write the cluster's configuration", err, "")
	}
	c = &Cluster{dir: o.Dir, note: o.Note, state: state{
		Format: 1, Address: "http://" + p.rest, Pool: p.pool, RunnerJar: o.RunnerJar, Version: version, TaskManagers: o.TaskManagers, Slots: o.Slots, HA: o.HighAvailability, Processes: p.processes,
	}}
	o.Note(fmt.Sprintf("starting Flink %s at %s", version, c.state.Address))
	for _, q := range c.state.Processes {
		if err = c.start(q.Name); err != nil {
			err = cmp.Or(c.dead(q.Name), err) // what died before it says more
			break
		}
	}
	if err == nil {
		err = c.Wait(ctx)
	}
	if err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
		defer cancel()
		return nil, errors.Join(err, c.end(end))
	}
	return c, nil
}

func distribution(ctx context.Context, o Options) (string, error) {
	if _, err := os.Stat(filepath.Join(o.Cache, "flink", o.Version)); err != nil {
		o.Note("fetching Flink " + o.Version + ", once")
	}
	return Distribution(ctx, o.Cache, o.Version)
}

// Wait waits until the JobManager answers and has the slots of all TaskManagers. A process that has died is an error with the end of its log.
func (c *Cluster) Wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	client, err := rest.New(rest.Config{Address: c.state.Address, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		known, err := c.known(ctx, client)
		if err == nil && known == c.state.TaskManagers {
			return nil
		}
		if err := c.dead(""); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = fmt.Errorf("there are %d of %d TaskManagers", known, c.state.TaskManagers)
			}
			return failed("flink.cluster.wait", "wait for the cluster", fmt.Errorf("%w: %w", ctx.Err(), err), "see the logs in "+filepath.Join(c.dir, "log"))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// dead tells of the first process that has died, of those before the named one; "" means all.
func (c *Cluster) dead(before string) error {
	for _, p := range c.state.Processes {
		if p.Name == before {
			break
		}
		if !p.Alive() {
			return failed("flink.cluster.died", "wait for the cluster", fmt.Errorf("%s has died%s", p.Name, p.lastWords()), "its log is "+p.Log)
		}
	}
	return nil
}

// known is how many of the cluster's TaskManagers the JobManager has with their slots: as they are now, not those that were killed.
func (c *Cluster) known(ctx context.Context, client *rest.Client) (n int, err error) {
	registered, err := client.TaskManagers(ctx)
	for _, p := range c.state.Processes {
		if p.Port != 0 && slices.ContainsFunc(registered, func(t rest.TaskManager) bool {
			return t.ID == p.Name && strings.Contains(t.Address, ":"+strconv.Itoa(p.Port)+"/") && t.Slots == c.state.Slots
		}) {
			n++
		}
	}
	return n, err
}

// Down ends the processes of the cluster, exactly those, and forgets them; jobs that run end with it. Checkpoints, savepoints and logs stay.
func (c *Cluster) Down(ctx context.Context) error {
	unlock, err := lock(filepath.Join(c.dir, "lock"))
	if err != nil {
		return failed("flink.cluster.busy", "end the cluster in "+c.dir, err, "somebody else is starting or ending it: wait")
	}
	defer unlock()
	return c.end(ctx)
}

// patience is how long processes have to end by themselves.
const patience = 10 * time.Second

func (c *Cluster) end(ctx context.Context) error {
	var all []Process
	for _, p := range slices.Backward(c.state.Processes) { // the JobManager behind the TaskManagers, ZooKeeper last
		if p.Alive() {
			p.signal(terminate)
			all = append(all, p)
		}
	}
	gone := func() bool { return !slices.ContainsFunc(all, Process.Alive) }
	if !until(ctx, patience, gone) {
		for _, p := range all {
			p.signal(kill)
		}
		if !until(context.WithoutCancel(ctx), patience, gone) {
			return failed("flink.cluster.down", "end the cluster", fmt.Errorf("processes that do not end: %s", names(all)), "try again")
		}
	}
	if err := os.Remove(filepath.Join(c.dir, stateFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return failed("flink.cluster.dir", "forget the cluster", err, "")
	}
	for _, old := range []string{"tmp", "upload"} {
		os.RemoveAll(filepath.Join(c.dir, old))
	}
	return nil
}

func names(all []Process) string {
	var text []string
	for _, p := range all {
		if p.Alive() {
			text = append(text, fmt.Sprintf("%s (%d)", p.Name, p.PID))
		}
	}
	return strings.Join(text, ", ")
}

func until(ctx context.Context, most time.Duration, done func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return done()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return true
}

// Kill ends a process at once, as kill -9 does, and returns when it is gone.
func (c *Cluster) Kill(ctx context.Context, name string) error {
	p, err := c.process(name)
	if err != nil {
		return err
	}
	p.signal(kill)
	if !until(ctx, patience, func() bool { return !p.Alive() }) {
		return failed("flink.cluster.down", "kill "+name, errors.New("it does not end"), "")
	}
	return nil
}

// Start starts a process again that has ended; [Cluster.Wait] waits until the cluster is whole.
func (c *Cluster) Start(name string) error {
	p, err := c.process(name)
	if err != nil {
		return err
	}
	if p.Alive() {
		return failed("flink.cluster.running", "start "+name, errors.New("it runs"), "")
	}
	return c.start(name)
}

func (c *Cluster) process(name string) (*Process, error) {
	i := slices.IndexFunc(c.state.Processes, func(p Process) bool { return p.Name == name })
	if i < 0 {
		var all []string
		for _, p := range c.state.Processes {
			all = append(all, p.Name)
		}
		return nil, failed("flink.cluster.process", "find a process of the cluster", fmt.Errorf("there is no %q, only %s", name, strings.Join(all, ", ")), "")
	}
	return &c.state.Processes[i], nil
}

func (c *Cluster) start(name string) error {
	p, err := c.process(name)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(p.Command, func(arg string) bool { return strings.Contains(arg, portOf) }) {
		if p.Port, err = freePort(); err != nil {
			return failed("flink.cluster.port", "find a free port", err, "")
		}
	}
	if err := p.start(c.dir); err != nil {
		return failed("flink.cluster.start", "start "+name, err, "")
	}
	if err := c.save(); err != nil {
		p.signal(kill)
		return failed("flink.cluster.dir", "note the process "+name, err, "")
	}
	return nil
}

// out is the file with what a process says on its standard streams.
func (p Process) out() string { return strings.TrimSuffix(p.Log, ".log") + ".out" }

// lastWords is the end of what a process has said.
func (p Process) lastWords() string {
	for _, file := range []string{p.out(), p.Log} {
		if data, err := os.ReadFile(file); err == nil && len(strings.TrimSpace(string(data))) > 0 {
			return tail(string(data[max(0, len(data)-4096):]))
		}
	}
	return ""
}

var javaVersion = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// findJava finds Java, and looks whether Flink runs on it.
func findJava(ctx context.Context, java string) (string, error) {
	const fix = "install Java 17 or 11, or give its command by --java or JAVA_HOME"
	if java == "" {
		java = "java"
		if home := os.Getenv("JAVA_HOME"); home != "" {
			java = filepath.Join(home, "bin", "java")
		}
	}
	path, err := exec.LookPath(java)
	if err != nil {
		return "", failed("flink.java", "find Java", err, fix)
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", failed("flink.java", "find Java", fmt.Errorf("%s: %w%s", path, err, tail(string(out))), fix)
	}
	m := javaVersion.FindStringSubmatch(string(out))
	if m == nil || m[1] != "11" && m[1] != "17" {
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		return "", failed("flink.java", "find Java", fmt.Errorf("%s is %s", path, first), fix)
	}
	return path, nil
}

// freePort is one that nobody listens at on this machine right now. It lies below those that systems give to outgoing connections, if possible: one of these could take
// it before the process listens, or while it is started again.
func freePort() (int, error) {
	for range 20 {
		port := 10000 + rand.IntN(22000)
		if l, err := net.Listen("tcp", at(port)); err == nil {
			return port, l.Close()
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// yaml is a flat configuration file; every value is quoted.
func yaml(config map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(config)) {
		fmt.Fprintf(&b, "%s: '%s'\n", key, strings.ReplaceAll(config[key], "'", "''"))
	}
	return b.String()
}
