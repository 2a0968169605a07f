package flinkbridge

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// NodeMetrics is what is counted of one node of a flow, over all subtasks of a job. Flink begins anew with it when the job starts again.
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

// Nodes are the counters and gauges of a job's flow, by node, in the order of its operators. While the job runs Flink fetches them every few seconds; when it has ended
// they are the counters of all of it.
func Nodes(ctx context.Context, c *rest.Client, job rest.Job) ([]NodeMetrics, error) {
	type place struct{ vertex, in int }
	places := map[string]place{}
	nodes := map[string]*NodeMetrics{}
	set := func(node, metric string, value rest.Aggregate, vertex int) {
		if nodes[node] == nil {
			at := place{vertex, -1}
			if vertex < len(job.Vertices) {
				at.in = placeIn(job.Vertices[vertex], node)
			}
			nodes[node], places[node] = &NodeMetrics{Node: node}, at
		}
		nodes[node].set(metric, value)
	}
	if job.Status.Ended() {
		all, err := countsOf(ctx, c, job.ID)
		if err != nil {
			return nil, err
		}
		for _, x := range all {
			vertex := slices.IndexFunc(job.Vertices, func(v rest.Vertex) bool { return placeIn(v, x.Node) >= 0 })
			if vertex < 0 {
				vertex = len(job.Vertices)
			}
			set(x.Node, x.Metric, rest.Aggregate{Sum: float64(x.value)}, vertex)
		}
	} else {
		for i, v := range job.Vertices {
			values, err := c.VertexMetrics(ctx, job.ID, v.ID, func(name string) bool {
				_, _, ok := metricOf(name)
				return ok
			})
			if err != nil {
				return nil, err
			}
			for name, value := range values {
				if node, metric, ok := metricOf(name); ok {
					set(node, metric, value, i)
				}
			}
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

// leadsTo is what a vertex does not do itself.
var leadsTo = regexp.MustCompile(`, to [^,})]+`)

// placeIn is where a vertex tells that it does something to a node, less than 0 when it does not.
func placeIn(v rest.Vertex, node string) int {
	name := leadsTo.ReplaceAllString(v.Name, "")
	for from := 0; ; {
		i := strings.Index(name[from:], " "+node)
		if i < 0 {
			return -1
		}
		from += i + 1
		if rest := name[from+len(node):]; rest == "" || strings.ContainsRune(",})", rune(rest[0])) {
			return from
		}
	}
}

// tally is a counter of a node.
type tally struct {
	Node   string `json:"NAMESPACE"`
	Metric string `json:"NAME"`
	value  int64
}

// countsOf are the counters of a job as Beam's runner adds them up, in an accumulator of Flink's with a JSON text.
func countsOf(ctx context.Context, c *rest.Client, id string) (all []tally, err error) {
	texts, err := c.Accumulators(ctx, id)
	if err != nil {
		return nil, err
	}
	text, ok := texts["__metricscontainers"]
	if !ok {
		return nil, nil
	}
	var a struct {
		Metrics struct {
			Attempted []struct {
				URN     string
				Payload []byte
				Labels  tally
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, unreadable(id, err)
	}
	for _, m := range a.Metrics.Attempted {
		if m.URN != "beam:metric:user:sum_int64:v1" || !slices.Contains(nodeMetrics, m.Labels.Metric) {
			continue
		}
		value, n := binary.Uvarint(m.Payload) // two's complement
		if n != len(m.Payload) {
			return nil, unreadable(id, fmt.Errorf("%s of %s: got the bytes %x, want a varint", m.Labels.Metric, m.Labels.Node, m.Payload))
		}
		m.Labels.value = int64(value)
		all = append(all, m.Labels)
	}
	return all, nil
}

func unreadable(job string, err error) error {
	return &fault.RuntimeError{Detail: fault.Detail{Code: "flink.answer", Connector: "flink", Doing: "read the counters of job " + job, Retry: fault.RetryNever, Err: err,
		Fix: "the version of Beam's runner may not be one that is known"}}
}

// Stats are the counts of a job's nodes, as runs of the flow have them.
func Stats(ctx context.Context, c *rest.Client, g *adf.Graph, job rest.Job) ([]engine.NodeStats, error) {
	nodes, err := Nodes(ctx, c, job)
	if err != nil {
		return nil, err
	}
	of := map[string]NodeMetrics{}
	for _, n := range nodes {
		of[n.Node] = n
	}
	return statsOf(g, of), nil
}

func statsOf(g *adf.Graph, of map[string]NodeMetrics) []engine.NodeStats {
	stats := make([]engine.NodeStats, len(g.Nodes))
	for i, n := range g.Nodes {
		c := of[n.Name]
		stats[i] = engine.NodeStats{
			Name: n.Name, Kind: n.Kind.String(), In: c.RecordsIn, Out: c.RecordsOut, Late: c.RecordsLate, Errors: c.RecordsFailed, Splits: c.SplitsOpened, Parts: c.PartsCommitted,
			LateUnread: c.RecordsLate > 0 && len(g.Consumers(adf.Ref{Node: n.Name, Port: adf.PortLate})) == 0,
		}
	}
	return stats
}
