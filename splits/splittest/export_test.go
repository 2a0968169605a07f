package splittest

import "time"

// SetPatience makes checks fail sooner, and gives the function that sets it back.
func SetPatience(d time.Duration) (reset func()) {
	before := patience
	patience = d
	return func() { patience = before }
}
