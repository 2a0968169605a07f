package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/activedataflow/adf/fault"
)

const (
	// blockSize is how much is read at a time, after smaller blocks at the start, for what is short. Strings of records point into blocks, so a
	// block lives as long as one of them.
	blockSize  = 256 << 10
	firstBlock = 16 << 10
	// slack are bytes behind the text of a block that may be read, eight at a time, and mean nothing.
	slack = 16
	// minSpace is the free space in a block below which the next one is begun.
	minSpace = 4 << 10
)

// stream is the text of an io.Reader, in UTF-8, read into blocks that are never used again.
type stream struct {
	name   string
	format string
	r      io.Reader
	enc    *encoding // nil for UTF-8
	raw    []byte    // what was read and is not decoded yet, when enc is not nil

	buf      []byte // the block; slack bytes behind end always exist
	pos, end int    // what is not consumed yet is buf[pos:end]
	ascii    bool   // there is nothing but ASCII in the block
	eof      bool
	full     bool // the last read filled all the space there was: more is waiting

	offset int64 // of pos, in bytes of r
	read   int64 // offset behind the last byte read from r
	line   int64 // of pos; 0 when it is not known
	column int   // how many bytes of its line are before pos; negative when it is not known
	limit  int64 // records that start behind it are not read
	err    error // what ended the stream; it comes again at each call
}

// fill reads more text behind end. At the end of the input it sets eof.
func (s *stream) fill() error {
	if s.end-s.pos > MaxRecord {
		return s.fatal("too_long", fmt.Errorf("the record is longer than %d bytes", MaxRecord), "")
	}
	if len(s.buf)-slack-s.end < minSpace {
		rest := s.buf[s.pos:s.end]
		size := max(firstBlock, min(4*len(s.buf), blockSize))
		if 2*len(rest) > size {
			size = 2*len(rest) + blockSize
		}
		block := make([]byte, size+slack)
		s.end = copy(block, rest)
		s.buf, s.pos = block, 0
		s.ascii = isASCII(rest)
	}
	space := s.buf[s.end : len(s.buf)-slack]
	var n int
	var err error
	if s.enc != nil {
		n, err = s.fillEncoded(space)
	} else {
		n, err = s.readSome(space)
		s.full = n == len(space)
	}
	s.ascii = s.ascii && isASCII(s.buf[s.end:s.end+n])
	s.end += n
	if err == io.EOF {
		s.eof = true
		return nil
	}
	if err != nil {
		return s.fatal("read", err, "")
	}
	return nil
}

// readSome reads at least one byte, or gives an error.
func (s *stream) readSome(p []byte) (int, error) {
	for range 100 {
		n, err := s.r.Read(p)
		s.read += int64(n)
		if n > 0 {
			if err != nil && err != io.EOF {
				err = nil // it comes again
			}
			return n, err
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

func (s *stream) fillEncoded(space []byte) (int, error) {
	had := len(s.raw)
	s.raw = append(s.raw, make([]byte, max(1, len(space)/4-had))...) // a character of the encodings has at most 3 bytes in UTF-8 for each of its own
	n, err := s.readSome(s.raw[had:])
	s.full = had+n == len(s.raw)
	s.raw = s.raw[:had+n]
	decoded, used := s.enc.decode(space[:0], s.raw, err == io.EOF)
	s.raw = s.raw[:copy(s.raw, s.raw[used:])]
	return len(decoded), err
}

// consume goes on by n bytes of text.
func (s *stream) consume(n int) {
	if s.enc == nil {
		s.offset += int64(n)
	} else {
		s.offset = min(s.offset+s.enc.length(s.buf[s.pos:s.pos+n]), s.read)
	}
	s.pos += n
}

// advance consumes n bytes of text that have so many line ends.
func (s *stream) advance(n, lines int) {
	if lines > 0 {
		s.column = n - 1 - bytes.LastIndexByte(s.buf[s.pos:s.pos+n], '\n')
	} else if s.column >= 0 {
		s.column += n
	}
	if s.line > 0 {
		s.line += int64(lines)
	}
	s.consume(n)
}

// beginning passes over the byte order mark at the start of a stream.
func (s *stream) beginning() error {
	mark := []byte("\ufeff")
	for !s.eof && s.end-s.pos < len(mark) && bytes.HasPrefix(mark, s.buf[s.pos:s.end]) {
		if err := s.fill(); err != nil {
			return err
		}
	}
	if bytes.HasPrefix(s.buf[s.pos:s.end], mark) {
		s.consume(len(mark))
	}
	return nil
}

// place is where at, a place in the text from pos on, is for messages: name:line:column, or the byte offset when that is not known.
func (s *stream) place(at int) string {
	text := s.buf[s.pos:min(s.pos+at, s.end)]
	lines := bytes.Count(text, []byte{'\n'})
	if s.line == 0 || s.column < 0 && lines == 0 {
		offset := s.offset + int64(len(text))
		if s.enc != nil {
			offset = s.offset + s.enc.length(text)
		}
		return s.name + ":byte " + strconv.FormatInt(offset, 10)
	}
	column := len(text) - bytes.LastIndexByte(text, '\n')
	if lines == 0 {
		column += s.column
	}
	return s.name + ":" + strconv.FormatInt(s.line+int64(lines), 10) + ":" + strconv.Itoa(column)
}

// problem is what is wrong with a record: where in its text, and what.
type problem struct {
	at   int
	code string
	err  error
	fix  string
}

// fault makes a problem of the text at pos an error.
func (s *stream) fault(p problem) error {
	return &fault.SourceError{Detail: fault.Detail{
		Code: "format." + s.format + "." + p.code, Doing: "read record", At: s.place(p.at), Retry: fault.RetryNever, Err: p.err, Fix: p.fix,
	}}
}

// fatal ends the stream with an error at pos.
func (s *stream) fatal(code string, err error, fix string) error {
	s.err = s.fault(problem{code: code, err: err, fix: fix})
	if code == "read" { // what the input says of itself, and whether a retry helps, counts
		d, _ := fault.DetailOf(s.err)
		d.Doing, d.Retry = "read input", fault.RetryUnknown
	}
	return s.err
}

// maxRaw is how much of a rejected record's text is kept.
const maxRaw = 4 << 10

// rawOf is a copy of a rejected record's text.
func rawOf(text []byte) []byte {
	if len(text) > maxRaw {
		cut := maxRaw
		for cut > maxRaw-utf8.UTFMax && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	return bytes.Clone(text)
}

var errNotUTF8 = errors.New("the text is not valid UTF-8")
