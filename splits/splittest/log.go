package splittest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// log is what was read of each split, in order.
type log map[string][]entry

// entry is one record: its position and its encoded values, or the raw text of one that was rejected.
type entry struct {
	position int64
	rejected bool
	data     string
}

// add writes down a batch. Positions must ascend within a split.
func (l log) add(c row.AnyCodec, b record.Any) error {
	es := entries(c, b)
	id := b.SplitID()
	for _, e := range es {
		if n := len(l[id]); n > 0 && l[id][n-1].position >= e.position {
			return fmt.Errorf("split %q: a record at position %d came after one at %d, want ascending positions", id, e.position, l[id][n-1].position)
		}
		l[id] = append(l[id], e)
	}
	return nil
}

// entries gives the records of a batch in the order of their positions.
func entries(c row.AnyCodec, b record.Any) []entry {
	var es []entry
	var data []byte
	var vs []row.Value
	for i, m := range b.Meta() {
		vs = c.Values(vs[:0], b, i)
		data = data[:0]
		for _, v := range vs {
			data = row.AppendValue(data, v)
		}
		es = append(es, entry{m.Position, false, string(data)})
	}
	for _, r := range b.Rejections() {
		es = append(es, entry{r.Position, true, string(r.Raw)})
	}
	if len(b.Rejections()) > 0 {
		slices.SortStableFunc(es, func(a, b entry) int { return int(a.position - b.position) })
	}
	return es
}

func (l log) clone() log {
	c := make(log, len(l))
	for id, es := range l {
		c[id] = slices.Clone(es)
	}
	return c
}

func (l log) records() int {
	n := 0
	for _, es := range l {
		n += len(es)
	}
	return n
}

// covers says whether at least what ref has was read.
func (l log) covers(ref log) bool {
	for id, es := range ref {
		if len(l[id]) < len(es) {
			return false
		}
	}
	return true
}

// compare holds a log against what should have been read; prefix allows more and less at the end of each split.
func (l log) compare(ref log, prefix bool, c row.AnyCodec) error {
	var wrong []string
	ids := map[string]bool{}
	for _, side := range []log{l, ref} {
		for id := range side {
			ids[id] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		if err := compare(l[id], ref[id], prefix, c); err != nil {
			wrong = append(wrong, fmt.Sprintf("split %q: %v", id, err))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("%s", strings.Join(wrong[:min(3, len(wrong))], "; "))
}

func compare(got, want []entry, prefix bool, c row.AnyCodec) error {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Errorf("record %d is %s, want %s", i, got[i].show(c), want[i].show(c))
		}
	}
	if len(got) != len(want) && !prefix {
		return fmt.Errorf("got %d records, want %d", len(got), len(want))
	}
	return nil
}

// show is an entry for messages.
func (e entry) show(c row.AnyCodec) string {
	text := fmt.Sprintf("%q (rejected)", e.data)
	if !e.rejected {
		vs, err := row.DecodeKey([]byte(e.data), len(c.Schema().Fields))
		if err != nil {
			return err.Error()
		}
		text = string(bytes.ToValidUTF8(row.AppendJSONRow(nil, c.Schema(), vs), []byte("?")))
	}
	return fmt.Sprintf("%s at position %d", text, e.position)
}

func describe(l *lane) string {
	state := "has " + fmt.Sprint(len(l.has)) + " splits"
	switch {
	case l.ended:
		state = "is at its end"
	case l.told:
		state += " and was told NoMoreSplits"
	case l.noMore:
		state += " and will be told NoMoreSplits"
	}
	return fmt.Sprint(l.id, " ", state)
}
