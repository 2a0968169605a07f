//go:build adfdebug

package row

import (
	"testing"

	"github.com/activedataflow/adf/record"
)

// Whoever keeps a row beyond its batch finds nonsense in it.
func TestMangleCatchesAKeptRow(t *testing.T) {
	c, b := goldenBatch(t)
	kept, cloned := b.Values[0], b.Values[0].Clone()
	list, entries := kept.Values[9].List(), kept.Values[10].Map()
	b.Reset()
	for i, v := range kept.Values {
		if v.Str() != "value kept beyond its batch" {
			t.Errorf("value %d is still %s", i, AppendText(nil, v))
		}
	}
	if list[0].Str() != "value kept beyond its batch" || entries[0].Key != "key kept beyond its batch" {
		t.Errorf("got %v and %v", list, entries)
	}
	if cloned.Values[4].Str() != "é" {
		t.Error("a clone is nobody else's")
	}
	if err := c.AppendRecord(b, cloned.Values, record.Meta{}); err != nil || !kept.Values[0].IsNull() && kept.Values[0].Str() == "" {
		t.Error("the memory of a kept row is used again")
	}
}
