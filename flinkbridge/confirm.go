package flinkbridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// confirm compares what is in effect, as soon as there is something to see, and waits for the job's tasks and for its first checkpoint.
func (d deployment) confirm(ctx context.Context, c *rest.Client, id string) error {
	j, err := d.comesTo(ctx, c, id, func(j rest.Job) (bool, error) { return len(j.Vertices) > 0, nil })
	if err != nil {
		return err
	}
	if err := d.inEffect(ctx, c, j); err != nil {
		return err
	}
	if _, err := d.comesTo(ctx, c, id, func(j rest.Job) (bool, error) { return j.Running() || j.Status == rest.Finished, nil }); err != nil || !d.spec.Streaming {
		return err
	}
	_ = c.Checkpoint(ctx, id) // Flink's own first one comes before all tasks run, and the next an interval later; without this it is that
	_, err = d.comesTo(ctx, c, id, func(rest.Job) (bool, error) {
		k, err := c.Checkpoints(ctx, id)
		return k.Counts.Completed > 0, err
	})
	return err
}

// comesTo waits until a job has come to something, and gives up on one that will not.
func (d deployment) comesTo(ctx context.Context, c *rest.Client, id string, arrived func(rest.Job) (bool, error)) (j rest.Job, err error) {
	err = c.Wait(ctx, func() (done bool, err error) {
		if j, err = c.Job(ctx, id); err != nil {
			return false, err
		}
		if done, err = arrived(j); done || err != nil {
			return done, err
		}
		if err = c.Doomed(ctx, id, j.Status); err == nil && j.Status == rest.Finished {
			err = d.failed("flink.job", "start a job", errors.New("it has ended already"), "see "+c.DashboardURL(id))
		}
		return false, err
	})
	return j, err
}

// inEffect compares what the job was given with what Flink and Beam's runner say that it has.
func (d deployment) inEffect(ctx context.Context, c *rest.Client, j rest.Job) error {
	var wrong []string
	differ := func(name string, got, want any) {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", name, got, want))
		}
	}
	config, err := c.JobConfig(ctx, j.ID)
	if err != nil {
		return err
	}
	kind := "BATCH"
	if d.spec.Streaming {
		kind = "STREAMING"
	}
	differ("the kind of job", j.Plan.Type, kind)
	differ("parallelism", config.Execution.Parallelism, d.options.parallelism)
	largest := slices.MaxFunc(j.Vertices, func(a, b rest.Vertex) int { return a.Parallelism - b.Parallelism })
	differ("the largest parallelism of a step", largest.Parallelism, d.options.parallelism)
	for name, want := range d.jar.options {
		if got, told := config.Execution.User[camelCase(name)]; !told {
			wrong = append(wrong, fmt.Sprintf("%s is not known to the runner, want %v", name, want))
		} else if n, err := strconv.ParseFloat(got, 64); err == nil {
			differ(name, n, number(want))
		} else {
			differ(name, got, want)
		}
	}
	if d.spec.Streaming && j.Plan.Type == kind {
		for _, v := range j.Vertices {
			differ("max_parallelism of "+v.Name, v.MaxParallelism, d.options.maxParallelism)
			if strings.Contains(v.Name, " -> ") {
				wrong = append(wrong, v.Name+" is a chain of steps, want operator_chaining false")
			}
		}
		k, err := c.CheckpointConfig(ctx, j.ID)
		if err != nil {
			return err
		}
		differ("the mode of checkpoints", k.Mode, "exactly_once")
		differ("the interval of checkpoints in ms", k.Interval, d.options.interval.Milliseconds())
		differ("the timeout of checkpoints in ms", k.Timeout, d.options.timeout.Milliseconds())
		differ("the pause between checkpoints in ms", k.MinPause, d.options.pause.Milliseconds())
		differ("the number of concurrent checkpoints", k.MaxConcurrent, d.options.concurrent)
		differ("externalized checkpoints", k.Externalized.Enabled, true)
		differ("their end with a cancelled job", k.Externalized.DeleteOnCancel, false)
	}
	if len(wrong) == 0 {
		return nil
	}
	slices.Sort(wrong)
	return d.failed("flink.options", "compare the job's options", errors.New(strings.Join(wrong, "; ")),
		"what the job was given is not in effect: look at the cluster's configuration and at the version of the runner")
}

func (d deployment) failed(code, doing string, err error, fix string) error {
	return &fault.RuntimeError{Detail: fault.Detail{Code: code, Connector: "flink", Doing: doing, Retry: fault.RetryNever, Err: err, Fix: fix}}
}

// camelCase is the name of one of Beam's options in the runner: max_bundle_size is maxBundleSize.
func camelCase(name string) string {
	parts := strings.Split(name, "_")
	for i, p := range parts[1:] {
		parts[i+1] = strings.ToUpper(p[:1]) + p[1:]
	}
	return strings.Join(parts, "")
}

// number makes the numbers among options comparable: the runner says 80.0.
func number(v any) any {
	switch n := v.(type) {
	case int:
		return float64(n)
	case int64:
		return float64(n)
	}
	return v
}

// end cancels a job that was given up, and waits until it is over. It is told when that can not be seen: the job may run on.
func end(ctx context.Context, c *rest.Client, id string) error {
	if id == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startGrace)
	defer cancel()
	err := c.Wait(ctx, func() (done bool, err error) {
		j, err := c.Job(ctx, id)
		if d, ok := fault.DetailOf(err); ok && d.Code == "flink.missing" || err == nil && j.Status.Ended() {
			return true, nil
		}
		if err == nil && j.Status != rest.Cancelling {
			err = c.Cancel(ctx, id)
		}
		return false, err
	})
	if err == nil {
		return nil
	}
	if d, ok := fault.DetailOf(err); ok {
		err = d.Err
	}
	return &fault.RuntimeError{Detail: fault.Detail{Code: "flink.left", Connector: "flink", Doing: "cancel job " + id, Retry: fault.RetryLater,
		Err: fmt.Errorf("it may run on: %w", err), Fix: "adf flink cancel " + id}}
}
