package row

import (
	"fmt"
	"math/big"
	"reflect"
	"sort"
	"strings"
	"time"
)

// SchemaOf derives a schema from a Go type. A struct gives a field per exported field, named by its tag `adf:"name"` or by its own name;
// `adf:"-"` leaves it out, embedded structs are taken apart. Pointers are nullable, everything else is not null.
//
//	bool · int, int8 … int64, uint8 … uint32 (int64) · float32, float64 · string · []byte · time.Time (timestamp) · time.Duration
//	Day (date) · *big.Int (decimal(38,0)) · []T (list) · map[string]T (map) · struct (row)
//
// What can not travel (chan, func, interface, …) is an error that names the field.
func SchemaOf[T any]() (*Schema, error) {
	s, _, err := structOf(reflect.TypeFor[T]())
	return s, err
}

// Day is a calendar day in a Go struct: days since 1970-01-01.
type Day int64

type structField struct {
	index []int
	conv  converter
}

// converter turns a Go value into a Value and back.
type converter struct {
	get func(rv reflect.Value) Value
	set func(rv reflect.Value, v Value) error
}

// structOf gives a type's schema and, for structs, how its fields are converted; fields is nil for scalars.
func structOf(t reflect.Type) (*Schema, []structField, error) {
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[time.Time]() {
		_, f, err := converterOf(t, t.String(), nil)
		if err != nil {
			return nil, nil, err
		}
		f.Name = "value"
		s, err := NewSchema(f)
		return s, nil, err
	}
	return structFields(t, t.String(), nil)
}

func structFields(t reflect.Type, path string, outer []reflect.Type) (*Schema, []structField, error) {
	for _, o := range outer {
		if o == t {
			return nil, nil, fmt.Errorf("%s: the type %s contains itself", path, t)
		}
	}
	outer = append(outer, t)
	fields := []structField{}
	var schema []Field
	for _, sf := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(sf.Tag.Get("adf"), ",")
		if name == "-" || !sf.IsExported() || sf.Anonymous && sf.Type.Kind() == reflect.Struct && name == "" {
			continue
		}
		if throughPointer(t, sf.Index) {
			return nil, nil, fmt.Errorf("%s.%s: a field of an embedded pointer can not travel", path, sf.Name)
		}
		if name == "" {
			name = sf.Name
		}
		conv, f, err := converterOf(sf.Type, path+"."+sf.Name, outer)
		if err != nil {
			return nil, nil, err
		}
		f.Name = name
		schema = append(schema, f)
		fields = append(fields, structField{sf.Index, conv})
	}
	s, err := NewSchema(schema...)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, fields, nil
}

func throughPointer(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		t = t.Field(i).Type
		if t.Kind() == reflect.Pointer {
			return true
		}
	}
	return false
}

// converterOf gives a type's converter, and its field without the name.
func converterOf(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	switch t {
	case reflect.TypeFor[time.Time]():
		return converter{
			func(rv reflect.Value) Value { return TimestampOf(rv.Interface().(time.Time)) },
			func(rv reflect.Value, v Value) error { rv.Set(reflect.ValueOf(v.Time())); return nil },
		}.typed(KindTimestamp), Field{Type: Type{Kind: KindTimestamp}}, nil
	case reflect.TypeFor[time.Duration]():
		return converter{
			func(rv reflect.Value) Value { return DurationOf(time.Duration(rv.Int())) },
			func(rv reflect.Value, v Value) error { rv.SetInt(int64(v.Duration())); return nil },
		}.typed(KindDuration), Field{Type: Type{Kind: KindDuration}}, nil
	case reflect.TypeFor[Day]():
		return converter{
			func(rv reflect.Value) Value { return Date(rv.Int()) },
			func(rv reflect.Value, v Value) error { rv.SetInt(v.Int()); return nil },
		}.typed(KindDate), Field{Type: Type{Kind: KindDate}}, nil
	case reflect.TypeFor[*big.Int]():
		return converter{
			func(rv reflect.Value) Value {
				if rv.IsNil() {
					return Null()
				}
				return BigDecimal(new(big.Int).Set(rv.Interface().(*big.Int)), 0)
			},
			func(rv reflect.Value, v Value) error {
				if v.IsNull() {
					rv.SetZero()
					return nil
				}
				n, scale := v.Decimal()
				if scale != 0 {
					return fmt.Errorf("got a decimal with %d digits after the point, want none", scale)
				}
				rv.Set(reflect.ValueOf(n))
				return nil
			},
		}, Field{Type: Type{Kind: KindDecimal, Precision: 38}, Nullable: true}, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return converter{
			func(rv reflect.Value) Value { return Bool(rv.Bool()) },
			func(rv reflect.Value, v Value) error { rv.SetBool(v.Bool()); return nil },
		}.typed(KindBool), Field{Type: Type{Kind: KindBool}}, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return converter{
			func(rv reflect.Value) Value { return Int(rv.Int()) },
			func(rv reflect.Value, v Value) error {
				if rv.OverflowInt(v.Int()) {
					return fmt.Errorf("got %d, which does not fit %s", v.Int(), rv.Type())
				}
				rv.SetInt(v.Int())
				return nil
			},
		}.typed(KindInt64), Field{Type: Type{Kind: KindInt64}}, nil
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return converter{
			func(rv reflect.Value) Value { return Int(int64(rv.Uint())) },
			func(rv reflect.Value, v Value) error {
				if v.Int() < 0 || rv.OverflowUint(uint64(v.Int())) {
					return fmt.Errorf("got %d, which does not fit %s", v.Int(), rv.Type())
				}
				rv.SetUint(uint64(v.Int()))
				return nil
			},
		}.typed(KindInt64), Field{Type: Type{Kind: KindInt64}}, nil
	case reflect.Float32, reflect.Float64:
		return converter{
			func(rv reflect.Value) Value { return Float(rv.Float()) },
			func(rv reflect.Value, v Value) error { rv.SetFloat(v.Float()); return nil },
		}.typed(KindFloat64), Field{Type: Type{Kind: KindFloat64}}, nil
	case reflect.String:
		return converter{
			func(rv reflect.Value) Value { return String(rv.String()) },
			func(rv reflect.Value, v Value) error { rv.SetString(v.Str()); return nil },
		}.typed(KindString), Field{Type: Type{Kind: KindString}}, nil
	case reflect.Pointer:
		return pointerConverter(t, path, outer)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return converter{
				func(rv reflect.Value) Value { return Bytes(rv.Bytes()) },
				func(rv reflect.Value, v Value) error { rv.SetBytes(v.Bytes()); return nil },
			}.typed(KindBytes), Field{Type: Type{Kind: KindBytes}}, nil
		}
		return listConverter(t, path, outer)
	case reflect.Map:
		if t.Key().Kind() == reflect.String {
			return mapConverter(t, path, outer)
		}
		return converter{}, Field{}, fmt.Errorf("%s: a map with keys of type %s can not travel, want string keys", path, t.Key())
	case reflect.Struct:
		return nestedConverter(t, path, outer)
	}
	return converter{}, Field{}, fmt.Errorf("%s: a %s can not travel between processes", path, t)
}

// typed makes set refuse null and other kinds.
func (c converter) typed(kind Kind) converter {
	set := c.set
	c.set = func(rv reflect.Value, v Value) error {
		if v.kind != kind {
			return fmt.Errorf("got %s, want %s", v.kind, kind)
		}
		return set(rv, v)
	}
	return c
}

func pointerConverter(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	elem, f, err := converterOf(t.Elem(), path, outer)
	f.Nullable = true
	return converter{
		func(rv reflect.Value) Value {
			if rv.IsNil() {
				return Null()
			}
			return elem.get(rv.Elem())
		},
		func(rv reflect.Value, v Value) error {
			if v.IsNull() {
				rv.SetZero()
				return nil
			}
			p := reflect.New(t.Elem())
			if err := elem.set(p.Elem(), v); err != nil {
				return err
			}
			rv.Set(p)
			return nil
		},
	}, f, err
}

func listConverter(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	elem, f, err := converterOf(t.Elem(), path+"[]", outer)
	return converter{
		func(rv reflect.Value) Value {
			vs := make([]Value, rv.Len())
			for i := range vs {
				vs[i] = elem.get(rv.Index(i))
			}
			return List(vs)
		},
		func(rv reflect.Value, v Value) error {
			vs := v.List()
			s := reflect.MakeSlice(t, len(vs), len(vs))
			for i, e := range vs {
				if err := elem.set(s.Index(i), e); err != nil {
					return fmt.Errorf("element %d: %w", i, err)
				}
			}
			rv.Set(s)
			return nil
		},
	}.typed(KindList), Field{Type: Type{Kind: KindList, Elem: &f.Type, ElemNullable: f.Nullable}}, err
}

func mapConverter(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	elem, f, err := converterOf(t.Elem(), path+"{}", outer)
	return converter{
		func(rv reflect.Value) Value {
			es := make([]Entry, 0, rv.Len())
			for it := rv.MapRange(); it.Next(); {
				es = append(es, Entry{it.Key().String(), elem.get(it.Value())})
			}
			sort.Slice(es, func(i, j int) bool { return es[i].Key < es[j].Key })
			return Map(es)
		},
		func(rv reflect.Value, v Value) error {
			m := reflect.MakeMapWithSize(t, int(v.num))
			for _, e := range v.Map() {
				p := reflect.New(t.Elem()).Elem()
				if err := elem.set(p, e.Value); err != nil {
					return fmt.Errorf("key %q: %w", e.Key, err)
				}
				m.SetMapIndex(reflect.ValueOf(e.Key).Convert(t.Key()), p)
			}
			rv.Set(m)
			return nil
		},
	}.typed(KindMap), Field{Type: Type{Kind: KindMap, Elem: &f.Type, ElemNullable: f.Nullable}}, err
}

func nestedConverter(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	s, fields, err := structFields(t, path, outer)
	return converter{
		func(rv reflect.Value) Value {
			vs := make([]Value, len(fields))
			for i, f := range fields {
				vs[i] = f.conv.get(rv.FieldByIndex(f.index))
			}
			return Nested(vs)
		},
		func(rv reflect.Value, v Value) error {
			vs := v.List()
			if len(vs) != len(fields) {
				return fmt.Errorf("got %d fields, want %d", len(vs), len(fields))
			}
			for i, f := range fields {
				if err := f.conv.set(rv.FieldByIndex(f.index), vs[i]); err != nil {
					return fmt.Errorf("%s: %w", s.Fields[i].Name, err)
				}
			}
			return nil
		},
	}.typed(KindRow), Field{Type: Type{Kind: KindRow, Row: s}}, err
}
