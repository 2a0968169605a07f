package flinkbridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/splits"
)

// Builder makes a flow from its parameters. It is called where the pipeline is made, and again in every worker.
type Builder func(ctx context.Context, params map[string]string) (*adf.Flow, error)

var builders sync.Map // name → Builder

// Register gives a builder a name, by which workers find it. Call it from an init function or at the start of main, in any case before beam.Init, which is where
// a worker's work begins. A name that is taken panics.
func Register(name string, b Builder) {
	if _, taken := builders.LoadOrStore(name, b); taken {
		panic("flinkbridge: a second builder named " + name)
	}
}

func builder(name string) (Builder, error) {
	b, ok := builders.Load(name)
	if !ok {
		return nil, errNoBuilder
	}
	return b.(Builder), nil
}

// spec is what every DoFn carries of the run it belongs to, as JSON.
type spec struct {
	// Form is that of the spec itself and of all that travels between DoFns.
	Form int `json:"form"`
	// Run is new for every pipeline that is made, and stays through its failures.
	Run     string            `json:"run"`
	Flow    string            `json:"flow"`
	Digest  string            `json:"digest"`
	Builder string            `json:"builder,omitempty"`
	Params  map[string]string `json:"params,omitempty"`
	Staging string            `json:"staging,omitempty"`
	// Dir is the folder that relative paths of the flow are meant from.
	Dir     string `json:"dir,omitempty"`
	Lanes   int    `json:"lanes"`
	Buckets int    `json:"buckets"`
	Until   Until  `json:"until,omitzero"`
	// Streaming says that output is committed with each checkpoint, and Ends that the input of such a job ends after all.
	Streaming bool `json:"streaming,omitempty"`
	Ends      bool `json:"ends,omitempty"`
	// Rewind lets it go on from a savepoint that is behind what its sinks have.
	Rewind bool `json:"rewind,omitempty"`
	// Checkpoints is where positions are saved, "" nowhere.
	Checkpoints string `json:"checkpoints,omitempty"`
	// Placing is how the runner places keys.
	Placing placing `json:"placing,omitzero"`
}

// form changes when a worker of an earlier release could not do the work of a pipeline any more, or would do it otherwise.
const form = 1

// job is a run as this process has it: the flow, and what is counted.
type job struct {
	spec
	graph       *adf.Graph
	staging     checkpoint.Store
	checkpoints checkpoint.Store // nil without positions
	log         *slog.Logger
	counters    map[string]*task.Counters
	meters      map[string]*meters
	index       atomic.Int64 // of the next stage

	// keys are those of lanes, buckets and the shards of sinks, by number.
	keys struct{ lanes, buckets, shards [][]byte }

	// ctx ends when the run is given up; only a run that this process waits for has one of its own.
	ctx    context.Context
	failed atomic.Pointer[error] // the first failure, whole, which Beam makes a text of

	// What is kept between bundles of a job that does not end.
	enumerators cache[*enumerator]
	lanes       cache[*lane]
	buckets     cache[*bucket]
	acks        cache[[]*adfv1.ReadState] // what lanes are to be told, by lane
	positions   positions
}

// close closes what is kept.
func (j *job) close() error {
	var all []error
	for _, e := range j.enumerators.all() {
		all = append(all, e.close())
	}
	for _, l := range j.lanes.all() {
		all = append(all, l.close())
	}
	j.buckets.all()
	return errors.Join(all...)
}

// failing notes a failure of a node.
func (j *job) failing(err error, node string) error {
	err = j.within(err, node)
	j.fail(err)
	return marked(err)
}

func newJob(ctx context.Context, s spec, g *adf.Graph, staging checkpoint.Store, log *slog.Logger) *job {
	j := &job{spec: s, graph: g, staging: staging, log: log.With("flow", s.Flow, "run", s.Run), counters: map[string]*task.Counters{}, meters: map[string]*meters{}, ctx: ctx}
	for _, n := range g.Nodes {
		j.counters[n.Name], j.meters[n.Name] = &task.Counters{}, newMeters(n.Name)
	}
	j.keys.lanes, j.keys.buckets, j.keys.shards = s.Placing.keys(s.Lanes), s.Placing.keys(s.Buckets), s.Placing.keys(g.Plan.Shards())
	return j
}

// fail notes the first failure.
func (j *job) fail(err error) {
	err = lost(err)
	if !errors.Is(err, context.Canceled) || j.ctx.Err() != nil {
		j.failed.CompareAndSwap(nil, &err)
	}
}

// jobs are the runs that this process made or has met, by run.
var jobs = struct {
	sync.Mutex
	of map[string]func() (*job, error)
}{of: map[string]func() (*job, error){}}

// keep makes a job known in this process, until the returned function is called.
func keep(j *job) (forget func()) {
	jobs.Lock()
	defer jobs.Unlock()
	jobs.of[j.Run] = func() (*job, error) { return j, nil }
	return func() {
		jobs.Lock()
		defer jobs.Unlock()
		delete(jobs.of, j.Run)
	}
}

// find gives the job of a spec: the one that this process has, or one that is built as the spec says.
func find(data []byte) (*job, error) {
	j, err := look(data)
	return j, marked(err)
}

func look(data []byte) (*job, error) {
	var s spec
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, s.wrong("bridge.form", err, sameRelease)
	}
	if s.Form != form {
		return nil, s.wrong("bridge.form", fmt.Errorf("the pipeline has the form %d, and this worker knows the form %d", s.Form, form), sameRelease)
	}
	jobs.Lock()
	get := jobs.of[s.Run]
	if get == nil {
		get = sync.OnceValues(func() (*job, error) { return rebuild(context.Background(), s) })
		jobs.of[s.Run] = get
	}
	jobs.Unlock()
	return get()
}

// rebuild makes the flow of a spec in a worker.
func rebuild(ctx context.Context, s spec) (*job, error) {
	if s.Builder == "" {
		return nil, s.wrong("bridge.builder", errors.New("the pipeline was made from a flow without a builder, in another process"),
			"register the flow with flinkbridge.Register and name it in Options.Builder")
	}
	b, err := builder(s.Builder)
	if err != nil {
		return nil, s.wrong("bridge.builder", fmt.Errorf("%s: %w", s.Builder, err), "let the workers run the program that made the pipeline")
	}
	if err := enter(s.Dir); err != nil {
		slog.Warn("relative paths of the flow lead nowhere: the folder that they are meant from is not on this machine", "folder", s.Dir, "error", err)
	}
	var g *adf.Graph
	if err := task.Guard("", func() error {
		f, err := b(ctx, s.Params)
		if err == nil {
			g, err = f.Build(ctx)
		}
		return err
	}); err != nil {
		return nil, lost(fault.Within(err, s.Flow, s.Run, ""))
	}
	if got := g.Plan.Digest(); got != s.Digest {
		return nil, s.wrong("bridge.digest", fmt.Errorf("this worker builds the plan %s, and the pipeline was made of %s", got, s.Digest),
			"let the workers run the program that made the pipeline, and see the same configuration")
	}
	var staging checkpoint.Store
	if s.Staging != "" {
		if staging, err = checkpoint.OpenDirectory(s.Staging); err != nil {
			return nil, err
		}
	}
	j := newJob(ctx, s, g, staging, slog.Default())
	if s.Checkpoints != "" {
		if j.checkpoints, err = checkpoint.OpenDirectory(s.Checkpoints); err != nil {
			return nil, err
		}
	}
	go j.sweep(ctx)
	return j, nil
}

func (s spec) wrong(code string, err error, fix string) error {
	return &fault.RuntimeError{Detail: fault.Detail{
		Code: code, Doing: "find the flow of a pipeline", Flow: s.Flow, Run: s.Run, Retry: fault.RetryNever, Err: err, Fix: fix,
	}}
}

// laneOf is the lane that a key is of. A lane of a savepoint whose key this job does not give is an error.
func (j *job) laneOf(key []byte) (int, error) {
	if number, ok := numberOf(key, j.Lanes); ok && bytes.Equal(key, j.keys.lanes[number]) {
		return number, nil
	}
	return 0, &fault.ConfigurationError{Detail: fault.Detail{
		Code: "bridge.keys", Doing: "go on from a savepoint", Flow: j.Flow, Run: j.Run, Retry: fault.RetryNever,
		Err: fmt.Errorf("got the key %x of a lane that the job does not have: the job that was saved had another number of lanes, another largest parallelism or another runner", key),
		Fix: fmt.Sprintf("submit with the --lanes and --max-parallelism of that job (now %d and %d) and its version of the runner", j.Lanes, j.Placing.Groups),
	}}
}

const sameRelease = "run both sides with the same release"

// endOf is where a source ends that would not end by itself; nothing for one that does.
func (j *job) endOf(source string) Until {
	if j.node(source).Source.Boundedness() == splits.Bounded {
		return Until{}
	}
	return j.Until
}

// staged is where output waits for its commit, and stagedAs the name that a run's has there: a job that goes on from a savepoint commits what the run before left.
func (j *job) staged() (checkpoint.Store, error) {
	if j.staging == nil {
		return nil, j.wrong("bridge.staging", errors.New("there is no place for output that waits to be committed"), "give a directory that all workers share in Options.Staging")
	}
	return j.staging, nil
}

func (j *job) stagedAs(run string) string { return j.Flow + "." + run }

// eachShard does something for each shard of each exactly-once sink.
func (j *job) eachShard(do func(n *adf.Node, shard int) error) error {
	for _, n := range exactSinks(j.graph) {
		for shard := range j.graph.Plan.Shards() {
			if err := do(n, shard); err != nil {
				return err
			}
		}
	}
	return nil
}

// node finds a node of the flow; with the digest right it is there.
func (j *job) node(name string) *adf.Node { return j.graph.Node(name) }
