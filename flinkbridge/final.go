package flinkbridge

import (
	"context"
	"errors"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// final is an error that no retry helps against, as it leaves a DoFn. Beam makes a text of it and the cluster starts the job again, whatever it says; so the text says
// it, for whoever waits for the job.
type final struct{ error }

func (f final) Error() string { return rest.FinalMark + f.error.Error() }
func (f final) Unwrap() error { return f.error }

// marked marks an error that no retry helps against.
func marked(err error) error {
	if err == nil || fault.Retryable(err) || errors.Is(err, context.Canceled) {
		return err
	}
	var f final
	if errors.As(err, &f) {
		return err
	}
	return final{err}
}
