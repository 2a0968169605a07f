package adf

import (
	"errors"
	"fmt"
	"strings"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/yaml/grammar"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

// time makes the event time of a source from a column of its rows; nil when the column is wrong.
func (l *loader) time(s *grammar.Source, in *row.Schema) *EventTime {
	const want = "a column of type timestamp, date, or int64 with milliseconds since 1970-01-01 UTC"
	path := s.Path + ".time.field"
	i, known := in.Index(s.Time.Field)
	if !known {
		l.refuse(s.Time.FieldAt, path, fmt.Sprintf("the unknown column %q", s.Time.Field), "one of "+list(in.Names()), ruleTime).Fix =
			fault.DidYouMean(s.Time.Field, in.Names())
		return nil
	}
	millis := millisOf(in.Fields[i].Type.Kind)
	if millis == nil {
		l.refuse(s.Time.FieldAt, path, fmt.Sprintf("%s, which is %s", s.Time.Field, in.Fields[i].Type), want, ruleTime)
		return nil
	}
	missing := &fault.SourceError{Detail: fault.Detail{
		Code: "flow.no_time", Doing: "take the event time", Connector: s.Type, Retry: fault.RetryNever, Err: errors.New(s.Time.Field + " is null"),
		Fix: "on_error: emit takes such records to " + s.Name + ".errors",
	}}
	return &EventTime{OutOfOrderness: s.Time.OutOfOrderness, IdleAfter: s.Time.IdleAfter, Set: func(b record.Any, fail func(i int, err error)) error {
		batch := b.(*record.Batch[row.Row])
		for r := range batch.Values {
			v := batch.Values[r].Values[i]
			if v.IsNull() {
				fail(r, missing)
				continue
			}
			batch.Metas[r].Time = millis(v)
		}
		return nil
	}}
}

// millisOf reads milliseconds since the epoch from values of a kind; nil when the kind has none.
func millisOf(k row.Kind) func(row.Value) int64 {
	switch k {
	case row.KindTimestamp:
		return func(v row.Value) int64 {
			millis := v.Int() / 1000
			if v.Int()%1000 < 0 {
				millis-- // before the epoch too, a time belongs to the millisecond that it is in
			}
			return millis
		}
	case row.KindDate:
		return func(v row.Value) int64 { return v.Int() * 24 * 60 * 60 * 1000 }
	case row.KindInt64:
		return row.Value.Int
	}
	return nil
}

func list(names []string) string { return strings.Join(names, ", ") }
