package row

import (
	"fmt"
	"math/big"
	"reflect"
	"sort"
	"strings"
	"time"
	"unsafe"
)

// SchemaOf derives a schema from a Go type. A struct gives a field per exported field, named by its tag `adf:"name"` or by its own name;
// `adf:"-"` leaves it out, embedded structs are taken apart. Pointers are nullable, everything else is not null. Any other type that can
// travel is a schema with the one field "value".
//
//	bool · int, int8 … int64, uint8 … uint32 (int64) · float32, float64 · string · []byte · time.Time (timestamp) · time.Duration
//	Day (date) · *big.Int (decimal(38,0)) · []T (list) · map[string]T (map) · struct (row)
//
// What can not travel (chan, func, interface, uint64, …) is an error that names the field. A nil slice or map travels as an empty one, and an
// empty one comes out as nil.
func SchemaOf[T any]() (*Schema, error) {
	s, _, err := structOf(reflect.TypeFor[T]())
	return s, err
}

// Day is a calendar day in a Go struct: days since 1970-01-01.
type Day int64

// converter turns the Go value at p into a Value and back.
type converter struct {
	get func(p unsafe.Pointer) Value
	set func(p unsafe.Pointer, v Value) error
}

// structField is where a field stands in its struct, embedded structs included, and how it is converted.
type structField struct {
	offset uintptr
	converter
}

// structOf gives a type's schema, and how its fields are converted.
func structOf(t reflect.Type) (*Schema, []structField, error) {
	if t.Kind() == reflect.Struct && t != reflect.TypeFor[time.Time]() {
		return structFields(t, t.String(), nil)
	}
	conv, f, err := converterOf(t, t.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	f.Name = "value"
	s, err := NewSchema(f)
	return s, []structField{{0, conv}}, err
}

func structFields(t reflect.Type, path string, outer []reflect.Type) (*Schema, []structField, error) {
	for _, o := range outer {
		if o == t {
			return nil, nil, fmt.Errorf("%s: the type %s contains itself", path, t)
		}
	}
	outer = append(outer, t)
	var fields []structField
	var schema []Field
	for _, sf := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(sf.Tag.Get("adf"), ",")
		if name == "-" || !sf.IsExported() || inside(t, sf.Index) || sf.Anonymous && sf.Type.Kind() == reflect.Struct && name == "" && sf.Type != reflect.TypeFor[time.Time]() {
			continue
		}
		offset, ok := offsetOf(t, sf.Index)
		if !ok {
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
		fields = append(fields, structField{offset, conv})
	}
	s, err := NewSchema(schema...)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, fields, nil
}

// inside says whether a field belongs to an embedded struct that is not taken apart: one with a name of its own, left out, or a time.
func inside(t reflect.Type, index []int) bool {
	for _, i := range index[:len(index)-1] {
		sf := t.Field(i)
		if sf.Tag.Get("adf") != "" || sf.Type == reflect.TypeFor[time.Time]() {
			return true
		}
		if t = sf.Type; t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return false
}

func offsetOf(t reflect.Type, index []int) (offset uintptr, ok bool) {
	for n, i := range index {
		if t.Kind() == reflect.Pointer {
			return 0, false
		}
		sf := t.Field(i)
		offset += sf.Offset
		if t = sf.Type; n == len(index)-1 {
			break
		}
	}
	return offset, true
}

// converterOf gives a type's converter, and its field without the name.
func converterOf(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	scalar := func(kind Kind, c converter) (converter, Field, error) {
		return c.typed(kind), Field{Type: Type{Kind: kind}}, nil
	}
	switch t {
	case reflect.TypeFor[time.Time]():
		return scalar(KindTimestamp, converter{
			func(p unsafe.Pointer) Value { return TimestampOf(*(*time.Time)(p)) },
			func(p unsafe.Pointer, v Value) error { *(*time.Time)(p) = v.Time(); return nil },
		})
	case reflect.TypeFor[time.Duration]():
		return scalar(KindDuration, converter{
			func(p unsafe.Pointer) Value { return DurationOf(*(*time.Duration)(p)) },
			func(p unsafe.Pointer, v Value) error {
				if m := v.Int(); m > maxDuration || m < -maxDuration {
					return fmt.Errorf("got %s, which does not fit time.Duration", AppendText(nil, v))
				}
				*(*time.Duration)(p) = v.Duration()
				return nil
			},
		})
	case reflect.TypeFor[Day]():
		return scalar(KindDate, converter{
			func(p unsafe.Pointer) Value { return Date(*(*int64)(p)) },
			func(p unsafe.Pointer, v Value) error { *(*int64)(p) = v.Int(); return nil },
		})
	case reflect.TypeFor[*big.Int]():
		return bigInt, Field{Type: Type{Kind: KindDecimal, Precision: 38}, Nullable: true}, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return scalar(KindBool, converter{
			func(p unsafe.Pointer) Value { return Bool(*(*bool)(p)) },
			func(p unsafe.Pointer, v Value) error { *(*bool)(p) = v.Bool(); return nil },
		})
	case reflect.Int:
		return scalar(KindInt64, integer[int]())
	case reflect.Int8:
		return scalar(KindInt64, integer[int8]())
	case reflect.Int16:
		return scalar(KindInt64, integer[int16]())
	case reflect.Int32:
		return scalar(KindInt64, integer[int32]())
	case reflect.Int64:
		return scalar(KindInt64, integer[int64]())
	case reflect.Uint8:
		return scalar(KindInt64, integer[uint8]())
	case reflect.Uint16:
		return scalar(KindInt64, integer[uint16]())
	case reflect.Uint32:
		return scalar(KindInt64, integer[uint32]())
	case reflect.Float32:
		return scalar(KindFloat64, converter{
			func(p unsafe.Pointer) Value { return Float(float64(*(*float32)(p))) },
			func(p unsafe.Pointer, v Value) error { *(*float32)(p) = float32(v.Float()); return nil },
		})
	case reflect.Float64:
		return scalar(KindFloat64, converter{
			func(p unsafe.Pointer) Value { return Float(*(*float64)(p)) },
			func(p unsafe.Pointer, v Value) error { *(*float64)(p) = v.Float(); return nil },
		})
	case reflect.String:
		return scalar(KindString, converter{
			func(p unsafe.Pointer) Value { return String(*(*string)(p)) },
			func(p unsafe.Pointer, v Value) error { *(*string)(p) = v.Str(); return nil },
		})
	case reflect.Pointer:
		return pointerConverter(t, path, outer)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return scalar(KindBytes, converter{
				func(p unsafe.Pointer) Value { return Bytes(*(*[]byte)(p)) },
				func(p unsafe.Pointer, v Value) error {
					b := v.Bytes()
					*(*[]byte)(p) = b[:len(b):len(b)]
					return nil
				},
			})
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

// maxDuration is the longest time.Duration in microseconds.
const maxDuration = (1<<63 - 1) / 1000

// typed makes set refuse null and other kinds.
func (c converter) typed(kind Kind) converter {
	set := c.set
	c.set = func(p unsafe.Pointer, v Value) error {
		if v.kind != kind {
			return fmt.Errorf("got %s, want %s", v.kind, kind)
		}
		return set(p, v)
	}
	return c
}

func integer[I int | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32]() converter {
	return converter{
		func(p unsafe.Pointer) Value { return Int(int64(*(*I)(p))) },
		func(p unsafe.Pointer, v Value) error {
			n := I(v.Int())
			if int64(n) != v.Int() {
				return fmt.Errorf("got %d, which does not fit %T", v.Int(), n)
			}
			*(*I)(p) = n
			return nil
		},
	}
}

var bigInt = converter{
	func(p unsafe.Pointer) Value {
		n := *(**big.Int)(p)
		if n == nil {
			return Null()
		}
		return BigDecimal(new(big.Int).Set(n), 0)
	},
	func(p unsafe.Pointer, v Value) error {
		switch {
		case v.IsNull():
			*(**big.Int)(p) = nil
			return nil
		case v.kind != KindDecimal:
			return fmt.Errorf("got %s, want decimal", v.kind)
		}
		n, scale := trimDecimal(v).Decimal()
		if scale != 0 {
			return fmt.Errorf("got %s, want a decimal with nothing after the point", AppendText(nil, v))
		}
		*(**big.Int)(p) = n
		return nil
	},
}

func pointerConverter(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	elem, f, err := converterOf(t.Elem(), path, outer)
	if err == nil && f.Nullable {
		err = fmt.Errorf("%s: a %s can not travel: it has two ways to be null", path, t)
	}
	f.Nullable = true
	return converter{
		func(p unsafe.Pointer) Value {
			if p = *(*unsafe.Pointer)(p); p == nil {
				return Null()
			}
			return elem.get(p)
		},
		func(p unsafe.Pointer, v Value) error {
			if v.IsNull() {
				*(*unsafe.Pointer)(p) = nil
				return nil
			}
			e := reflect.New(t.Elem()).UnsafePointer()
			if err := elem.set(e, v); err != nil {
				return err
			}
			*(*unsafe.Pointer)(p) = e
			return nil
		},
	}, f, err
}

// slice is how Go lays out one.
type slice struct {
	data     unsafe.Pointer
	len, cap int
}

func listConverter(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	elem, f, err := converterOf(t.Elem(), path+"[]", outer)
	if err != nil {
		return converter{}, Field{}, err
	}
	size := t.Elem().Size()
	return converter{
		func(p unsafe.Pointer) Value {
			s := (*slice)(p)
			vs := make([]Value, s.len)
			for i := range vs {
				vs[i] = elem.get(unsafe.Add(s.data, uintptr(i)*size))
			}
			return List(vs)
		},
		func(p unsafe.Pointer, v Value) error {
			vs := v.List()
			if len(vs) == 0 {
				*(*slice)(p) = slice{}
				return nil
			}
			data := reflect.MakeSlice(t, len(vs), len(vs)).UnsafePointer()
			for i, e := range vs {
				if err := elem.set(unsafe.Add(data, uintptr(i)*size), e); err != nil {
					return fmt.Errorf("element %d: %w", i, err)
				}
			}
			*(*slice)(p) = slice{data, len(vs), len(vs)}
			return nil
		},
	}.typed(KindList), Field{Type: Type{Kind: KindList, Elem: &f.Type, ElemNullable: f.Nullable}}, nil
}

func mapConverter(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	elem, f, err := converterOf(t.Elem(), path+"{}", outer)
	return converter{
		func(p unsafe.Pointer) Value {
			m := reflect.NewAt(t, p).Elem()
			es := make([]Entry, 0, m.Len())
			for it := m.MapRange(); it.Next(); {
				held := reflect.New(t.Elem())
				held.Elem().Set(it.Value())
				es = append(es, Entry{it.Key().String(), elem.get(held.UnsafePointer())})
			}
			sort.Slice(es, func(i, j int) bool { return es[i].Key < es[j].Key })
			return Map(es)
		},
		func(p unsafe.Pointer, v Value) error {
			es := v.Map()
			rv := reflect.NewAt(t, p).Elem()
			if len(es) == 0 {
				rv.SetZero()
				return nil
			}
			m := reflect.MakeMapWithSize(t, len(es))
			for _, e := range es {
				held := reflect.New(t.Elem())
				if err := elem.set(held.UnsafePointer(), e.Value); err != nil {
					return fmt.Errorf("key %q: %w", e.Key, err)
				}
				m.SetMapIndex(reflect.ValueOf(e.Key).Convert(t.Key()), held.Elem())
			}
			rv.Set(m)
			return nil
		},
	}.typed(KindMap), Field{Type: Type{Kind: KindMap, Elem: &f.Type, ElemNullable: f.Nullable}}, err
}

func nestedConverter(t reflect.Type, path string, outer []reflect.Type) (converter, Field, error) {
	s, fields, err := structFields(t, path, outer)
	return converter{
		func(p unsafe.Pointer) Value {
			vs := make([]Value, len(fields))
			for i := range fields {
				vs[i] = fields[i].get(unsafe.Add(p, fields[i].offset))
			}
			return Nested(vs)
		},
		func(p unsafe.Pointer, v Value) error {
			vs := v.List()
			if len(vs) != len(fields) {
				return fmt.Errorf("got %d fields, want %d", len(vs), len(fields))
			}
			for i := range fields {
				if err := fields[i].set(unsafe.Add(p, fields[i].offset), vs[i]); err != nil {
					return fmt.Errorf("%s: %w", s.Fields[i].Name, err)
				}
			}
			return nil
		},
	}.typed(KindRow), Field{Type: Type{Kind: KindRow, Row: s}}, err
}
