package row

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
	"unsafe"

	"github.com/activedataflow/adf/record/internal/number"
)

// AppendJSONRow appends a record as one JSON object, its fields in the order of the schema, without spaces.
//
// Timestamps are RFC 3339 in UTC, dates 2006-01-02, durations Go's text, decimals numbers, bytes base64; NaN and the infinities are
// null, and what is not UTF-8 in a string becomes U+FFFD.
func AppendJSONRow(dst []byte, s *Schema, vs []Value) []byte {
	dst = append(dst, '{')
	for i := range vs {
		f := &s.Fields[i]
		if i < len(s.jsonKeys) {
			dst = append(dst, s.jsonKeys[i]...)
		} else {
			dst = append(dst, jsonKey(f.Name, i)...)
		}
		dst = AppendJSONValue(dst, &f.Type, vs[i])
	}
	return append(dst, '}')
}

// jsonKey is what stands before the value of field i: `,"name":`.
func jsonKey(name string, i int) string {
	var dst []byte
	if i > 0 {
		dst = append(dst, ',')
	}
	return string(append(appendJSONString(dst, name), ':'))
}

// AppendJSONValue appends a value of type t as JSON.
func AppendJSONValue(dst []byte, t *Type, v Value) []byte {
	switch v.kind {
	case KindBool:
		return strconv.AppendBool(dst, v.Bool())
	case KindInt64:
		return strconv.AppendInt(dst, v.Int(), 10)
	case KindFloat64:
		if f := v.Float(); !math.IsNaN(f) && !math.IsInf(f, 0) {
			return number.AppendFloat(dst, f)
		}
	case KindDecimal:
		return appendDecimal(dst, v)
	case KindString:
		return appendJSONString(dst, v.Str())
	case KindBytes:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, v.Bytes())
		return append(dst, '"')
	case KindTimestamp:
		dst = append(dst, '"')
		dst = appendTimestamp(dst, v.Int())
		return append(dst, '"')
	case KindDate:
		dst = append(dst, '"')
		dst = appendDate(dst, v.Int())
		return append(dst, '"')
	case KindDuration:
		dst = append(dst, '"')
		dst = appendDuration(dst, v.Int())
		return append(dst, '"')
	case KindList:
		dst = append(dst, '[')
		for i, e := range v.List() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSONValue(dst, t.Elem, e)
		}
		return append(dst, ']')
	case KindMap:
		dst = append(dst, '{')
		for i, e := range v.Map() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONString(dst, e.Key), ':')
			dst = AppendJSONValue(dst, t.Elem, e.Value)
		}
		return append(dst, '}')
	case KindRow:
		return AppendJSONRow(dst, t.Row, v.List())
	}
	return append(dst, "null"...)
}

// appendJSONUntyped is for messages: rows are arrays, because a value does not know the names of its fields.
func appendJSONUntyped(dst []byte, v Value) []byte {
	switch v.kind {
	case KindList, KindRow:
		dst = append(dst, '[')
		for i, e := range v.List() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONUntyped(dst, e)
		}
		return append(dst, ']')
	case KindMap:
		dst = append(dst, '{')
		for i, e := range v.Map() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendJSONString(dst, e.Key), ':')
			dst = appendJSONUntyped(dst, e.Value)
		}
		return append(dst, '}')
	}
	return AppendJSONValue(dst, nil, v)
}

// plainJSON gives how many bytes at the start of s need no escape in JSON and are ASCII, eight at a time.
func plainJSON(s string) int {
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := binary.LittleEndian.Uint64(unsafe.Slice(unsafe.StringData(s[i:]), 8))
		const ones, highs = 0x0101010101010101, 0x8080808080808080
		q, b := x^'"'*ones, x^'\\'*ones
		// A high bit stands where a byte is '"', '\\', below a space or not ASCII; behind the first one there may be false ones.
		if special := ((q-ones) & ^q | (b-ones) & ^b | (x - ' '*ones) | x) & highs; special != 0 {
			return i + bits.TrailingZeros64(special)/8
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return i
		}
	}
	return i
}

func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for {
		n := plainJSON(s)
		dst = append(dst, s[:n]...)
		if n == len(s) {
			return append(dst, '"')
		}
		c := s[n]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[n:])
			dst = utf8.AppendRune(dst, r)
			s = s[n+size:]
			continue
		}
		s = s[n+1:]
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			const hex = "0123456789abcdef"
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
}
