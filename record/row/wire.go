package row

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/activedataflow/adf/record"
)

// wireVersion is the version of the row encoding: per record, per field a tag byte and the content. The tag is the kind; for
// decimals the scale follows, signed numbers are zigzag varints, floats 8 bytes little endian, lengths varints.
const wireVersion = 1

// appendValue appends a value's encoding.
func appendValue(dst []byte, v Value) []byte {
	dst = append(dst, byte(v.kind))
	switch v.kind {
	case KindNull:
	case KindBool:
		dst = append(dst, byte(v.num))
	case KindInt64, KindTimestamp, KindDate, KindDuration:
		dst = binary.AppendVarint(dst, int64(v.num))
	case KindFloat64:
		dst = binary.LittleEndian.AppendUint64(dst, v.num)
	case KindDecimal:
		dst = append(dst, v.scale)
		if v.ptr == nil {
			dst = append(dst, 0)
			dst = binary.AppendVarint(dst, int64(v.num))
			break
		}
		n := (*big.Int)(v.ptr)
		abs := n.Bytes()
		dst = append(dst, byte(2+n.Sign())) // 1 negative, 3 positive
		dst = binary.AppendUvarint(dst, uint64(len(abs)))
		dst = append(dst, abs...)
	case KindString, KindBytes:
		dst = binary.AppendUvarint(dst, v.num)
		dst = append(dst, v.Bytes()...)
	case KindList, KindRow:
		dst = binary.AppendUvarint(dst, v.num)
		for _, e := range v.List() {
			dst = appendValue(dst, e)
		}
	case KindMap:
		dst = binary.AppendUvarint(dst, v.num)
		for _, e := range v.Map() {
			dst = binary.AppendUvarint(dst, uint64(len(e.Key)))
			dst = append(dst, e.Key...)
			dst = appendValue(dst, e.Value)
		}
	}
	return dst
}

var errTruncated = errors.New("the data ends in the middle of a value")

// maxWireDepth bounds how deeply encoded values are nested.
const maxWireDepth = 100

// decoder reads encoded values. Strings and bytes share data; lists, maps and rows live in the slab, or in memory of their own without one.
type decoder struct {
	data    []byte
	slab    *Slab
	depth   int
	values  []Value // the elements of the lists being read
	entries []Entry
}

func (d *decoder) value() (Value, error) {
	if len(d.data) == 0 {
		return Value{}, errTruncated
	}
	kind := Kind(d.data[0])
	d.data = d.data[1:]
	switch kind {
	case KindNull:
		return Value{}, nil
	case KindBool:
		if len(d.data) < 1 {
			return Value{}, errTruncated
		}
		v := Bool(d.data[0] != 0)
		d.data = d.data[1:]
		return v, nil
	case KindInt64, KindTimestamp, KindDate, KindDuration:
		n, w := binary.Varint(d.data)
		if w <= 0 {
			return Value{}, errTruncated
		}
		d.data = d.data[w:]
		return Value{kind: kind, num: uint64(n)}, nil
	case KindFloat64:
		if len(d.data) < 8 {
			return Value{}, errTruncated
		}
		v := Value{kind: kind, num: binary.LittleEndian.Uint64(d.data)}
		d.data = d.data[8:]
		return v, nil
	case KindDecimal:
		return d.decimal()
	case KindString, KindBytes:
		b, err := d.bytes()
		if err != nil {
			return Value{}, err
		}
		v := Bytes(b)
		v.kind = kind
		return v, nil
	case KindList, KindRow, KindMap:
		n, w := binary.Uvarint(d.data)
		if w <= 0 || n > uint64(len(d.data)) {
			return Value{}, errTruncated
		}
		d.data = d.data[w:]
		if d.depth >= maxWireDepth {
			return Value{}, fmt.Errorf("values are nested more than %d levels deep", maxWireDepth)
		}
		d.depth++
		v, err := d.nested(kind, int(n))
		d.depth--
		return v, err
	}
	return Value{}, fmt.Errorf("got the kind %d, want 0 to %d", kind, KindRow)
}

func (d *decoder) decimal() (Value, error) {
	if len(d.data) < 2 {
		return Value{}, errTruncated
	}
	scale, form := d.data[0], d.data[1]
	d.data = d.data[2:]
	if form == 0 {
		n, w := binary.Varint(d.data)
		if w <= 0 {
			return Value{}, errTruncated
		}
		d.data = d.data[w:]
		return Decimal(n, scale), nil
	}
	abs, err := d.bytes()
	if err != nil {
		return Value{}, err
	}
	n := new(big.Int).SetBytes(abs)
	if form == 1 {
		n.Neg(n)
	}
	return BigDecimal(n, scale), nil
}

// nested reads n elements. They are collected on a stack first: a wrong n costs no memory.
func (d *decoder) nested(kind Kind, n int) (Value, error) {
	if kind == KindMap {
		start := len(d.entries)
		defer func() { d.entries = d.entries[:start] }()
		for range n {
			key, err := d.bytes()
			if err != nil {
				return Value{}, err
			}
			v, err := d.value()
			if err != nil {
				return Value{}, err
			}
			if found := d.entries[start:]; len(found) > 0 && found[len(found)-1].Key >= share(key) {
				return Value{}, errors.New("the keys of a map are not in order")
			}
			d.entries = append(d.entries, Entry{share(key), v})
		}
		var es []Entry
		if d.slab != nil {
			es = d.slab.Entries(n)
		} else {
			es = make([]Entry, n)
		}
		copy(es, d.entries[start:])
		return Map(es), nil
	}
	start := len(d.values)
	defer func() { d.values = d.values[:start] }()
	for range n {
		v, err := d.value()
		if err != nil {
			return Value{}, err
		}
		d.values = append(d.values, v)
	}
	var vs []Value
	if d.slab != nil {
		vs = d.slab.Values(n)
	} else {
		vs = make([]Value, n)
	}
	copy(vs, d.values[start:])
	v := List(vs)
	v.kind = kind
	return v, nil
}

func (d *decoder) bytes() ([]byte, error) {
	b, rest, err := decodeBytes(d.data)
	d.data = rest
	return b, err
}

// checkShape says what is wrong with the kinds inside a value of a type: data is not trusted, and code behind it indexes by the schema.
func checkShape(v Value, t *Type) error {
	if v.kind == KindNull {
		return nil
	}
	if v.kind != t.Kind {
		return fmt.Errorf("got %s, want %s", v.kind, t.Kind)
	}
	switch v.kind {
	case KindList:
		for i, e := range v.List() {
			if err := checkShape(e, t.Elem); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
	case KindMap:
		for _, e := range v.Map() {
			if err := checkShape(e.Value, t.Elem); err != nil {
				return fmt.Errorf("key %q: %w", e.Key, err)
			}
		}
	case KindRow:
		vs := v.List()
		if len(vs) != len(t.Row.Fields) {
			return fmt.Errorf("got %d fields, want %d", len(vs), len(t.Row.Fields))
		}
		for i := range vs {
			if err := checkShape(vs[i], &t.Row.Fields[i].Type); err != nil {
				return fmt.Errorf("field %s: %w", t.Row.Fields[i].Name, err)
			}
		}
	}
	return nil
}

func decodeBytes(data []byte) (b, rest []byte, err error) {
	n, w := binary.Uvarint(data)
	if w <= 0 || n > uint64(len(data)-w) {
		return nil, nil, errTruncated
	}
	return data[w : w+int(n) : w+int(n)], data[w+int(n):], nil
}

// appendMetas appends metas as differences.
func appendMetas(dst []byte, metas []record.Meta) []byte {
	var before record.Meta
	for _, m := range metas {
		dst = binary.AppendVarint(dst, m.Time-before.Time)
		dst = binary.AppendVarint(dst, m.Watermark-before.Watermark)
		dst = binary.AppendVarint(dst, m.Position-before.Position)
		before = m
	}
	return dst
}

func decodeMeta(data []byte, before record.Meta) (record.Meta, []byte, error) {
	for _, field := range []*int64{&before.Time, &before.Watermark, &before.Position} {
		n, w := binary.Varint(data)
		if w <= 0 {
			return before, nil, errTruncated
		}
		*field += n
		data = data[w:]
	}
	return before, data, nil
}

// The field numbers of the message adf.v1.Batch. It is written and read field by field, because the generated code would copy rows.
const (
	batchVersion = 1
	batchCount   = 2
	batchSplit   = 3
	batchMetas   = 4
	batchRows    = 5
	batchSchema  = 6
)

// appendBatch appends a Batch message; rows appends the encoding of every record.
func appendBatch(dst []byte, split, schema string, metas []record.Meta, rows func(dst []byte) []byte) []byte {
	dst = protowire.AppendTag(dst, batchVersion, protowire.VarintType)
	dst = protowire.AppendVarint(dst, wireVersion)
	dst = protowire.AppendTag(dst, batchCount, protowire.VarintType)
	dst = protowire.AppendVarint(dst, uint64(len(metas)))
	if split != "" {
		dst = protowire.AppendTag(dst, batchSplit, protowire.BytesType)
		dst = protowire.AppendString(dst, split)
	}
	dst = appendField(dst, batchMetas, func(dst []byte) []byte { return appendMetas(dst, metas) })
	dst = appendField(dst, batchRows, rows)
	if schema != "" {
		dst = protowire.AppendTag(dst, batchSchema, protowire.BytesType)
		dst = protowire.AppendString(dst, schema)
	}
	return dst
}

// appendField appends a bytes field whose length is not known before: it is written in place, with a length of fixed width.
func appendField(dst []byte, number protowire.Number, content func([]byte) []byte) []byte {
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	at := len(dst)
	dst = append(dst, 0x80, 0x80, 0x80, 0x80, 0)
	start := len(dst)
	dst = content(dst)
	n := len(dst) - start
	for i := range 5 {
		dst[at+i] = byte(n>>(7*i))&0x7f | 0x80
	}
	dst[at+4] &= 0x7f
	return dst
}

// wireBatch is a Batch message whose bytes share the data it was read from.
type wireBatch struct {
	count       int
	split       string
	metas, rows []byte
	schema      string
}

func readBatch(data []byte) (wireBatch, error) {
	var b wireBatch
	version := uint64(0)
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return b, protowire.ParseError(n)
		}
		data = data[n:]
		switch {
		case kind == protowire.VarintType && (number == batchVersion || number == batchCount):
			v, n := protowire.ConsumeVarint(data)
			if n < 0 {
				return b, protowire.ParseError(n)
			}
			data = data[n:]
			if number == batchVersion {
				version = v
			} else if v > uint64(1<<31) {
				return b, fmt.Errorf("got a batch of %d records", v)
			} else {
				b.count = int(v)
			}
		case kind == protowire.BytesType && number >= batchSplit && number <= batchSchema:
			v, n := protowire.ConsumeBytes(data)
			if n < 0 {
				return b, protowire.ParseError(n)
			}
			data = data[n:]
			switch number {
			case batchSplit:
				b.split = string(v)
			case batchMetas:
				b.metas = v
			case batchRows:
				b.rows = v
			case batchSchema:
				b.schema = string(v)
			}
		default:
			n := protowire.ConsumeFieldValue(number, kind, data)
			if n < 0 {
				return b, protowire.ParseError(n)
			}
			data = data[n:]
		}
	}
	if version != wireVersion {
		return b, fmt.Errorf("got version %d of the batch encoding, want %d", version, wireVersion)
	}
	return b, nil
}
