package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/adf/fault"
)

// Status is a job's state, as "RUNNING".
type Status string

// States of a job; the first three it does not leave.
const (
	Finished Status = "FINISHED"
	Failed   Status = "FAILED"
	Canceled Status = "CANCELED"
	// Suspended: this JobManager has let go of the job, another one takes it up; not an end.
	Suspended Status = "SUSPENDED"
	Running   Status = "RUNNING"
	// Cancelling: the job was asked to end.
	Cancelling Status = "CANCELLING"
)

// Ended says whether the job is over for good.
func (s Status) Ended() bool { return s == Finished || s == Failed || s == Canceled }

// JobSummary is a job in the list.
type JobSummary struct {
	ID       string         `json:"jid"`
	Name     string         `json:"name"`
	Status   Status         `json:"state"`
	Start    Millis         `json:"start-time"`
	End      Millis         `json:"end-time"`
	Duration int64          `json:"duration"` // milliseconds
	Tasks    map[string]int `json:"tasks"`    // "total" and by state in lower case
}

// Jobs lists all jobs that the cluster remembers, the youngest first.
func (c *Client) Jobs(ctx context.Context) ([]JobSummary, error) {
	var a struct {
		Jobs []JobSummary `json:"jobs"`
	}
	err := c.do(ctx, call{doing: "list the jobs", path: []string{"jobs", "overview"}}, &a)
	slices.SortStableFunc(a.Jobs, func(x, y JobSummary) int { return int(y.Start - x.Start) })
	return a.Jobs, err
}

// Job is a job and its vertices.
type Job struct {
	ID             string            `json:"jid"`
	Name           string            `json:"name"`
	Status         Status            `json:"state"`
	Start          Millis            `json:"start-time"`
	End            Millis            `json:"end-time"`
	Duration       int64             `json:"duration"` // milliseconds
	MaxParallelism int               `json:"maxParallelism"`
	Timestamps     map[Status]Millis `json:"timestamps"` // when each state began
	Vertices       []Vertex          `json:"vertices"`
	Plan           struct {
		Type string `json:"type"` // STREAMING or BATCH
	} `json:"plan"`
}

// Vertex is an operator of a job, or a chain of them.
type Vertex struct {
	ID             string         `json:"id"`
	Name           string         `json:"name"`
	Status         Status         `json:"status"`
	Parallelism    int            `json:"parallelism"`
	MaxParallelism int            `json:"maxParallelism"`
	Tasks          map[string]int `json:"tasks"` // by state
	Metrics        struct {
		ReadBytes    int64 `json:"read-bytes"`
		WriteBytes   int64 `json:"write-bytes"`
		ReadRecords  int64 `json:"read-records"`
		WriteRecords int64 `json:"write-records"`
	} `json:"metrics"`
}

// Running says whether every task of the job runs.
func (j Job) Running() bool {
	return j.Status == Running && len(j.Vertices) > 0 &&
		!slices.ContainsFunc(j.Vertices, func(v Vertex) bool { return v.Tasks["RUNNING"]+v.Tasks["FINISHED"] < v.Parallelism })
}

func job(doing, id string, more ...string) call {
	return call{doing: doing, path: append([]string{"jobs", id}, more...), missing: "job " + id}
}

// Job asks for a job.
func (c *Client) Job(ctx context.Context, id string) (Job, error) {
	var j Job
	return j, c.do(ctx, job("ask for a job", id), &j)
}

// JobConfig is what a job was started with.
type JobConfig struct {
	Execution struct {
		Mode            string            `json:"execution-mode"`
		RestartStrategy string            `json:"restart-strategy"`
		Parallelism     int               `json:"job-parallelism"`
		ObjectReuse     bool              `json:"object-reuse-mode"`
		User            map[string]string `json:"user-config"`
	} `json:"execution-config"`
}

// JobConfig asks for what a job was started with.
func (c *Client) JobConfig(ctx context.Context, id string) (JobConfig, error) {
	var j JobConfig
	return j, c.do(ctx, job("ask for a job's configuration", id, "config"), &j)
}

// Accumulators are what the operators of a job have added up, by name: up to now while it runs, and in all of it when it has ended.
func (c *Client) Accumulators(ctx context.Context, id string) (map[string]string, error) {
	var a struct {
		User []struct{ Name, Value string } `json:"user-task-accumulators"`
	}
	if err := c.do(ctx, job("ask for a job's accumulators", id, "accumulators"), &a); err != nil {
		return nil, err
	}
	all := make(map[string]string, len(a.User))
	for _, x := range a.User {
		all[x.Name] = x.Value
	}
	return all, nil
}

// Exceptions are what made a job fail or start again, the youngest first.
type Exceptions struct {
	// Root is the stack trace of the last one, "" when there is none.
	Root    string
	At      Millis
	History []Exception
}

// Exception is one failure.
type Exception struct {
	Name         string `json:"exceptionName"`
	Trace        string `json:"stacktrace"`
	At           Millis `json:"timestamp"`
	Task         string `json:"taskName"`
	TaskManager  string `json:"taskManagerId"`
	EndpointText string `json:"endpoint"`
}

// Exceptions asks for a job's failures.
func (c *Client) Exceptions(ctx context.Context, id string) (Exceptions, error) {
	var a struct {
		Root    string `json:"root-exception"`
		At      Millis `json:"timestamp"`
		History struct {
			Entries []Exception `json:"entries"`
		} `json:"exceptionHistory"`
	}
	err := c.do(ctx, job("ask for a job's failures", id, "exceptions"), &a)
	return Exceptions{a.Root, a.At, a.History.Entries}, err
}

// Cancel asks a job to end at once, without a savepoint; [Client.WaitEnd] waits for it.
func (c *Client) Cancel(ctx context.Context, id string) error {
	q := job("cancel a job", id)
	q.method, q.query = http.MethodPatch, url.Values{"mode": {"cancel"}}
	return c.do(ctx, q, nil)
}

// WaitEnd waits until a job is over for good, and gives how it ended.
func (c *Client) WaitEnd(ctx context.Context, id string) (Status, error) {
	var j Job
	err := c.Wait(ctx, func() (done bool, err error) {
		j, err = c.Job(ctx, id)
		return j.Status.Ended(), err
	})
	return j.Status, err
}

// WaitRunning waits until every task of a job runs, or the job has finished. One that has ended otherwise is an error with its cause.
func (c *Client) WaitRunning(ctx context.Context, id string) (Job, error) {
	var j Job
	err := c.Wait(ctx, func() (done bool, err error) {
		if j, err = c.Job(ctx, id); err != nil || j.Status == Finished || j.Running() {
			return true, err
		}
		if j.Status.Ended() {
			return false, c.Doomed(ctx, id, j.Status)
		}
		return false, nil
	})
	return j, err
}

// mostFailures are how often a job may fail while it starts. What is wrong for a moment only, as a worker that a busy machine starts too late, is not so a third time.
const mostFailures = 3

// Doomed is why a job that was just submitted will come to nothing: it has ended without success, has failed again and again, is given no slots, or has failed in a way that
// no retry helps against. Otherwise it is nil, also when that can not be seen now.
func (c *Client) Doomed(ctx context.Context, id string, s Status) error {
	if s == Finished {
		return nil
	}
	x, err := c.Exceptions(ctx, id)
	d, final := FaultOf(x.Root)
	again := ""
	switch {
	case s == Failed || s == Canceled:
	case err != nil || x.Root == "":
		return nil
	case strings.Contains(x.Root, "NoResourceAvailableException"):
		again = "it gets no slots: "
	case final:
	case len(x.History) >= mostFailures:
		again = fmt.Sprintf("it has failed %d times: ", len(x.History))
	default:
		return nil
	}
	if d.Err == nil {
		d.Err = errors.New("it is " + string(s))
	}
	d.Err = fmt.Errorf("%s%w", again, d.Err)
	d.Doing, d.Connector, d.Fix = "start a job", "flink", cmp.Or(d.Fix, "see the exceptions at "+c.DashboardURL(id))
	return &fault.RuntimeError{Detail: d}
}

// Wait asks until it is done. Errors that a retry can help against are waited through, as an outage of the JobManager, for as long as [Config.Outage]; then the last of
// them is returned. So it is, with the reason, when ctx ends.
func (c *Client) Wait(ctx context.Context, ask func() (done bool, err error)) error {
	pause := 50 * time.Millisecond
	var since time.Time // of an outage
	for {
		done, err := ask()
		switch {
		case err == nil && done, err != nil && !fault.Retryable(err):
			return err
		case err == nil:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > c.outage && ctx.Err() == nil:
			return given(err, c.outage)
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return &fault.RuntimeError{Detail: fault.Detail{Code: "flink.ended", Connector: "flink", Doing: "wait for the cluster", Retry: fault.RetryLater,
				Err: fmt.Errorf("%w: %w", context.Cause(ctx), err)}}
		case <-time.After(pause):
			pause = min(2*pause, 500*time.Millisecond)
		}
	}
}

// given is an error of which it is told how long it has been so.
func given(err error, outage time.Duration) error {
	d, ok := fault.DetailOf(err)
	if !ok {
		return err
	}
	again := *d
	again.Err = fmt.Errorf("for %s already: %w", outage, d.Err)
	return &fault.RuntimeError{Detail: again}
}
