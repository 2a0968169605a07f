package format

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// encoding turns text into UTF-8 and back, and tells from the UTF-8 how long the text was: so offsets always count the bytes of the input,
// and reading can go on at any of them, in every encoding.
type encoding struct {
	name string
	// decode appends what src says to dst and tells how much of src it used; the rest is the beginning of a character. What is no character
	// becomes bytes that are not valid UTF-8, so it is found where other such bytes are.
	decode func(dst, src []byte, last bool) ([]byte, int)
	// length is how many bytes the text had before it was decoded.
	length func(text []byte) int64
	// encode appends text; an error names the character that the encoding does not have.
	encode func(dst, text []byte) ([]byte, error)
}

// encodingOf is nil for UTF-8.
func encodingOf(name string) *encoding {
	switch name {
	case "utf-16le":
		return wide(name, binary.LittleEndian)
	case "utf-16be":
		return wide(name, binary.BigEndian)
	case "iso-8859-1":
		return narrow(name, charmap.ISO8859_1)
	case "windows-1252":
		return narrow(name, charmap.Windows1252)
	}
	return nil
}

func narrow(name string, m *charmap.Charmap) *encoding {
	return &encoding{
		name: name,
		decode: func(dst, src []byte, _ bool) ([]byte, int) {
			for _, c := range src {
				switch r := m.DecodeByte(c); {
				case c < utf8.RuneSelf:
					dst = append(dst, c)
				case r == utf8.RuneError: // windows-1252 leaves five bytes without a meaning
					dst = append(dst, 0xc0)
				default:
					dst = utf8.AppendRune(dst, r)
				}
			}
			return dst, len(src)
		},
		length: func(text []byte) int64 { return int64(characters(text)) },
		encode: func(dst, text []byte) ([]byte, error) {
			for i := 0; i < len(text); {
				r, size := utf8.DecodeRune(text[i:])
				c, ok := m.EncodeRune(r)
				if !ok {
					return dst, fmt.Errorf("%q is not in %s", r, name)
				}
				dst = append(dst, c)
				i += size
			}
			return dst, nil
		},
	}
}

func wide(name string, order interface {
	binary.ByteOrder
	binary.AppendByteOrder
}) *encoding {
	return &encoding{
		name: name,
		decode: func(dst, src []byte, last bool) ([]byte, int) {
			i := 0
			for ; i+2 <= len(src); i += 2 {
				u := rune(order.Uint16(src[i:]))
				if !utf16.IsSurrogate(u) {
					dst = utf8.AppendRune(dst, u)
					continue
				}
				if i+4 > len(src) && !last {
					return dst, i
				}
				if i+4 <= len(src) {
					if r := utf16.DecodeRune(u, rune(order.Uint16(src[i+2:]))); r != utf8.RuneError {
						dst = utf8.AppendRune(dst, r)
						i += 2
						continue
					}
				}
				dst = append(dst, 0xe0|byte(u>>12), 0x80|byte(u>>6)&0x3f, 0x80|byte(u)&0x3f) // half a pair
			}
			if i < len(src) && last {
				dst = append(dst, 0xc0) // half a unit
				i++
			}
			return dst, i
		},
		length: func(text []byte) int64 {
			n := characters(text)
			for _, c := range text {
				if c >= 0xf0 { // a pair
					n++
				}
			}
			return int64(2 * n)
		},
		encode: func(dst, text []byte) ([]byte, error) {
			for i := 0; i < len(text); {
				r, size := utf8.DecodeRune(text[i:])
				if a, b := utf16.EncodeRune(r); a != utf8.RuneError {
					dst = order.AppendUint16(order.AppendUint16(dst, uint16(a)), uint16(b))
				} else {
					dst = order.AppendUint16(dst, uint16(r))
				}
				i += size
			}
			return dst, nil
		},
	}
}

// characters counts the bytes that are not inside a character.
func characters(text []byte) (n int) {
	for _, c := range text {
		if c&0xc0 != 0x80 {
			n++
		}
	}
	return n
}

// isASCII says whether there is nothing but ASCII in text.
func isASCII(text []byte) bool {
	const highs = 0x8080808080808080
	for len(text) >= 32 {
		x := binary.LittleEndian.Uint64(text) | binary.LittleEndian.Uint64(text[8:]) | binary.LittleEndian.Uint64(text[16:]) | binary.LittleEndian.Uint64(text[24:])
		if x&highs != 0 {
			return false
		}
		text = text[32:]
	}
	for _, c := range text {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
