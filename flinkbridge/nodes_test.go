package flinkbridge

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/activedataflow/adf/flinkbridge/rest"
)

// TestNodes: what Flink tells of the subtasks of several operators comes together by node, in the order of the operators.
func TestNodes(t *testing.T) {
	operators := map[string]string{
		"a": `[{"id":"[2]read in_ write late.in_records_out","min":1,"max":2,"sum":3},{"id":"[2]read in_ write late.late_records_in","min":0,"max":4,"sum":4},
			{"id":"[2]read in_ write late.in_watermark_ms","min":-5,"max":7,"sum":2},{"id":"[2]read in_ write late.in_lag_ms","min":1,"max":9,"sum":10},
			{"id":"[2]read in_ write late.in_splits","min":0,"max":2,"sum":2},{"id":"numRecordsIn","min":1,"max":1,"sum":1},
			{"id":"[2]read in_ write late.per_day_out_metric_element_count_v1","min":1,"max":1,"sum":1}]`,
		"b": `[{"id":"[3]aggregate per_day_ write late.late_records_in","min":3,"max":3,"sum":6},{"id":"[3]aggregate per_day_ write late.per_day_records_late","min":1,"max":1,"sum":1}]`,
		"c": `[]`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/") // /jobs/j/vertices/a/subtasks/metrics
		if get := r.URL.Query().Get("get"); get != "" && strings.Contains(get, "numRecordsIn") {
			t.Errorf("asked for %s", get)
		}
		_, _ = w.Write([]byte(operators[parts[4]]))
	}))
	defer s.Close()
	c, err := rest.New(rest.Config{Address: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	got, err := Nodes(context.Background(), c, rest.Job{ID: "j", Vertices: []rest.Vertex{
		{ID: "a", Name: "[2]read in, write late"}, {ID: "b", Name: "[3]aggregate per_day, write late"}, {ID: "c", Name: "commit out"},
	}})
	least, most := int64(-5), int64(9)
	want := []NodeMetrics{
		{Node: "in", RecordsOut: 3, Splits: 2, Watermark: &least, Lag: &most}, {Node: "late", RecordsIn: 10}, {Node: "per_day", RecordsLate: 1},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v and %v, want %+v", got, err, want)
	}
}

// TestNodesOfAnEndedJob: the counters are in an accumulator of Beam's runner, as Flink 1.19.3 gave it, those of several steps for one node; the order is that of the operators.
func TestNodesOfAnEndedJob(t *testing.T) {
	metric := func(step, node, name, payload string) string {
		return `{"urn":"beam:metric:user:sum_int64:v1","type":"beam:metrics:sum_int64:v1","payload":"` + payload + `","labels":{"PTRANSFORM":"` + step + `","NAMESPACE":"` + node + `","NAME":"` + name + `"}}`
	}
	of := func(metrics ...string) string {
		text, err := json.Marshal(`{"metrics":{"attempted":[` + strings.Join(metrics, ",") + `]}}`)
		if err != nil {
			t.Fatal(err)
		}
		return `{"job-accumulators":[],"user-task-accumulators":[{"name":"__metricscontainers","type":"MetricsAccumulator","value":` + string(text) + `}]}`
	}
	flights := of(
		metric("per_day/process", "out", "records_in", "wio="), metric("commit/commit", "out", "parts_committed", "AQ=="), metric("per_day/process", "per_day", "records_out", "wio="),
		metric("flights/read", "flights", "records_out", "iMcU"), metric("flights/read", "per_day", "records_in", "iMcU"), metric("other/read", "flights", "records_out", "DA=="),
		metric("flights/read", "flights", "some_other", "DA=="), metric("flights/read", "late", "splits", "////////////AQ=="),
		`{"urn":"beam:metric:element_count:v1","type":"beam:metrics:sum_int64:v1","payload":"DA==","labels":{"PCOLLECTION":"flights/enumerate.out"}}`,
	)
	for _, x := range []struct {
		name, accumulators, failure string
		want                        []NodeMetrics
	}{
		{"flights", flights, "", []NodeMetrics{
			{Node: "flights", RecordsOut: 336776 + 12}, {Node: "per_day", RecordsIn: 336776, RecordsOut: 5442}, {Node: "out", RecordsIn: 5442, PartsCommitted: 1}, {Node: "late", Splits: -1},
		}},
		{"nothing counted", `{"job-accumulators":[],"user-task-accumulators":[]}`, "", []NodeMetrics{}},
		{"no JSON", `{"user-task-accumulators":[{"name":"__metricscontainers","value":"MetricsContainer(…)"}]}`, "read the counters of job j: invalid character", nil},
		{"no number", of(metric("flights/read", "flights", "records_out", "iMc=")), "records_out of flights: got the bytes 88c7, want a varint", nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/jobs/j/accumulators" {
					t.Errorf("got %s", r.URL)
				}
				_, _ = w.Write([]byte(x.accumulators))
			}))
			defer s.Close()
			c, err := rest.New(rest.Config{Address: s.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			got, err := Nodes(t.Context(), c, rest.Job{ID: "j", Status: rest.Finished, Vertices: []rest.Vertex{
				{Name: "CHAIN MapPartition (MapPartition at [1]find splits of flights) -> FlatMap (FlatMap at ExtractOutput[0])"},
				{Name: "MapPartition (MapPartition at [4]{read flights, to all output, to per_day})"}, {Name: "GroupReduce (GroupReduce at group for per_day)"},
				{Name: "MapPartition (MapPartition at [3]{aggregate per_day, write out, write late, to all output})"},
			}})
			if x.failure != "" {
				if err == nil || !strings.Contains(err.Error(), x.failure) {
					t.Errorf("got %v, want %s", err, x.failure)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got, x.want) {
				t.Errorf("got %+v and %v, want %+v", got, err, x.want)
			}
		})
	}
}
