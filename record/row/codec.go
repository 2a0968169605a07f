package row

import (
	"errors"
	"fmt"
	"reflect"

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
	// DecodeBatch appends the records of a wire form to into. Strings and bytes share data, which must not change afterwards.
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
	get    func(vs []Value, v *T) []Value
	set    func(v *T, vs []Value) error
}

// RowCodec is the codec of rows of a schema.
func RowCodec(s *Schema) *Codec[Row] {
	return &Codec[Row]{
		schema: s,
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
	if fields == nil { // a scalar
		conv, _, err := converterOf(t, t.String(), nil)
		if err != nil {
			return nil, err
		}
		return &Codec[T]{
			schema: s,
			get:    func(vs []Value, v *T) []Value { return append(vs, conv.get(reflect.ValueOf(v).Elem())) },
			set:    func(v *T, vs []Value) error { return conv.set(reflect.ValueOf(v).Elem(), vs[0]) },
		}, nil
	}
	return &Codec[T]{
		schema: s,
		get: func(vs []Value, v *T) []Value {
			rv := reflect.ValueOf(v).Elem()
			for i := range fields {
				vs = append(vs, fields[i].conv.get(rv.FieldByIndex(fields[i].index)))
			}
			return vs
		},
		set: func(v *T, vs []Value) error {
			rv := reflect.ValueOf(v).Elem()
			for i := range fields {
				if err := fields[i].conv.set(rv.FieldByIndex(fields[i].index), vs[i]); err != nil {
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
func (c *Codec[T]) AppendBatch(dst []byte, b record.Any) []byte {
	batch := b.(*record.Batch[T])
	return appendBatch(dst, batch.Split, "", batch.Metas, func(dst []byte) []byte {
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

// DecodeBatch appends the records of a wire form to into.
func (c *Codec[T]) DecodeBatch(data []byte, into record.Any) error {
	b := into.(*record.Batch[T])
	w, err := readBatch(data)
	if err != nil {
		return err
	}
	b.Split = w.split
	n := len(c.schema.Fields)
	rows, isRow := any(b).(*record.Batch[Row])
	var slab *Slab
	var scratch []Value
	if isRow {
		slab = SlabOf(rows)
	} else {
		scratch = make([]Value, n)
	}
	var m record.Meta
	for range w.count {
		if m, w.metas, err = decodeMeta(w.metas, m); err != nil {
			return err
		}
		vs := scratch
		if isRow {
			vs = slab.Values(n)
		}
		for i := range vs {
			if vs[i], w.rows, err = decodeValue(w.rows, 0); err != nil {
				return err
			}
			if k := c.schema.Fields[i].Type.Kind; vs[i].kind != k && vs[i].kind != KindNull {
				return fmt.Errorf("field %s: got %s, want %s", c.schema.Fields[i].Name, vs[i].kind, k)
			}
		}
		if isRow {
			rows.Append(Row{c.schema, vs}, m)
			continue
		}
		var v T
		if err := c.set(&v, vs); err != nil {
			return err
		}
		b.Append(v, m)
	}
	if len(w.rows) > 0 || len(w.metas) > 0 {
		return errors.New("there is data behind the last record")
	}
	return nil
}

// CopyRecord appends a copy of record i of src to dst.
func (c *Codec[T]) CopyRecord(dst, src record.Any, i int) {
	from, to := src.(*record.Batch[T]), dst.(*record.Batch[T])
	if rows, ok := any(to).(*record.Batch[Row]); ok {
		rows.Append(any(from.Values[i]).(Row).Clone(), from.Metas[i])
		return
	}
	to.Append(from.Values[i], from.Metas[i])
}

// AppendRecord appends a record made of one value per field.
func (c *Codec[T]) AppendRecord(b record.Any, vs []Value, m record.Meta) error {
	if rows, ok := b.(*record.Batch[Row]); ok {
		own := SlabOf(rows).Values(len(vs))
		for i, v := range vs {
			own[i] = v.clone()
		}
		rows.Append(Row{c.schema, own}, m)
		return nil
	}
	var v T
	if err := c.set(&v, vs); err != nil {
		return err
	}
	b.(*record.Batch[T]).Append(v, m)
	return nil
}

// AppendJSON appends record i of b as one JSON object.
func (c *Codec[T]) AppendJSON(dst []byte, b record.Any, i int) []byte {
	return AppendJSONRow(dst, c.schema, c.Values(nil, b, i))
}

// AppendKey appends the canonical encoding of a key: equal keys have equal bytes, on every runtime and in every release.
func AppendKey(dst []byte, vs ...Value) []byte {
	for _, v := range vs {
		dst = appendValue(dst, canonical(v))
	}
	return dst
}

// canonical gives equal numbers one form: -0 is 0, a NaN is the one NaN, a decimal has no trailing zeros.
func canonical(v Value) Value {
	switch v.kind {
	case KindFloat64:
		f := v.Float()
		if f == 0 {
			return Float(0)
		}
		if f != f {
			return Value{kind: KindFloat64, num: 0x7ff8000000000001}
		}
	case KindDecimal:
		return trimDecimal(v)
	}
	return v
}

// DecodeKey reads n values of a key; strings share data.
func DecodeKey(data []byte, n int) ([]Value, error) {
	vs := make([]Value, n)
	var err error
	for i := range vs {
		if vs[i], data, err = decodeValue(data, 0); err != nil {
			return nil, err
		}
	}
	if len(data) > 0 {
		return nil, errors.New("there is data behind the key")
	}
	return vs, nil
}

// AppendValue appends a value's encoding, DecodeValue reads it and gives the rest: for state and partial results.
func AppendValue(dst []byte, v Value) []byte { return appendValue(dst, v) }

// DecodeValue reads one value; strings and bytes share data.
func DecodeValue(data []byte) (v Value, rest []byte, err error) { return decodeValue(data, 0) }

