package rest

import (
	"context"
	"net/url"
	"slices"
	"strings"
)

// Metrics are those of a job's vertex by name, as "0.numRecordsIn" for its first subtask; all of them when no names are given.
// Flink fetches them every few seconds (metrics.fetcher.update-interval).
func (c *Client) Metrics(ctx context.Context, id, vertex string, names ...string) (map[string]string, error) {
	return c.metrics(ctx, job("ask for metrics", id, "vertices", vertex, "metrics"), names)
}

// MetricNames are the names of the metrics of a job's vertex.
func (c *Client) MetricNames(ctx context.Context, id, vertex string) ([]string, error) {
	return c.metricNames(ctx, job("ask for metrics", id, "vertices", vertex, "metrics"))
}

// Aggregate is a metric of a vertex over its subtasks.
type Aggregate struct{ Min, Max, Sum float64 }

// VertexMetrics are those of a vertex whose names are wanted, over its subtasks; names as "Map.numRecordsIn" for an operator of it. They have to be numbers.
// A vertex that does not run has none.
func (c *Client) VertexMetrics(ctx context.Context, id, vertex string, wanted func(name string) bool) (map[string]Aggregate, error) {
	q := job("ask for metrics", id, "vertices", vertex, "subtasks", "metrics")
	var list []struct {
		ID string
		Aggregate
	}
	if err := c.do(ctx, q, &list); err != nil {
		return nil, err
	}
	var names []string
	for _, m := range list {
		if wanted(m.ID) {
			names = append(names, m.ID)
		}
	}
	all := make(map[string]Aggregate, len(names))
	for some := range slices.Chunk(names, atOnce) {
		list = nil
		q.query = url.Values{"get": {strings.Join(some, ",")}, "agg": {"min,max,sum"}}
		if err := c.do(ctx, q, &list); err != nil {
			return nil, err
		}
		for _, m := range list {
			all[m.ID] = m.Aggregate
		}
	}
	return all, nil
}

// JobMetrics are those of a job as a whole, as "numRestarts".
func (c *Client) JobMetrics(ctx context.Context, id string, names ...string) (map[string]string, error) {
	return c.metrics(ctx, job("ask for metrics", id, "metrics"), names)
}

func (c *Client) metricNames(ctx context.Context, q call) ([]string, error) {
	var list []struct{ ID string }
	if err := c.do(ctx, q, &list); err != nil {
		return nil, err
	}
	names := make([]string, len(list))
	for i, m := range list {
		names[i] = m.ID
	}
	return names, nil
}

// atOnce is how many metrics are asked for in one request: their names are in the address.
const atOnce = 50

func (c *Client) metrics(ctx context.Context, q call, names []string) (map[string]string, error) {
	var list []struct{ ID, Value string }
	if len(names) == 0 {
		var err error
		if names, err = c.metricNames(ctx, q); err != nil {
			return nil, err
		}
	}
	all := make(map[string]string, len(names))
	for some := range slices.Chunk(names, atOnce) {
		list = nil
		q.query = url.Values{"get": {strings.Join(some, ",")}}
		if err := c.do(ctx, q, &list); err != nil {
			return nil, err
		}
		for _, m := range list {
			all[m.ID] = m.Value
		}
	}
	return all, nil
}
