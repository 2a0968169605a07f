package flinkcli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/doctor"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

func (f *flink) submitCommand() *cobra.Command {
	var x fitness
	o := defaults()
	var until, mode string
	var wait bool
	cmd := &cobra.Command{
		Use:   "submit",
		Short: "Run a flow as a job of the cluster",
		Long: `Run a flow as a job of the cluster: look whether it is fit, as "flink doctor" does, upload the flow with the program that works for it, and wait until all
tasks run, the options that correctness stands on are in effect, and the first checkpoint is complete. Otherwise the job is cancelled and told why.

A flow whose sources end is a batch job. One with a source that does not end is a streaming job, and goes on until "flink stop"; with --until it is a batch job.
With --mode streaming a flow whose sources end is a streaming job, too: its output is committed with each checkpoint, and at the end of the input windows close. With --wait
it is stopped then; without, it goes on with nothing to do until "flink stop".

With --wait the command ends with the job, and with its failure if it has one. A job that fails twice with the same error, one that no retry helps against, is cancelled.

Relative paths in a flow start at the current folder, on machines that have it; on others they lead nowhere. Values of --set are part of the job, and Flink shows them: secrets go into the environment
of the workers, and flows refer to it.`,
	}
	source := f.Source(cmd)
	x.add(cmd, "the parallelism of the job: how many slots it takes")
	flags := cmd.Flags()
	flags.StringVar(&o.Staging, "staging", "", "a `DIR` that all workers share, for output that waits for its commit and for large shuffles of batch jobs; default: one in the folder of the cluster of flink up")
	cli.NumberFlag(cmd, &o.MaxParallelism, 1, "max-parallelism", "what parallelism can ever be; fixed for the flow's life")
	flags.IntVar(&o.Lanes, "lanes", 0, "lanes of each source, fixed for the flow's life; default: two for each subtask")
	flags.IntVar(&o.Buckets, "buckets", 0, "buckets that keys are spread over, fixed for the life of a streaming flow; default: four for each subtask, at least 16, and in a batch job 128, or more for so much input that they would get over 1 MB each")
	cli.DurationFlag(cmd, &o.Interval, "interval", "how far checkpoints are apart")
	cli.DurationFlag(cmd, &o.Timeout, "timeout", "how long a checkpoint may take: at least as long as the longest outage of a target that is to be ridden out")
	cli.ChoiceFlag(cmd, &mode, "mode", "the kind of job; auto: batch when all sources end", string(flinkbridge.Auto), string(flinkbridge.Batch), string(flinkbridge.Streaming))
	flags.StringVar(&until, "until", "", "end endless sources: idle, a `DURATION` or records=N")
	flags.StringVar(&o.Checkpoints, "checkpoints", "", "save positions in `DIR`, which all workers share, as adf run does, and go on from those there; default: none are saved")
	flags.StringVar(&o.Boot, "boot", "", "start workers by the script at `PATH` on the TaskManagers' machines, which runs flink boot; instead of a worker pool")
	flags.StringVar(&o.Savepoint, "savepoint", "", "go on from the savepoint or checkpoint at `PATH`")
	flags.BoolVar(&o.AllowDropped, "allow-dropped", false, "drop state of the savepoint that no step of the flow wants, and keyed state of a run of the engine")
	flags.BoolVar(&o.Rewind, "rewind", false, "go on from a savepoint that is behind what the sinks have: output since then is repeated")
	flags.BoolVar(&wait, "wait", false, "wait until the job ends")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := f.Interruptible(cmd.Context())
		defer stop()
		src, err := source(args)
		if err != nil {
			return err
		}
		o.Mode = flinkbridge.Mode(mode)
		if o.Boot != "" && x.pool != "" {
			return cli.Misuse("--boot", "--pool, too", "one of them", "")
		}
		if o.Until, err = untilOf(until); err != nil {
			return err
		}
		return f.submit(ctx, src, &x, o, wait)
	}
	return cmd
}

// defaults are those of the flags.
func defaults() flinkbridge.SubmitOptions {
	return flinkbridge.SubmitOptions{MaxParallelism: 128, Interval: 10 * time.Second, Timeout: 10 * time.Minute}
}

// submitted is a job with the cluster that it runs on.
type submitted struct {
	flinkbridge.Submission
	client *rest.Client
	began  time.Time
}

// submit looks whether the cluster is fit, and submits a flow; src is what it is made of. Notes takes what is to be told besides.
func (x *fitness) submit(ctx context.Context, g *adf.Graph, src cli.Source, o flinkbridge.SubmitOptions, notes io.Writer) (s submitted, err error) {
	w, closeClient, err := x.wants()
	if err != nil {
		return s, err
	}
	defer func() {
		if err != nil {
			closeClient()
		}
	}()
	if o.Boot != "" {
		w.Pool = ""
	}
	if o.Staging, err = x.staging(o.Staging, w.Client); err != nil {
		return s, err
	}
	if o.Checkpoints != "" {
		if o.Checkpoints, err = filepath.Abs(o.Checkpoints); err != nil {
			return s, err
		}
	}
	w.Staging, w.Savepoint = o.Staging, o.Savepoint
	if err := doctor.Examine(ctx, w).Err(); err != nil {
		return s, err
	}
	o.Builder, o.Params, o.RunnerJar, o.Worker, o.Pool, o.Parallelism = builderName, paramsOf(src), w.RunnerJar, x.worker, w.Pool, x.parallelism
	if o.Dir, err = os.Getwd(); err != nil {
		return s, &fault.ConfigurationError{Detail: fault.Detail{Code: "flow.folder", Doing: "find the current folder", Retry: fault.RetryNever, Err: err}}
	}
	s = submitted{client: w.Client, began: time.Now()}
	if s.Submission, err = flinkbridge.SubmitGraph(ctx, w.Client, g, o); err != nil {
		if wrong := (*fault.ConfigurationError)(nil); errors.As(err, &wrong) {
			for i, v := range wrong.Violations {
				if name, ok := strings.CutPrefix(v.Path, "options."); ok {
					wrong.Violations[i].Path = "--" + strings.ReplaceAll(name, "_", "-")
				}
			}
		}
		if errors.Is(err, context.Canceled) && s.Job != "" { // what is told of a signal does not tell of the job
			if left := leftOf(err); left != nil {
				fmt.Fprintf(notes, "%v\n", left)
			} else {
				fmt.Fprintf(notes, "the job %s is cancelled\n", s.Job)
			}
		}
		return s, err
	}
	kind := "batch"
	if s.Streaming {
		kind = "streaming"
	}
	fmt.Fprintf(notes, "%s runs as a %s job after %s: %s\n", s.Flow, kind, time.Since(s.began).Round(100*time.Millisecond), s.Dashboard)
	for _, note := range s.Notes {
		fmt.Fprintln(notes, "note:", note)
	}
	return s, nil
}

func (f *flink) submit(ctx context.Context, src cli.Source, x *fitness, o flinkbridge.SubmitOptions, wait bool) error {
	flow, err := f.App.Make(ctx, src)
	if err != nil {
		return err
	}
	g, err := flow.Build(ctx)
	if err != nil {
		return err
	}
	notes := f.Notes()
	if f.JSON() {
		notes = io.Discard
	}
	s, err := x.submit(ctx, g, src, o, notes)
	if err != nil {
		return err
	}
	defer s.client.Close()
	status := rest.Running
	if wait {
		if err := flinkbridge.Await(ctx, s.client, s.Submission); err != nil {
			return err
		}
		status = rest.Finished
	}
	if f.JSON() {
		return f.Answer(struct {
			flinkbridge.Submission
			Status rest.Status `json:"status"`
		}{s.Submission, status})
	}
	if wait {
		fmt.Fprintf(notes, "%s finished after %s\n", s.Flow, time.Since(s.began).Round(100*time.Millisecond))
	}
	fmt.Fprintln(f.Out(), s.Job)
	return nil
}

// leftOf is the part of an error that says that a job may run on; nil when there is none.
func leftOf(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range all.Unwrap() {
			if d, ok := fault.DetailOf(e); ok && d.Code == "flink.left" {
				return e
			}
		}
	}
	return nil
}

// staging is the directory for output: the given one, whole, or one of the cluster on this machine.
func (x *fitness) staging(given string, client *rest.Client) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	dir, err := folder("")
	if err != nil {
		return "", err
	}
	if local, _ := cluster.Open(dir); local != nil && local.Address() == client.Address() {
		return filepath.Join(cmp.Or(local.Dir(), dir), "staging"), nil
	}
	return "", nil
}
