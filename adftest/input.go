package adftest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
)

// In gives records to a source, behind what was written before: "flights" is a split of the source flights, "flights/b" another one, which can be called
// anything. In a Go flow T is the type of the source's records. In a flow of rows it is a struct with some of the columns, by the names that
// its fields have in a schema; the others are null. Without values the split is empty.
func In[T any](split string, values ...T) Option {
	return func(s *setup) {
		s.Helper()
		sp := s.split("In", split)
		if _, ok := sp.codec.(*row.Codec[T]); ok {
			for _, v := range values {
				batch := sp.records.(*record.Batch[T])
				batch.Append(v, sp.meta())
				s.script.add(sp, false)
			}
			return
		}
		fill := s.columns(split, sp.codec, reflect.TypeFor[T]())
		codec, err := row.CodecOf[T]()
		if err != nil {
			s.Fatalf("adftest.In(%q): %v", split, err)
		}
		var vs []row.Value
		for i, v := range values {
			vs = codec.Get(vs[:0], &v)
			values, err := fill(codec.Schema(), vs)
			if err == nil {
				err = sp.codec.AppendRecord(sp.records, values, sp.meta())
			}
			if err != nil {
				s.Fatalf("adftest.In(%q): value %d: %v", split, i+1, err)
			}
			s.script.add(sp, false)
		}
	}
}

// columns gives what turns the values of a struct into those of a row of the split.
func (s *setup) columns(split string, to row.AnyCodec, t reflect.Type) func(from *row.Schema, vs []row.Value) ([]row.Value, error) {
	s.Helper()
	if _, rows := to.(*row.Codec[row.Row]); !rows {
		s.Fatalf("adftest.In(%q): got values of %s, want %s, which the flow reads from it", split, t, typeOf(to))
	}
	schema := to.Schema()
	return func(from *row.Schema, vs []row.Value) ([]row.Value, error) {
		for _, f := range from.Fields {
			if _, known := schema.Index(f.Name); !known {
				return nil, unknownColumn(f.Name, schema)
			}
		}
		row := make([]row.Value, len(schema.Fields))
		for i, f := range schema.Fields {
			var err error
			if at, ok := from.Index(f.Name); ok {
				row[i], err = cast(vs[at], f)
			} else {
				row[i], err = cast(row[i], f)
			}
			if err != nil {
				return nil, err
			}
		}
		return row, nil
	}
}

func cast(v row.Value, to row.Field) (row.Value, error) {
	if v.IsNull() && !to.Nullable {
		return v, fmt.Errorf("%s is null, want %s not null", to.Name, to.Type)
	}
	v, err := row.Cast(v, to.Type)
	if err != nil {
		return v, fmt.Errorf("%s: %w", to.Name, err)
	}
	return v, nil
}

func unknownColumn(name string, s *row.Schema) error {
	text := fmt.Sprintf("got the unknown column %q, want one of %s", name, strings.Join(s.Names(), ", "))
	if near := fault.DidYouMean(name, s.Names()); near != "" {
		text += ": " + near
	}
	return errors.New(text)
}

// typeOf is the Go type of a codec's records.
func typeOf(c row.AnyCodec) reflect.Type {
	f, _ := reflect.TypeOf(c.NewBatch()).Elem().FieldByName("Values")
	return f.Type.Elem()
}

// JSON is In for records as JSON text: objects one after another, in one text or in several, or an array of them. Columns that are not there are null.
func JSON(split string, texts ...string) Option {
	return func(s *setup) {
		s.Helper()
		sp := s.split("JSON", split)
		codec := row.RowCodec(sp.codec.Schema())
		for _, text := range texts {
			if err := unknownKeys(text, sp.codec.Schema()); err != nil {
				s.Fatalf("adftest.JSON(%q): %v in\n%s", split, err, text)
			}
			r, err := format.NewReader(strings.NewReader(text), format.Options{Format: "json"}, codec, format.Start{Name: split})
			for err == nil {
				b := &record.Batch[row.Row]{}
				err = r.Read(b, 1, len(text)+1)
				for _, x := range b.Rejected {
					s.Fatalf("adftest.JSON(%q): %v\n%s", split, x.Err, text)
				}
				for _, v := range b.Values {
					if err := sp.codec.AppendRecord(sp.records, v.Values, sp.meta()); err != nil {
						s.Fatalf("adftest.JSON(%q): %v\n%s", split, err, text)
					}
					s.script.add(sp, false)
				}
			}
			if !errors.Is(err, io.EOF) {
				s.Fatalf("adftest.JSON(%q): %v\n%s", split, err, text)
			}
		}
	}
}

// unknownKeys finds keys that are no columns, which a reader of files passes over. What else is wrong the reader tells better.
func unknownKeys(text string, s *row.Schema) error {
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var raw json.RawMessage
		if d.Decode(&raw) != nil {
			return nil
		}
		all := []json.RawMessage{raw}
		if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("[")) && json.Unmarshal(raw, &all) != nil {
			return nil
		}
		for _, one := range all {
			var object map[string]json.RawMessage
			if json.Unmarshal(one, &object) != nil {
				continue
			}
			for key := range object {
				if _, known := s.Index(key); !known {
					return unknownColumn(key, s)
				}
			}
		}
	}
}

// Malformed is a record that the source can not decode, as it was found: it goes to the errors output of the source, or ends the run.
func Malformed(split, raw string) Option {
	return func(s *setup) {
		s.Helper()
		sp := s.split("Malformed", split)
		sp.rejected = append(sp.rejected, record.Rejection{Position: int64(len(sp.places)), Raw: []byte(raw), Err: &fault.SourceError{Detail: fault.Detail{
			Code: "adftest.malformed", Doing: "read " + raw, Split: split, Retry: fault.RetryNever, Err: errors.New("the test says that it is malformed"),
		}}})
		s.script.add(sp, true)
	}
}

// Watermark promises that nothing earlier than t comes from the split; what does come is late. It stands between records of the split: the next one
// carries it. What out_of_orderness promises by itself holds, too.
func Watermark(split string, t time.Time) Option {
	return func(s *setup) {
		s.Helper()
		sp := s.split("Watermark", split)
		if n := s.graph.Node(sp.source); n.Time == nil {
			s.Fatalf("adftest.Watermark(%q): %s has no event time (EventTime, or time: {field: …})", split, sp.source)
		}
		sp.promise, sp.promised = max(sp.promise, t.UnixMilli()), true
	}
}

// Sleep is a pause before what follows: nothing comes from any source. Use it inside a testing/synctest bubble, where an hour takes no time. At the end
// it holds the input open for as long, so that timers and idle splits have their time.
func Sleep(d time.Duration) Option {
	return func(s *setup) { s.script.steps = append(s.script.steps, step{pause: d}) }
}

// split finds or makes the split of that name.
func (s *setup) split(call, id string) *split {
	s.Helper()
	for _, sp := range s.script.splits {
		if sp.id == id {
			return sp
		}
	}
	name, _, _ := strings.Cut(id, "/")
	n := s.graph.Node(name)
	if n == nil || n.Kind != adf.KindSource {
		s.unknown(fmt.Sprintf("adftest.%s(%q)", call, id), "source", name, s.sources())
	}
	sp := &split{id: id, source: name, codec: n.Out, records: n.Out.NewBatch(), promise: record.NoTime}
	s.script.splits = append(s.script.splits, sp)
	return sp
}

func (s *setup) sources() (names []string) {
	for _, n := range s.graph.Nodes {
		if n.Kind == adf.KindSource {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}
