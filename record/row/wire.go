package row

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
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

// decodeValue reads one value; strings and bytes share data. slab gives memory for lists; nil allocates.
func decodeValue(data []byte, depth int) (Value, []byte, error) {
	if len(data) == 0 {
		return Value{}, nil, errTruncated
	}
	kind := Kind(data[0])
	data = data[1:]
	switch kind {
	case KindNull:
		return Value{}, data, nil
	case KindBool:
		if len(data) < 1 {
			return Value{}, nil, errTruncated
		}
		return Bool(data[0] != 0), data[1:], nil
	case KindInt64, KindTimestamp, KindDate, KindDuration:
		n, w := binary.Varint(data)
		if w <= 0 {
			return Value{}, nil, errTruncated
		}
		return Value{kind: kind, num: uint64(n)}, data[w:], nil
	case KindFloat64:
		if len(data) < 8 {
			return Value{}, nil, errTruncated
		}
		return Value{kind: kind, num: binary.LittleEndian.Uint64(data)}, data[8:], nil
	case KindDecimal:
		return decodeDecimal(data)
	case KindString, KindBytes:
		b, rest, err := decodeBytes(data)
		if err != nil {
			return Value{}, nil, err
		}
		v := Bytes(b)
		v.kind = kind
		return v, rest, nil
	case KindList, KindRow, KindMap:
		n, w := binary.Uvarint(data)
		if w <= 0 || n > uint64(len(data)) {
			return Value{}, nil, errTruncated
		}
		if depth >= maxWireDepth {
			return Value{}, nil, fmt.Errorf("values are nested more than %d levels deep", maxWireDepth)
		}
		return decodeNested(kind, int(n), data[w:], depth)
	}
	return Value{}, nil, fmt.Errorf("got the kind %d, want 0 to %d", kind, KindRow)
}

func decodeDecimal(data []byte) (Value, []byte, error) {
	if len(data) < 2 {
		return Value{}, nil, errTruncated
	}
	scale, form := data[0], data[1]
	data = data[2:]
	if form == 0 {
		n, w := binary.Varint(data)
		if w <= 0 {
			return Value{}, nil, errTruncated
		}
		return Decimal(n, scale), data[w:], nil
	}
	abs, data, err := decodeBytes(data)
	if err != nil {
		return Value{}, nil, err
	}
	n := new(big.Int).SetBytes(abs)
	if form == 1 {
		n.Neg(n)
	}
	return BigDecimal(n, scale), data, nil
}

func decodeNested(kind Kind, n int, data []byte, depth int) (v Value, rest []byte, err error) {
	if kind == KindMap {
		es := make([]Entry, n)
		for i := range es {
			var key []byte
			if key, data, err = decodeBytes(data); err != nil {
				return Value{}, nil, err
			}
			es[i].Key = unsafe.String(unsafe.SliceData(key), len(key))
			if es[i].Value, data, err = decodeValue(data, depth+1); err != nil {
				return Value{}, nil, err
			}
		}
		return Map(es), data, nil
	}
	vs := make([]Value, n)
	for i := range vs {
		if vs[i], data, err = decodeValue(data, depth+1); err != nil {
			return Value{}, nil, err
		}
	}
	v = List(vs)
	v.kind = kind
	return v, data, nil
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

// The field numbers of adf.v1.Batch. The message is written and read field by field, because the generated code would copy rows.
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

var _ = (*adfv1.Batch)(nil) // the message whose wire form this is
