package rest

import (
	"context"
	"errors"
	"net/http"

	"github.com/activedataflow/adf/fault"
)

// Checkpoints is how a job's checkpoints go.
type Checkpoints struct {
	Counts struct {
		Restored   int64 `json:"restored"`
		Total      int64 `json:"total"`
		InProgress int64 `json:"in_progress"`
		Completed  int64 `json:"completed"`
		Failed     int64 `json:"failed"`
	} `json:"counts"`
	// Latest has the last of each kind; nil when there is none.
	Latest struct {
		Completed *Checkpoint `json:"completed"`
		Savepoint *Checkpoint `json:"savepoint"`
		Failed    *Checkpoint `json:"failed"`
		Restored  *Checkpoint `json:"restored"`
	} `json:"latest"`
	History []Checkpoint `json:"history"`
}

// Checkpoint is one of them.
type Checkpoint struct {
	ID        int64  `json:"id"`
	Status    string `json:"status"` // IN_PROGRESS, COMPLETED or FAILED
	Savepoint bool   `json:"is_savepoint"`
	Triggered Millis `json:"trigger_timestamp"`
	Acked     Millis `json:"latest_ack_timestamp"`
	Restored  Millis `json:"restore_timestamp"`
	Size      int64  `json:"state_size"`          // bytes of the whole state
	Written   int64  `json:"checkpointed_size"`   // bytes that this one wrote
	Duration  int64  `json:"end_to_end_duration"` // milliseconds
	Path      string `json:"external_path"`
	Failure   string `json:"failure_message"`
}

// Checkpoints asks how a job's checkpoints go.
func (c *Client) Checkpoints(ctx context.Context, id string) (Checkpoints, error) {
	var k Checkpoints
	return k, c.do(ctx, job("ask for a job's checkpoints", id, "checkpoints"), &k)
}

// CheckpointConfig is how a job takes checkpoints; times are milliseconds.
type CheckpointConfig struct {
	Mode           string `json:"mode"` // exactly_once or at_least_once
	Interval       int64  `json:"interval"`
	Timeout        int64  `json:"timeout"`
	MinPause       int64  `json:"min_pause"`
	MaxConcurrent  int    `json:"max_concurrent"`
	TolerateFailed int    `json:"tolerable_failed_checkpoints"`
	Unaligned      bool   `json:"unaligned_checkpoints"`
	AfterTasksEnd  bool   `json:"checkpoints_after_tasks_finish"`
	StateBackend   string `json:"state_backend"`
	Storage        string `json:"checkpoint_storage"`
	Externalized   struct {
		Enabled bool `json:"enabled"`
		// DeleteOnCancel: they go when the job is cancelled.
		DeleteOnCancel bool `json:"delete_on_cancellation"`
	} `json:"externalization"`
}

// NoInterval is the Interval of a job that takes no checkpoints.
const NoInterval = 1<<63 - 1

// CheckpointConfig asks how a job takes checkpoints.
func (c *Client) CheckpointConfig(ctx context.Context, id string) (CheckpointConfig, error) {
	var k CheckpointConfig
	return k, c.do(ctx, job("ask how a job takes checkpoints", id, "checkpoints", "config"), &k)
}

// Checkpoint begins one, besides those that come by themselves. It does not wait for it.
func (c *Client) Checkpoint(ctx context.Context, id string) error {
	q := job("take a checkpoint", id, "checkpoints")
	q.method = http.MethodPost
	q.body = struct {
		Type string `json:"checkpointType"`
	}{"CONFIGURED"}
	return c.do(ctx, q, nil)
}

// Savepoint takes one below dir (the cluster's own folder when "") and gives its path. The job runs on.
func (c *Client) Savepoint(ctx context.Context, id, dir string) (string, error) {
	q := job("take a savepoint", id, "savepoints")
	q.body = struct {
		Dir    string `json:"target-directory,omitempty"`
		Cancel bool   `json:"cancel-job"`
	}{dir, false}
	return c.savepoint(ctx, q, id)
}

// Stop takes a savepoint, ends the job, and gives the savepoint's path. Drain sends the end of time through the flow first: open windows fire, and with
// an endless source it does not end.
func (c *Client) Stop(ctx context.Context, id string, drain bool, dir string) (string, error) {
	q := job("stop a job", id, "stop")
	q.body = struct {
		Dir   string `json:"targetDirectory,omitempty"`
		Drain bool   `json:"drain"`
	}{dir, drain}
	return c.savepoint(ctx, q, id)
}

// savepoint begins one and waits for it.
func (c *Client) savepoint(ctx context.Context, q call, id string) (string, error) {
	var trigger struct {
		ID string `json:"request-id"`
	}
	q.method = http.MethodPost
	if err := c.do(ctx, q, &trigger); err != nil {
		return "", err
	}
	ask := job(q.doing, id, "savepoints", trigger.ID)
	ask.missing = "savepoint request " + trigger.ID + " of job " + id
	location := ""
	err := c.Wait(ctx, func() (bool, error) {
		var a struct {
			Status struct {
				ID string `json:"id"`
			} `json:"status"`
			Operation struct {
				Location string `json:"location"`
				Failure  *struct {
					Class string `json:"class"`
					Trace string `json:"stack-trace"`
				} `json:"failure-cause"`
			} `json:"operation"`
		}
		if err := c.do(ctx, ask, &a); err != nil {
			return false, err
		}
		if f := a.Operation.Failure; f != nil {
			return true, c.failure(q, "flink.savepoint", fault.RetryNever, errors.New(Cause(f.Trace)),
				"look whether the folder can be written by every TaskManager, and whether all tasks of the job run: "+c.DashboardURL(id))
		}
		location = a.Operation.Location
		return a.Status.ID == "COMPLETED", nil
	})
	return location, err
}
