package file

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// nullName stands for a null in a directory name; a string of the same letters is escaped.
const nullName = "__null__"

// maxName is the longest name that file systems take, in bytes.
const maxName = 255

// escapeName gives the form of a text that is safe in a directory name: letters, digits and a few signs stay, everything else is
// written as %XX, byte by byte. Different texts have different forms. The name as a whole is "field=value", so that the points of "." and ".." are safe too.
func escapeName(dst []byte, text string) []byte {
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if strings.ContainsRune("-_.+@~,", r) || (unicode.IsLetter(r) || unicode.IsDigit(r)) && !(r == utf8.RuneError && n == 1) {
			dst = append(dst, text[:n]...)
		} else {
			for i := range n {
				dst = fmt.Appendf(dst, "%%%02X", text[i])
			}
		}
		text = text[n:]
	}
	return dst
}

// appendDir appends the directory of one field's value: "field=value".
func appendDir(dst []byte, field, text string, null bool) ([]byte, error) {
	start := len(dst)
	if strings.HasPrefix(field, ".") { // never a hidden directory
		dst, field = append(dst, "%2E"...), field[1:]
	}
	dst = append(escapeName(dst, field), '=')
	switch {
	case null:
		dst = append(dst, nullName...)
	case text == nullName:
		dst = append(dst, "%5F"+nullName[1:]...)
	default:
		dst = escapeName(dst, text)
	}
	if n := len(dst) - start; n > maxName {
		return dst, fmt.Errorf("the directory name of the value of field %s has %d bytes, at most %d can be", field, n, maxName)
	}
	return dst, nil
}
