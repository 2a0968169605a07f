package doctor

import (
	"cmp"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// Wants is what a flow wants of a cluster.
type Wants struct {
	// Client speaks with the cluster. Secret says that its headers or certificates are.
	Client *rest.Client
	Secret bool
	// RunnerJar is the file of the runner JAR; "" when there is none.
	RunnerJar string
	// Slots are how many have to be free; 0 is one.
	Slots int
	// Pool is where TaskManagers find the worker pool, as HOST:PORT; "" when it is not known. Answers asks whether one is there.
	Pool    string
	Answers func(ctx context.Context, address string) error
	// Worker is the file of the program that TaskManagers' machines run; "" is this one.
	Worker string
	// Staging is the directory that workers share, Savepoint what a job is to go on from; "" when there is none.
	Staging, Savepoint string
}

// Status is how a check has ended.
type Status string

// A note is something to know; it keeps no flow from running.
const (
	OK      Status = "ok"
	Note    Status = "note"
	Problem Status = "problem"
)

// Check is one thing that was looked at.
type Check struct {
	Name   string `json:"check"`
	Status Status `json:"status"`
	// Says is what was found.
	Says string `json:"says"`
	// Fix is what to do, "" when there is nothing to do.
	Fix string `json:"fix,omitempty"`
}

// Report is all that was looked at.
type Report struct {
	OK     bool    `json:"ok"`
	Checks []Check `json:"checks"`
}

// Err is an error with the first problem and the names of the others; nil when there is none.
func (r Report) Err() error {
	var all []Check
	for _, c := range r.Checks {
		if c.Status == Problem {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return nil
	}
	says := all[0].Name + ": " + all[0].Says
	for _, c := range all[1:] {
		says += "; " + c.Name + ": " + c.Says
	}
	return &fault.RuntimeError{Detail: fault.Detail{Code: "flink.doctor", Doing: "look whether the cluster can run the flow", Retry: fault.RetryNever,
		Err: errors.New(says), Fix: all[0].Fix}}
}

// Examine looks at everything. A cluster that does not answer is a problem like others: what does not need it is looked at all the same.
func Examine(ctx context.Context, w Wants) Report {
	x := &examination{Wants: w, address: w.Client.Address(), local: loopback(w.Client.Address())}
	x.runnerJar()
	if x.cluster(ctx) {
		x.features(ctx)
		x.slots()
		x.configuration(ctx)
	}
	if x.Staging != "" {
		x.folder("staging", x.Staging, Problem, "")
	}
	if x.Savepoint != "" {
		x.savepoint()
	}
	x.pool(ctx)
	x.worker(ctx)
	r := Report{OK: true, Checks: x.checks}
	for _, c := range r.Checks {
		r.OK = r.OK && c.Status != Problem
	}
	return r
}

type examination struct {
	Wants
	address  string
	local    bool // the cluster is on this machine
	runner   cluster.Runner
	overview rest.Overview
	managers []rest.TaskManager
	checks   []Check
}

func (x *examination) say(status Status, name, says, fix string) {
	x.checks = append(x.checks, Check{name, status, says, fix})
}

// fail makes a problem of an error.
func (x *examination) fail(name string, err error) {
	fix := ""
	if d, ok := fault.DetailOf(err); ok {
		fix = d.Fix
	}
	x.say(Problem, name, inner(err), fix)
}

// inner is an error in one line, without what is told otherwise.
func inner(err error) string {
	if d, ok := fault.DetailOf(err); ok && d.Err != nil {
		err = d.Err
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

func (x *examination) runnerJar() {
	if x.RunnerJar == "" {
		x.say(Problem, "runner", "there is no runner JAR", "adf flink up makes it; or give one by --runner-jar")
		return
	}
	r, err := cluster.InspectRunner(x.RunnerJar)
	if err != nil {
		x.fail("runner", err)
		return
	}
	x.runner = r
	x.say(OK, "runner", fmt.Sprintf("Beam %s for Flink %s: %s", cmp.Or(r.Beam, "of unknown version"), cmp.Or(r.Flink, "of unknown version"), x.RunnerJar), "")
}

// cluster says whether there is one.
func (x *examination) cluster(ctx context.Context) bool {
	o, err := x.Client.Overview(ctx)
	if err == nil {
		x.overview = o
		x.managers, err = x.Client.TaskManagers(ctx)
	}
	if err != nil {
		x.fail("cluster", err)
		return false
	}
	says := fmt.Sprintf("Flink %s at %s", o.Version, x.address)
	switch {
	case x.runner.Flink != "" && !strings.HasPrefix(o.Version+".", x.runner.Flink+"."):
		x.say(Problem, "cluster", says+", and the runner JAR is for Flink "+x.runner.Flink,
			fmt.Sprintf("use a runner JAR for Flink %s, or a cluster of Flink %s", minor(o.Version), x.runner.Flink))
	case x.Secret && !x.local && strings.HasPrefix(x.address, "http://"):
		x.say(Problem, "cluster", says+": whoever is on the way there reads the headers", "use an address with https://")
	default:
		x.say(OK, "cluster", says, "")
	}
	return true
}

func minor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func (x *examination) features(ctx context.Context) {
	f, err := x.Client.Features(ctx)
	switch {
	case err != nil:
		x.fail("submit", err)
	case !f.Submit:
		x.say(Problem, "submit", "the cluster takes no JARs", "set web.submit.enable: true in its configuration; an application cluster takes none")
	default:
		x.say(OK, "submit", "the cluster takes JARs", "")
	}
}

func (x *examination) slots() {
	want := max(1, x.Slots)
	says := fmt.Sprintf("%d of %d free, %d wanted, at %s", x.overview.FreeSlots, x.overview.Slots, want, counted(x.overview.TaskManagers, "TaskManager"))
	switch {
	case x.overview.TaskManagers == 0:
		x.say(Problem, "slots", "there is no TaskManager", "start one, and see its log when it does not register")
	case x.overview.FreeSlots < want:
		x.say(Problem, "slots", says, "ask for a smaller parallelism, end a job (adf flink list), or start TaskManagers or ones with more slots (taskmanager.numberOfTaskSlots)")
	default:
		x.say(OK, "slots", says, "")
	}
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func (x *examination) configuration(ctx context.Context) {
	config, err := x.Client.Config(ctx)
	if err != nil {
		x.fail("checkpoints", err)
		return
	}
	x.folder("checkpoints", cmp.Or(config["execution.checkpointing.dir"], config["state.checkpoints.dir"]), Problem,
		"set state.checkpoints.dir in the cluster's configuration: without it state is in the JobManager's memory")
	x.folder("savepoints", cmp.Or(config["execution.checkpointing.savepoint-dir"], config["state.savepoints.dir"]), Note,
		"set state.savepoints.dir in the cluster's configuration, or give --to with savepoint and stop")
	switch kind := cmp.Or(config["high-availability.type"], config["high-availability"]); strings.ToLower(kind) {
	case "", "none":
		x.say(Note, "availability", "none: a JobManager that dies takes its jobs with it", "set high-availability.type for jobs that have to survive it")
	default:
		x.say(OK, "availability", kind, "")
	}
}

// folder looks at one that every process of the cluster writes to.
func (x *examination) folder(name, dir string, missing Status, fix string) {
	if dir == "" {
		x.say(missing, name, "no folder is configured", fix)
		return
	}
	u, err := url.Parse(dir)
	if err != nil || u.Scheme != "file" && u.Scheme != "" {
		x.say(Note, name, dir+": can not be seen from here", "")
		return
	}
	hosts := map[string]bool{}
	for _, m := range x.managers {
		hosts[hostOf(m.Address)] = true
	}
	switch {
	case len(hosts) > 1:
		x.say(Note, name, fmt.Sprintf("%s, with TaskManagers on %d machines", dir, len(hosts)), "make sure that all machines share this folder")
	case !x.local:
		x.say(Note, name, dir+": can not be seen from here", "make sure that all machines share this folder")
	default:
		if err := writable(u.Path); err != nil {
			x.say(Problem, name, err.Error(), "make the folder, and let the user that Flink runs as write to it")
			return
		}
		x.say(OK, name, dir, "")
	}
}

// savepoint looks for one that is on this machine. What it consists of is Flink's to check.
func (x *examination) savepoint() {
	u, err := url.Parse(x.Savepoint)
	if err != nil || u.Scheme != "file" && u.Scheme != "" || !x.local {
		x.say(Note, "savepoint", x.Savepoint+": can not be seen from here", "make sure that every process of the cluster sees it")
		return
	}
	const fix = "give the path that adf flink stop or savepoint has printed"
	info, err := os.Stat(u.Path)
	if err == nil && info.IsDir() {
		_, err = os.Stat(u.Path + "/_metadata")
	}
	switch {
	case errors.Is(err, os.ErrNotExist) && info != nil:
		x.say(Problem, "savepoint", x.Savepoint+" has no file _metadata: it is no savepoint, or one that did not come to its end", fix)
	case err != nil:
		x.say(Problem, "savepoint", err.Error(), fix)
	default:
		x.say(OK, "savepoint", x.Savepoint, "")
	}
}

// writable says whether a folder of this machine can be written, or made: Flink makes it when it can.
func writable(dir string) error {
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is no folder", dir)
	}
	for {
		if _, err := os.Stat(dir); err == nil || !errors.Is(err, os.ErrNotExist) {
			break
		}
		up := strings.TrimRight(dir[:strings.LastIndexByte(strings.TrimRight(dir, "/"), '/')+1], "/")
		if up == "" {
			up = "/"
		}
		dir = up
	}
	f, err := os.CreateTemp(dir, ".adf-doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// hostOf is the host of an actor's address, as "pekko.tcp://flink@127.0.0.1:37879/user/rpc/taskmanager_0".
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return u.Hostname()
}

func loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

func (x *examination) pool(ctx context.Context) {
	if x.Pool == "" {
		x.say(Note, "pool", "no worker pool is known", "adf flink pool runs one beside each TaskManager; give its address by --pool")
		return
	}
	host, _, err := net.SplitHostPort(x.Pool)
	switch {
	case err != nil:
		x.say(Problem, "pool", err.Error(), "give its address as HOST:PORT")
	case !x.local && (host == "localhost" || net.ParseIP(host).IsLoopback()):
		x.say(Note, "pool", x.Pool+" on the TaskManagers' machines: can not be seen from here", "make sure that adf flink pool runs beside each TaskManager")
	default:
		if err := x.Answers(ctx, x.Pool); err != nil {
			x.say(Problem, "pool", x.Pool+" does not answer: "+inner(err), "run adf flink pool beside each TaskManager, or give its address by --pool")
			return
		}
		x.say(OK, "pool", x.Pool, "")
	}
}

var arch = regexp.MustCompile(`(?m) Arch: (\S+)\s*$`)

// worker compares what the worker binary runs on with the TaskManagers' machines.
func (x *examination) worker(ctx context.Context) {
	file := x.Worker
	if file == "" {
		self, err := os.Executable()
		if err != nil {
			x.say(Problem, "worker", err.Error(), "")
			return
		}
		file = self
	}
	is, dynamic, err := platform(file)
	if err != nil {
		x.say(Problem, "worker", err.Error(), "build it for the TaskManagers' machines: CGO_ENABLED=0 GOOS=linux GOARCH=amd64 (or arm64) go build")
		return
	}
	seen := map[string][]string{}
	for _, m := range x.managers {
		on := "unknown"
		if log, err := x.Client.TaskManagerLog(ctx, m.ID, 64<<10); err == nil {
			if found := arch.FindSubmatch(log); found != nil {
				on = goArch(string(found[1]))
			}
		}
		seen[on] = append(seen[on], m.ID)
	}
	if len(x.managers) > 0 && len(seen["unknown"]) == len(x.managers) { // their logs can not be read: the JobManager is most likely of their kind
		if e, err := x.Client.Environment(ctx); err == nil && e.JVM.Arch != "" {
			seen = map[string][]string{goArch(e.JVM.Arch): nil}
		}
	}
	for on, ids := range seen {
		if on != "unknown" && on != is {
			slices.Sort(ids)
			x.say(Problem, "worker", strings.TrimSuffix(fmt.Sprintf("%s is for linux/%s, and Flink runs on linux/%s: %s", file, is, on, strings.Join(ids, ", ")), ": "),
				"build it with CGO_ENABLED=0 GOOS=linux GOARCH="+on)
			return
		}
	}
	switch {
	case dynamic && !x.local:
		x.say(Note, "worker", file+" is for linux/"+is+" and wants the C library of the machine it was built on", "build it with CGO_ENABLED=0, then it runs on any Linux")
	case len(seen) == 0 || len(seen["unknown"]) > 0:
		x.say(Note, "worker", file+" is for linux/"+is+"; what Flink runs on can not be seen", "")
	default:
		x.say(OK, "worker", file+" is for linux/"+is+", as Flink's machines are", "")
	}
}

// platform is the architecture that a Linux program is for, as Go calls it.
func platform(file string) (goarch string, dynamic bool, err error) {
	f, err := elf.Open(file)
	if err != nil {
		var format *elf.FormatError
		if errors.As(err, &format) {
			err = fmt.Errorf("%s is no Linux program", file)
		}
		return "", false, err
	}
	defer f.Close()
	dynamic = slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
	switch f.Machine {
	case elf.EM_X86_64:
		return "amd64", dynamic, nil
	case elf.EM_AARCH64:
		return "arm64", dynamic, nil
	}
	return strings.ToLower(strings.TrimPrefix(f.Machine.String(), "EM_")), dynamic, nil
}

// goArch is Go's name for what Java calls an architecture.
func goArch(java string) string {
	switch java {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	}
	return java
}
