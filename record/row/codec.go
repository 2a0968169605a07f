package row

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"sync/atomic"
	"unsafe"

	"github.com/activedataflow/adf/record"
)

// AnyCodec is a Codec whose type is erased: what the house needs to move batches of a type it does not know.
// Its only implementation is *Codec[T]. A codec is safe for concurrent use.
type AnyCodec interface {
	// Schema is the schema of every record.
	Schema() *Schema
	// NewBatch makes an empty *record.Batch[T].
	NewBatch() record.Any
	// AppendBatch appends b's wire form (a versioned adf.v1.Batch) to dst.
	AppendBatch(dst []byte, b record.Any) []byte
	// AppendDurable is AppendBatch with the schema inside: for what a later version of the flow may read.
	AppendDurable(dst []byte, b record.Any) []byte
	// DecodeBatch appends the records of a wire form to into. Strings and bytes share data, which must not change afterwards. Data with
	// another schema inside is evolved (see [Evolution]).
	DecodeBatch(data []byte, into record.Any) error
	// CopyRecord appends a copy of record i of src, which lives as long as dst does, with its meta.
	CopyRecord(dst, src record.Any, i int)
	// Values appends the field values of record i of b to vs; they share b's memory.
	Values(vs []Value, b record.Any, i int) []Value
	// AppendRecord appends a record made of one value per field, with its meta. It copies what lives in a slab.
	AppendRecord(b record.Any, vs []Value, m record.Meta) error
	// AppendJSON appends record i of b as one JSON object.
	AppendJSON(dst []byte, b record.Any, i int) []byte
}

// Codec turns values of T into field values and back, and batches of T into their wire form. Make one with CodecOf or RowCodec.
type Codec[T any] struct {
	schema *Schema
	text   string // the schema's
	get    func(vs []Value, v *T) []Value
	set    func(v *T, vs []Value) error
	// evolved is the evolution used last: parts written with one schema come in a row.
	evolved atomic.Pointer[Evolution]
}

// RowCodec is the codec of rows of a schema.
func RowCodec(s *Schema) *Codec[Row] {
	return &Codec[Row]{
		schema: s,
		text:   s.String(),
		get:    func(vs []Value, r *Row) []Value { return append(vs, r.Values...) },
	}
}

// CodecOf makes the codec of a Go type: a struct (see SchemaOf), or a scalar, which is a schema with the one field "value".
func CodecOf[T any]() (*Codec[T], error) {
	t := reflect.TypeFor[T]()
	if t == reflect.TypeFor[Row]() {
		return nil, errors.New("rows have no schema of their own: use RowCodec")
	}
	s, fields, err := structOf(t)
	if err != nil {
		return nil, err
	}
	return &Codec[T]{
		schema: s,
		text:   s.String(),
		get: func(vs []Value, v *T) []Value {
			p := unsafe.Pointer(v)
			for i := range fields {
				vs = append(vs, fields[i].get(unsafe.Add(p, fields[i].offset)))
			}
			return vs
		},
		set: func(v *T, vs []Value) error {
			if len(vs) != len(fields) {
				return fmt.Errorf("got %d values, want %d", len(vs), len(fields))
			}
			p := unsafe.Pointer(v)
			for i := range fields {
				if err := fields[i].set(unsafe.Add(p, fields[i].offset), vs[i]); err != nil {
					return fmt.Errorf("field %s: %w", s.Fields[i].Name, err)
				}
			}
			return nil
		},
	}, nil
}

// Schema is the schema of every record.
func (c *Codec[T]) Schema() *Schema { return c.schema }

// NewBatch makes an empty batch.
func (c *Codec[T]) NewBatch() record.Any { return &record.Batch[T]{} }

// Get appends v's field values to vs; they share v's memory.
func (c *Codec[T]) Get(vs []Value, v *T) []Value { return c.get(vs, v) }

// Set fills v from one value per field. A row gets copies that nobody recycles.
func (c *Codec[T]) Set(v *T, vs []Value) error {
	if r, ok := any(v).(*Row); ok {
		*r = Row{c.schema, vs}.Clone()
		return nil
	}
	return c.set(v, vs)
}

// Values appends the field values of record i of b.
func (c *Codec[T]) Values(vs []Value, b record.Any, i int) []Value {
	return c.get(vs, &b.(*record.Batch[T]).Values[i])
}

// AppendBatch appends b's wire form.
func (c *Codec[T]) AppendBatch(dst []byte, b record.Any) []byte { return c.append(dst, b, "") }

// AppendDurable appends b's wire form with the schema inside.
func (c *Codec[T]) AppendDurable(dst []byte, b record.Any) []byte { return c.append(dst, b, c.text) }

func (c *Codec[T]) append(dst []byte, b record.Any, schema string) []byte {
	batch := b.(*record.Batch[T])
	return appendBatch(dst, batch.Split, schema, batch.Metas, func(dst []byte) []byte {
		if rows, ok := any(batch).(*record.Batch[Row]); ok {
			for i := range rows.Values {
				for _, v := range rows.Values[i].Values {
					dst = appendValue(dst, v)
				}
			}
			return dst
		}
		var scratch [16]Value
		vs := scratch[:0]
		for i := range batch.Values {
			vs = c.get(vs[:0], &batch.Values[i])
			for _, v := range vs {
				dst = appendValue(dst, v)
			}
		}
		return dst
	})
}

// DecodeBatch appends the records of a wire form to into. After an error into holds the records before it.
func (c *Codec[T]) DecodeBatch(data []byte, into record.Any) error {
	b := into.(*record.Batch[T])
	w, err := readBatch(data)
	if err != nil {
		return err
	}
	b.Split = w.split
	written := c.schema
	var evolution *Evolution
	if w.schema != "" && w.schema != c.text {
		if evolution, err = c.evolution(w.schema); err != nil {
			return err
		}
		written = evolution.from
		if evolution.Same() {
			evolution = nil
		}
	}
	rows, isRow := any(b).(*record.Batch[Row])
	d := decoder{data: w.rows}
	if isRow {
		d.slab = SlabOf(rows)
	}
	// Values as they were written, and as they become; for rows without evolution both are made in place, in the slab.
	read := make([]Value, len(written.Fields))
	var become []Value
	if evolution != nil {
		become = make([]Value, len(c.schema.Fields))
	}
	var m record.Meta
	for range w.count {
		if m, w.metas, err = decodeMeta(w.metas, m); err != nil {
			return err
		}
		vs := read
		if isRow && evolution == nil {
			vs = d.slab.Values(len(vs))
		}
		for i := range vs {
			if vs[i], err = d.value(); err != nil {
				return err
			}
			f := &written.Fields[i]
			if k := vs[i].kind; k == f.Type.Kind && k < KindList || k == KindNull {
				continue
			}
			if err := checkShape(vs[i], &f.Type); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
		if evolution != nil {
			if isRow {
				become = d.slab.Values(len(become))
			}
			if err := evolution.apply(become, vs); err != nil {
				return err
			}
			vs = become
		}
		if isRow {
			rows.Append(Row{c.schema, vs}, m)
			continue
		}
		if err := c.Append(b, vs, m); err != nil {
			return err
		}
	}
	if len(d.data) > 0 || len(w.metas) > 0 {
		return errors.New("there is data behind the last record")
	}
	return nil
}

// evolution is the one from the schema with the given text.
func (c *Codec[T]) evolution(text string) (*Evolution, error) {
	if e := c.evolved.Load(); e != nil && e.fromText == text {
		return e, nil
	}
	from, err := ParseSchema(text)
	if err != nil {
		return nil, fmt.Errorf("the schema of the data: %w", err)
	}
	e, err := NewEvolution(from, c.schema)
	if err != nil {
		return nil, err
	}
	e.fromText = text
	c.evolved.Store(e)
	return e, nil
}

// CopyRecord appends a copy of record i of src to dst.
func (c *Codec[T]) CopyRecord(dst, src record.Any, i int) {
	from, to := src.(*record.Batch[T]), dst.(*record.Batch[T])
	if rows, ok := any(to).(*record.Batch[Row]); ok {
		r := &any(from).(*record.Batch[Row]).Values[i]
		rows.Append(Row{r.Schema, copyValues(SlabOf(rows), r.Values)}, from.Metas[i])
		return
	}
	to.Append(from.Values[i], from.Metas[i])
}

// copyValues copies values into a slab.
func copyValues(slab *Slab, vs []Value) []Value {
	own := slab.Values(len(vs))
	for i, v := range vs {
		if v.kind >= KindList {
			v = slab.Copy(v)
		}
		own[i] = v
	}
	return own
}

// AppendRecord appends a record made of one value per field.
func (c *Codec[T]) AppendRecord(b record.Any, vs []Value, m record.Meta) error {
	return c.Append(b.(*record.Batch[T]), vs, m)
}

// Append is AppendRecord without erasure.
func (c *Codec[T]) Append(b *record.Batch[T], vs []Value, m record.Meta) error {
	if rows, ok := any(b).(*record.Batch[Row]); ok {
		rows.Append(Row{c.schema, copyValues(SlabOf(rows), vs)}, m)
		return nil
	}
	// Set where it will live: through a variable each record would be allocated once more.
	var zero T
	b.Append(zero, m)
	last := len(b.Values) - 1
	if err := c.set(&b.Values[last], vs); err != nil {
		b.Values[last] = zero
		b.Values, b.Metas = b.Values[:last], b.Metas[:last]
		return err
	}
	return nil
}

// AppendJSON appends record i of b as one JSON object.
func (c *Codec[T]) AppendJSON(dst []byte, b record.Any, i int) []byte {
	if rows, ok := b.(*record.Batch[Row]); ok {
		return AppendJSONRow(dst, c.schema, rows.Values[i].Values)
	}
	var scratch [16]Value
	return AppendJSONRow(dst, c.schema, c.Values(scratch[:0], b, i))
}

// AppendKey appends the canonical encoding of a key: equal keys have equal bytes, on every runtime and in every release.
func AppendKey(dst []byte, vs ...Value) []byte {
	for _, v := range vs {
		dst = appendCanonical(dst, v)
	}
	return dst
}

// appendCanonical gives equal numbers one form: -0 is 0, a NaN is the one NaN, a decimal has no trailing zeros.
func appendCanonical(dst []byte, v Value) []byte {
	switch v.kind {
	case KindFloat64:
		switch f := v.Float(); {
		case f == 0:
			v = Float(0)
		case f != f:
			v.num = 0x7ff8000000000001
		}
	case KindDecimal:
		v = trimDecimal(v)
	case KindList, KindRow:
		dst = append(dst, byte(v.kind))
		dst = binary.AppendUvarint(dst, v.num)
		for _, e := range v.List() {
			dst = appendCanonical(dst, e)
		}
		return dst
	case KindMap:
		dst = append(dst, byte(v.kind))
		dst = binary.AppendUvarint(dst, v.num)
		for _, e := range v.Map() {
			dst = binary.AppendUvarint(dst, uint64(len(e.Key)))
			dst = append(dst, e.Key...)
			dst = appendCanonical(dst, e.Value)
		}
		return dst
	}
	return appendValue(dst, v)
}

// DecodeKey reads n values of a key; strings share data.
func DecodeKey(data []byte, n int) ([]Value, error) {
	vs := make([]Value, n)
	d := decoder{data: data}
	var err error
	for i := range vs {
		if vs[i], err = d.value(); err != nil {
			return nil, err
		}
	}
	if len(d.data) > 0 {
		return nil, errors.New("there is data behind the key")
	}
	return vs, nil
}

// AppendValue appends a value's encoding, DecodeValue reads it and gives the rest: for state and partial results.
func AppendValue(dst []byte, v Value) []byte { return appendValue(dst, v) }

// DecodeValue reads one value; strings and bytes share data. Whether it fits a type is not checked.
func DecodeValue(data []byte) (v Value, rest []byte, err error) {
	d := decoder{data: data}
	v, err = d.value()
	return v, d.data, err
}
