package format

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/activedataflow/adf/record/internal/number"
	"github.com/activedataflow/adf/record/row"
)

// object is a schema made ready for decoding JSON objects.
type object struct {
	fields   []field
	index    map[string]int
	required []int
	// next is a guess: field next[i+1] follows field i. It is learned from the records.
	next []int
}

type field struct {
	name string
	typ  row.Type
	kind row.Kind
	elem *field  // of lists and maps
	row  *object // of nested rows
	// notNull says that null is refused.
	notNull bool
	// The key as JSON writes it, `"name":`: its first 16 bytes as two numbers with masks, for one comparison, and what is behind them.
	key, mask [2]uint64
	keyRest   string
	keyLen    int
}

func objectOf(s *row.Schema) *object {
	o := &object{index: make(map[string]int, len(s.Fields)), next: make([]int, len(s.Fields)+1)}
	for i, f := range s.Fields {
		o.fields = append(o.fields, fieldOf(f.Name, f.Type, !f.Nullable))
		o.index[f.Name] = i
		o.next[i] = i
		if !f.Nullable {
			o.required = append(o.required, i)
		}
	}
	return o
}

func fieldOf(name string, t row.Type, notNull bool) field {
	f := field{name: name, typ: t, kind: t.Kind, notNull: notNull}
	switch t.Kind {
	case row.KindList, row.KindMap:
		elem := fieldOf("", *t.Elem, !t.ElemNullable)
		f.elem = &elem
	case row.KindRow:
		f.row = objectOf(t.Row)
	}
	key := append(row.AppendJSONValue(nil, &row.Type{Kind: row.KindString}, row.String(name)), ':')
	f.keyLen = len(key)
	if len(key) > 16 {
		f.keyRest = string(key[16:])
	}
	var padded, mask [16]byte
	for i := range copy(padded[:], key) {
		mask[i] = 0xff
	}
	for i := range 2 {
		f.key[i], f.mask[i] = load(padded[:], 8*i), load(mask[:], 8*i)
	}
	return f
}

func load(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special has a high bit at the first byte that is '"', '\\', below a space or not ASCII; there may be false ones behind it.
func special(x uint64) uint64 {
	q, b := x^'"'*ones, x^'\\'*ones
	return ((q-ones)&^q | (b-ones)&^b | (x - ' '*ones) | x) & highs
}

// maxDepth bounds how deeply values are nested.
const maxDepth = 100

// decoder turns JSON text into values. Its functions take a place in the text and give the one behind what they read, or -1 after a
// problem. Behind end there are slack bytes that are neither a part of a token nor the rest of one.
type decoder struct {
	buf     []byte
	end     int
	slab    *row.Slab
	depth   int
	values  []row.Value // elements of the lists being read
	entries []row.Entry
	arena   []byte // memory of strings that had escapes; never used twice
	problem problem
}

func (d *decoder) fail(at int, code string, err error) int {
	d.problem = problem{at: at, code: code, err: err}
	return -1
}

// syntax reports that something else was expected at a place.
func (d *decoder) syntax(at int, want string) int {
	if at >= d.end {
		return d.fail(d.end, "syntax", fmt.Errorf("got the end of the record, want %s", want))
	}
	r, size := utf8.DecodeRune(d.buf[at:d.end])
	if r == utf8.RuneError && size == 1 {
		return d.fail(at, "encoding", errNotUTF8)
	}
	return d.fail(at, "syntax", fmt.Errorf("got %q, want %s", string(r), want))
}

// space passes over white space and gives the byte behind it, 0 at the end.
func (d *decoder) space(i int) (int, byte) {
	for ; i < d.end; i++ {
		if c := d.buf[i]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return i, c
		}
	}
	return i, 0
}

// object reads an object into vs, which are null. Fields that the schema does not have are passed over; the last of several equal keys counts.
func (d *decoder) object(i int, o *object, vs []row.Value) int {
	start := i
	if d.depth++; d.depth > maxDepth {
		return d.fail(i, "syntax", fmt.Errorf("values are nested more than %d levels deep", maxDepth))
	}
	i, c := d.space(i + 1)
	if c == '}' {
		return d.complete(start, i+1, o, vs)
	}
	buf := d.buf
	last := 0 // one more than the field before
	for {
		if c != '"' {
			return d.syntax(i, "a key")
		}
		var f *field
		if n := o.next[last]; n < len(o.fields) {
			f = &o.fields[n]
			if load(buf, i)&f.mask[0] == f.key[0] && load(buf, i+8)&f.mask[1] == f.key[1] && (f.keyRest == "" || bytes.HasPrefix(buf[i+16:], bytesOf(f.keyRest))) {
				i += f.keyLen
				last = n + 1
			} else {
				f = nil
			}
		}
		if f == nil {
			var n int
			if n, i = d.key(i, o); i < 0 {
				return -1
			}
			if n >= 0 {
				f = &o.fields[n]
				o.next[last] = n
				last = n + 1
			}
		}
		if c = buf[i]; c <= ' ' {
			i, _ = d.space(i)
		}
		if f == nil {
			i = d.skip(i)
		} else {
			i = d.value(i, f, &vs[last-1])
		}
		if i < 0 {
			return -1
		}
		if c = buf[i]; c <= ' ' {
			i, c = d.space(i)
		}
		switch c {
		case ',':
			if i++; buf[i] > ' ' {
				c = buf[i]
			} else {
				i, c = d.space(i)
			}
		case '}':
			return d.complete(start, i+1, o, vs)
		default:
			return d.syntax(i, `"," or "}"`)
		}
	}
}

// complete checks at the end of an object that nothing is missing.
func (d *decoder) complete(start, end int, o *object, vs []row.Value) int {
	for _, f := range o.required {
		if vs[f].IsNull() {
			return d.fail(start, "null", fmt.Errorf("field %s is missing or null, want %s not null", o.fields[f].name, o.fields[f].typ))
		}
	}
	d.depth--
	return end
}

// key reads a key and its colon and gives the number of the field, -1 when there is none of that name.
func (d *decoder) key(i int, o *object) (n, end int) {
	name, i := d.text(i)
	if i < 0 {
		return -1, -1
	}
	n, ok := o.index[string(name)]
	if !ok {
		n = -1
	}
	i, c := d.space(i)
	if c != ':' {
		return n, d.syntax(i, `":"`)
	}
	return n, i + 1
}

// value reads a value of a field's type.
func (d *decoder) value(i int, f *field, v *row.Value) int {
	buf := d.buf
	c := buf[i]
	if c == 'n' {
		if i+4 > d.end || string(buf[i:i+4]) != "null" {
			return d.syntax(i, "a value")
		}
		*v = row.Value{}
		return i + 4
	}
	switch f.kind {
	case row.KindString:
		if c != '"' {
			return d.mismatch(i, f)
		}
		start := i + 1
		j := start
		for j < d.end {
			m := special(load(buf, j))
			if m == 0 {
				j += 8
				continue
			}
			if j += bits.TrailingZeros64(m) >> 3; buf[j] == '"' && j < d.end {
				*v = row.String(share(buf[start:j]))
				return j + 1
			}
			break
		}
		text, end := d.text(i)
		if end < 0 {
			return -1
		}
		*v = row.String(share(text))
		return end
	case row.KindInt64:
		first := i
		negative := c == '-'
		if negative {
			first++
		}
		var n int64
		j := first
		for ; buf[j]-'0' <= 9; j++ {
			n = n*10 + int64(buf[j]-'0')
		}
		if digits := j - first; digits == 0 || digits > 18 || buf[first] == '0' && digits > 1 || buf[j] == '.' || buf[j]|0x20 == 'e' {
			return d.number(i, f, v)
		}
		if negative {
			n = -n
		}
		*v = row.Int(n)
		return j
	case row.KindFloat64:
		n, end := number.Scan(buf[:d.end], i)
		if end == i {
			return d.mismatch(i, f)
		}
		x, ok := n.Float(buf[i:end])
		if !ok {
			return d.unfit(i, end, f)
		}
		*v = row.Float(x)
		return end
	case row.KindBool:
		if string(buf[i:i+4]) == "true" {
			*v = row.Bool(true)
			return i + 4
		}
		if string(buf[i:i+5]) == "false" {
			*v = row.Bool(false)
			return i + 5
		}
		return d.mismatch(i, f)
	case row.KindDecimal:
		if c != '"' {
			return d.number(i, f, v)
		}
		return d.parsed(i, f, v)
	case row.KindTimestamp, row.KindDate, row.KindDuration, row.KindBytes:
		if c != '"' {
			return d.mismatch(i, f)
		}
		return d.parsed(i, f, v)
	case row.KindList:
		if c != '[' {
			return d.mismatch(i, f)
		}
		return d.list(i, f, v)
	case row.KindMap:
		if c != '{' {
			return d.mismatch(i, f)
		}
		return d.mapping(i, f, v)
	case row.KindRow:
		if c != '{' {
			return d.mismatch(i, f)
		}
		vs := d.slab.Values(len(f.row.fields))
		if i = d.object(i, f.row, vs); i < 0 {
			return d.inside(strings.TrimSuffix(f.label(), ": "))
		}
		*v = row.Nested(vs)
		return i
	}
	return d.mismatch(i, f)
}

// mismatch reports a value of another type, or something that is none.
func (d *decoder) mismatch(i int, f *field) int {
	end := d.skip(i)
	if end < 0 {
		return -1
	}
	return d.unfit(i, end, f)
}

// unfit reports a value that is right as JSON.
func (d *decoder) unfit(i, end int, f *field) int {
	return d.fail(i, "value", fmt.Errorf("%sgot %s, want %s", f.label(), row.Quote(d.buf[i:end]), f.typ))
}

func (f *field) label() string {
	if f.name == "" {
		return ""
	}
	return "field " + f.name + ": "
}

// number reads an int64 or decimal of any form.
func (d *decoder) number(i int, f *field, v *row.Value) int {
	n, end := number.Scan(d.buf[:d.end], i)
	if end == i {
		return d.mismatch(i, f)
	}
	if f.kind == row.KindInt64 {
		x, ok := n.Int()
		if !ok {
			return d.unfit(i, end, f)
		}
		*v = row.Int(x)
		return end
	}
	x, err := row.ParseText(d.buf[i:end], f.typ)
	if err != nil {
		return d.unfit(i, end, f)
	}
	*v = x
	return end
}

// parsed reads a value that stands in a string.
func (d *decoder) parsed(i int, f *field, v *row.Value) int {
	text, end := d.text(i)
	if end < 0 {
		return -1
	}
	x, err := row.ParseText(text, f.typ)
	if err != nil {
		return d.fail(i, "value", fmt.Errorf("%s%w", f.label(), err))
	}
	*v = x
	return end
}

func (d *decoder) list(i int, f *field, v *row.Value) int {
	if d.depth++; d.depth > maxDepth {
		return d.fail(i, "syntax", fmt.Errorf("values are nested more than %d levels deep", maxDepth))
	}
	start := len(d.values)
	i, c := d.space(i + 1)
	for n := 0; c != ']'; n++ {
		if n > 0 {
			if c != ',' {
				return d.syntax(i, `"," or "]"`)
			}
			i, _ = d.space(i + 1)
		}
		var e row.Value
		at := i
		if i = d.value(i, f.elem, &e); i < 0 {
			return d.inside(fmt.Sprintf("%selement %d", f.label(), n))
		}
		if e.IsNull() && f.elem.notNull {
			return d.fail(at, "null", fmt.Errorf("%selement %d is null, want %s not null", f.label(), n, f.elem.typ))
		}
		d.values = append(d.values, e)
		i, c = d.space(i)
	}
	vs := d.slab.Values(len(d.values) - start)
	copy(vs, d.values[start:])
	d.values = d.values[:start]
	d.depth--
	*v = row.List(vs)
	return i + 1
}

// inside says in which part of a value the problem is.
func (d *decoder) inside(part string) int {
	if part != "" && (d.problem.code == "value" || d.problem.code == "null") {
		d.problem.err = fmt.Errorf("%s: %w", part, d.problem.err)
	}
	return -1
}

func (d *decoder) mapping(i int, f *field, v *row.Value) int {
	if d.depth++; d.depth > maxDepth {
		return d.fail(i, "syntax", fmt.Errorf("values are nested more than %d levels deep", maxDepth))
	}
	start := len(d.entries)
	i, c := d.space(i + 1)
	for n := 0; c != '}'; n++ {
		if n > 0 {
			if c != ',' {
				return d.syntax(i, `"," or "}"`)
			}
			i, c = d.space(i + 1)
		}
		if c != '"' {
			return d.syntax(i, "a key")
		}
		key, end := d.text(i)
		if end < 0 {
			return -1
		}
		if i, c = d.space(end); c != ':' {
			return d.syntax(i, `":"`)
		}
		i, _ = d.space(i + 1)
		e := row.Entry{Key: share(key)}
		at := i
		if i = d.value(i, f.elem, &e.Value); i < 0 {
			return d.inside(fmt.Sprintf("%skey %q", f.label(), key))
		}
		if e.Value.IsNull() && f.elem.notNull {
			return d.fail(at, "null", fmt.Errorf("%skey %q is null, want %s not null", f.label(), key, f.elem.typ))
		}
		d.entries = append(d.entries, e)
		i, c = d.space(i)
	}
	found := sorted(d.entries[start:])
	es := d.slab.Entries(len(found))
	copy(es, found)
	d.entries = d.entries[:start]
	d.depth--
	*v = row.Map(es)
	return i + 1
}

// sorted orders entries by key; of equal keys the last stays.
func sorted(es []row.Entry) []row.Entry {
	slices.SortStableFunc(es, func(a, b row.Entry) int { return strings.Compare(a.Key, b.Key) })
	kept := 0
	for i := range es {
		if i+1 < len(es) && es[i].Key == es[i+1].Key {
			continue
		}
		es[kept] = es[i]
		kept++
	}
	return es[:kept]
}

// text reads a string; it shares the block, or the arena when it had escapes.
func (d *decoder) text(i int) (text []byte, end int) {
	if d.buf[i] != '"' {
		return nil, d.syntax(i, "a string")
	}
	start := i + 1
	j, ascii := start, true
	for j < d.end {
		m := special(load(d.buf, j))
		if m == 0 {
			j += 8
			continue
		}
		if j += bits.TrailingZeros64(m) >> 3; j >= d.end {
			break
		}
		switch c := d.buf[j]; {
		case c == '"':
			if text = d.buf[start:j]; !ascii && !utf8.Valid(text) {
				return nil, d.notUTF8(start, j)
			}
			return text, j + 1
		case c == '\\':
			return d.escaped(start, j)
		case c < ' ':
			return nil, d.fail(j, "syntax", fmt.Errorf("got the control character %q inside a string", string(rune(c))))
		default:
			ascii = false
			for ; j < d.end && d.buf[j] >= utf8.RuneSelf; j++ {
			}
		}
	}
	return nil, d.fail(i, "syntax", errors.New("the string has no end"))
}

func (d *decoder) notUTF8(start, end int) int {
	for at := start; at < end; {
		r, size := utf8.DecodeRune(d.buf[at:end])
		if r == utf8.RuneError && size == 1 {
			return d.fail(at, "encoding", errNotUTF8)
		}
		at += size
	}
	return d.fail(start, "encoding", errNotUTF8)
}

// arenaSize is how much memory for strings with escapes is taken at a time.
const arenaSize = 16 << 10

// escaped reads a string that begins at start and whose first escape is at j.
func (d *decoder) escaped(start, j int) (text []byte, end int) {
	// The text becomes no longer than it is, so the place of its end is found first.
	quote := j
	for ; quote < d.end && d.buf[quote] != '"'; quote++ {
		if d.buf[quote] == '\\' {
			quote++
		}
	}
	if quote >= d.end {
		return nil, d.fail(start-1, "syntax", errors.New("the string has no end"))
	}
	if n := quote - start; n > cap(d.arena)-len(d.arena) {
		d.arena = make([]byte, 0, max(arenaSize, n))
	}
	begin := len(d.arena)
	out := append(d.arena, d.buf[start:j]...)
	for j < quote {
		c := d.buf[j]
		if c < ' ' {
			return nil, d.fail(j, "syntax", fmt.Errorf("got the control character %q inside a string", string(rune(c))))
		}
		if c != '\\' {
			out = append(out, c)
			j++
			continue
		}
		switch c = d.buf[j+1]; c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := hex4(d.buf[j+2 : max(j+2, quote)])
			if !ok {
				return nil, d.fail(j, "syntax", errors.New(`got "\u" without four hexadecimal digits`))
			}
			j += 6
			if utf16.IsSurrogate(r) {
				low, ok := rune(0), false
				if j+2 <= quote && d.buf[j] == '\\' && d.buf[j+1] == 'u' {
					low, ok = hex4(d.buf[j+2 : quote])
				}
				if pair := utf16.DecodeRune(r, low); ok && pair != utf8.RuneError {
					r = pair
					j += 6
				} else {
					r = utf8.RuneError // half a pair has no UTF-8: as everywhere in Go
				}
			}
			out = utf8.AppendRune(out, r)
			continue
		default:
			return nil, d.fail(j, "syntax", fmt.Errorf("got the unknown escape %q", `\`+string(rune(c))))
		}
		j += 2
	}
	d.arena = out
	text = out[begin:len(out):len(out)]
	if !utf8.Valid(text) {
		return nil, d.notUTF8(start, quote)
	}
	return text, quote + 1
}

func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 4 {
		return 0, false
	}
	for _, c := range b[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// skip passes over a value of any kind.
func (d *decoder) skip(i int) int {
	if i >= d.end {
		return d.syntax(i, "a value")
	}
	switch c := d.buf[i]; c {
	case '"':
		_, end := d.text(i)
		return end
	case '{', '[':
		if d.depth++; d.depth > maxDepth {
			return d.fail(i, "syntax", fmt.Errorf("values are nested more than %d levels deep", maxDepth))
		}
		closing, want := byte('}'), `"," or "}"`
		if c == '[' {
			closing, want = ']', `"," or "]"`
		}
		i, next := d.space(i + 1)
		for n := 0; next != closing; n++ {
			if n > 0 {
				if next != ',' {
					return d.syntax(i, want)
				}
				i, next = d.space(i + 1)
			}
			if c == '{' {
				if next != '"' {
					return d.syntax(i, "a key")
				}
				if _, i = d.text(i); i < 0 {
					return -1
				}
				if i, next = d.space(i); next != ':' {
					return d.syntax(i, `":"`)
				}
				i, _ = d.space(i + 1)
			}
			if i = d.skip(i); i < 0 {
				return -1
			}
			i, next = d.space(i)
		}
		d.depth--
		return i + 1
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(d.buf[i:d.end], bytesOf(word)) {
			return i + len(word)
		}
	}
	if _, end := number.Scan(d.buf[:d.end], i); end > i {
		return end
	}
	return d.syntax(i, "a value")
}

// share gives a string of the same memory, bytesOf bytes that must not be changed.
func share(b []byte) string   { return unsafe.String(unsafe.SliceData(b), len(b)) }
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
