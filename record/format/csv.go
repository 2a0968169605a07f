package format

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"unicode/utf8"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/row"
)

// csvText is how the csv looks, and the record found last.
type csvText struct {
	delimiter byte
	quote     byte // 0: none
	nulls     []string
	header    []string
	columns   []int // the field of each column
	required  []int
	cells     []cell
	bad       *problem // what is wrong with the record's shape
}

// cell is one text of a record, as places from pos on, without its quotes.
type cell struct {
	start, end int
	quoted     bool
	doubled    bool // there are quotes inside, each twice
}

func (c *csvText) set(o Options) {
	c.delimiter = o.delimiter()[0]
	if q := o.quote(); q != "" {
		c.quote = q[0]
	}
	if c.nulls = o.NullText; len(c.nulls) == 0 {
		c.nulls = []string{""}
	}
}

// readHeader takes the first record for the columns' names.
func (t *text) readHeader(s Start) error {
	if s.Skip {
		return t.fatal("header", errors.New("the columns must be known to read from the middle"), "")
	}
	f, err := t.nextCells(true)
	if err == io.EOF {
		return nil // an empty stream has no columns; Read will say that it has ended
	}
	if err != nil {
		return err
	}
	names, p := t.names(f)
	if p != nil {
		t.err = t.fault(*p)
		return t.err
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return t.headerFault(fmt.Errorf("the column %q is there twice", name), "give every column a name of its own")
		}
	}
	t.csv.header = names
	t.advance(f.all, f.lines)
	t.mark()
	return nil
}

// names are the texts of the record found.
func (t *text) names(f found) ([]string, *problem) {
	if p := t.checkText(f); p != nil {
		return nil, p
	}
	var names []string
	for _, c := range t.csv.cells {
		names = append(names, string(t.cellText(c)))
	}
	return names, nil
}

// matchColumns finds the field of each column.
func (t *text) matchColumns(o Options, s *row.Schema) error {
	if err := csvHolds(s); err != nil {
		return err
	}
	c := &t.csv
	c.required = t.object.required
	if o.NoHeader || c.header == nil {
		for i := range s.Fields {
			c.columns = append(c.columns, i)
		}
		return nil
	}
	var other, missing []string
	for _, name := range c.header {
		at, ok := s.Index(name)
		if !ok {
			other = append(other, name)
			at = unread
		}
		c.columns = append(c.columns, at)
	}
	for _, f := range s.Fields {
		if !slices.Contains(c.header, f.Name) {
			missing = append(missing, f.Name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fix := "take them out of the schema, or check that this is the right input"
	if len(other) > 0 {
		fix = "name the fields of the schema as the header does; it has " + list(other) + " besides"
	}
	return t.headerFault(fmt.Errorf("the columns %s of the schema are missing", list(missing)), fix)
}

// unread stands for the field of a column that the schema does not have.
const unread = -1

func (t *text) headerFault(err error, fix string) error {
	t.err = &fault.SourceError{Detail: fault.Detail{
		Code: "format.csv.header", Doing: "read header", At: t.name, Retry: fault.RetryNever, Err: err, Fix: fix,
	}}
	return t.err
}

// nextCells finds the next record and its cells.
func (t *text) nextCells(must bool) (found, error) {
	for {
		if t.beyond() {
			return found{}, t.finish()
		}
		f, err := t.nextRecord(must)
		if err != nil {
			return f, err
		}
		if f.size > 0 || len(t.csv.columns) == 1 {
			return f, nil
		}
		t.advance(f.all, f.lines)
	}
}

func (t *text) nextRecord(must bool) (found, error) {
	for {
		c := &t.csv
		buf := t.buf[t.pos:t.end]
		c.cells, c.bad = c.cells[:0], nil
		i := indexNewline(buf)
		f := found{i, i + 1, 1}
		if i < 0 {
			f = found{len(buf), len(buf), 0}
		}
		if i < 0 && !t.eof {
			if err := t.more(must); err != nil {
				return f, err
			}
			continue
		}
		if f.all == 0 {
			return f, t.finish()
		}
		if c.quote == 0 || bytes.IndexByte(buf[:f.size], c.quote) < 0 {
			if f.size > 0 && buf[f.size-1] == '\r' {
				f.size--
			}
			c.cut(t.buf[t.pos:], f.size)
			return f, nil
		}
		if f, whole := c.cutQuoted(buf, t.eof); whole {
			return f, nil
		}
		if err := t.more(must); err != nil {
			return f, err
		}
	}
}

// cut finds the cells of a line without quotes. There are slack bytes behind the line.
func (c *csvText) cut(buf []byte, size int) {
	cells := c.cells
	start := 0
	pattern := ones * uint64(c.delimiter)
	for i := 0; i < size; i += 8 {
		x := load(buf, i) ^ pattern
		// A high bit stands exactly where a byte is the delimiter.
		for m := ^((x&^highs + ^uint64(highs)) | x | ^uint64(highs)); m != 0; m &= m - 1 {
			end := i + bits.TrailingZeros64(m)>>3
			if end >= size {
				break
			}
			cells = append(cells, cell{start: start, end: end})
			start = end + 1
		}
	}
	c.cells = append(cells, cell{start: start, end: size})
}

// cutQuoted finds the cells of a record with quotes, which may have line ends inside; whole is false when it does not end in buf.
// Of a record with a wrong shape the rest of the line is passed over.
func (c *csvText) cutQuoted(buf []byte, last bool) (f found, whole bool) {
	i := 0
	for {
		if i == len(buf) || buf[i] != c.quote {
			end := i
			for end < len(buf) && buf[end] != c.delimiter && buf[end] != '\n' && buf[end] != c.quote {
				end++
			}
			if end < len(buf) && buf[end] == c.quote {
				return c.malformed(buf, end, "got a quote inside a text that does not begin with one", last)
			}
			next, f, over, whole := c.after(buf, end, last)
			if !whole {
				return f, false
			}
			if over && end > i && buf[end-1] == '\r' {
				end--
				f.size = end
			}
			c.cells = append(c.cells, cell{start: i, end: end})
			if over {
				return f, true
			}
			i = next
			continue
		}
		opening := cell{start: i + 1, quoted: true}
		end := i + 1
		for {
			n := bytes.IndexByte(buf[end:], c.quote)
			if n < 0 {
				if !last {
					return f, false
				}
				return c.malformed(buf, i, "the quote has no end", last)
			}
			end += n
			if end+1 == len(buf) && !last {
				return f, false // it may be doubled
			}
			if end+1 < len(buf) && buf[end+1] == c.quote {
				opening.doubled = true
				end += 2
				continue
			}
			break
		}
		opening.end = end
		c.cells = append(c.cells, opening)
		end++
		if end+1 < len(buf) && buf[end] == '\r' && buf[end+1] == '\n' {
			end++
		} else if end < len(buf) && buf[end] == '\r' && end+1 == len(buf) {
			if !last {
				return f, false
			}
			end++
		} else if end < len(buf) && buf[end] != c.delimiter && buf[end] != '\n' {
			return c.malformed(buf, end, "got text behind the closing quote", last)
		}
		next, f, over, whole := c.after(buf, end, last)
		if over || !whole {
			return f, whole
		}
		i = next
	}
}

// after goes on behind a cell that ends at end: over says that the record ends too.
func (c *csvText) after(buf []byte, end int, last bool) (next int, f found, over, whole bool) {
	switch {
	case end == len(buf):
		return end, found{end, end, bytes.Count(buf, []byte{'\n'})}, true, last
	case buf[end] == '\n':
		return end + 1, found{end, end + 1, bytes.Count(buf[:end+1], []byte{'\n'})}, true, true
	}
	return end + 1, f, false, true
}

// malformed passes over the rest of the line behind at.
func (c *csvText) malformed(buf []byte, at int, what string, last bool) (f found, whole bool) {
	if what != "the quote has no end" {
		if n := indexNewline(buf[at:]); n >= 0 {
			buf = buf[:at+n+1]
		} else if !last {
			return f, false
		}
	}
	c.bad = &problem{at, "syntax", errors.New(what), `double the quotes inside a quoted text, or set the option quote to "none"`}
	size := len(buf)
	if size > 0 && buf[size-1] == '\n' {
		size--
	}
	return found{size, len(buf), bytes.Count(buf, []byte{'\n'})}, true
}

// checkText says where the record found is not UTF-8.
func (t *text) checkText(f found) *problem {
	if t.csv.bad != nil {
		return t.csv.bad
	}
	if t.ascii {
		return nil
	}
	text := t.buf[t.pos : t.pos+f.size]
	if utf8.Valid(text) {
		return nil
	}
	at := 0
	for at < len(text) {
		r, size := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	if t.enc != nil {
		return &problem{at, "encoding", fmt.Errorf("the text is not valid %s", t.enc.name), ""}
	}
	return &problem{at, "encoding", errNotUTF8, "set the option encoding to what the text is in, as windows-1252"}
}

// cellText is the text that a cell stands for.
func (t *text) cellText(c cell) []byte {
	raw := t.buf[t.pos+c.start : t.pos+c.end : t.pos+c.end]
	if !c.doubled {
		return raw
	}
	d := &t.decoder
	if len(raw) > cap(d.arena)-len(d.arena) {
		d.arena = make([]byte, 0, max(arenaSize, len(raw)))
	}
	start := len(d.arena)
	for i := 0; i < len(raw); i++ {
		d.arena = append(d.arena, raw[i])
		if raw[i] == t.csv.quote {
			i++
		}
	}
	return d.arena[start:len(d.arena):len(d.arena)]
}

// decodeCells reads the values of the cells found.
func (t *text) decodeCells(f found, vs []row.Value) bool {
	c := &t.csv
	d := &t.decoder
	if p := t.checkText(f); p != nil {
		d.problem = *p
		return false
	}
	if len(c.cells) != len(c.columns) {
		d.problem = problem{0, "columns", fmt.Errorf("got %d columns, want %d", len(c.cells), len(c.columns)), ""}
		return false
	}
	buf := t.buf[t.pos:]
	for i := range c.cells {
		cl := &c.cells[i]
		at := c.columns[i]
		if at == unread {
			continue
		}
		fd := &t.object.fields[at]
		text := buf[cl.start:cl.end:cl.end]
		if cl.doubled {
			text = t.cellText(*cl)
		}
		isText := fd.kind == row.KindString || fd.kind == row.KindBytes
		if !cl.quoted && c.isNull(text) || len(text) == 0 && !isText {
			if !fd.notNull {
				continue
			}
			if len(text) > 0 || !isText {
				d.problem = problem{cl.start, "null", fmt.Errorf("field %s is null, want %s not null", fd.name, fd.typ), ""}
				return false
			}
		}
		if fd.kind == row.KindString {
			vs[at] = row.String(share(text))
			continue
		}
		v, err := row.ParseText(text, fd.typ)
		if err != nil {
			d.problem = problem{cl.start, "value", fmt.Errorf("field %s: %w", fd.name, err), ""}
			return false
		}
		vs[at] = v
	}
	return true
}

func (c *csvText) isNull(text []byte) bool {
	for _, n := range c.nulls {
		if string(text) == n {
			return true
		}
	}
	return false
}
