package flinkcli

import (
	"context"
	"fmt"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/flinkbridge"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// patience is how long the end of a job is waited for that a signal has asked for.
const patience = 5 * time.Minute

// runOnFlink submits a flow to the cluster as "flink submit --wait" does with its defaults. When ctx ends a batch job is cancelled, and a streaming job is stopped with a
// savepoint: then there is something to go on from, and no error.
func runOnFlink(ctx context.Context, g *adf.Graph, o cli.RunnerOptions) (r engine.Result, err error) {
	r.Flow = g.Plan.Flow()
	began := time.Now()
	defer func() { r.Took = time.Since(began) }()
	x, with := &fitness{parallelism: max(o.Parallelism, 1)}, defaults()
	with.Buckets = o.Buckets
	if with.Until, err = untilOf(o.Until); err != nil {
		return r, err
	}
	s, err := x.submit(ctx, g, o.Source, with, o.Notes)
	if err != nil {
		return r, err
	}
	defer s.client.Close()
	r.Run = s.Run
	defer func() {
		background := context.WithoutCancel(ctx)
		j, jerr := s.client.Job(background, s.Job)
		if jerr == nil {
			r.Nodes, jerr = flinkbridge.Stats(background, s.client, g, j)
		}
		if jerr != nil {
			fmt.Fprintf(o.Notes, "what the job has counted is not known: %v\n", jerr)
		}
	}()
	var look []func(rest.Job)
	if o.Progress != nil {
		look = append(look, s.telling(ctx, g, o.Progress))
	}
	err = flinkbridge.Await(ctx, s.client, s.Submission, look...)
	switch {
	case err == nil:
		r.Finished = true
		return r, nil
	case ctx.Err() == nil:
		return r, err
	}
	background, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if !s.Streaming {
		if cerr := s.client.Cancel(background, s.Job); cerr != nil {
			return r, cerr
		}
		if _, cerr := s.client.WaitEnd(background, s.Job); cerr != nil {
			return r, cerr
		}
		fmt.Fprintf(o.Notes, "the job %s is cancelled\n", s.Job)
		return r, err
	}
	fmt.Fprintf(o.Notes, "%s is being stopped with a savepoint\n", r.Flow)
	path, err := s.client.Stop(background, s.Job, false, "")
	if err == nil {
		_, err = s.client.WaitEnd(background, s.Job)
	}
	if err != nil {
		return r, err
	}
	fmt.Fprintf(o.Notes, "flink submit goes on from there with --savepoint %s\n", path)
	return r, nil
}

// telling gives what tells, once a second, how far the job is.
func (s submitted) telling(ctx context.Context, g *adf.Graph, tell func(engine.Progress)) func(rest.Job) {
	var last time.Time
	return func(j rest.Job) {
		if time.Since(last) < time.Second { // it is a request for each operator
			return
		}
		last = time.Now()
		nodes, err := flinkbridge.Stats(ctx, s.client, g, j)
		if err != nil {
			return // the next look tells
		}
		now := engine.Progress{Nodes: nodes, Took: time.Since(s.began)}
		if s.Streaming {
			if k, err := s.client.Checkpoints(ctx, s.Job); err == nil {
				now.Epoch = k.Counts.Completed
			}
		}
		tell(now)
	}
}
