package flinkbridge

import (
	"context"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
)

// far is a watermark in the far future that is not the end of time: timers live under it.
var far = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// longAgo is the watermark that promises nothing.
var longAgo = mtime.MinTimestamp.ToTime()

// clockFn never ends. It tells every source's enumerator once that it is time to begin, and resumes once a day, since each time costs the runner some state. It exists
// because its watermark stays below the end of time: behind an impulse, whose watermark is the end of time at once, timers would not fire.
type clockFn struct {
	// To are the sources.
	To []string
}

// CreateInitialRestriction is a range that lasts.
func (*clockFn) CreateInitialRestriction([]byte) offsetrange.Restriction {
	return offsetrange.Restriction{Start: 0, End: 1 << 60}
}

// SplitRestriction does not split.
func (*clockFn) SplitRestriction(_ []byte, r offsetrange.Restriction) []offsetrange.Restriction {
	return []offsetrange.Restriction{r}
}

// RestrictionSize is the same for all.
func (*clockFn) RestrictionSize([]byte, offsetrange.Restriction) float64 { return 1 }

// CreateTracker makes the tracker.
func (*clockFn) CreateTracker(r offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(r))
}

// TruncateRestriction ends the clock when the job is drained.
func (*clockFn) TruncateRestriction(rt *sdf.LockRTracker, _ []byte) offsetrange.Restriction {
	start := rt.GetRestriction().(offsetrange.Restriction).Start
	return offsetrange.Restriction{Start: start, End: start}
}

// InitialWatermarkEstimatorState promises nothing.
func (*clockFn) InitialWatermarkEstimatorState(beam.EventTime, offsetrange.Restriction, []byte) int64 {
	return int64(mtime.MinTimestamp)
}

// CreateWatermarkEstimator makes the estimator.
func (*clockFn) CreateWatermarkEstimator(ms int64) *sdf.ManualWatermarkEstimator {
	return &sdf.ManualWatermarkEstimator{State: time.UnixMilli(ms)}
}

// WatermarkEstimatorState is what was promised.
func (*clockFn) WatermarkEstimatorState(e *sdf.ManualWatermarkEstimator) int64 {
	return e.State.UnixMilli()
}

// ProcessElement tells the time.
func (c *clockFn) ProcessElement(
	_ context.Context, e *sdf.ManualWatermarkEstimator, rt *sdf.LockRTracker, _ []byte, emit func([]byte, []byte),
) (sdf.ProcessContinuation, error) {
	if !rt.TryClaim(rt.GetRestriction().(offsetrange.Restriction).Start) {
		return sdf.StopProcessing(), nil
	}
	for _, source := range c.To {
		emit(keyFor(source, []byte(source)), nil)
	}
	e.UpdateWatermark(far)
	return sdf.ResumeProcessingIn(24 * time.Hour), nil
}
