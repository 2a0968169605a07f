package flinkbridge

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// final is an error that no retry helps against, as it leaves a DoFn. Beam makes a text of it and the cluster starts the job again, whatever it says; so the text says
// it, for whoever waits for the job.
type final struct{ error }

// finalMark begins the text of a final error.
const finalMark = "in vain to start again: "

func (f final) Error() string { return finalMark + f.error.Error() }
func (f final) Unwrap() error { return f.error }

// marked marks an error that no retry helps against.
func marked(err error) error {
	if err == nil || fault.Retryable(err) {
		return err
	}
	var f final
	if errors.As(err, &f) {
		return err
	}
	return final{err}
}

var codeText = regexp.MustCompile(`\[([a-z0-9_]+(?:\.[a-z0-9_]+)+)\]`)

// finalIn finds a final error in the stack trace of a job's failure, and makes a fault of it again; nil when there is none.
func finalIn(trace string) error {
	_, text, ok := strings.Cut(trace, finalMark)
	if !ok {
		return nil
	}
	text, _, _ = strings.Cut(text, "\n")
	d := fault.Detail{Code: "flink.job", Doing: "run the job", Retry: fault.RetryNever, Err: errors.New(strings.TrimSpace(text))}
	if codes := codeText.FindAllStringSubmatch(text, -1); len(codes) > 0 {
		d.Code = codes[len(codes)-1][1] // that of the outermost
	}
	return &fault.RuntimeError{Detail: d}
}

// untilFinal gives a context that ends when the job has failed with a final error, with that as its cause. Call stop when it is done with.
func untilFinal(ctx context.Context, c *rest.Client, id string) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-time.After(500 * time.Millisecond):
			case <-ctx.Done():
				return
			}
			if x, err := c.Exceptions(ctx, id); err == nil {
				if err := finalIn(x.Root); err != nil {
					cancel(err)
				}
			}
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		<-done
	}
}
