package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/activedataflow/adf"
)

// collector shows a run's counters to Prometheus, read at the time of the scrape.
type collector struct{ r *run }

var (
	perNode = []string{"flow", "node"}

	inDesc      = prometheus.NewDesc("adf_records_in_total", "Records that a node took in.", perNode, nil)
	outDesc     = prometheus.NewDesc("adf_records_out_total", "Records that a node gave out.", perNode, nil)
	lateDesc    = prometheus.NewDesc("adf_records_late_total", "Records that came too late for their window.", perNode, nil)
	errorsDesc  = prometheus.NewDesc("adf_records_failed_total", "Records that could not be read, failed in a step, or did not fit a sink.", perNode, nil)
	splitsDesc  = prometheus.NewDesc("adf_splits_opened_total", "Splits that a source opened.", perNode, nil)
	partsDesc   = prometheus.NewDesc("adf_parts_committed_total", "Parts that an exactly-once sink committed.", perNode, nil)
	epochDesc   = prometheus.NewDesc("adf_checkpoint_epoch", "The last saved checkpoint.", []string{"flow"}, nil)
	restartDesc = prometheus.NewDesc("adf_restarts_total", "How often the run went back to its last checkpoint.", []string{"flow"}, nil)
)

// Describe tells the metrics.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{inDesc, outDesc, lateDesc, errorsDesc, splitsDesc, partsDesc, epochDesc, restartDesc} {
		to <- d
	}
}

// Collect reads the counters.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	flow := c.r.flow()
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), append([]string{flow}, labels...)...)
	}
	for _, n := range c.r.graph.Nodes {
		k := c.r.counters[n.Name]
		count(inDesc, k.In.Load(), n.Name)
		count(outDesc, k.Out.Load(), n.Name)
		count(errorsDesc, k.Errors.Load(), n.Name)
		switch n.Kind {
		case adf.KindKeyed:
			count(lateDesc, k.Late.Load(), n.Name)
		case adf.KindSource:
			count(splitsDesc, k.Splits.Load(), n.Name)
		case adf.KindSink:
			count(partsDesc, k.Parts.Load(), n.Name)
		}
	}
	count(restartDesc, c.r.restarts.Load())
	to <- prometheus.MustNewConstMetric(epochDesc, prometheus.GaugeValue, float64(c.r.epoch.Load()), flow)
}
