package row

import (
	"math"
	"math/big"
	"time"
	"unsafe"
)

// Kind is the tag of a value and the outer shape of a type.
type Kind uint8

// The kinds. Their numbers are part of the wire form and never change.
const (
	KindNull      Kind = 0
	KindBool      Kind = 1
	KindInt64     Kind = 2
	KindFloat64   Kind = 3
	KindDecimal   Kind = 4
	KindString    Kind = 5
	KindBytes     Kind = 6
	KindTimestamp Kind = 7  // microseconds since the epoch, UTC
	KindDate      Kind = 8  // days since the epoch
	KindDuration  Kind = 9  // microseconds
	KindList      Kind = 10 // of one element type
	KindMap       Kind = 11 // string keys, one element type
	KindRow       Kind = 12 // nested row
)

// Value is one tagged value: 24 bytes, no allocation for scalars and strings. The zero Value is null.
type Value struct {
	kind  Kind
	scale uint8  // decimal: digits after the point
	num   uint64 // scalar bits; length of string, bytes, list, map
	ptr   unsafe.Pointer
}

// Null is the null value.
func Null() Value { return Value{} }

// Bool makes a bool.
func Bool(v bool) Value {
	if v {
		return Value{kind: KindBool, num: 1}
	}
	return Value{kind: KindBool}
}

// Int makes an int64.
func Int(v int64) Value { return Value{kind: KindInt64, num: uint64(v)} }

// Float makes a float64.
func Float(v float64) Value { return Value{kind: KindFloat64, num: math.Float64bits(v)} }

// String makes a string; the bytes of s are shared, not copied.
func String(s string) Value {
	return Value{kind: KindString, num: uint64(len(s)), ptr: unsafe.Pointer(unsafe.StringData(s))}
}

// Bytes makes a byte string; b is shared and must not change any more.
func Bytes(b []byte) Value {
	return Value{kind: KindBytes, num: uint64(len(b)), ptr: unsafe.Pointer(unsafe.SliceData(b))}
}

// Timestamp makes a point in time of micros microseconds since the epoch, UTC.
func Timestamp(micros int64) Value { return Value{kind: KindTimestamp, num: uint64(micros)} }

// TimestampOf makes a point in time; what is finer than a microsecond is cut off.
func TimestampOf(t time.Time) Value { return Timestamp(t.UnixMicro()) }

// Date makes a calendar day of days days since 1970-01-01.
func Date(days int64) Value { return Value{kind: KindDate, num: uint64(days)} }

// Duration makes a length of time of micros microseconds.
func Duration(micros int64) Value { return Value{kind: KindDuration, num: uint64(micros)} }

// DurationOf makes a length of time; what is finer than a microsecond is cut off.
func DurationOf(d time.Duration) Value { return Duration(d.Microseconds()) }

// List makes a list; the slice is shared.
func List(vs []Value) Value {
	return Value{kind: KindList, num: uint64(len(vs)), ptr: unsafe.Pointer(unsafe.SliceData(vs))}
}

// Entry is one pair of a map.
type Entry struct {
	Key   string
	Value Value
}

// Map makes a map; the entries are shared and must be sorted by key, each key once.
func Map(es []Entry) Value {
	return Value{kind: KindMap, num: uint64(len(es)), ptr: unsafe.Pointer(unsafe.SliceData(es))}
}

// Nested makes a nested row of the fields' values, in the order of its type's schema; the slice is shared.
func Nested(vs []Value) Value {
	return Value{kind: KindRow, num: uint64(len(vs)), ptr: unsafe.Pointer(unsafe.SliceData(vs))}
}

// Decimal makes unscaled / 10^scale.
func Decimal(unscaled int64, scale uint8) Value {
	return Value{kind: KindDecimal, scale: scale, num: uint64(unscaled)}
}

// BigDecimal makes unscaled / 10^scale; unscaled is shared when it does not fit an int64.
func BigDecimal(unscaled *big.Int, scale uint8) Value {
	if unscaled.IsInt64() {
		return Decimal(unscaled.Int64(), scale)
	}
	return Value{kind: KindDecimal, scale: scale, ptr: unsafe.Pointer(unscaled)}
}

// Kind tells the value's tag.
func (v Value) Kind() Kind { return v.kind }

// IsNull says whether the value is null.
func (v Value) IsNull() bool { return v.kind == KindNull }

// The accessors below give the content without checking the tag: a wrong one gives nonsense of the same
// shape, so ask Kind first (a compiled plan knows).

// Bool gives a bool's content.
func (v Value) Bool() bool { return v.num != 0 }

// Int gives an int64's content; for timestamp and duration microseconds, for date days.
func (v Value) Int() int64 { return int64(v.num) }

// Float gives a float64's content.
func (v Value) Float() float64 { return math.Float64frombits(v.num) }

// Str gives a string's content, or that of bytes as a string, without copying; "" for every other kind.
func (v Value) Str() string {
	if v.kind != KindString && v.kind != KindBytes {
		return ""
	}
	return unsafe.String((*byte)(v.ptr), int(v.num))
}

// Bytes gives the content of bytes or of a string without copying: do not change it. Nil for every other kind.
func (v Value) Bytes() []byte {
	if v.kind != KindString && v.kind != KindBytes {
		return nil
	}
	return unsafe.Slice((*byte)(v.ptr), int(v.num))
}

// Time gives a timestamp's content in UTC.
func (v Value) Time() time.Time { return time.UnixMicro(int64(v.num)).UTC() }

// Duration gives a duration's content.
func (v Value) Duration() time.Duration { return time.Duration(int64(v.num)) * time.Microsecond }

// List gives a list's elements, or a nested row's field values; nil for every other kind.
func (v Value) List() []Value {
	if v.kind != KindList && v.kind != KindRow {
		return nil
	}
	return unsafe.Slice((*Value)(v.ptr), int(v.num))
}

// Map gives a map's entries; nil for every other kind.
func (v Value) Map() []Entry {
	if v.kind != KindMap {
		return nil
	}
	return unsafe.Slice((*Entry)(v.ptr), int(v.num))
}

// Decimal gives a decimal's unscaled number and scale; the number is the caller's own copy.
func (v Value) Decimal() (unscaled *big.Int, scale uint8) {
	if v.ptr != nil {
		return new(big.Int).Set((*big.Int)(v.ptr)), v.scale
	}
	return big.NewInt(int64(v.num)), v.scale
}

// SmallDecimal gives a decimal that fits an int64 without allocating; ok is false for larger ones.
func (v Value) SmallDecimal() (unscaled int64, scale uint8, ok bool) {
	return int64(v.num), v.scale, v.ptr == nil
}
