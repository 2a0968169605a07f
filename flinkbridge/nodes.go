package flinkbridge

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/activedataflow/adf/flinkbridge/rest"
)

// NodeMetrics is what is counted of one node of a flow, over all subtasks of a running job. Flink forgets it when the job starts again or ends.
type NodeMetrics struct {
	Node           string `json:"node"`
	RecordsIn      int64  `json:"records_in"`
	RecordsOut     int64  `json:"records_out"`
	BytesIn        int64  `json:"bytes_in"`
	BytesOut       int64  `json:"bytes_out"`
	RecordsLate    int64  `json:"records_late"`
	RecordsFailed  int64  `json:"records_failed"`
	SplitsOpened   int64  `json:"splits_opened"`
	PartsCommitted int64  `json:"parts_committed"`
	// Splits is how many splits of a source are open.
	Splits int64 `json:"splits"`
	// Watermark and Lag, in milliseconds, are those of the worker that is furthest behind; nil where there is none.
	Watermark *int64 `json:"watermark_ms,omitempty"`
	Lag       *int64 `json:"lag_ms,omitempty"`
}

// set takes the value of one metric, of several vertices too: a node can be in several chains.
func (n *NodeMetrics) set(metric string, v rest.Aggregate) {
	switch metric {
	case splitsGauge:
		n.Splits += int64(v.Sum)
	case watermarkGauge:
		least := int64(v.Min)
		if n.Watermark != nil {
			least = min(least, *n.Watermark)
		}
		n.Watermark = &least
	case lagGauge:
		most := int64(v.Max)
		if n.Lag != nil {
			most = max(most, *n.Lag)
		}
		n.Lag = &most
	default:
		for _, x := range nodeCounters {
			if x.name == metric {
				*x.shown(n) += int64(v.Sum)
			}
		}
	}
}

// nodeMetrics are the names of all that is counted of a node.
var nodeMetrics = func() []string {
	names := []string{splitsGauge, watermarkGauge, lagGauge}
	for _, x := range nodeCounters {
		names = append(names, x.name)
	}
	return names
}()

// metricOf takes the name of a metric of Flink's apart: "[1]read flights.flights_records_in" is records_in of flights.
func metricOf(name string) (node, metric string, ok bool) {
	name = name[strings.LastIndexByte(name, '.')+1:]
	for _, metric := range nodeMetrics {
		if node, ok := strings.CutSuffix(name, "_"+metric); ok && node != "" {
			return node, metric, true
		}
	}
	return "", "", false
}

// Nodes are the counters and gauges of a running job's flow, by node, in the order of its operators. Flink fetches them every few seconds.
func Nodes(ctx context.Context, c *rest.Client, job rest.Job) ([]NodeMetrics, error) {
	type place struct{ vertex, in int }
	places := map[string]place{}
	nodes := map[string]*NodeMetrics{}
	for i, v := range job.Vertices {
		values, err := c.VertexMetrics(ctx, job.ID, v.ID, func(name string) bool {
			_, _, ok := metricOf(name)
			return ok
		})
		if err != nil {
			return nil, err
		}
		for name, value := range values {
			node, metric, ok := metricOf(name)
			if !ok {
				continue
			}
			if nodes[node] == nil {
				nodes[node] = &NodeMetrics{Node: node}
				places[node] = place{i, strings.Index(v.Name+" "+node, " "+node)}
			}
			nodes[node].set(metric, value)
		}
	}
	all := []NodeMetrics{}
	for _, n := range nodes {
		all = append(all, *n)
	}
	slices.SortFunc(all, func(a, b NodeMetrics) int {
		p, q := places[a.Node], places[b.Node]
		return cmp.Or(cmp.Compare(p.vertex, q.vertex), cmp.Compare(p.in, q.in), strings.Compare(a.Node, b.Node))
	})
	return all, nil
}
