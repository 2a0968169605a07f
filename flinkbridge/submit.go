package flinkbridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// SubmitOptions say how a flow becomes a job of a Flink cluster.
type SubmitOptions struct {
	// Builder and Params make the flow in the workers; Staging is a directory that workers on all machines share, which exactly-once sinks need.
	Builder string
	Params  map[string]string
	Staging string
	// Until ends sources that do not end by themselves: the job is a batch job then, as it is when all sources end.
	Until Until

	// RunnerJar is the path of the runner JAR, Worker that of the program that the workers run; "" is this one.
	RunnerJar, Worker string
	// Pool is where a TaskManager finds its worker pool, as HOST:PORT; Boot instead is the path of a command on the TaskManagers' machines.
	Pool, Boot string

	// Parallelism is the number of subtasks (0: 1), MaxParallelism what it can ever be (0: 128), fixed for a flow's life.
	Parallelism, MaxParallelism int
	// Lanes is how many lanes each source has, fixed for a flow's life; 0 is two for each subtask.
	Lanes int
	// Buckets is, for a batch job, how many buckets keys are spread over; 0 means what the plan says. A job that does not end has the plan's.
	Buckets int

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
	Dashboard string `json:"dashboard"`
}

// entryClass is the class of the runner that Flink starts.
const entryClass = "org.apache.beam.runners.flink.FlinkPipelineRunner"

// Submit makes a job JAR of a flow, runs it, and waits until all its tasks run, the options that correctness stands on are seen to be in effect, and, for one that does
// not end, the first checkpoint is complete. A job for which that is not so is cancelled.
func Submit(ctx context.Context, c *rest.Client, f *adf.Flow, o SubmitOptions) (Submission, error) {
	g, err := f.Build(ctx)
	if err != nil {
		return Submission{Flow: f.Name()}, err
	}
	initBeam()
	d, err := o.deploy(ctx, g)
	sub := Submission{Flow: g.Plan.Flow(), Run: d.spec.Run, Streaming: d.spec.Streaming}
	if err != nil {
		return sub, err
	}
	if sub.Job, err = d.run(ctx, c, o); err != nil {
		return sub, fault.Within(err, sub.Flow, sub.Run, "")
	}
	sub.Dashboard = c.DashboardURL(sub.Job)
	if err = d.confirm(ctx, c, sub.Job); err != nil {
		background, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		if cerr := c.Cancel(background, sub.Job); cerr != nil {
			err = errors.Join(err, cerr)
		}
		return sub, fault.Within(err, sub.Flow, sub.Run, "")
	}
	return sub, nil
}

// deployment is a flow ready to be run on a cluster.
type deployment struct {
	spec    spec
	jar     *jobJar
	options flinkOptions
}

// flinkOptions are those that correctness stands on.
type flinkOptions struct {
	parallelism, maxParallelism int
	interval, timeout, pause    time.Duration
	concurrent                  int
}

func (o SubmitOptions) deploy(ctx context.Context, g *adf.Graph) (d deployment, err error) {
	endless := false
	for _, n := range g.Nodes {
		endless = endless || n.Kind == adf.KindSource && n.Source.Boundedness() == splits.Unbounded
	}
	streaming := endless && o.Until == (Until{})
	o.Parallelism, o.MaxParallelism = cmp.Or(o.Parallelism, 1), cmp.Or(o.MaxParallelism, 128)
	o.Interval, o.Timeout = cmp.Or(o.Interval, 10*time.Second), cmp.Or(o.Timeout, 10*time.Minute)
	if err := o.check(g); err != nil {
		return d, err
	}
	options := Options{
		Builder: o.Builder, Params: o.Params, Staging: o.Staging, Parallelism: cmp.Or(o.Lanes, 2*o.Parallelism), Buckets: o.Buckets, Until: o.Until,
	}
	if streaming {
		options.Until, options.Buckets = Until{Idle: true}, 0 // where it ends is asked of those that do
	}
	if d.spec, err = specOf(ctx, g, options); err != nil {
		return d, err
	}
	make := bounded
	if streaming {
		d.spec.Until, d.spec.Streaming, d.spec.Rewind, make = Until{}, true, o.Rewind, unbounded
	}
	var p *beam.Pipeline
	if p, err = make(d.spec, g); err != nil {
		return d, err
	}
	env, err := environmentOf(ctx, o.Pool, o.Boot)
	if err != nil {
		return d, err
	}
	d.options = optionsFor(o)
	d.jar = &jobJar{name: g.Plan.Flow(), runner: o.RunnerJar, worker: o.Worker, options: d.options.beam(streaming)}
	if d.jar.worker == "" {
		if d.jar.worker, err = os.Executable(); err != nil {
			return d, err
		}
	}
	d.jar.pipeline, err = translate(ctx, d.spec, p, env)
	return d, err
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
	if o.Staging == "" && exact(g) {
		refuse("staging", "nothing", "a directory that the workers on all machines share: "+exactNames(g)+" commit exactly once")
	}
	if o.Parallelism < 1 || o.Parallelism > o.MaxParallelism {
		refuse("parallelism", fmt.Sprint(o.Parallelism), fmt.Sprintf("1 to %d", o.MaxParallelism))
	}
	if o.Lanes != 0 && o.Lanes < o.Parallelism {
		refuse("lanes", fmt.Sprint(o.Lanes), fmt.Sprintf("at least the parallelism, %d", o.Parallelism))
	}
	return fault.Config(wrong...)
}

func exactNames(g *adf.Graph) string {
	var names []string
	for _, n := range g.Nodes {
		if _, ok := n.Sink.(sinks.AnyExact); ok {
			names = append(names, n.Name)
		}
	}
	return strings.Join(names, ", ")
}

// optionsFor: what a checkpoint has not confirmed waits in as many places as checkpoints may be under way. With too few of them what waits is mixed with what comes
// later, and lost; so there are more than there can be before one times out.
func optionsFor(o SubmitOptions) flinkOptions {
	concurrent := max(8, int((o.Timeout+o.Interval-1)/o.Interval)+3)
	return flinkOptions{o.Parallelism, o.MaxParallelism, o.Interval, o.Timeout, o.Interval / 2, concurrent}
}

// beam gives the options as Beam's runner takes them.
func (f flinkOptions) beam(streaming bool) map[string]any {
	options := map[string]any{"streaming": streaming, "parallelism": f.parallelism, "max_parallelism": f.maxParallelism, "operator_chaining": false}
	if !streaming {
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
		"max_bundle_time_mills":                           (2 * sliceTime).Milliseconds(),
		"max_bundle_size":                                 1000,
	} {
		options[name] = value
	}
	return options
}

// run uploads the JAR, runs it, and deletes it.
func (d deployment) run(ctx context.Context, c *rest.Client, o SubmitOptions) (job string, err error) {
	file, err := os.CreateTemp("", d.spec.Flow+"-*.jar")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	err = d.jar.write(file)
	if cerr := file.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return "", &fault.RuntimeError{Detail: fault.Detail{Code: "bridge.jar", Doing: "make the job JAR", Retry: fault.RetryNever, Err: err}}
	}
	id, err := c.UploadJar(ctx, file.Name())
	if err != nil {
		return "", err
	}
	defer func() {
		background, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		_ = c.DeleteJar(background, id) // one that stays costs room, and nothing else
	}()
	return c.RunJar(ctx, id, rest.RunJar{EntryClass: entryClass, SavepointPath: o.Savepoint, AllowNonRestored: o.AllowDropped})
}

// confirm waits for the job's tasks and its first checkpoint, and compares what is in effect.
func (d deployment) confirm(ctx context.Context, c *rest.Client, id string) (err error) {
	ctx, stop := untilFinal(ctx, c, id)
	defer stop()
	defer func() {
		var f *fault.RuntimeError
		if errors.As(context.Cause(ctx), &f) {
			err = f
		}
	}()
	j, err := c.WaitRunning(ctx, id)
	if err != nil {
		return err
	}
	var wrong []string
	differ := func(name string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", name, got, want))
		}
	}
	config, err := c.JobConfig(ctx, id)
	if err != nil {
		return err
	}
	differ("parallelism", config.Execution.Parallelism, d.options.parallelism)
	if !d.spec.Streaming {
		return d.inEffect(wrong)
	}
	differ("the kind of job", j.Plan.Type, "STREAMING")
	for _, v := range j.Vertices {
		differ("max_parallelism of "+v.Name, v.MaxParallelism, d.options.maxParallelism)
	}
	k, err := c.CheckpointConfig(ctx, id)
	if err != nil {
		return err
	}
	differ("the mode of checkpoints", k.Mode, "exactly_once")
	differ("checkpointing_interval in ms", k.Interval, d.options.interval.Milliseconds())
	differ("checkpoint_timeout_millis", k.Timeout, d.options.timeout.Milliseconds())
	differ("min_pause_between_checkpoints in ms", k.MinPause, d.options.pause.Milliseconds())
	differ("num_concurrent_checkpoints", k.MaxConcurrent, d.options.concurrent)
	if err := d.inEffect(wrong); err != nil {
		return err
	}
	return d.firstCheckpoint(ctx, c, id)
}

func (d deployment) inEffect(wrong []string) error {
	if len(wrong) == 0 {
		return nil
	}
	return &fault.RuntimeError{Detail: fault.Detail{
		Code: "flink.options", Doing: "compare the job's options", Retry: fault.RetryNever, Err: errors.New(strings.Join(wrong, "; ")),
		Fix: "what the job was given is not in effect: look at the cluster's configuration and at the version of the runner",
	}}
}

// firstCheckpoint waits until one is complete. The first one or two often fail while tasks start.
func (d deployment) firstCheckpoint(ctx context.Context, c *rest.Client, id string) error {
	for {
		k, err := c.Checkpoints(ctx, id)
		if err != nil && !fault.Retryable(err) {
			return err
		}
		if err == nil && k.Counts.Completed > 0 {
			return nil
		}
		j, err := c.Job(ctx, id)
		if err == nil && j.Status.Ended() {
			why := "it is " + string(j.Status)
			if x, err := c.Exceptions(ctx, id); err == nil && x.Root != "" {
				why = rest.Cause(x.Root)
			}
			return &fault.RuntimeError{Detail: fault.Detail{Code: "flink.job", Doing: "wait for the job's first checkpoint", Retry: fault.RetryNever, Err: errors.New(why)}}
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
