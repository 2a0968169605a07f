package row

// AppendJSONRow appends a record as one JSON object, its fields in the order of the schema.
func AppendJSONRow(dst []byte, s *Schema, vs []Value) []byte {
	panic("being written")
}

func trimDecimal(v Value) Value { panic("being written") }
