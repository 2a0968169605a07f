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

// JobMetrics are those of a job as a whole, as "numRestarts".
func (c *Client) JobMetrics(ctx context.Context, id string, names ...string) (map[string]string, error) {
	return c.metrics(ctx, job("ask for metrics", id, "metrics"), names)
}

// JobManagerMetrics are those of the JobManager, as "Status.JVM.Memory.Metaspace.Used".
func (c *Client) JobManagerMetrics(ctx context.Context, names ...string) (map[string]string, error) {
	return c.metrics(ctx, call{doing: "ask for metrics", path: []string{"jobmanager", "metrics"}}, names)
}

// TaskManagerMetrics are those of a TaskManager.
func (c *Client) TaskManagerMetrics(ctx context.Context, id string, names ...string) (map[string]string, error) {
	return c.metrics(ctx, call{doing: "ask for metrics", path: []string{"taskmanagers", id, "metrics"}, missing: "TaskManager " + id}, names)
}

// atOnce is how many metrics are asked for in one request: their names are in the address.
const atOnce = 50

func (c *Client) metrics(ctx context.Context, q call, names []string) (map[string]string, error) {
	var list []struct{ ID, Value string }
	if len(names) == 0 {
		if err := c.do(ctx, q, &list); err != nil {
			return nil, err
		}
		for _, m := range list {
			names = append(names, m.ID)
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
