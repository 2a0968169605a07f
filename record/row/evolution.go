package row

import (
	"fmt"
	"slices"
)

// Evolution turns values of one schema into those of a newer one. Fields are matched by name; their order means nothing.
//
//	add     a field that only the new schema has becomes null, so it must be nullable
//	drop    a field that only the old schema has is left out
//	widen   int64 → float64 (while exact, up to 2^53) · int64 → decimal with 19 digits before the point
//	        decimal → decimal with at least as many digits before and behind the point · date → timestamp (midnight UTC) · not null → nullable
//
// The same holds inside lists, maps and nested rows. Everything else is refused: a renamed field is one dropped and one added.
type Evolution struct {
	from, to *Schema
	fromText string
	fields   []evolved
}

// evolved is how one field of the new schema is made: from field source of the old one, or null when it is negative.
type evolved struct {
	source  int
	convert func(Value) (Value, error) // nil: as it is
}

// NewEvolution finds the way from one schema to another; what does not evolve is an error that names the field.
func NewEvolution(from, to *Schema) (*Evolution, error) {
	e := &Evolution{from: from, to: to, fields: make([]evolved, len(to.Fields))}
	for i, f := range to.Fields {
		at, ok := from.Index(f.Name)
		if !ok {
			if !f.Nullable {
				return nil, fmt.Errorf("field %s: it is new, so it must be nullable: got %s not null", f.Name, f.Type)
			}
			e.fields[i].source = -1
			continue
		}
		old := from.Fields[at]
		if old.Nullable && !f.Nullable {
			return nil, fmt.Errorf("field %s: it was nullable, so it must stay so: got %s not null", f.Name, f.Type)
		}
		convert, err := widen(old.Type, f.Type)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		e.fields[i] = evolved{at, convert}
	}
	return e, nil
}

// Same says that nothing changes: values go through as they are.
func (e *Evolution) Same() bool {
	return len(e.from.Fields) == len(e.to.Fields) && !slices.ContainsFunc(e.fields, func(f evolved) bool { return f.source < 0 || f.convert != nil }) &&
		slices.IsSortedFunc(e.fields, func(a, b evolved) int { return a.source - b.source })
}

// Apply appends the values of the new schema to dst. They share memory with vs.
func (e *Evolution) Apply(dst, vs []Value) ([]Value, error) {
	n := len(dst)
	dst = slices.Grow(dst, len(e.fields))[:n+len(e.fields)]
	if err := e.apply(dst[n:], vs); err != nil {
		return dst[:n], err
	}
	return dst, nil
}

func (e *Evolution) apply(out, vs []Value) error {
	if len(vs) != len(e.from.Fields) {
		return fmt.Errorf("got %d values, want %d", len(vs), len(e.from.Fields))
	}
	for i, f := range e.fields {
		out[i] = Value{}
		if f.source < 0 {
			continue
		}
		out[i] = vs[f.source]
		if f.convert == nil || out[i].IsNull() {
			continue
		}
		var err error
		if out[i], err = f.convert(out[i]); err != nil {
			return fmt.Errorf("field %s: %w", e.to.Fields[i].Name, err)
		}
	}
	return nil
}

// widen gives how a value that is not null changes its type; nil when it stays as it is.
func widen(from, to Type) (func(Value) (Value, error), error) {
	if from.Equal(to) {
		return nil, nil
	}
	refused := fmt.Errorf("%s can not become %s", from, to)
	cast := func(v Value) (Value, error) { return Cast(v, to) }
	switch {
	case from.Kind == KindInt64 && to.Kind == KindFloat64, from.Kind == KindDate && to.Kind == KindTimestamp:
		return cast, nil
	case from.Kind == KindInt64 && to.Kind == KindDecimal:
		if to.Precision-to.Scale < 19 {
			return nil, fmt.Errorf("%w: 19 digits before the point are needed", refused)
		}
		return cast, nil
	case from.Kind != to.Kind:
		return nil, refused
	}
	switch from.Kind {
	case KindDecimal:
		if to.Scale < from.Scale || to.Precision-to.Scale < from.Precision-from.Scale {
			return nil, fmt.Errorf("%w: digits would be lost", refused)
		}
		return cast, nil
	case KindList, KindMap:
		return widenElements(from, to)
	case KindRow:
		e, err := NewEvolution(from.Row, to.Row)
		if err != nil {
			return nil, err
		}
		return func(v Value) (Value, error) {
			out := make([]Value, len(to.Row.Fields))
			err := e.apply(out, v.List())
			return Nested(out), err
		}, nil
	}
	return nil, refused
}

func widenElements(from, to Type) (func(Value) (Value, error), error) {
	if from.ElemNullable && !to.ElemNullable {
		return nil, fmt.Errorf("the elements of %s were nullable, so they must stay so", to)
	}
	convert, err := widen(*from.Elem, *to.Elem)
	if err != nil {
		return nil, fmt.Errorf("elements: %w", err)
	}
	if convert == nil {
		return nil, nil
	}
	if from.Kind == KindMap {
		return func(v Value) (Value, error) {
			es := slices.Clone(v.Map())
			for i := range es {
				var err error
				if es[i].Value.IsNull() {
					continue
				}
				if es[i].Value, err = convert(es[i].Value); err != nil {
					return v, fmt.Errorf("key %q: %w", es[i].Key, err)
				}
			}
			return Map(es), nil
		}, nil
	}
	return func(v Value) (Value, error) {
		vs := slices.Clone(v.List())
		for i := range vs {
			var err error
			if vs[i].IsNull() {
				continue
			}
			if vs[i], err = convert(vs[i]); err != nil {
				return v, fmt.Errorf("element %d: %w", i, err)
			}
		}
		return List(vs), nil
	}, nil
}
