package row

import "github.com/activedataflow/adf/record"

// AnyCodec is a Codec whose type is erased: what the house needs to move batches of a type it does not know.
// Its only implementation is *Codec[T]. A codec is safe for concurrent use.
type AnyCodec interface {
	// Schema is the schema of every record.
	Schema() *Schema
	// NewBatch makes an empty *record.Batch[T].
	NewBatch() record.Any
	// AppendBatch appends b's wire form (a versioned adf.v1.Batch) to dst.
	AppendBatch(dst []byte, b record.Any) []byte
	// DecodeBatch appends the records of a wire form to into. Strings and bytes share data, which must not
	// change afterwards. A wire form written under an older schema is read by the evolution rule.
	DecodeBatch(data []byte, into record.Any) error
	// CopyRecord appends a copy of record i of src, which lives as long as dst does, with its meta.
	CopyRecord(dst, src record.Any, i int)
	// Values appends the field values of record i of b to vs; they share b's memory.
	Values(vs []Value, b record.Any, i int) []Value
	// AppendRecord appends a record made of one value per field, with its meta.
	AppendRecord(b record.Any, vs []Value, m record.Meta) error
	// AppendJSON appends record i of b as one JSON object.
	AppendJSON(dst []byte, b record.Any, i int) []byte
}
