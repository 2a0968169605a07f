package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/activedataflow/adf"
)

// collector shows a run's counters to Prometheus, read at the time of the scrape.
type collector struct {
	r                                                                        *run
	in, out, bytesIn, bytesOut, late, failed, splits, parts, epoch, restarts *prometheus.Desc
}

// newCollector makes a collector of its own for each flow, so that several runs may have one registry.
func newCollector(r *run) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, prometheus.Labels{"flow": r.flow()})
	}
	return &collector{
		r:        r,
		in:       desc("adf_records_in_total", "Records that a node took in.", "node"),
		out:      desc("adf_records_out_total", "Records that a node gave out.", "node"),
		bytesIn:  desc("adf_bytes_in_total", "Bytes that a source read, when it can tell, or that the shuffle of a keyed step carried.", "node"),
		bytesOut: desc("adf_bytes_out_total", "Bytes that were encoded for an exactly-once sink.", "node"),
		late:     desc("adf_records_late_total", "Records that came too late for their window.", "node"),
		failed:   desc("adf_records_failed_total", "Records that could not be read, failed in a step, or did not fit a sink.", "node"),
		splits:   desc("adf_splits_opened_total", "Splits that a source opened.", "node"),
		parts:    desc("adf_parts_committed_total", "Parts that an exactly-once sink committed.", "node"),
		epoch:    desc("adf_checkpoint_epoch", "The last saved checkpoint."),
		restarts: desc("adf_restarts_total", "How often the run went back to its last checkpoint."),
	}
}

// Describe tells the metrics.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.in, c.out, c.bytesIn, c.bytesOut, c.late, c.failed, c.splits, c.parts, c.epoch, c.restarts} {
		to <- d
	}
}

// Collect reads the counters.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for _, n := range c.r.graph.Nodes {
		k := c.r.counters[n.Name]
		count(c.in, k.In.Load(), n.Name)
		count(c.out, k.Out.Load(), n.Name)
		count(c.failed, k.Errors.Load(), n.Name)
		switch n.Kind {
		case adf.KindKeyed:
			count(c.late, k.Late.Load(), n.Name)
			count(c.bytesIn, k.BytesIn.Load(), n.Name)
		case adf.KindSource:
			count(c.splits, k.Splits.Load(), n.Name)
			count(c.bytesIn, k.BytesIn.Load(), n.Name)
		case adf.KindSink:
			count(c.parts, k.Parts.Load(), n.Name)
			count(c.bytesOut, k.BytesOut.Load(), n.Name)
		}
	}
	count(c.restarts, c.r.restarts.Load())
	to <- prometheus.MustNewConstMetric(c.epoch, prometheus.GaugeValue, float64(c.r.epoch.Load()))
}
