package flinkbridge

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/deploy/flink/runner"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/engine/checkpoint"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// SubmitOptions say how a flow becomes a job of a Flink cluster.
type SubmitOptions struct {
	// Builder and Params make the flow in the workers; Staging is a directory that workers on all machines share, which exactly-once sinks need, and large shuffles of batch jobs.
	Builder string
	Params  map[string]string
	Staging string
	// Dir is the folder that relative paths of the flow are meant from. Workers go there; on a machine that does not have it, such paths lead nowhere.
	Dir string
	// Mode is the kind of job; "" is Auto. Until ends sources that do not end by themselves, in a batch job.
	Mode  Mode
	Until Until

	// RunnerJar is the path of the runner JAR, Worker that of the program that the workers run; "" is this one.
	RunnerJar, Worker string
	// Pool is where a TaskManager finds its worker pool, as HOST:PORT; Boot instead is the path of a command on the TaskManagers' machines.
	Pool, Boot string

	// Parallelism is the number of subtasks (0: 1), MaxParallelism what it can ever be (0: 128), fixed for a flow's life.
	Parallelism, MaxParallelism int
	// Lanes is how many lanes each source has, fixed for a flow's life; 0 is two for each subtask.
	Lanes int
	// Buckets is how many buckets keys are spread over: at least the largest parallelism that a keyed step is to have. A job that does not end keeps the number for the
	// flow's life; 0 is four for each subtask and at least 16 then, since each costs the same few calls to Flink in every bundle. Of a batch job 0 is as in [Options].
	Buckets int

	// Checkpoints is a directory with the flow's checkpoints, as engine runs have them, which the workers share; "" is none. A job that is not resumed from a savepoint goes on from
	// the positions there; and with each checkpoint the job saves its own, so that a run of the engine can go on from them. Keyed state does not go along.
	Checkpoints string

	// Interval is how far checkpoints are apart (0: 10 s), Timeout how long one may take (0: 10 min): at least as long as the longest outage of a target that the
	// job is to ride out. Only for jobs that do not end.
	Interval, Timeout time.Duration
	// Savepoint is what the job goes on from; AllowDropped lets it leave out state that it has no step for. Rewind allows one that is behind what sinks have
	// committed already: output since then is repeated.
	Savepoint    string
	AllowDropped bool
	Rewind       bool
}

// Submission is a job that runs.
type Submission struct {
	Job       string `json:"job"`
	Flow      string `json:"flow"`
	Run       string `json:"run"`
	Streaming bool   `json:"streaming"`
	// Ends says that all input ends, in a streaming job too.
	Ends      bool   `json:"ends"`
	Dashboard string `json:"dashboard"`
	// Notes are what is to be known and hinders nothing.
	Notes []string `json:"notes,omitempty"`
}

// Submit makes a job JAR of a flow, runs it, and waits until all its tasks run, the options that correctness stands on are seen to be in effect, and, for one that does
// not end, the first checkpoint is complete. A job for which that is not so is cancelled, and so it is when ctx ends before.
func Submit(ctx context.Context, c *rest.Client, f *adf.Flow, o SubmitOptions) (Submission, error) {
	g, err := f.Build(ctx)
	if err != nil {
		return Submission{Flow: f.Name()}, err
	}
	return SubmitGraph(ctx, c, g, o)
}

// SubmitGraph is Submit for a flow that has been built already.
func SubmitGraph(ctx context.Context, c *rest.Client, g *adf.Graph, o SubmitOptions) (Submission, error) {
	initBeam()
	d, err := o.deploy(ctx, g)
	sub := Submission{Flow: g.Plan.Flow(), Run: d.spec.Run, Streaming: d.spec.Streaming, Ends: !d.spec.Streaming || d.spec.Ends}
	if err != nil {
		return sub, err
	}
	if err := o.takeOver(ctx, g, d.spec.Run); err != nil {
		return sub, fault.Within(err, sub.Flow, sub.Run, "")
	}
	sub.Job, err = d.run(ctx, c, o)
	if err == nil {
		sub.Dashboard = c.DashboardURL(sub.Job)
		err = d.confirm(ctx, c, sub.Job)
	}
	sub.Notes = d.notes
	if err == nil {
		return sub, nil
	}
	err = fault.Within(err, sub.Flow, sub.Run, "")
	if left := end(ctx, c, sub.Job); left != nil {
		err = errors.Join(err, left)
	}
	return sub, err
}

// deployment is a flow ready to be run on a cluster.
type deployment struct {
	spec    spec
	jar     *jobJar
	options flinkOptions
	notes   []string
}

// flinkOptions are those that correctness stands on.
type flinkOptions struct {
	parallelism, maxParallelism int
	interval, timeout, pause    time.Duration
	concurrent                  int
	bundleSize                  int
}

func (o SubmitOptions) deploy(ctx context.Context, g *adf.Graph) (d deployment, err error) {
	streaming, ends, err := o.kind(g)
	if err != nil {
		return d, err
	}
	o.Parallelism, o.MaxParallelism = cmp.Or(o.Parallelism, 1), cmp.Or(o.MaxParallelism, 128)
	o.Interval, o.Timeout = cmp.Or(o.Interval, 10*time.Second), cmp.Or(o.Timeout, 10*time.Minute)
	if err := o.check(g); err != nil {
		return d, err
	}
	options := Options{
		Builder: o.Builder, Params: o.Params, Staging: o.Staging, Parallelism: cmp.Or(o.Lanes, 2*o.Parallelism), Buckets: o.Buckets, Until: o.Until,
	}
	if streaming {
		options.Until = Until{Idle: true} // where it ends is asked of those that do
		options.Buckets = cmp.Or(o.Buckets, max(16, 4*o.Parallelism))
	}
	if d.spec, err = specOf(ctx, g, options); err != nil {
		return d, err
	}
	d.spec.Dir = o.Dir
	if err := d.place(o, streaming); err != nil {
		return d, err
	}
	make := bounded
	if streaming {
		d.spec.Until, d.spec.Streaming, d.spec.Ends, d.spec.Rewind, d.spec.Checkpoints, make = Until{}, true, ends, o.Rewind, o.Checkpoints, unbounded
	} else if o.Checkpoints != "" {
		return d, fault.Config(fault.Violation{Path: "options.checkpoints", Got: "a batch job", Want: "a flow with a source that does not end", Code: "bridge.options"})
	}
	var p *beam.Pipeline
	if p, err = make(d.spec, g); err != nil {
		return d, err
	}
	env, err := environmentOf(ctx, o.Pool, o.Boot)
	if err != nil {
		return d, err
	}
	d.options = optionsFor(o, d.spec)
	d.jar = &jobJar{name: g.Plan.Flow(), runner: o.RunnerJar, worker: o.Worker, options: d.options.beam(streaming)}
	if d.jar.worker == "" {
		if d.jar.worker, err = os.Executable(); err != nil {
			return d, err
		}
	}
	if d.jar.pipeline, err = translate(ctx, d.spec, p, env); err == nil {
		label(d.jar.pipeline, d.spec, g)
	}
	return d, err
}

// optionsFactory is the option of Flink that names who sets RocksDB's own options.
const optionsFactory = "state.backend.rocksdb.options-factory"

// boundManifest gives the options of Flink that keep what RocksDB writes into each checkpoint from growing with the age of the job, none where the cluster sets RocksDB's
// options itself.
func (d *deployment) boundManifest(ctx context.Context, c *rest.Client) (map[string]string, error) {
	if !d.spec.Streaming {
		return nil, nil
	}
	config, err := c.Config(ctx)
	if err != nil {
		return nil, err
	}
	if own := config[optionsFactory]; own != "" {
		d.notes = append(d.notes, "the cluster has a "+optionsFactory+" of its own, "+own+": without a bound on RocksDB's manifest there, checkpoints grow with the age of the job")
		return nil, nil
	}
	return map[string]string{optionsFactory: runner.BoundedManifestName}, nil
}

// takeOver claims the flow for the job.
func (o SubmitOptions) takeOver(ctx context.Context, g *adf.Graph, run string) error {
	if o.Checkpoints == "" {
		return nil
	}
	store, err := checkpoint.OpenDirectory(o.Checkpoints)
	if err != nil {
		return err
	}
	return engine.TakeOver(ctx, g, run, o.Savepoint != "", engine.Options{
		Store: store, Retain: 3, Retries: tries - 1, Rewind: o.Rewind, AllowDropped: o.AllowDropped, Log: slog.Default(),
	})
}

// place says how the cluster places keys, which is known of some versions of the runner.
func (d *deployment) place(o SubmitOptions, streaming bool) error {
	made, err := cluster.InspectRunner(o.RunnerJar)
	if err != nil {
		return err
	}
	d.spec.Placing = placing{placerOf(made.Beam, streaming), o.Parallelism}
	if streaming {
		d.spec.Placing.Groups = o.MaxParallelism
	}
	if d.spec.Placing.By == "" {
		d.notes = append(d.notes, fmt.Sprintf(
			"it is not known how Beam's runner %s places keys: some subtasks may have more lanes and buckets than others", cmp.Or(made.Beam, "of this version")))
	}
	return nil
}

func (o SubmitOptions) check(g *adf.Graph) error {
	var wrong []fault.Violation
	refuse := func(path, got, want string) {
		wrong = append(wrong, fault.Violation{Path: "options." + path, Got: got, Want: want, Code: "bridge.options"})
	}
	if o.Builder == "" {
		refuse("builder", "nothing", "the name of a registered builder: workers make the flow with it")
	}
	if o.RunnerJar == "" {
		refuse("runner_jar", "nothing", "the path of a runner JAR")
	}
	if (o.Pool == "") == (o.Boot == "") {
		refuse("pool", "both or neither of a pool and a boot command", "one of them")
	}
	if exact := exactSinks(g); o.Staging == "" && len(exact) > 0 {
		var names []string
		for _, n := range exact {
			names = append(names, n.Name)
		}
		refuse("staging", "nothing", "a directory that the workers on all machines share, for what waits to be committed by "+strings.Join(names, ", "))
	}
	if o.Parallelism < 1 || o.Parallelism > o.MaxParallelism {
		refuse("parallelism", fmt.Sprint(o.Parallelism), fmt.Sprintf("1 to %d", o.MaxParallelism))
	}
	for _, keys := range []struct {
		name string
		n    int
	}{{"lanes", o.Lanes}, {"buckets", o.Buckets}} {
		if keys.n != 0 && keys.n < o.Parallelism {
			refuse(keys.name, fmt.Sprint(keys.n), fmt.Sprintf("at least the parallelism, %d", o.Parallelism))
		}
	}
	return fault.Config(wrong...)
}

// batchRetries is how often a batch job starts again that has failed.
const batchRetries = 3

// optionsFor: what a checkpoint has not confirmed waits in as many places as checkpoints may be under way. With too few of them what waits is mixed with what comes
// later, and lost; so there are more than there can be before one times out.
//
// A bundle has as many elements as bring mostBundle bytes when the keys of a flush are spread over all buckets.
func optionsFor(o SubmitOptions, s spec) flinkOptions {
	concurrent := max(8, int((o.Timeout+o.Interval-1)/o.Interval)+3)
	return flinkOptions{
		o.Parallelism, o.MaxParallelism, o.Interval, o.Timeout, o.Interval / 2, concurrent, max(mostBundle*s.Buckets/flushedBytes, 1),
	}
}

// bundleTime is when Flink closes a bundle. What it has for a worker goes there no earlier, a lane's timer too: the lane waits until then, and is at work after that.
const bundleTime = 20 * time.Millisecond

// mostBundle is how many bytes a bundle is to hold, on Flink's side and in the worker.
const mostBundle = 8 << 20

// beam gives the options as Beam's runner takes them.
func (f flinkOptions) beam(streaming bool) map[string]any {
	options := map[string]any{"streaming": streaming, "parallelism": f.parallelism, "max_parallelism": f.maxParallelism, "operator_chaining": false}
	if !streaming {
		// What the cluster says may be to start again for ever, which is for jobs that go on from a checkpoint.
		options["number_of_execution_retries"], options["execution_retry_delay"] = batchRetries, time.Second.Milliseconds()
		return options
	}
	for name, value := range map[string]any{
		"checkpointing_interval":                          f.interval.Milliseconds(),
		"checkpoint_timeout_millis":                       f.timeout.Milliseconds(),
		"min_pause_between_checkpoints":                   f.pause.Milliseconds(),
		"num_concurrent_checkpoints":                      f.concurrent,
		"finish_bundle_before_checkpointing":              true, // else output that a checkpoint cuts waits for the next bundle
		"externalized_checkpoints_enabled":                true,
		"retain_externalized_checkpoints_on_cancellation": true,
		"max_bundle_time_mills":                           bundleTime.Milliseconds(),
		"max_bundle_size":                                 f.bundleSize,
	} {
		options[name] = value
	}
	return options
}

// run uploads the JAR, runs it, and deletes it. The job may be there although there is an error.
func (d *deployment) run(ctx context.Context, c *rest.Client, o SubmitOptions) (job string, err error) {
	file, err := d.jar.file()
	if err != nil {
		return "", err
	}
	defer os.Remove(file)
	config, err := d.boundManifest(ctx, c)
	if err != nil {
		return "", err
	}
	id, err := c.UploadJar(ctx, file)
	defer func() {
		background, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		dropJar(background, c, id, filepath.Base(file)) // one that stays costs room, and nothing else
	}()
	if err != nil {
		return "", err
	}
	// What Flink has begun goes on when nobody waits for it any more: so it is waited for, and the caller ends the job.
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(startGrace, cancel) })()
	number := make([]byte, 16)
	rand.Read(number) // never fails
	job = hex.EncodeToString(number)
	_, err = c.RunJar(run, id, rest.RunJar{EntryClass: cluster.EntryClass, SavepointPath: o.Savepoint, AllowNonRestored: o.AllowDropped, JobID: job, Config: config})
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return job, refusedState(err, o)
}

// startGrace is how long a submission that was interrupted waits for Flink to start the job that it is to end then.
const startGrace = 30 * time.Second

// dropJar deletes a JAR, by its name when the upload was cut off before the id was known.
func dropJar(ctx context.Context, c *rest.Client, id, name string) {
	if id != "" {
		_ = c.DeleteJar(ctx, id)
		return
	}
	jars, err := c.Jars(ctx)
	if err != nil {
		return
	}
	for _, j := range jars {
		if j.Name == name {
			_ = c.DeleteJar(ctx, j.ID)
		}
	}
}

// refusedState says what to do about a savepoint that Flink does not take.
func refusedState(err error, o SubmitOptions) error {
	d, ok := fault.DetailOf(err)
	if !ok || d.Code != "flink.program" || o.Savepoint == "" {
		return err
	}
	again := *d
	switch text := d.Err.Error(); {
	case strings.Contains(text, "allowNonRestoredState"):
		again.Code = "flink.savepoint.dropped"
		again.Fix = "the savepoint has state of a step that the flow does not have: put the step back, or let its state go with --allow-dropped"
	case strings.Contains(text, "Cannot find") && strings.Contains(text, "savepoint"):
		again.Code, again.Fix = "flink.savepoint.missing", "give the path that adf flink stop or savepoint has printed; every process of the cluster has to see it"
	default:
		return err
	}
	again.Doing = "go on from " + o.Savepoint
	return &fault.RuntimeError{Detail: again}
}
