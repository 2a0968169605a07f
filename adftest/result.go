package adftest

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/record/row"
)

// Result is what came out of a flow.
//
// Outputs go by the names of sinks and, to look inside a flow, of the outputs that any node has: "per_day", "per_day.late", "flights.errors".
// Records that came straight from the input are in its order; results of keyed steps are behind them, by event time and then by their fields, first to
// last. So the order depends neither on parallelism nor on crashes.
type Result struct {
	t          testing.TB
	flow       *adf.Graph
	script     *script
	collectors map[string]*collector
	dropped    map[string]int64
}

// Out gives the records of an output. In a Go flow T is their type. In a flow of rows it is row.Row, or a struct with some of the columns.
func Out[T any](r *Result, output string) []T {
	r.t.Helper()
	return values[T](r, "Out", output, r.sorted(r.collector("Out", output)))
}

// Arrival is a record with the time at which it came to its output.
type Arrival[T any] struct {
	// After is the time since the run began.
	After time.Duration
	Value T
}

// Arrivals gives the records of an output in the order in which they came, with their times. Both are worth comparing inside a testing/synctest
// bubble and without crashes. Records of several lanes or keys that came at the same time are in any order.
func Arrivals[T any](r *Result, output string) []Arrival[T] {
	r.t.Helper()
	all := r.collector("Arrivals", output).arrived()
	vs := values[T](r, "Arrivals", output, all)
	as := make([]Arrival[T], len(vs))
	for i, v := range vs {
		as[i] = Arrival[T]{all[i].after, v}
	}
	return as
}

// Lines gives the records of an output as JSON.
func Lines(r *Result, output string) []string {
	r.t.Helper()
	r.collector("Lines", output)
	return r.lines(output)
}

func (r *Result) lines(output string) []string {
	c := r.collectors[output]
	all := r.sorted(c)
	lines := make([]string, len(all))
	for i, a := range all {
		lines[i] = string(c.codec.AppendJSON(nil, a.batch, a.at))
	}
	return lines
}

// Late is how many records came too late for a step with a window, whether somebody reads them or not. Those that the clock made late (idle_after) are
// among them and in no output; after a crash, such a record may be counted twice.
func (r *Result) Late(step string) int {
	r.t.Helper()
	var known []string
	for name := range r.collectors {
		if node, port, _ := strings.Cut(name, "."); port == adf.PortLate {
			known = append(known, node)
		}
	}
	if !slices.Contains(known, step) {
		slices.Sort(known)
		unknown(r.t, fmt.Sprintf("Late(%q)", step), "step with a window", step, known)
	}
	return len(r.collectors[step+"."+adf.PortLate].arrived()) + int(r.dropped[step])
}

func (r *Result) collector(call, output string) *collector {
	r.t.Helper()
	c := r.collectors[output]
	if c == nil {
		unknown(r.t, fmt.Sprintf("adftest.%s(%q)", call, output), "output", output, slices.Sorted(maps.Keys(r.collectors)))
	}
	return c
}

// sorted gives the records of an output in an order of their own.
func (r *Result) sorted(c *collector) []arrival {
	all := c.arrived()
	place := map[string]int{"": len(r.script.splits)}
	for i, sp := range r.script.splits {
		place[sp.id] = i
	}
	slices.SortStableFunc(all, func(a, b arrival) int {
		x, y := a.meta(), b.meta()
		if a.split != "" || b.split != "" {
			return cmp.Or(cmp.Compare(place[a.split], place[b.split]), cmp.Compare(x.Position, y.Position))
		}
		return cmp.Or(cmp.Compare(x.Time, y.Time), slices.CompareFunc(a.values, b.values, row.Compare))
	})
	return all
}

// values gives records as values of T.
func values[T any](r *Result, call, output string, all []arrival) []T {
	r.t.Helper()
	c := r.collectors[output]
	vs := make([]T, len(all))
	if codec, ok := c.codec.(*row.Codec[T]); ok {
		for i, a := range all {
			if err := codec.Set(&vs[i], a.values); err != nil {
				r.t.Fatalf("adftest.%s(%q): record %d: %v", call, output, i+1, err)
			}
		}
		return vs
	}
	if _, rows := c.codec.(*row.Codec[row.Row]); !rows {
		r.t.Fatalf("adftest.%s(%q): got values of %s, want %T", call, output, typeOf(c.codec), *new(T))
	}
	codec, err := row.CodecOf[T]()
	if err != nil {
		r.t.Fatalf("adftest.%s(%q): %v", call, output, err)
	}
	from := c.codec.Schema()
	fields := make([]row.Value, len(codec.Schema().Fields))
	for i, a := range all {
		for j, f := range codec.Schema().Fields {
			at, known := from.Index(f.Name)
			if !known {
				r.t.Fatalf("adftest.%s(%q): %v", call, output, unknownColumn(f.Name, from))
			}
			if fields[j], err = cast(a.values[at], f); err != nil {
				r.t.Fatalf("adftest.%s(%q): record %d: %v", call, output, i+1, err)
			}
		}
		if err := codec.Set(&vs[i], fields); err != nil {
			r.t.Fatalf("adftest.%s(%q): record %d: %v", call, output, i+1, err)
		}
	}
	return vs
}
