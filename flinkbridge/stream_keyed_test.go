package flinkbridge

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"

	"github.com/activedataflow/adf/operators/state"
)

// timerRunner keeps timers as a runner does: one for each tag, and what a bundle sets is there for the next one only.
type timerRunner struct {
	set, coming map[string]timers.TimerMap
	bundles     int
}

func (r *timerRunner) Set(t timers.TimerMap) { r.coming[t.Tag] = t }

// advance fires all that is due at a watermark in ms: in each bundle what was set before it, in order.
func (r *timerRunner) advance(watermark int64, fire func(t timers.TimerMap)) {
	for {
		maps.Copy(r.set, r.coming)
		clear(r.coming)
		var due []timers.TimerMap
		for _, t := range r.set {
			if int64(t.FireTimestamp) <= watermark {
				due = append(due, t)
			}
		}
		if len(due) == 0 {
			return
		}
		r.bundles++
		slices.SortFunc(due, func(a, b timers.TimerMap) int { return int(a.FireTimestamp - b.FireTimestamp) })
		for _, t := range due {
			delete(r.set, t.Tag)
			fire(t)
		}
	}
}

// TestTimersAhead: a bucket with a thousand timers catches up with a watermark that jumps in a few bundles, and fires nothing before its time. One with more state than
// a bundle may give fires one timer after another.
func TestTimersAhead(t *testing.T) {
	for _, x := range []struct {
		name        string
		size        int
		least, most int // bundles
	}{{"little state", 0, 1, 12}, {"much state", 2 * sliceBytes, 990, 1000}} {
		t.Run(x.name, func(t *testing.T) {
			f := &bucketFn{Event: timers.InEventTime("event"), Behind: 50}
			b := newBucket(state.NewBucket(nil), 0, nil)
			for n := range int64(1000) {
				b.SetTimer([]byte("k"), state.Timer{Time: 1000 * (n + 1)})
			}
			if x.size > 0 {
				b.SetTimer([]byte(strings.Repeat("k", x.size)), state.Timer{Time: 1 << 40})
			}
			b.Delta() // from which the size is known
			r := &timerRunner{set: map[string]timers.TimerMap{}, coming: map[string]timers.TimerMap{}}
			f.arm(bundle{tp: r}, b)
			fired := int64(0)
			advance := func(watermark int64) {
				t.Helper()
				r.advance(watermark+f.Behind, func(due timers.TimerMap) {
					at := int64(due.FireTimestamp) - f.Behind
					if int64(due.HoldTimestamp) != at+f.Behind-1 {
						t.Errorf("a timer of %d holds %d", at, due.HoldTimestamp)
					}
					b.fired(due.Tag, at)
					for {
						key, next, ok := b.NextOf(false)
						if !ok || next.Time > at {
							break
						}
						b.DeleteTimer([]byte(key), next)
						fired++
					}
					f.arm(bundle{tp: r}, b)
				})
				if fired != min(watermark/1000, 1000) {
					t.Fatalf("%d have fired at %d", fired, watermark)
				}
			}
			for watermark := int64(500); watermark <= 10_500; watermark += 500 {
				advance(watermark)
			}
			r.bundles = 0
			advance(999_999)
			advance(2_000_000)
			if r.bundles < x.least || r.bundles > x.most {
				t.Errorf("got %d bundles, want %d to %d", r.bundles, x.least, x.most)
			}
		})
	}
}
