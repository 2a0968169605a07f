package format

import (
	"fmt"
	"io"
	"strconv"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/internal/number"
	"github.com/activedataflow/adf/record/row"
)

// Infer makes a schema of the first records of a stream (all of them when records is 0). Every field is nullable.
//
// In csv a column is int64, float64, bool, timestamp or date when all its texts are, and string otherwise; numbers with leading zeros or a plus
// sign are strings, since codes look like that. Without a header line columns are called column1, column2, ….
// In JSON the JSON type decides; strings that all are timestamps or dates become such, whole numbers and others together are float64.
// A field that is null everywhere is a string. What has no one type (a number here, a string there) is an error that names the field.
func Infer(r io.Reader, o Options, name string, records int) (*row.Schema, error) {
	if err := fault.Config(o.Validate()...); err != nil {
		return nil, err
	}
	t := &text{}
	if err := t.open(r, o, Start{Name: name}); err != nil {
		return nil, err
	}
	in := inference{kind: row.KindRow}
	for n := 0; records == 0 || n < records; n++ {
		if t.err != nil {
			break
		}
		f, err := t.next(t, true)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		var p *problem
		if o.Format == formatCSV {
			p = in.addCells(t, f)
		} else {
			p = in.addJSON(t, f)
		}
		if p != nil {
			return nil, t.fault(*p)
		}
		t.advance(f.all, f.lines)
	}
	if o.Format == formatCSV {
		for i, name := range t.csv.header { // columns of a file without records
			in.named(name, i)
		}
	}
	if len(in.fields) == 0 {
		return nil, &fault.SourceError{Detail: fault.Detail{Code: "format." + o.Format + ".infer", Doing: "infer the schema", At: name, Retry: fault.RetryNever,
			Err: fmt.Errorf("got no record"), Fix: "declare the schema"}}
	}
	return in.schema()
}

// inference is what is known of a value's type. The zero value is that of null.
type inference struct {
	kind   row.Kind // KindNull: nothing is known
	fields []inferred
	index  map[string]int
	elem   *inference
}

type inferred struct {
	name string
	inference
}

// named finds the field of a name; at is where it probably is.
func (in *inference) named(name string, at int) *inference {
	if at < len(in.fields) && in.fields[at].name == name {
		return &in.fields[at].inference
	}
	if i, ok := in.index[name]; ok {
		return &in.fields[i].inference
	}
	if in.index == nil {
		in.index = map[string]int{}
	}
	in.index[name] = len(in.fields)
	in.fields = append(in.fields, inferred{name: name})
	return &in.fields[len(in.fields)-1].inference
}

func (in *inference) schema() (*row.Schema, error) {
	var fields []row.Field
	for i := range in.fields {
		t, err := in.fields[i].typ()
		if err != nil {
			return nil, err
		}
		fields = append(fields, row.Field{Name: in.fields[i].name, Type: t, Nullable: true})
	}
	return row.NewSchema(fields...)
}

func (in *inference) typ() (row.Type, error) {
	switch in.kind {
	case row.KindNull:
		return row.Type{Kind: row.KindString}, nil
	case row.KindList:
		elem := row.Type{Kind: row.KindString}
		if in.elem != nil {
			var err error
			if elem, err = in.elem.typ(); err != nil {
				return elem, err
			}
		}
		return row.Type{Kind: row.KindList, Elem: &elem, ElemNullable: true}, nil
	case row.KindRow:
		s, err := in.schema()
		return row.Type{Kind: row.KindRow, Row: s}, err
	}
	return row.Type{Kind: in.kind}, nil
}

// merge takes one more kind; ok is false when there is no type for both.
func (in *inference) merge(kind row.Kind) (ok bool) {
	switch {
	case kind == row.KindNull || in.kind == kind:
	case in.kind == row.KindNull:
		in.kind = kind
	case isNumber(in.kind) && isNumber(kind):
		in.kind = row.KindFloat64
	case isText(in.kind) && isText(kind):
		in.kind = row.KindString
	default:
		return false
	}
	return true
}

func isNumber(k row.Kind) bool { return k == row.KindInt64 || k == row.KindFloat64 }
func isText(k row.Kind) bool {
	return k == row.KindString || k == row.KindTimestamp || k == row.KindDate
}

func (in *inference) addCells(t *text, f found) *problem {
	if p := t.checkText(f); p != nil {
		return p
	}
	c := &t.csv
	if c.header == nil {
		for i := range c.cells {
			c.header = append(c.header, "column"+strconv.Itoa(i+1))
		}
	}
	if len(c.cells) != len(c.header) {
		return &problem{0, "columns", fmt.Errorf("got %d columns, want %d", len(c.cells), len(c.header)), ""}
	}
	for i, cl := range c.cells {
		column := in.named(c.header[i], i)
		text := t.cellText(cl)
		if len(text) == 0 || !cl.quoted && c.isNull(text) {
			continue
		}
		if !column.merge(kindOfText(text)) {
			column.kind = row.KindString
		}
	}
	return nil
}

// kindOfText is the kind that a csv text looks like.
func kindOfText(text []byte) row.Kind {
	if n, end := number.Scan(text, 0); end > 0 && end == len(text) {
		if _, ok := n.Int(); n.Whole {
			if ok {
				return row.KindInt64
			}
			return row.KindString // longer than an int64: a code
		}
		if _, ok := n.Float(text); ok {
			return row.KindFloat64
		}
		return row.KindString
	}
	for _, kind := range []row.Kind{row.KindBool, row.KindTimestamp, row.KindDate} {
		if _, err := row.ParseText(text, row.Type{Kind: kind}); err == nil {
			return kind
		}
	}
	return row.KindString
}

func (in *inference) addJSON(t *text, f found) *problem {
	d := &t.decoder
	d.begin(t.buf[t.pos:], f.size)
	i, c := d.space(0)
	if c != '{' {
		d.syntax(i, "an object")
		return &d.problem
	}
	if end := d.skip(i); end < 0 {
		return &d.problem
	} else if end, c = d.space(end); c != 0 {
		d.syntax(end, "nothing behind the object")
		return &d.problem
	}
	if _, ok := in.add(d, i, ""); !ok {
		return &d.problem
	}
	return nil
}

// add takes the value at i, whose syntax is right, and gives the place behind it.
func (in *inference) add(d *decoder, i int, path string) (end int, ok bool) {
	kind := row.KindNull
	switch d.buf[i] {
	case '{':
		kind = row.KindRow
	case '[':
		kind = row.KindList
	case '"':
		var text []byte
		text, end = d.text(i)
		if kind = kindOfText(text); !isText(kind) {
			kind = row.KindString
		}
	case 't', 'f':
		kind, end = row.KindBool, d.skip(i)
	case 'n':
		return d.skip(i), true
	default:
		var n number.Number
		n, end = number.Scan(d.buf[:d.end], i)
		kind = row.KindFloat64
		if _, fits := n.Int(); n.Whole && fits {
			kind = row.KindInt64
		}
	}
	if was := in.kind; !in.merge(kind) {
		d.fail(i, "infer", fmt.Errorf("field %s is %s here and was %s before", path, kind, was))
		d.problem.fix = "declare the schema"
		return -1, false
	}
	switch kind {
	case row.KindRow:
		return in.addObject(d, i, path)
	case row.KindList:
		return in.addList(d, i, path)
	}
	return end, true
}

func (in *inference) addObject(d *decoder, i int, path string) (end int, ok bool) {
	i, c := d.space(i + 1)
	for n := 0; c != '}'; n++ {
		if c == ',' {
			i, _ = d.space(i + 1)
		}
		key, behind := d.text(i)
		i, _ = d.space(behind)
		i, _ = d.space(i + 1)
		name := string(key)
		inner := name
		if path != "" {
			inner = path + "." + name
		}
		if name == "" {
			return d.fail(i, "infer", fmt.Errorf("got an empty key, which can not be a field")), false
		}
		if i, ok = in.named(name, n).add(d, i, inner); !ok {
			return -1, false
		}
		i, c = d.space(i)
	}
	return i + 1, true
}

func (in *inference) addList(d *decoder, i int, path string) (end int, ok bool) {
	if in.elem == nil {
		in.elem = &inference{}
	}
	i, c := d.space(i + 1)
	for c != ']' {
		if c == ',' {
			i, _ = d.space(i + 1)
		}
		if i, ok = in.elem.add(d, i, path+"[]"); !ok {
			return -1, false
		}
		i, c = d.space(i)
	}
	return i + 1, true
}
