package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/activedataflow/adf/record/row"
)

// errWait says that there is no whole record in memory, and more may take a while to come.
var errWait = errors.New("wait")

func indexNewline(text []byte) int { return bytes.IndexByte(text, '\n') }

// more reads more text because there is no whole record of size bytes so far; without must it does so only when input is waiting. The place of
// the record may change.
func (s *stream) more(must bool) error {
	if !must && !s.full {
		return errWait
	}
	had := s.end - s.pos
	for {
		if err := s.fill(); err != nil {
			return err
		}
		// Long records grow by a quarter before they are looked at again.
		if s.eof || had < 1<<20 || s.end-s.pos >= had+had/4 {
			return nil
		}
	}
}

// beyond says that the record at pos is behind the end of the range.
func (s *stream) beyond() bool { return s.limit > 0 && s.offset > s.limit }

// nextLine finds the next line that is not blank.
func (t *text) nextLine(must bool) (found, error) {
	for {
		if t.beyond() {
			return found{}, t.finish()
		}
		var f found
		if i := indexNewline(t.buf[t.pos:t.end]); i >= 0 {
			f = found{i, i + 1, 1}
		} else if !t.eof {
			if err := t.more(must); err != nil {
				return f, err
			}
			continue
		} else if f = (found{t.end - t.pos, t.end - t.pos, 0}); f.all == 0 {
			return f, t.finish()
		}
		line := t.buf[t.pos : t.pos+f.size]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
			f.size--
		}
		if len(line) > 0 && (line[0] > ' ' || len(bytes.TrimLeft(line, " \t\r")) > 0) {
			return f, nil
		}
		t.advance(f.all, f.lines)
	}
}

// finish ends the stream.
func (s *stream) finish() error {
	s.err = io.EOF
	return io.EOF
}

// decodeJSON reads the object that the text found is.
func (t *text) decodeJSON(f found, vs []row.Value) bool {
	d := &t.decoder
	d.begin(t.buf[t.pos:], f.size)
	i, c := d.space(0)
	if c != '{' {
		d.syntax(i, "an object")
		return false
	}
	if i = d.object(i, t.object, vs); i < 0 {
		return false
	}
	if i < d.end {
		if i, c = d.space(i); c != 0 {
			d.syntax(i, "nothing behind the object")
			return false
		}
	}
	if i > d.end { // bytes behind the text were taken for text
		d.fail(d.end, "syntax", fmt.Errorf("got the end of the record, want more"))
		return false
	}
	return true
}

// begin sets the text to decode: the first size bytes of buf.
func (d *decoder) begin(buf []byte, size int) {
	d.buf, d.end, d.depth = buf, size, 0
	d.values, d.entries = d.values[:0], d.entries[:0]
}
