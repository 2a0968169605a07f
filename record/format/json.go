package format

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// jsonText is where reading stands between the elements.
type jsonText struct {
	begin    bool // nothing has been read yet
	array    bool // inside an array; false may mean that it is not known yet
	objects  bool // objects one after another, no array
	element  bool // the last thing was an element
	comma    bool // the last thing was a comma
	closed   bool // the array has ended
	scanned  int  // how far behind pos the end of the element has been looked for
	depth    int
	inString bool
}

// nextElement finds the next element of the array, or the next object.
func (t *text) nextElement(must bool) (found, error) {
	j := &t.json
	for {
		t.skipSpace()
		if t.pos == t.end {
			if t.eof {
				if j.array && !j.closed {
					return found{}, t.fatal("syntax", errors.New(`got the end of the text, want "," or "]"`), "the text was cut off, or its end is missing")
				}
				return found{}, t.finish()
			}
			if err := t.more(must); err != nil {
				return found{}, err
			}
			continue
		}
		switch c := t.buf[t.pos]; {
		case j.closed:
			return found{}, t.between(`nothing behind "]"`)
		case j.begin:
			if j.begin = false; c == '[' {
				j.array = true
				t.advance(1, 0)
				continue
			}
			if c != '{' {
				return found{}, t.between(`"[" or "{"`)
			}
			j.objects = true
		case c == ',' && (j.objects || !j.element):
			return found{}, t.between("an element")
		case c == ',':
			j.array, j.comma, j.element = true, true, false
			t.advance(1, 0)
			continue
		case c == ']' && !j.comma && !j.objects:
			j.array, j.closed = true, true
			t.advance(1, 0)
			continue
		case j.array && j.element:
			return found{}, t.between(`"," or "]"`)
		case c == '}' || c == ']' || c == ':' || c != '{' && !j.array:
			return found{}, t.between("an element")
		case !j.array:
			j.objects = true
		}
		if t.beyond() {
			return found{}, t.finish()
		}
		n, err := t.elementSize(must)
		if err != nil {
			return found{}, err
		}
		if n == 0 {
			continue // more text came
		}
		j.comma, j.element = false, true
		j.scanned, j.depth, j.inString = 0, 0, false
		return found{n, n, bytes.Count(t.buf[t.pos:t.pos+n], []byte{'\n'})}, nil
	}
}

// elementSize finds the end of the element at pos; 0 when more text had to be read.
func (t *text) elementSize(must bool) (int, error) {
	j := &t.json
	buf := t.buf[t.pos:t.end]
	i := j.scanned
	for i < len(buf) {
		if j.inString {
			// Strings are most of the text: jump from quote to quote.
			n := bytes.IndexByte(buf[i:], '"')
			if n < 0 {
				n = len(buf) - i
			}
			if b := bytes.IndexByte(buf[i:i+n], '\\'); b >= 0 {
				if i+b+2 > len(buf) {
					i += b
					break
				}
				i += b + 2
				continue
			}
			if i += n; i < len(buf) {
				j.inString = false
				i++
			}
			if !j.inString && j.depth == 0 {
				return i, nil
			}
			continue
		}
		switch buf[i] {
		case '"':
			j.inString = true
		case '{', '[':
			j.depth++
		case '}', ']':
			if j.depth--; j.depth <= 0 {
				return i + j.depth + 1, nil // a bracket at depth 0 ends a number or word before it
			}
		case ',', ' ', '\t', '\r', '\n':
			if j.depth == 0 {
				return i, nil
			}
		}
		i++
	}
	j.scanned = i
	if t.eof {
		if j.depth == 0 && !j.inString {
			return i, nil
		}
		return 0, t.fatal("syntax", errors.New("the element has no end"), "the text was cut off, or its end is missing")
	}
	return 0, t.more(must)
}

// skipSpace consumes white space.
func (t *text) skipSpace() {
	i := t.pos
	for ; i < t.end; i++ {
		if c := t.buf[i]; c > ' ' || c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			break
		}
	}
	t.advance(i-t.pos, bytes.Count(t.buf[t.pos:i], []byte{'\n'}))
}

// between ends the stream because something else was expected between elements.
func (t *text) between(want string) error {
	for !t.eof && !utf8.FullRune(t.buf[t.pos:t.end]) {
		if err := t.fill(); err != nil {
			return err
		}
	}
	r, _ := utf8.DecodeRune(t.buf[t.pos:t.end])
	return t.fatal("syntax", fmt.Errorf("got %q, want %s", string(r), want), "")
}
