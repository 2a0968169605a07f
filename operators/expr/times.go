package expr

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/adf/record/row"
)

const (
	microsPerSecond = 1_000_000
	microsPerHour   = 3600 * microsPerSecond
	microsPerDay    = 24 * microsPerHour
)

var timeFunctions = map[string]function{
	"year":    ofDay("year", func(t time.Time) int { return t.Year() }),
	"month":   ofDay("month", func(t time.Time) int { return int(t.Month()) }),
	"day":     ofDay("day", func(t time.Time) int { return t.Day() }),
	"weekday": ofDay("weekday", func(t time.Time) int { return isoWeekday(t.Weekday()) }),
	"hour":    ofClock("hour", func(micros int64) int64 { return micros / microsPerHour }),
	"minute":  ofClock("minute", func(micros int64) int64 { return micros / (60 * microsPerSecond) % 60 }),
	"second":  ofClock("second", func(micros int64) int64 { return micros / microsPerSecond % 60 }),
	"truncate": {`truncate(timestamp, unit) or truncate(date, unit)`, 2, 2, func(at int, args []node) (node, error) {
		a, unit := args[0], args[1]
		if !a.is(row.KindTimestamp) && !a.is(row.KindDate) || !unit.is(row.KindString) {
			return node{}, errSignature
		}
		if !unit.konst || !slices.Contains(units, unit.val.Str()) {
			got := "a unit that is computed"
			if unit.konst {
				got = "the unit " + show(unit.val)
			}
			return refuse(unit.at, got, "one of "+strings.Join(units, ", "))
		}
		u := unit.val.Str()
		return unary(at, a.typ, a, func(e *Env, v row.Value) row.Value {
			if w, ok := truncate(v, u); ok {
				return w
			}
			return e.fail(at, "expression.overflow", show(v), "a time whose "+u+" begins within what fits "+a.typ.String())
		})
	}},
	"unixMillis": {"unixMillis(timestamp)", 1, 1, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindTimestamp) {
			return node{}, errSignature
		}
		return unary(at, intType, args[0], func(_ *Env, v row.Value) row.Value { return row.Int(floorDiv(v.Int(), 1000)) })
	}},
	"fromUnixMillis": {"fromUnixMillis(int64)", 1, 1, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindInt64) {
			return node{}, errSignature
		}
		return unary(at, timestampType, args[0], func(e *Env, v row.Value) row.Value {
			if micros, ok := multiplyInts(v.Int(), 1000); ok {
				return row.Timestamp(micros)
			}
			return e.fail(at, "expression.overflow", show(v)+" ms", "a time that fits timestamp")
		})
	}},
}

// units are what truncate cuts to, from the smallest.
var units = []string{"second", "minute", "hour", "day", "week", "month", "quarter", "year"}

// ofDay is a part of the calendar day, in UTC.
func ofDay(name string, of func(time.Time) int) function {
	return function{name + "(timestamp) or " + name + "(date)", 1, 1, func(at int, args []node) (node, error) {
		switch {
		case kinds(args, row.KindTimestamp):
			return unary(at, intType, args[0], func(_ *Env, v row.Value) row.Value { return row.Int(int64(of(v.Time()))) })
		case kinds(args, row.KindDate):
			return unary(at, intType, args[0], func(_ *Env, v row.Value) row.Value { return row.Int(int64(of(midnight(v.Int())))) })
		}
		return node{}, errSignature
	}}
}

// ofClock is a part of the time of day, in UTC.
func ofClock(name string, of func(micros int64) int64) function {
	return function{name + "(timestamp)", 1, 1, func(at int, args []node) (node, error) {
		if !kinds(args, row.KindTimestamp) {
			return node{}, errSignature
		}
		return unary(at, intType, args[0], func(_ *Env, v row.Value) row.Value {
			return row.Int(of(v.Int() - floorDiv(v.Int(), microsPerDay)*microsPerDay))
		})
	}}
}

// midnight is the beginning of a day in UTC.
func midnight(days int64) time.Time { return time.Unix(days*86400, 0).UTC() }

// isoWeekday counts from 1, Monday, to 7, Sunday.
func isoWeekday(d time.Weekday) int { return (int(d)+6)%7 + 1 }

// floorDiv rounds down.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && a < 0 != (b < 0) {
		q--
	}
	return q
}

// truncate gives the beginning of the unit that a timestamp or date is in, in UTC; ok is false when that is before all times there are.
func truncate(v row.Value, unit string) (w row.Value, ok bool) {
	n, size := v.Int(), int64(1)
	if v.Kind() == row.KindTimestamp {
		size = microsPerDay
	}
	var length int64
	switch unit {
	case "second":
		length = microsPerSecond
	case "minute":
		length = 60 * microsPerSecond
	case "hour":
		length = microsPerHour
	case "day":
		length = microsPerDay
	default:
		days := floorDiv(n, size)
		if days > math.MaxInt64/microsPerDay || days < math.MinInt64/microsPerDay {
			return row.Null(), false // package time counts seconds, and months of such years nobody needs
		}
		t := midnight(days)
		switch unit {
		case "week":
			days -= int64(isoWeekday(t.Weekday()) - 1)
		case "month":
			days -= int64(t.Day() - 1)
		case "quarter":
			days = floorDiv(time.Date(t.Year(), (t.Month()-1)/3*3+1, 1, 0, 0, 0, 0, time.UTC).Unix(), 86400)
		default:
			days -= int64(t.YearDay() - 1)
		}
		n, ok = multiplyInts(days, size)
		return whole(v.Kind(), n), ok
	}
	if v.Kind() == row.KindDate {
		return v, true // a day is whole already
	}
	n, ok = multiplyInts(floorDiv(n, length), length)
	return whole(v.Kind(), n), ok
}
