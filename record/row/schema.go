package row

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
}

// NewSchema makes a schema; a name given twice or an empty one is an error.
func NewSchema(fields ...Field) (*Schema, error) { return newSchema(fields) }

// Row is one record: a schema and one value per field. The values live in the slab of the row's batch: Clone a row that must outlive it.
type Row struct {
	Schema *Schema
	Values []Value
}
