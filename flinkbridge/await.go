package flinkbridge

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// lookEvery is how often a job is looked at.
const lookEvery = 250 * time.Millisecond

// Await waits until a submitted job is over, and gives the error of one that did not come to its end.
//
// A streaming job whose input ends is stopped with a savepoint when everything has been read and worked off, windows closed at the end of time included: all its output
// is committed then, and it is finished. A job that fails twice with the same error, one that no retry helps against, is cancelled: it would start again and fail there
// for as long as the cluster says. Its last checkpoint stays. When ctx ends the job runs on. What look is given is called with what Flink says of the job, every now and then.
func Await(ctx context.Context, c *rest.Client, sub Submission, look ...func(rest.Job)) error {
	end := &ending{client: c, sub: sub}
	for {
		j, err := c.Job(ctx, sub.Job)
		if err != nil && !fault.Retryable(err) {
			return end.within(err)
		}
		if err == nil {
			for _, f := range look {
				f(j)
			}
			over, err := end.look(ctx, j)
			if over || err != nil && !fault.Retryable(err) {
				return end.within(err)
			}
		}
		select {
		case <-ctx.Done():
			return end.within(ctx.Err())
		case <-time.After(lookEvery):
		}
	}
}

// ending looks whether a job is at its end.
type ending struct {
	client    *rest.Client
	sub       Submission
	known     map[string][]string // names of the metrics with watermarks, by vertex
	confirmed bool
}

func (e *ending) within(err error) error { return fault.Within(err, e.sub.Flow, e.sub.Run, "") }

func (e *ending) look(ctx context.Context, j rest.Job) (over bool, err error) {
	switch {
	case j.Status == rest.Finished:
		return true, nil
	case j.Status.Ended():
		return true, e.why(ctx, string(j.Status))
	}
	if failure := e.repeated(ctx); failure != nil {
		return true, errors.Join(failure, e.client.Cancel(ctx, e.sub.Job))
	}
	if !e.sub.Streaming || !e.sub.Ends || !j.Running() {
		return false, nil
	}
	all, err := e.workedOff(ctx, j)
	if err != nil || !all {
		e.confirmed = false
		return false, err
	}
	if !e.confirmed { // metrics of one look may be of several moments
		e.confirmed = true
		return false, nil
	}
	if _, err := e.client.Stop(ctx, e.sub.Job, false, ""); err != nil {
		return false, err
	}
	status, err := e.client.WaitEnd(ctx, e.sub.Job)
	if err == nil && status != rest.Finished {
		err = e.why(ctx, string(status))
	}
	return true, err
}

// why is the error of a job that has ended otherwise than it should.
func (e *ending) why(ctx context.Context, status string) error {
	d := fault.Detail{Code: "flink.job", Retry: fault.RetryNever}
	if x, err := e.client.Exceptions(ctx, e.sub.Job); err == nil {
		d, _ = rest.FaultOf(x.Root)
		for _, h := range x.History { // the last one may be about what came of another
			if of, final := rest.FaultOf(h.Trace); final {
				d = of
				break
			}
		}
	}
	if d.Err == nil {
		d.Err = errors.New("it is " + status)
	}
	return e.failure(d)
}

func (e *ending) failure(d fault.Detail) error {
	d.Doing, d.Connector, d.Fix = "run a job", "flink", cmp.Or(d.Fix, "see the exceptions at "+e.client.DashboardURL(e.sub.Job))
	return &fault.RuntimeError{Detail: d}
}

// repeated is a failure that no retry helps against and that has come twice, nil when there is none.
func (e *ending) repeated(ctx context.Context) error {
	x, err := e.client.Exceptions(ctx, e.sub.Job)
	if err != nil {
		return nil // the next look may say more
	}
	var before *fault.Detail
	for _, h := range x.History {
		d, final := rest.FaultOf(h.Trace)
		if !final {
			continue
		}
		if before != nil && before.Code == d.Code && before.Node == d.Node {
			return e.failure(*before)
		}
		before = cmp.Or(before, &d)
	}
	return nil
}

// hears says whether a vertex is a step that only hears of completed checkpoints: nobody waits for its watermark, and it is behind by what it waits with.
func hears(vertex string) bool {
	for step := range stableSteps {
		if strings.HasSuffix(vertex, "/"+step) || strings.HasPrefix(vertex[strings.IndexByte(vertex, ']')+1:], step+" ") {
			return true
		}
	}
	return false
}

// workedOff says whether all steps of a job have promised the end: their watermarks are there, and no timer holds them back.
func (e *ending) workedOff(ctx context.Context, j rest.Job) (bool, error) {
	if e.known == nil {
		e.known = map[string][]string{}
	}
	for _, v := range j.Vertices {
		names := e.known[v.ID]
		if names == nil {
			all, err := e.client.MetricNames(ctx, e.sub.Job, v.ID)
			if err != nil {
				return false, err
			}
			for _, name := range all {
				if strings.HasSuffix(name, ".currentOutputWatermark") && !hears(v.Name) || strings.HasSuffix(name, ".currentInputWatermark") && strings.Count(name, ".") == 1 {
					names = append(names, name)
				}
			}
			if len(names) == 0 {
				return false, nil // not yet there
			}
			e.known[v.ID] = names
		}
		values, err := e.client.Metrics(ctx, e.sub.Job, v.ID, names...)
		if err != nil {
			return false, err
		}
		for _, name := range names {
			if ms, err := strconv.ParseInt(values[name], 10, 64); err != nil || ms < far.Add(-time.Hour).UnixMilli() {
				return false, nil
			}
		}
	}
	return true, nil
}
