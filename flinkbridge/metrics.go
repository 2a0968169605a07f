package flinkbridge

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/activedataflow/adf/engine/task"
	"github.com/activedataflow/adf/record"
)

// nodeCounters are the counters of a node by the names that runners show, as they are counted and as they are told of; the engine shows them as adf_NAME_total.
var nodeCounters = []struct {
	name  string
	of    func(*task.Counters) *atomic.Int64
	shown func(*NodeMetrics) *int64
}{
	{"records_in", func(c *task.Counters) *atomic.Int64 { return &c.In }, func(n *NodeMetrics) *int64 { return &n.RecordsIn }},
	{"records_out", func(c *task.Counters) *atomic.Int64 { return &c.Out }, func(n *NodeMetrics) *int64 { return &n.RecordsOut }},
	{"bytes_in", func(c *task.Counters) *atomic.Int64 { return &c.BytesIn }, func(n *NodeMetrics) *int64 { return &n.BytesIn }},
	{"bytes_out", func(c *task.Counters) *atomic.Int64 { return &c.BytesOut }, func(n *NodeMetrics) *int64 { return &n.BytesOut }},
	{"records_late", func(c *task.Counters) *atomic.Int64 { return &c.Late }, func(n *NodeMetrics) *int64 { return &n.RecordsLate }},
	{"records_failed", func(c *task.Counters) *atomic.Int64 { return &c.Errors }, func(n *NodeMetrics) *int64 { return &n.RecordsFailed }},
	{"splits_opened", func(c *task.Counters) *atomic.Int64 { return &c.Splits }, func(n *NodeMetrics) *int64 { return &n.SplitsOpened }},
	{"parts_committed", func(c *task.Counters) *atomic.Int64 { return &c.Parts }, func(n *NodeMetrics) *int64 { return &n.PartsCommitted }},
}

// The gauges. That of splits is a counter to Beam, which goes up and down: so those of all subtasks add up.
const (
	splitsGauge    = "splits"
	watermarkGauge = "watermark_ms"
	lagGauge       = "lag_ms"
)

// meters are Beam's counters and gauges of a node; their namespace is its name. They are made once and not in every bundle.
type meters struct {
	counters       []beam.Counter // as nodeCounters
	splits         beam.Counter
	watermark, lag beam.Gauge

	mu    sync.Mutex
	lanes map[string]laneView
}

func newMeters(node string) *meters {
	m := &meters{
		splits: beam.NewCounter(node, splitsGauge), watermark: beam.NewGauge(node, watermarkGauge), lag: beam.NewGauge(node, lagGauge),
		lanes: map[string]laneView{},
	}
	for _, x := range nodeCounters {
		m.counters = append(m.counters, beam.NewCounter(node, x.name))
	}
	return m
}

// count adds up what was counted since the last time.
func (s *stage) count(ctx context.Context) {
	for node, c := range s.counts {
		s.job.count(ctx, node, c)
	}
}

// count adds what a bundle counted to the run's counters in this process, and to Beam's, which runners show.
func (j *job) count(ctx context.Context, node string, c *task.Counters) {
	to, m := j.counters[node], j.meters[node]
	for i, x := range nodeCounters {
		if n := x.of(c).Swap(0); n > 0 {
			x.of(to).Add(n)
			m.counters[i].Inc(ctx, n)
		}
	}
}

// laneView is what is shown of a lane.
type laneView struct {
	splits            int
	watermark, newest int64 // ms
	at                time.Time
}

// forgotten is how long a lane is shown that is not heard of: it polls every second, or lives in another worker.
const forgotten = time.Minute

// observe shows how far a source is, as the lanes in this process have it: its open splits, the watermark of the slowest lane, and by how much the lane that is
// furthest behind trails the clock with what it has read.
func (j *job) observe(ctx context.Context, node, lane string, v laneView) {
	m := j.meters[node]
	m.mu.Lock()
	defer m.mu.Unlock()
	if more := v.splits - m.lanes[lane].splits; more != 0 {
		m.splits.Inc(ctx, int64(more))
	}
	m.lanes[lane] = v
	watermark, newest := int64(math.MaxInt64), int64(math.MaxInt64)
	for name, l := range m.lanes {
		if v.at.Sub(l.at) > forgotten {
			delete(m.lanes, name)
			continue
		}
		watermark = min(watermark, l.watermark)
		if l.newest != record.NoTime {
			newest = min(newest, l.newest)
		}
	}
	if watermark != record.NoTime && watermark < far.UnixMilli() {
		m.watermark.Set(ctx, watermark)
	}
	if newest != math.MaxInt64 {
		m.lag.Set(ctx, v.at.UnixMilli()-newest)
	}
}

// reached shows up to where a keyed step has fired.
func (j *job) reached(ctx context.Context, node string, watermark int64) {
	if watermark != record.NoTime && watermark < far.UnixMilli() {
		j.meters[node].watermark.Set(ctx, watermark)
	}
}
