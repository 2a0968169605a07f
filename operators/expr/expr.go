package expr

import (
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// Expr is a compiled expression. It is safe for concurrent use, each goroutine with an Env of its own.
type Expr struct {
	text   string
	schema *row.Schema
	node   node
}

// Compile parses an expression, checks it against the schema of the rows it will see, and compiles it. The error is an *Error.
func Compile(text string, in *row.Schema) (*Expr, error) { return compileAt(text, 0, in) }

// compileAt compiles a text that stands behind so many characters of another one, in which columns are counted.
func compileAt(text string, behind int, in *row.Schema) (*Expr, error) {
	tree, err := parse(text)
	if err == nil {
		c := &compiler{schema: in}
		var n node
		if n, err = c.compile(tree); err == nil {
			return &Expr{text, in, n}, nil
		}
	}
	moved := *err.(*Error)
	moved.Col += behind
	return nil, &moved
}

// String is the text that was compiled.
func (x *Expr) String() string { return x.text }

// Type is the type of the values; its kind is row.KindNull for an expression that is always null.
func (x *Expr) Type() row.Type { return x.node.typ }

// Nullable says whether a value can be null.
func (x *Expr) Nullable() bool { return x.node.null }

// Field is a column that holds the values.
func (x *Expr) Field(name string) row.Field {
	return row.Field{Name: name, Type: x.node.typ, Nullable: x.node.null}
}

// Column gives the name of the column when the expression is nothing but a column.
func (x *Expr) Column() (name string, ok bool) {
	if i, ok := x.ColumnIndex(); ok {
		return x.schema.Fields[i].Name, true
	}
	return "", false
}

// ColumnIndex gives the place of the column when the expression is nothing but a column.
func (x *Expr) ColumnIndex() (i int, ok bool) { return x.node.col, x.node.isColumn() }

// Env is what an expression sees besides a row's values, and its memory. It belongs to one goroutine; reuse it, so that nothing is allocated
// per record. The zero Env is ready to use.
type Env struct {
	// Meta is the record's, for meta.time and meta.position; nil is a record without event time at position 0.
	Meta *record.Meta
	// Split is the id of the record's split, for meta.split.
	Split string
	// Slab is where lists that an expression makes live; nil is the heap.
	Slab *row.Slab

	vs   []row.Value
	err  *failure
	text []byte // the block that new strings are cut from; blocks are never reused
}

// Eval computes the value for a row of the schema, given as one value per field. The value may share memory with the row; strings may be kept. The
// error, a *fault.RuntimeError, is about this row only. A nil env is an empty one.
func (x *Expr) Eval(vs []row.Value, env *Env) (row.Value, error) {
	if env == nil {
		env = &Env{}
	}
	env.vs = vs
	v := x.node.fn(env)
	if env.err != nil {
		err := env.err.fault(x.text)
		env.err = nil
		return row.Null(), err
	}
	return v, nil
}

// blockSize is the size of a block of strings, in bytes; the first ones are smaller.
const blockSize = 1 << 16

// tail gives an empty slice for n bytes of a new string: append at most n, then keep it.
func (e *Env) tail(n int) []byte {
	if cap(e.text)-len(e.text) < n {
		e.text = make([]byte, 0, max(n, min(blockSize, max(256, 4*cap(e.text)))))
	}
	used := len(e.text)
	return e.text[used : used : used+n]
}

// keep makes a string of what was appended to a tail of n bytes.
func (e *Env) keep(b []byte, n int) row.Value {
	if len(b) <= n {
		e.text = e.text[:len(e.text)+len(b)]
	}
	return stringOf(b)
}

// values gives n nulls for a new list.
func (e *Env) values(n int) []row.Value {
	if e.Slab != nil {
		return e.Slab.Values(n)
	}
	return make([]row.Value, n)
}
