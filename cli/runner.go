package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/fault"
)

// Runner is another way to run a flow than the engine: from its beginning to its end, without checkpoints.
type Runner struct {
	// Name is what --runner says.
	Name string
	// Run runs a flow. When ctx ends, it gives up; where something is left to go on from, it gives a result that is not finished, and no error.
	Run func(ctx context.Context, g *adf.Graph, o RunnerOptions) (engine.Result, error)
}

// RunnerOptions are what run can tell a runner.
type RunnerOptions struct {
	// Parallelism is 0 for the runner's default.
	Parallelism int
	// Buckets is how many buckets keys are spread over; 0 for the runner's default.
	Buckets int
	// Until is where sources end that do not end by themselves: "idle", a duration, or "records=N"; "" when nothing is said.
	Until string
	// Source is what the flow is made of, for a runner that makes it again elsewhere.
	Source Source
	Log    *slog.Logger
	// Notes takes what is to be told besides the result.
	Notes    io.Writer
	Progress func(engine.Progress)
}

// engineName is the runner that is always there.
const engineName = "engine"

// addRunner adds the flag that chooses a runner, when there is a choice, and what --until can say then.
func (c *command) addRunner(cmd *cobra.Command, f *runFlags) {
	f.runner, f.until = engineName, string(engine.Drained)
	const usage = "when the run ends by itself: at the end of the input, when there is nothing to read for a second, or never"
	if len(c.Runners) == 0 {
		addChoice(cmd, &f.until, "until", usage, engineEnds...)
		return
	}
	names := []string{engineName}
	for _, r := range c.Runners {
		names = append(names, r.Name)
	}
	addChoice(cmd, &f.runner, "runner", "what runs the flow; all but the engine run it from its beginning to its end, without checkpoints", names...)
	cmd.Flags().Var(ending{&f.until}, "until", usage+"; other runners than the engine end endless sources when they are idle, after a time, or after N records")
	cmd.Flags().Var(number{&f.buckets, 1}, "buckets", "buckets that keys are spread over; default: 128, or more for so much input that they would get over 1 MB each; not for the engine, which has 128")
	_ = cmd.RegisterFlagCompletionFunc("until", cobra.FixedCompletions(engineEnds, cobra.ShellCompDirectiveNoFileComp))
}

var engineEnds = []string{string(engine.Drained), string(engine.Idle), string(engine.Signal)}

// ending is --until where there are several runners: what it may say depends on the runner.
type ending struct{ value *string }

func (e ending) String() string { return *e.value }
func (e ending) Type() string   { return strings.Join(engineEnds, "|") + "|DURATION|records=N" }
func (e ending) Set(text string) error {
	if text == "" {
		return errors.New(e.Type())
	}
	*e.value = text
	return nil
}

// chosen is the runner that was chosen, nil for the engine. Flags that it would ignore are refused.
func (c *command) chosen(flags *pflag.FlagSet, f *runFlags) (*Runner, error) {
	if f.runner == engineName {
		if !slices.Contains(engineEnds, f.until) {
			return nil, Misuse("--until", fmt.Sprintf("%q", f.until), "one of "+strings.Join(engineEnds, ", "), "")
		}
		if flags.Changed("buckets") {
			return nil, Misuse("--buckets", "a flag that only other runners know", "none with --runner "+engineName, "")
		}
		return nil, nil
	}
	for _, name := range []string{
		"checkpoints", "checkpoint-service", "checkpoint-tls", "checkpoint-ca", "interval", "retain", "retries", "fresh", "rewind", "allow-dropped", "metrics",
	} {
		if flags.Changed(name) {
			return nil, Misuse("--"+name, "a flag that only the engine knows", "none with --runner "+f.runner, "")
		}
	}
	if f.until == string(engine.Signal) {
		return nil, Misuse("--until", f.until, "idle, a duration as 30s, or records=N with --runner "+f.runner, "")
	}
	i := slices.IndexFunc(c.Runners, func(r Runner) bool { return r.Name == f.runner })
	return &c.Runners[i], nil
}

// another says whether an error is about something else than that the run was ended.
func another(err error) bool {
	d, ok := fault.DetailOf(err)
	return ok && d.Code != "" && !errors.Is(err, context.Canceled)
}

// runOn runs a flow on another runner than the engine. What a signal does is the runner's: mostly there is no state to save, and it ends at once.
func (c *command) runOn(ctx context.Context, runner *Runner, file string, f *runFlags, log *slog.Logger) error {
	src, err := c.source(file, &f.flowFlags)
	if err != nil {
		return err
	}
	flow, err := c.Make(ctx, src)
	if err != nil {
		return err
	}
	g, err := checked(ctx, flow)
	if err != nil {
		return err
	}
	c.interruptible = true
	o := RunnerOptions{Parallelism: f.parallelism, Buckets: f.buckets, Source: src, Log: log, Notes: c.stderr}
	if f.quiet {
		o.Notes = io.Discard
	}
	if f.until != string(engine.Drained) {
		o.Until = f.until
	}
	line := c.newProgress(g, f)
	if line != nil {
		o.Progress = line.show
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	r, err := runner.Run(ctx, g, o)
	ended := ctx.Err() != nil
	stop()
	line.close()
	switch {
	case err != nil && ended && !another(err):
		return context.Canceled
	case err != nil:
		if !f.quiet && !c.json && moved(r) {
			c.table(g, r)
		}
		return &failedRun{err, r}
	}
	stopped := ended && !r.Finished
	if stopped {
		c.code = exitStopped
	}
	switch {
	case c.json:
		return c.answer(struct {
			engine.Result
			Stopped bool `json:"stopped"`
		}{r, stopped})
	case !f.quiet:
		c.summary(g, r, summaryOf{stopped: stopped})
	}
	return nil
}
