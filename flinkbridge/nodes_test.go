package flinkbridge

import (
	"context"
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
