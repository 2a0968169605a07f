package state

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/adf/record/row"
)

// Cell declares one named kind of state: a value per key and namespace (a window's start, 0 where there is none). Make one with
// [NewValue] or [Define]. Its name is stable: a snapshot finds its values by it. A declaration has no state and is safe to share.
type Cell interface {
	Name() string
	// WithTTL is the same cell; if it has no TTL of its own, with this one.
	WithTTL(ttl time.Duration) Cell
	check() error
	open() store
}

// Format is how the values of a cell are stored.
type Format[V any] interface {
	// Schema is the text that is stored with the values, and from which a later version of the program knows how to read them.
	Schema() string
	// Writer makes a function that appends a value's encoding; it is used from one goroutine.
	Writer() func(dst []byte, v *V) []byte
	// Reader makes a function that reads a whole encoding of the given schema. What it keeps of data it copies. *v is zero or
	// was read before.
	Reader(schema string) (func(v *V, data []byte) error, error)
}

// Value is a cell of values of type V.
type Value[V any] struct {
	name   string
	ttl    int64 // milliseconds, 0 for none
	format Format[V]
	due    func(ns int64) int64
	err    error
}

// NewValue declares a cell whose values are of a type that row.CodecOf takes; they evolve as rows do. A value that was not written for ttl is
// dropped; zero takes the step's TTL. A type that can not be stored is an error when the flow is built.
func NewValue[V any](name string, ttl time.Duration) *Value[V] {
	c, err := row.CodecOf[V]()
	v := &Value[V]{name: name, ttl: millis(ttl), err: err}
	if err == nil {
		v.format = RowFormat(c)
	}
	return v
}

// Define declares a cell whose values have a format of their own. With due, each entry is a timer too: it is due at due of its namespace, in event time.
func Define[V any](name string, f Format[V], due func(ns int64) int64) *Value[V] {
	return &Value[V]{name: name, format: f, due: due}
}

// millis rounds up to whole milliseconds.
func millis(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

// Name is the cell's name.
func (v *Value[V]) Name() string { return v.name }

// WithTTL is the same cell; if it has no TTL of its own, with this one.
func (v *Value[V]) WithTTL(ttl time.Duration) Cell {
	c := *v
	if c.ttl == 0 {
		c.ttl = millis(ttl)
	}
	return &c
}

func (v *Value[V]) check() error {
	switch {
	case v.err != nil:
		return fmt.Errorf("state %s: %w", v.name, v.err)
	case v.name == "":
		return errors.New("a cell of state has no name")
	case v.ttl < 0:
		return fmt.Errorf("state %s: got a TTL below zero", v.name)
	}
	return nil
}

func (v *Value[V]) open() store {
	s := &Store[V]{cell: v, write: v.format.Writer(), log: -1}
	if f, ok := v.format.(rowFormat[V]); ok {
		s.own = f.owner()
	}
	return s
}

// Check says what is wrong with the cells of a step.
func Check(cells []Cell) error {
	names := map[string]bool{}
	for _, c := range cells {
		if err := c.check(); err != nil {
			return err
		}
		if names[c.Name()] {
			return fmt.Errorf("there are two cells of state named %s", c.Name())
		}
		names[c.Name()] = true
	}
	return nil
}

// In is the cell's values in a bucket that was made with it.
func (v *Value[V]) In(b *Bucket) *Store[V] {
	for _, s := range b.stores {
		if s.name() == v.name {
			return s.(*Store[V])
		}
	}
	panic(fmt.Sprintf("the cell of state %s was not declared", v.name))
}

// Scope is a bucket at one key: what a processor's handles work on.
type Scope struct {
	b    *Bucket
	key  []byte
	hash uint64
}

// At is the scope of a key; hash is table.Hash(key). It is good as long as key does not change.
func At(b *Bucket, hash uint64, key []byte) Scope { return Scope{b, key, hash} }

// In is what gives access to the state of the current key: the context of a processor.
type In interface{ scope() *Scope }

func (s *Scope) scope() *Scope { return s }

// Get gives the value of the current key; ok is false when it has none.
func (v *Value[V]) Get(in In) (x V, ok bool) {
	c := in.scope()
	if p := v.In(c.b).Get(c.hash, c.key, 0); p != nil {
		return *p, true
	}
	return x, false
}

// Set sets the value of the current key. Strings and whatever else x points to are copied, so it may come from a record. What Get gives must
// not be changed without setting it again.
func (v *Value[V]) Set(in In, x V) {
	c := in.scope()
	s := v.In(c.b)
	if s.own != nil {
		x = s.own(x)
	}
	p, _ := s.Change(c.hash, c.key, 0)
	*p = x
}

// Clear removes the value of the current key.
func (v *Value[V]) Clear(in In) {
	c := in.scope()
	v.In(c.b).Remove(c.hash, c.key, 0)
}

// RowFormat stores values as the rows of a codec. They evolve as rows do.
func RowFormat[V any](c *row.Codec[V]) Format[V] {
	return rowFormat[V]{c, c.Schema().String()}
}

type rowFormat[V any] struct {
	codec *row.Codec[V]
	text  string
}

func (f rowFormat[V]) Schema() string { return f.text }

func (f rowFormat[V]) Writer() func(dst []byte, v *V) []byte {
	var vs []row.Value
	return func(dst []byte, v *V) []byte {
		vs = f.codec.Get(vs[:0], v)
		for _, x := range vs {
			dst = row.AppendValue(dst, x)
		}
		return dst
	}
}

func (f rowFormat[V]) Reader(schema string) (func(v *V, data []byte) error, error) {
	from := f.codec.Schema()
	var evolve *row.Evolution
	if schema != f.text {
		var err error
		if from, err = row.ParseSchema(schema); err != nil {
			return nil, err
		}
		if evolve, err = row.NewEvolution(from, f.codec.Schema()); err != nil {
			return nil, err
		}
	}
	vs := make([]row.Value, len(from.Fields))
	var evolved []row.Value
	shares := sharing(from)
	return func(v *V, data []byte) error {
		if shares {
			data = append([]byte(nil), data...)
		}
		var err error
		for i := range vs {
			if vs[i], data, err = row.DecodeValue(data); err != nil {
				return err
			}
			if k := vs[i].Kind(); k != from.Fields[i].Type.Kind && (k != row.KindNull || !from.Fields[i].Nullable) {
				return fmt.Errorf("field %s: got %s, want %s", from.Fields[i].Name, k, from.Fields[i].Type)
			}
		}
		if len(data) > 0 {
			return errors.New("there is data behind the value")
		}
		set := vs
		if evolve != nil {
			if evolved, err = evolve.Apply(evolved[:0], vs); err != nil {
				return err
			}
			set = evolved
		}
		return f.codec.Set(v, set)
	}, nil
}

// owner makes a function that copies a value with all it points to; nil when it points to nothing. Else a short string in state would keep
// all the memory that its record came in.
func (f rowFormat[V]) owner() func(V) V {
	if !sharing(f.codec.Schema()) {
		return nil
	}
	var vs []row.Value
	return func(v V) V {
		vs = f.codec.Get(vs[:0], &v)
		for i := range vs {
			vs[i] = owned(vs[i])
		}
		var x V
		if f.codec.Set(&x, vs) != nil { // it takes what it gave
			return v
		}
		return x
	}
}

func owned(v row.Value) row.Value {
	switch v.Kind() {
	case row.KindString:
		return row.String(strings.Clone(v.Str()))
	case row.KindBytes:
		return row.Bytes(bytes.Clone(v.Bytes()))
	case row.KindList, row.KindRow:
		vs := slices.Clone(v.List())
		for i := range vs {
			vs[i] = owned(vs[i])
		}
		if v.Kind() == row.KindRow {
			return row.Nested(vs)
		}
		return row.List(vs)
	case row.KindMap:
		es := slices.Clone(v.Map())
		for i := range es {
			es[i] = row.Entry{Key: strings.Clone(es[i].Key), Value: owned(es[i].Value)}
		}
		return row.Map(es)
	}
	return v
}

// sharing says whether decoded values share the data they were read from.
func sharing(s *row.Schema) bool {
	for _, f := range s.Fields {
		if k := f.Type.Kind; k >= row.KindList || k == row.KindString || k == row.KindBytes {
			return true
		}
	}
	return false
}

// never is when what is not planned is due.
const never = int64(math.MaxInt64)
