package format

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// MaxRecord is the size in bytes of the longest record that a Reader takes; a longer one ends the stream with an error.
const MaxRecord = 64 << 20

// Start says where in a stream a Reader begins, and where it ends. The zero value is the whole stream.
type Start struct {
	// Name is what messages call the stream, as "flights.csv".
	Name string
	// Offset is the stream offset of the first byte that the io.Reader gives. Offsets count the bytes of the io.Reader, in every encoding.
	Offset int64
	// Line is the number of the line that Offset is in, from 1. It is 1 by itself when Offset is 0; 0 when it is not known: messages then
	// give the byte offset.
	Line int64
	// Header are the csv columns when Offset is behind the header line, as [Reader.Header] told them; nil at Offset 0, or without a header line.
	Header []string
	// Skip says that Offset is anywhere in a stream, possibly in the middle of a record: everything up to the first line end is passed
	// over. A record that starts exactly at Offset is passed over too, since it is not seen whether it does: it belongs to the range before.
	Skip bool
	// End is where the range ends: a record that starts behind it is not read; the one that starts exactly at it is. So a range with End x and a
	// range with Skip and Offset x give every record once. 0: to the end.
	End int64
}

// Reader reads records. It is used from one goroutine. Make one with NewReader.
//
// Of json it reads one array, or objects one after another with or without white space between them. What is wrong inside an element is
// rejected with it; what is wrong between elements (a missing comma, an array without end) ends the stream with an error. A Reader that starts
// behind an element sees from what follows which of the two it is, so it does not notice that a text was cut off exactly there.
//
// In csv a blank line is passed over, but with a single column it is a record. A quote character inside a text that does not begin with one is
// an error of the record; so is, for a quote without end, everything up to the end of the stream.
type Reader[T any] struct {
	codec *row.Codec[T]
	text  text
	// For records other than rows: the values of one, and what they point to.
	values []row.Value
	slab   row.Slab
}

// text is the part of a Reader that does not depend on its type.
type text struct {
	stream
	decoder decoder
	object  *object
	next    func(t *text, must bool) (found, error)
	decode  func(t *text, f found, vs []row.Value) bool // false: the decoder's problem
	csv     csvText
	json    jsonText
	// What is told of where reading stands: behind the last record, not behind what has been passed over since.
	markOffset, markLine int64
}

func (t *text) mark() { t.markOffset, t.markLine = t.offset, t.line }

// found is a record's text, from pos on: its size, and how much of it comes before the next record.
type found struct {
	size, all int
	// lines is the number of lines that all has.
	lines int
}

// NewReader makes a reader of what o says. For csv it reads the header line (or takes Start.Header) and compares it with the
// codec's schema: a column too many, too few or twice is a fault.SourceError.
func NewReader[T any](r io.Reader, o Options, c *row.Codec[T], s Start) (*Reader[T], error) {
	if err := fault.Config(o.Validate()...); err != nil {
		return nil, err
	}
	t := &Reader[T]{codec: c, text: text{object: objectOf(c.Schema())}}
	if err := t.text.open(r, o, s); err != nil {
		return nil, err
	}
	if o.Format == formatCSV {
		if err := t.text.matchColumns(o, c.Schema()); err != nil {
			return nil, err
		}
	}
	t.values = make([]row.Value, len(c.Schema().Fields))
	return t, nil
}

// open makes the stream, and for csv reads the header.
func (t *text) open(r io.Reader, o Options, s Start) error {
	t.stream = stream{name: s.Name, format: o.Format, r: r, enc: encodingOf(o.Encoding), offset: s.Offset, read: s.Offset, line: s.Line, limit: s.End}
	if s.Offset == 0 {
		t.line = 1
	} else if o.Format == formatJSON {
		t.column = -1
	}
	t.mark()
	if s.Offset == 0 {
		if err := t.beginning(); err != nil {
			return err
		}
	}
	switch o.Format {
	case formatJSONL:
		t.next, t.decode = (*text).nextLine, (*text).decodeJSON
	case formatJSON:
		t.next, t.decode = (*text).nextElement, (*text).decodeJSON
		t.json.begin = s.Offset == 0
		t.json.element = s.Offset > 0
	case formatCSV:
		t.csv.set(o)
		t.next, t.decode = (*text).nextCells, (*text).decodeCells
	}
	if s.Skip {
		if !o.Splittable() {
			return t.fatal("skip", fmt.Errorf("%s with these options can not be read from the middle of a record", o.Format), "")
		}
		t.line = 0
		if err := t.skipLine(); err != nil {
			return err
		}
	}
	if o.Format == formatCSV && !o.NoHeader {
		if t.csv.header = slices.Clone(s.Header); t.csv.header == nil {
			return t.readHeader(s)
		}
	}
	return nil
}

// skipLine passes over everything up to the first line end.
func (t *text) skipLine() error {
	for {
		if i := indexNewline(t.buf[t.pos:t.end]); i >= 0 {
			t.consume(i + 1)
			t.mark()
			return nil
		}
		t.consume(t.end - t.pos)
		if t.eof {
			t.mark()
			return nil
		}
		if err := t.fill(); err != nil {
			return err
		}
	}
}

// Read appends up to maxRecords records, or as many as begin within maxBytes bytes of text, to b, at least one; io.EOF comes at the end,
// possibly with records appended. It returns early rather than wait for input when it has something; call it again to fill the batch.
//
// Records that can not be decoded are appended to b.Rejected, with a fault.SourceError whose At is "name:line:column", and do not end the stream; every
// other error does. Meta.Position is the offset at which the record starts; Time and Watermark are record.NoTime. b.Bytes counts the text.
func (r *Reader[T]) Read(b *record.Batch[T], maxRecords, maxBytes int) error {
	t := &r.text
	if t.err != nil {
		return t.err
	}
	rows, isRow := any(b).(*record.Batch[row.Row])
	t.decoder.slab = &r.slab
	if isRow {
		t.decoder.slab = row.SlabOf(rows)
	}
	schema := r.codec.Schema()
	var vs []row.Value // of the next record
	meta := record.Meta{Time: record.NoTime, Watermark: record.NoTime}
	began := t.offset
	defer func() { b.Bytes += t.offset - began }()
	stop := began + int64(max(maxBytes, 1))
	for n := 0; n == 0 || n < maxRecords && t.offset < stop; n++ {
		f, err := t.next(t, n == 0)
		if err == errWait {
			return nil
		}
		if err != nil {
			return err
		}
		if isRow {
			if vs == nil {
				vs = t.decoder.slab.Values(len(r.values))
			}
		} else {
			vs = r.values
			clear(vs)
			r.slab.Recycle()
		}
		meta.Position = t.offset
		switch ok := t.decode(t, f, vs); {
		case !ok:
			r.reject(b, f, t.decoder.problem)
			clear(vs)
		case isRow:
			rows.Append(row.Row{Schema: schema, Values: vs}, meta)
			vs = nil
		default:
			if err := r.codec.Append(b, vs, meta); err != nil {
				r.reject(b, f, problem{0, "value", err, ""})
			}
		}
		t.advance(f.all, f.lines)
		t.mark()
	}
	return nil
}

// reject takes the record at pos to the rejected ones.
func (r *Reader[T]) reject(b *record.Batch[T], f found, p problem) {
	t := &r.text
	b.Rejected = append(b.Rejected, record.Rejection{Position: t.offset, Raw: rawOf(t.buf[t.pos : t.pos+f.size]), Err: t.fault(p)})
}

// Offset is the stream offset behind the last record read (behind the header line, or the line that Skip passed over, before the first one): a
// Start at it reads the rest.
func (r *Reader[T]) Offset() int64 { return r.text.markOffset }

// Line is the line number at Offset, 0 when it is not known.
func (r *Reader[T]) Line() int64 { return r.text.markLine }

// Header are the csv columns, for Start.Header; nil without a header line.
func (r *Reader[T]) Header() []string { return r.text.csv.header }

// list names columns for a message.
func list(names []string) string { return strings.Join(names, ", ") }
