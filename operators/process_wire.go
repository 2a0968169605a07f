package operators

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// What crosses the shuffle before a Processor is a version and, one after another, splits and records. A split is tagSplit and its id; all records
// behind it are of this split. A record is tagRecord, its key, its meta as three differences to the record before it (zigzag) and its
// values. Texts, keys and values have their length before them.
const (
	tagSplit byte = iota
	tagRecord
)

var errTag = errors.New("got what is neither a split nor a record")

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendMeta(dst []byte, m, before record.Meta) []byte {
	dst = binary.AppendVarint(dst, m.Time-before.Time)
	dst = binary.AppendVarint(dst, m.Watermark-before.Watermark)
	return binary.AppendVarint(dst, m.Position-before.Position)
}

func appendValues(dst []byte, vs []row.Value) []byte {
	for _, v := range vs {
		dst = row.AppendValue(dst, v)
	}
	return dst
}

// readValues reads n values, which share data.
func readValues(vs []row.Value, data []byte, n int) ([]row.Value, error) {
	for range n {
		v, rest, err := row.DecodeValue(data)
		if err != nil {
			return vs, err
		}
		vs, data = append(vs, v), rest
	}
	if len(data) > 0 {
		return vs, errors.New("there is data behind the last field")
	}
	return vs, nil
}

// processReader reads a payload record by record. What it gives shares the payload.
type processReader struct {
	data   []byte
	split  string
	key    []byte
	meta   record.Meta
	values []byte
	err    error
}

func newProcessReader(payload []byte) (*processReader, error) {
	if len(payload) == 0 || payload[0] != payloadVersion {
		return nil, errVersion
	}
	return &processReader{data: payload[1:]}, nil
}

// next goes to the next record; false at the end or when err is set.
func (p *processReader) next() bool {
	for len(p.data) > 0 {
		tag := p.data[0]
		b, rest, ok := cut(p.data[1:])
		switch {
		case !ok:
			p.err = errTruncated
			return false
		case tag == tagSplit:
			p.split, p.data, p.meta = string(b), rest, record.Meta{}
			continue
		case tag != tagRecord:
			p.err = errTag
			return false
		}
		p.key = b
		for _, field := range []*int64{&p.meta.Time, &p.meta.Watermark, &p.meta.Position} {
			d, n := binary.Varint(rest)
			if n <= 0 {
				p.err = errTruncated
				return false
			}
			*field += d
			rest = rest[n:]
		}
		if p.values, p.data, ok = cut(rest); !ok {
			p.err = errTruncated
			return false
		}
		return true
	}
	return false
}

// waitingRecord is a record that waits for the watermark to pass it, so that it is processed in order. Those of one key and event time lie in state
// together, one after another, each as its split, watermark, position and values.
type waitingRecord struct {
	split  string
	meta   record.Meta // without time
	values []byte
}

// dueAfter is the watermark at which no record of the given time comes any more; those without a time wait for the end.
func dueAfter(t int64) int64 {
	if t == record.NoTime || t == record.MaxTime {
		return record.MaxTime
	}
	return t + 1
}

func appendWaiting(dst []byte, r waitingRecord) []byte {
	dst = appendText(dst, r.split)
	dst = binary.AppendVarint(dst, r.meta.Watermark)
	dst = binary.AppendVarint(dst, r.meta.Position)
	return appendText(dst, textOf(r.values))
}

// readWaiting appends the records in data to rs, in the order of split and position. Their values share data.
func readWaiting(rs []waitingRecord, data []byte) ([]waitingRecord, error) {
	start := len(rs)
	for len(data) > 0 {
		split, rest, ok := cut(data)
		if !ok {
			return rs, errTruncated
		}
		r := waitingRecord{split: string(split)}
		for _, field := range []*int64{&r.meta.Watermark, &r.meta.Position} {
			v, n := binary.Varint(rest)
			if n <= 0 {
				return rs, errTruncated
			}
			*field, rest = v, rest[n:]
		}
		if r.values, data, ok = cut(rest); !ok {
			return rs, errTruncated
		}
		rs = append(rs, r)
	}
	slices.SortStableFunc(rs[start:], func(a, b waitingRecord) int {
		return cmp.Or(cmp.Compare(a.split, b.split), cmp.Compare(a.meta.Position, b.meta.Position))
	})
	return rs, nil
}

// waitingFormat is the format of the records that wait for one key and event time. They evolve as rows do.
type waitingFormat struct{ schema *row.Schema }

func (f waitingFormat) Schema() string { return f.schema.String() }

func (f waitingFormat) Writer() func(dst []byte, v *[]byte) []byte {
	return func(dst []byte, v *[]byte) []byte { return append(dst, *v...) }
}

func (f waitingFormat) Reader(schema string) (func(v *[]byte, data []byte) error, error) {
	from, err := row.ParseSchema(schema)
	if err != nil {
		return nil, err
	}
	evolve, err := row.NewEvolution(from, f.schema)
	if err != nil {
		return nil, err
	}
	var rs []waitingRecord
	var old, vs []row.Value
	return func(v *[]byte, data []byte) (err error) {
		if rs, err = readWaiting(rs[:0], data); err != nil {
			return err
		}
		*v = (*v)[:0]
		for _, r := range rs {
			if old, err = readValues(old[:0], r.values, len(from.Fields)); err != nil {
				return err
			}
			for i, o := range old {
				if k := o.Kind(); k != from.Fields[i].Type.Kind && k != row.KindNull {
					return fmt.Errorf("field %s: got %s, want %s", from.Fields[i].Name, k, from.Fields[i].Type)
				}
			}
			if vs, err = evolve.Apply(vs[:0], old); err != nil {
				return err
			}
			r.values = appendValues(nil, vs)
			*v = appendWaiting(*v, r)
		}
		return nil
	}, nil
}
