package operators

import "github.com/activedataflow/adf/record/row"

// AggregateRows gives one row per key and window: the columns by, then window_start and window_end when there is a window, then the
// aggregates count(), count(x), sum(x), mean(x), min(x) and max(x).
func AggregateRows(in *row.Schema, by []Assign, w Window, aggs []Assign) (AnyKeyed, error) {
	panic("being written")
}
