package flinkbridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/extworker"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/universal/runnerlib"
)

// grace is how long a job that is given up may take to end.
const grace = 10 * time.Second

// prismServer is the job server of this process. Prism has no way to end it, so there is one, and it stays.
var prismServer = sync.OnceValues(func() (jobpb.JobServiceClient, error) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	return prism.CreateJobServer(ctx, prism.Options{})
})

// runPrism submits a pipeline to prism and waits for its end. The stock way, beam.Run with a context that ends, can panic the process; so the job is submitted
// here, under a context of its own, and cancelled in so many words.
func runPrism(ctx context.Context, j *job, p *beam.Pipeline) (err error) {
	client, err := prismServer()
	if err != nil {
		return err
	}
	edges, _, err := p.Build()
	if err != nil {
		return err
	}
	background := context.WithoutCancel(ctx)
	workers, err := extworker.StartLoopback(background, 0)
	if err != nil {
		return err
	}
	defer stopWorkers(background, workers)
	environment, err := graphx.CreateEnvironment(background, graphx.URNEnvExternal, workers.EnvironmentConfig)
	if err != nil {
		return err
	}
	environment.Dependencies = nil // the workers are this process: there is nothing to stage
	pipeline, err := graphx.Marshal(edges, &graphx.Options{Environment: environment})
	if err != nil {
		return err
	}
	options := &runnerlib.JobOptions{Name: j.Flow + "-" + j.Run}
	if j.Streaming {
		// When prism splits a bundle of a DoFn with state, it hands a key that the bundle still works on to another one, and what either writes is lost.
		options.Experiments = []string{"prism_disable_sdf_split"}
	}
	prepared, _, _, err := runnerlib.Prepare(background, client, pipeline, options)
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	id, err := runnerlib.Submit(background, client, prepared, "")
	if err != nil {
		return err
	}
	return awaitJob(ctx, client, id)
}

// awaitJob waits for the end of a job, and cancels it when ctx ends.
func awaitJob(ctx context.Context, client jobpb.JobServiceClient, id string) error {
	background := context.WithoutCancel(ctx)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	done, given := ctx.Done(), time.Time{}
	for {
		call, cancel := context.WithTimeout(background, grace)
		state, err := client.GetState(call, &jobpb.GetJobStateRequest{JobId: id})
		cancel()
		if err != nil {
			return err
		}
		switch state.State {
		case jobpb.JobState_DONE, jobpb.JobState_DRAINED:
			return nil
		case jobpb.JobState_CANCELLED:
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return errStopped
		case jobpb.JobState_FAILED:
			return errors.New(whyFailed(background, client, id))
		}
		if !given.IsZero() && time.Since(given) > grace {
			return fmt.Errorf("the job did not end in %s after it was cancelled: %w", grace, context.Cause(ctx))
		}
		select {
		case <-tick.C:
		case <-done:
			done, given = nil, time.Now()
			call, cancel := context.WithTimeout(background, grace)
			_, err := client.Cancel(call, &jobpb.CancelJobRequest{JobId: id})
			cancel()
			if err != nil {
				return err
			}
		}
	}
}

// whyFailed asks for the last error message of a job that has failed.
func whyFailed(ctx context.Context, client jobpb.JobServiceClient, id string) string {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	why := "the job has failed, and prism does not say why"
	messages, err := client.GetMessageStream(ctx, &jobpb.JobMessagesRequest{JobId: id})
	for err == nil {
		var m *jobpb.JobMessagesResponse
		if m, err = messages.Recv(); err == nil && m.GetMessageResponse().GetImportance() >= jobpb.JobMessage_JOB_MESSAGE_ERROR {
			why = strings.TrimSpace(m.GetMessageResponse().GetMessageText())
		}
	}
	return why
}

// stopWorkers ends the workers of a job.
func stopWorkers(ctx context.Context, workers *extworker.Loopback) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = workers.Stop(ctx) // it has no error to give
	}()
	select {
	case <-done:
	case <-time.After(grace):
	}
}
