package row

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Type is the type of a field: a kind and what the kind needs.
type Type struct {
	Kind Kind
	// Precision and Scale belong to decimals: total digits (1 to 38) and digits after the point.
	Precision, Scale uint8
	// Elem is the element type of lists and maps; ElemNullable says whether elements may be null.
	Elem         *Type
	ElemNullable bool
	// Row is the schema of a nested row.
	Row *Schema
}

// Field is a named, typed column.
type Field struct {
	Name     string
	Type     Type
	Nullable bool
}

// Schema is an ordered list of fields with unique names. Share it by pointer and never change one that is in use.
type Schema struct {
	Fields []Field
	index  map[string]int
	// jsonKeys stand before each field's value in JSON.
	jsonKeys []string
}

// NewSchema makes a schema; a name given twice or an empty one is an error.
func NewSchema(fields ...Field) (*Schema, error) {
	s := &Schema{Fields: fields, index: make(map[string]int, len(fields))}
	for i, f := range fields {
		if f.Name == "" {
			return nil, fmt.Errorf("field %d has no name", i+1)
		}
		if _, twice := s.index[f.Name]; twice {
			return nil, fmt.Errorf("field %q is there twice", f.Name)
		}
		s.index[f.Name] = i
		s.jsonKeys = append(s.jsonKeys, jsonKey(f.Name, i))
	}
	return s, nil
}

// Index finds a field by its name.
func (s *Schema) Index(name string) (int, bool) {
	i, ok := s.index[name]
	return i, ok
}

// Names are the fields' names, in order.
func (s *Schema) Names() []string {
	names := make([]string, len(s.Fields))
	for i, f := range s.Fields {
		names[i] = f.Name
	}
	return names
}

// String is the schema's text form, which ParseSchema reads: "id int64 not null, name string".
func (s *Schema) String() string {
	var b strings.Builder
	for i, f := range s.Fields {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoteName(f.Name) + " " + f.Type.String())
		if !f.Nullable {
			b.WriteString(" not null")
		}
	}
	return b.String()
}

// Equal says whether two schemas have the same fields in the same order.
func (s *Schema) Equal(o *Schema) bool {
	return s == o || s != nil && o != nil && s.String() == o.String()
}

// Digest names the schema by its content.
func (s *Schema) Digest() string {
	sum := sha256.Sum256([]byte(s.String()))
	return hex.EncodeToString(sum[:8])
}

var kindNames = map[Kind]string{
	KindNull: "null", KindBool: "bool", KindInt64: "int64", KindFloat64: "float64", KindDecimal: "decimal", KindString: "string", KindBytes: "bytes",
	KindTimestamp: "timestamp", KindDate: "date", KindDuration: "duration", KindList: "list", KindMap: "map", KindRow: "row",
}

func (k Kind) String() string { return kindNames[k] }

// String is the type's text form, which ParseType reads: "int64", "decimal(10,2)", "list<string not null>", "row<a int64>".
func (t Type) String() string {
	switch t.Kind {
	case KindDecimal:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case KindList, KindMap:
		elem := t.Elem.String()
		if !t.ElemNullable {
			elem += " not null"
		}
		return t.Kind.String() + "<" + elem + ">"
	case KindRow:
		return "row<" + t.Row.String() + ">"
	default:
		return t.Kind.String()
	}
}

// Equal says whether two types are the same.
func (t Type) Equal(o Type) bool { return t.String() == o.String() }

// quoteName puts a name that is not a plain word into double quotes.
func quoteName(name string) string {
	if isWord(name) && !strings.EqualFold(name, "not") {
		return name
	}
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

// ParseType reads a type's text form. A type that is nullable by itself ("int64 not null") is a field's, see ParseField.
func ParseType(text string) (Type, error) {
	p := &typeParser{text: text}
	t, err := p.parseType()
	if err == nil {
		err = p.end()
	}
	return t, err
}

// ParseField reads a type with an optional "not null" behind it; without it the field is nullable.
func ParseField(name, text string) (Field, error) {
	p := &typeParser{text: text}
	f := Field{Name: name}
	var err error
	if f.Type, f.Nullable, err = p.parseNullable(); err == nil {
		err = p.end()
	}
	return f, err
}

// ParseSchema reads a schema's text form.
func ParseSchema(text string) (*Schema, error) {
	p := &typeParser{text: text}
	s, err := p.parseSchema(false)
	if err == nil {
		err = p.end()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// typeParser reads types by recursive descent.
type typeParser struct {
	text  string
	pos   int
	depth int
}

// maxTypeDepth bounds how deeply types are nested.
const maxTypeDepth = 64

func (p *typeParser) fail(want string) error {
	found := "the end"
	if p.pos < len(p.text) {
		found = fmt.Sprintf("%q", p.text[p.pos:min(p.pos+12, len(p.text))])
	}
	return fmt.Errorf("column %d: got %s, want %s", p.pos+1, found, want)
}

func (p *typeParser) space() {
	for p.pos < len(p.text) && (p.text[p.pos] == ' ' || p.text[p.pos] == '\t' || p.text[p.pos] == '\n') {
		p.pos++
	}
}

func (p *typeParser) eat(s string) bool {
	p.space()
	if strings.HasPrefix(p.text[p.pos:], s) {
		p.pos += len(s)
		return true
	}
	return false
}

func (p *typeParser) end() error {
	p.space()
	if p.pos < len(p.text) {
		return p.fail("nothing more")
	}
	return nil
}

func (p *typeParser) word() string {
	p.space()
	start := p.pos
	for p.pos < len(p.text) && isWord("_"+p.text[p.pos:p.pos+1]) {
		p.pos++
	}
	return p.text[start:p.pos]
}

func (p *typeParser) number(most int) (uint8, error) {
	p.space()
	n, start := 0, p.pos
	for p.pos < len(p.text) && p.text[p.pos] >= '0' && p.text[p.pos] <= '9' && n <= most {
		n = n*10 + int(p.text[p.pos]-'0')
		p.pos++
	}
	if p.pos == start || n > most {
		p.pos = start
		return 0, p.fail(fmt.Sprintf("a number up to %d", most))
	}
	return uint8(n), nil
}

const typeNames = "bool, int64, float64, decimal(p,s), string, bytes, timestamp, date, duration, list<…>, map<…> or row<…>"

func (p *typeParser) parseType() (Type, error) {
	if p.depth++; p.depth > maxTypeDepth {
		return Type{}, p.fail(fmt.Sprintf("at most %d levels of nesting", maxTypeDepth))
	}
	defer func() { p.depth-- }()
	p.space()
	start := p.pos
	switch w := p.word(); w {
	case "bool":
		return Type{Kind: KindBool}, nil
	case "int64", "int":
		return Type{Kind: KindInt64}, nil
	case "float64", "float":
		return Type{Kind: KindFloat64}, nil
	case "string":
		return Type{Kind: KindString}, nil
	case "bytes":
		return Type{Kind: KindBytes}, nil
	case "timestamp":
		return Type{Kind: KindTimestamp}, nil
	case "date":
		return Type{Kind: KindDate}, nil
	case "duration":
		return Type{Kind: KindDuration}, nil
	case "decimal":
		return p.parseDecimal()
	case "list", "map":
		if !p.eat("<") {
			return Type{}, p.fail(`"<" and an element type`)
		}
		elem, nullable, err := p.parseNullable()
		if err != nil {
			return Type{}, err
		}
		if !p.eat(">") {
			return Type{}, p.fail(`">"`)
		}
		kind := KindList
		if w == "map" {
			kind = KindMap
		}
		return Type{Kind: kind, Elem: &elem, ElemNullable: nullable}, nil
	case "row":
		if !p.eat("<") {
			return Type{}, p.fail(`"<" and fields`)
		}
		s, err := p.parseSchema(true)
		if err != nil {
			return Type{}, err
		}
		return Type{Kind: KindRow, Row: s}, nil
	default:
		p.pos = start
		return Type{}, p.fail(typeNames)
	}
}

func (p *typeParser) parseDecimal() (Type, error) {
	t := Type{Kind: KindDecimal, Precision: 38, Scale: 18}
	if !p.eat("(") {
		return t, nil
	}
	var err error
	if t.Precision, err = p.number(38); err != nil {
		return t, err
	}
	t.Scale = 0
	if p.eat(",") {
		if t.Scale, err = p.number(int(t.Precision)); err != nil {
			return t, err
		}
	}
	if t.Precision == 0 {
		return t, p.fail("a precision of at least 1")
	}
	if !p.eat(")") {
		return t, p.fail(`")"`)
	}
	return t, nil
}

func (p *typeParser) parseNullable() (t Type, nullable bool, err error) {
	if t, err = p.parseType(); err != nil {
		return t, false, err
	}
	p.space()
	if !strings.HasPrefix(p.text[p.pos:], "not") {
		return t, true, nil
	}
	p.pos += len("not")
	if p.word() != "null" {
		return t, false, p.fail(`"not null"`)
	}
	return t, false, nil
}

// parseSchema reads fields up to the end, or up to ">" when nested.
func (p *typeParser) parseSchema(nested bool) (*Schema, error) {
	var fields []Field
	over := func() bool {
		if nested {
			return p.eat(">")
		}
		p.space()
		return p.pos == len(p.text)
	}
	for !over() {
		if len(fields) > 0 && !p.eat(",") {
			return nil, p.fail(`","`)
		}
		name, err := p.name()
		if err != nil {
			return nil, err
		}
		f := Field{Name: name}
		if f.Type, f.Nullable, err = p.parseNullable(); err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return NewSchema(fields...)
}

func (p *typeParser) name() (string, error) {
	if !p.eat(`"`) {
		if w := p.word(); w != "" {
			return w, nil
		}
		return "", p.fail("a field's name")
	}
	var b strings.Builder
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		if c != '"' {
			b.WriteByte(c)
			continue
		}
		if p.pos == len(p.text) || p.text[p.pos] != '"' {
			return b.String(), nil
		}
		b.WriteByte('"')
		p.pos++
	}
	return "", p.fail(`a closing '"'`)
}

// Row is one record: a schema and one value per field. The values live in the slab of the row's batch: Clone a row that must outlive it.
type Row struct {
	Schema *Schema
	Values []Value
}

// Get gives a field's value; null when there is no such field.
func (r Row) Get(name string) Value {
	if i, ok := r.Schema.Index(name); ok {
		return r.Values[i]
	}
	return Value{}
}

// Clone copies the row, so that it can outlive its batch.
func (r Row) Clone() Row {
	var own Slab
	own.values = make([]Value, len(r.Values))
	return Row{r.Schema, copyValues(&own, r.Values)}
}
