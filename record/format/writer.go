package format

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Writer turns records into text. It is used from one goroutine. Make one with NewWriter.
//
// In csv, null is the first of the null texts, or empty; a text that would be read as null, or as something else than it is, gets quotes.
// In JSON, NaN and the infinities become null, and what is not UTF-8 in a string becomes U+FFFD.
type Writer[T any] struct {
	codec  *row.Codec[T]
	values []row.Value
	format string
	csv    csvWriter
}

// csvWriter is how csv looks.
type csvWriter struct {
	delimiter byte
	quote     byte // 0: none
	noHeader  bool
	null      string
	nulls     []string
	// careful says that other values than strings may need quotes too.
	careful  bool
	enc      *encoding // nil for UTF-8
	utf8     []byte    // the record before it is encoded
	patterns [4]uint64 // eight times delimiter, quote, line feed, carriage return
}

// NewWriter makes a writer of what o says. A schema that the format can not hold (lists in csv) is a fault.ConfigurationError.
func NewWriter[T any](o Options, c *row.Codec[T]) (*Writer[T], error) {
	if err := fault.Config(o.Validate()...); err != nil {
		return nil, err
	}
	w := &Writer[T]{codec: c, format: o.Format, values: make([]row.Value, 0, len(c.Schema().Fields))}
	if o.Format == formatCSV {
		if err := csvHolds(c.Schema()); err != nil {
			return nil, err
		}
		w.csv.set(o)
		if _, err := w.csv.header(nil, c.Schema()); err != nil {
			return nil, fault.Config(fault.Violation{Path: "quote", Got: `"none"`, Want: "quotes, which the header line needs: " + err.Error(), Code: "format.quote"})
		}
	}
	return w, nil
}

// Head appends what stands before the first record: the csv header line, or "[".
func (w *Writer[T]) Head(dst []byte) []byte {
	switch w.format {
	case formatJSON:
		return append(dst, '[')
	case formatCSV:
		dst, _ = w.csv.header(dst, w.codec.Schema()) // NewWriter has seen that there is no error
	}
	return dst
}

// Append appends record i of b, with what separates it from the one before; first says that there is none before it in the text.
// An error is about this record alone, and dst comes back as it was.
func (w *Writer[T]) Append(dst []byte, b *record.Batch[T], i int, first bool) ([]byte, error) {
	var vs []row.Value
	if rows, ok := any(b).(*record.Batch[row.Row]); ok {
		vs = rows.Values[i].Values
	} else {
		vs = w.codec.Get(w.values[:0], &b.Values[i])
		w.values = vs
	}
	switch s := w.codec.Schema(); w.format {
	case formatJSONL:
		return append(row.AppendJSONRow(dst, s, vs), '\n'), nil
	case formatJSON:
		if !first {
			dst = append(dst, ',')
		}
		return row.AppendJSONRow(append(dst, '\n'), s, vs), nil
	default:
		return w.csv.append(dst, s, vs)
	}
}

// Tail appends what stands behind the last record: nothing, or "]".
func (w *Writer[T]) Tail(dst []byte) []byte {
	if w.format == formatJSON {
		return append(dst, "\n]\n"...)
	}
	return dst
}

// csvHolds says whether csv can hold records of a schema.
func csvHolds(s *row.Schema) error {
	var vs []fault.Violation
	for _, f := range s.Fields {
		if f.Type.Kind >= row.KindList {
			vs = append(vs, fault.Violation{Path: f.Name, Got: f.Type.String(), Want: "a scalar: csv holds no lists, maps and rows", Code: "format.csv.type"})
		}
	}
	return fault.Config(vs...)
}

func (w *csvWriter) set(o Options) {
	w.delimiter, w.noHeader, w.enc = o.delimiter()[0], o.NoHeader, encodingOf(o.Encoding)
	special := string(w.delimiter)
	if q := o.quote(); q != "" {
		w.quote = q[0]
		special += q
	}
	w.nulls = []string{""}
	if len(o.NullText) > 0 {
		w.nulls = o.NullText
	}
	w.null = w.nulls[0]
	// Numbers and times consist of these; a null text may look like one.
	w.careful = len(o.NullText) > 0 || strings.ContainsAny(special, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-.:/=")
	special4 := [4]byte{w.delimiter, w.delimiter, '\n', '\r'}
	if w.quote != 0 {
		special4[1] = w.quote
	}
	for i, c := range special4 {
		w.patterns[i] = ones * uint64(c)
	}
}

func (w *csvWriter) header(dst []byte, s *row.Schema) ([]byte, error) {
	if w.noHeader {
		return dst, nil
	}
	var names []row.Value
	for _, name := range s.Names() {
		names = append(names, row.String(name))
	}
	return w.append(dst, s, names)
}

func (w *csvWriter) append(dst []byte, s *row.Schema, vs []row.Value) ([]byte, error) {
	if w.enc == nil {
		return w.appendUTF8(dst, s, vs)
	}
	var err error
	if w.utf8, err = w.appendUTF8(w.utf8[:0], s, vs); err != nil {
		return dst, err
	}
	out, err := w.enc.encode(dst, w.utf8)
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (w *csvWriter) appendUTF8(dst []byte, s *row.Schema, vs []row.Value) ([]byte, error) {
	begin := len(dst)
	for i, v := range vs {
		if i > 0 {
			dst = append(dst, w.delimiter)
		}
		start := len(dst)
		switch v.Kind() {
		case row.KindNull:
			dst = append(dst, w.null...)
			continue
		case row.KindString:
			dst = append(dst, v.Str()...)
		case row.KindBytes:
			dst = row.AppendText(dst, v)
		default:
			if dst = row.AppendText(dst, v); !w.careful {
				continue
			}
		}
		var err error
		if dst, err = w.quoteFrom(dst, start, !s.Fields[i].Nullable); err != nil {
			return dst[:begin], fmt.Errorf("field %s: %w", s.Fields[i].Name, err)
		}
	}
	return append(dst, '\n'), nil
}

// quoteFrom puts the text from start on into quotes when it needs them.
func (w *csvWriter) quoteFrom(dst []byte, start int, notNull bool) ([]byte, error) {
	text := dst[start:]
	ascii := true
	needed := w.isNull(text)
	for i := 0; i < len(text); {
		if i+8 <= len(text) {
			x := load(text, i)
			a, b, c, d := x^w.patterns[0], x^w.patterns[1], x^w.patterns[2], x^w.patterns[3]
			if ((a-ones)&^a|(b-ones)&^b|(c-ones)&^c|(d-ones)&^d)&highs != 0 {
				needed = true
			}
			ascii = ascii && x&highs == 0
			i += 8
			continue
		}
		c := text[i]
		needed = needed || c == w.delimiter || c == '\n' || c == '\r' || c == w.quote && c != 0
		ascii = ascii && c < utf8.RuneSelf
		i++
	}
	if !ascii {
		if !utf8.Valid(text) {
			return dst, errNotUTF8
		}
		needed = needed || bytes.HasPrefix(text, []byte("\ufeff"))
	}
	if !needed {
		return dst, nil
	}
	if w.quote == 0 {
		if notNull && len(text) == 0 {
			return dst, nil // it can not be taken for null
		}
		return dst, fmt.Errorf("got %s, which csv without quotes can not hold", row.Quote(text))
	}
	quotes := bytes.Count(text, []byte{w.quote})
	n := len(text)
	for range quotes + 2 {
		dst = append(dst, w.quote)
	}
	// Move the text into its place from behind, doubling its quotes.
	to := len(dst) - 2
	for i := start + n - 1; i >= start; i-- {
		dst[to] = dst[i]
		if to--; dst[i] == w.quote {
			dst[to] = w.quote
			to--
		}
	}
	dst[start], dst[len(dst)-1] = w.quote, w.quote
	return dst, nil
}

func (w *csvWriter) isNull(text []byte) bool {
	for _, n := range w.nulls {
		if string(text) == n {
			return true
		}
	}
	return false
}
