package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"

	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

// deltaVersion is the version of the form of a delta.
const deltaVersion = 1

// The field numbers of adf.v1.StateDelta, StateCell and CellDelta. The messages are written and read field by field: they are the bulk of
// every checkpoint, and the generated code would copy it.
const (
	deltaFieldVersion = 1
	deltaFieldCells   = 2
	deltaFieldValues  = 3
	deltaFieldGone    = 4
	deltaFieldTimers  = 5

	cellFieldName    = 1
	cellFieldSchema  = 2
	cellFieldWritten = 3

	valuesFieldCell = 1
	valuesFieldGone = 2
	valuesFieldSet  = 3
	valuesFieldBase = 4
)

var _ = (*adfv1.StateDelta)(nil) // the message whose wire form this is

func appendBytes(dst []byte, number protowire.Number, b []byte) []byte {
	if len(b) == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, number, protowire.BytesType)
	return protowire.AppendBytes(dst, b)
}

func appendUint(dst []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return dst
	}
	dst = protowire.AppendTag(dst, number, protowire.VarintType)
	return protowire.AppendVarint(dst, v)
}

func appendCell(dst []byte, name, schema string, written bool) []byte {
	c := appendBytes(nil, cellFieldName, []byte(name))
	c = appendBytes(c, cellFieldSchema, []byte(schema))
	c = appendUint(c, cellFieldWritten, protowire.EncodeBool(written))
	return appendBytes(dst, deltaFieldCells, c)
}

func appendCellDelta(dst []byte, cell int, gone, set []byte, base int64) []byte {
	n := len(gone) + len(set)
	head := appendUint(make([]byte, 0, 32), valuesFieldCell, uint64(cell))
	if base != 0 {
		head = appendUint(head, valuesFieldBase, protowire.EncodeZigZag(base))
	}
	if len(gone) > 0 {
		n += protowire.SizeTag(valuesFieldGone) + protowire.SizeVarint(uint64(len(gone)))
	}
	if len(set) > 0 {
		n += protowire.SizeTag(valuesFieldSet) + protowire.SizeVarint(uint64(len(set)))
	}
	dst = slices.Grow(dst, n+len(head)+16) // mostly the whole delta
	dst = protowire.AppendTag(dst, deltaFieldValues, protowire.BytesType)
	dst = protowire.AppendVarint(dst, uint64(n+len(head)))
	dst = append(dst, head...)
	dst = appendBytes(dst, valuesFieldGone, gone)
	return appendBytes(dst, valuesFieldSet, set)
}

// fields calls do for each field of a message: with bytes b, or with the number v.
func fields(data []byte, do func(number protowire.Number, v uint64, b []byte) error) error {
	for len(data) > 0 {
		number, kind, n := protowire.ConsumeTag(data)
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		var v uint64
		var b []byte
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(data)
		case protowire.BytesType:
			b, n = protowire.ConsumeBytes(data)
			if b == nil {
				b = []byte{}
			}
		default:
			return fmt.Errorf("field %d has the wire type %d", number, kind)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		data = data[n:]
		if err := do(number, v, b); err != nil {
			return err
		}
	}
	return nil
}

// unknown is the error for a field that this version does not know: leaving it out would lose state.
func unknown(message string, number protowire.Number) error {
	return fmt.Errorf("got the field %d of a %s, which version %d does not have", number, message, deltaVersion)
}

func appendID(dst []byte, key string, ns int64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	return binary.AppendVarint(dst, ns)
}

func readID(data []byte) (key []byte, ns int64, rest []byte, err error) {
	if key, data, err = readBytes(data); err != nil {
		return nil, 0, nil, err
	}
	ns, n := binary.Varint(data)
	if n <= 0 {
		return nil, 0, nil, errTruncated
	}
	return key, ns, data[n:], nil
}

func readBytes(data []byte) (b, rest []byte, err error) {
	n, w := binary.Uvarint(data)
	if w <= 0 || n > uint64(len(data)-w) {
		return nil, nil, errTruncated
	}
	return data[w : w+int(n)], data[w+int(n):], nil
}

// fixLength writes the length of what stands behind the byte at dst[at] into that byte, and moves it on when the length takes more.
func fixLength(dst []byte, at int) []byte {
	n := uint64(len(dst) - at - 1)
	if n < 0x80 {
		dst[at] = byte(n)
		return dst
	}
	width := protowire.SizeVarint(n)
	dst = append(dst, make([]byte, width-1)...)
	copy(dst[at+width:], dst[at+1:])
	binary.PutUvarint(dst[at:], n)
	return dst
}

func appendTimer(dst []byte, key string, t Timer) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	kind := byte(0)
	if t.Processing {
		kind = 1
	}
	dst = append(dst, kind)
	dst = binary.AppendVarint(dst, t.Time)
	dst = binary.AppendUvarint(dst, uint64(len(t.Tag)))
	return append(dst, t.Tag...)
}

var errKind = errors.New("got a timer that is neither of event time nor of processing time")

func readTimer(data []byte) (key []byte, t Timer, rest []byte, err error) {
	if key, data, err = readBytes(data); err != nil {
		return nil, t, nil, err
	}
	if len(data) == 0 {
		return nil, t, nil, errTruncated
	}
	if data[0] > 1 {
		return nil, t, nil, errKind
	}
	t.Processing = data[0] == 1
	n := 0
	if t.Time, n = binary.Varint(data[1:]); n <= 0 {
		return nil, t, nil, errTruncated
	}
	tag, rest, err := readBytes(data[1+n:])
	t.Tag = string(tag)
	return key, t, rest, err
}

// bytesOf gives a string's bytes without copying them; they must not be changed.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// emptied empties a slice; one that has become much too large is given up.
func emptied[E any](s []E) []E {
	if cap(s) > 1024 && len(s) < cap(s)/8 {
		return nil
	}
	return s[:0]
}
