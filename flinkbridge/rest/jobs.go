package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/activedataflow/adf/fault"
)

// Status is a job's state, as "RUNNING".
type Status string

// The states that a job does not leave.
const (
	Finished Status = "FINISHED"
	Failed   Status = "FAILED"
	Canceled Status = "CANCELED"
	// Suspended: this JobManager has let go of the job, another one takes it up; not an end.
	Suspended Status = "SUSPENDED"
	Running   Status = "RUNNING"
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

// WaitEnd waits until a job is over for good, and gives how it ended. Outages of the JobManager are waited through.
func (c *Client) WaitEnd(ctx context.Context, id string) (Status, error) {
	return wait(ctx, func() (Status, bool, error) {
		j, err := c.Job(ctx, id)
		return j.Status, j.Status.Ended(), err
	})
}

// WaitRunning waits until every task of a job runs. A job that has ended otherwise is an error with its cause.
func (c *Client) WaitRunning(ctx context.Context, id string) (Job, error) {
	return wait(ctx, func() (Job, bool, error) {
		j, err := c.Job(ctx, id)
		if err == nil && (j.Status == Failed || j.Status == Canceled) {
			cause := errors.New("the job is " + string(j.Status))
			if x, err := c.Exceptions(ctx, id); err == nil && x.Root != "" {
				cause = errors.New(Cause(x.Root))
			}
			return j, true, &fault.RuntimeError{Detail: fault.Detail{Code: "flink.job", Connector: "flink", Doing: "start a job", Retry: fault.RetryNever,
				Fix: "see the exceptions at " + c.DashboardURL(id), Err: cause}}
		}
		return j, j.Status == Finished || j.Running(), err
	})
}

// wait asks until it is done. Errors that a retry can help against do not end it; the end of ctx does, with the last of them.
func wait[T any](ctx context.Context, ask func() (v T, done bool, err error)) (T, error) {
	pause := 50 * time.Millisecond
	for {
		v, done, err := ask()
		switch {
		case err == nil && done, err != nil && !fault.Retryable(err):
			return v, err
		}
		select {
		case <-ctx.Done():
			if err == nil {
				err = ctx.Err()
			}
			return v, &fault.RuntimeError{Detail: fault.Detail{Code: "flink.ended", Connector: "flink", Doing: "wait for the cluster", Retry: fault.RetryLater,
				Err: fmt.Errorf("%w: %w", context.Cause(ctx), err)}}
		case <-time.After(pause):
			pause = min(2*pause, 500*time.Millisecond)
		}
	}
}
