package adf

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// Stream is the output of a source or a step: records of type T. Where a new type appears the next step is a function of this
// package, where none does it is a method.
type Stream[T any] struct {
	f     *Flow
	from  []Ref // several are a union
	codec *row.Codec[T]
}

// From adds a source. Its name is part of the flow's state: keep it.
func From[T any, S splits.Split](f *Flow, name string, src splits.Source[T, S]) Stream[T] {
	n := &Node{Name: name, Kind: KindSource, Place: caller()}
	if !f.configured(n, src) {
		return broken[T](f, n)
	}
	var codec *row.Codec[T]
	var err error
	if typed, ok := src.(splits.Typed[T]); ok {
		codec, err = typed.RecordCodec()
	} else {
		codec, err = row.CodecOf[T]()
	}
	if err != nil {
		f.fail(n, err)
		return broken[T](f, n)
	}
	n.Source, n.Out = splits.Erase(src, codec), codec
	f.Add(n)
	return Stream[T]{f, []Ref{{Node: name}}, codec}
}

// configured checks a connector that was configured in Go, as a file's configuration would be, and notes its name and options.
func (f *Flow) configured(n *Node, connector any) (ok bool) {
	if connector == nil {
		f.partial = true
		f.refuse(n.Place, n.Name, "nil", "a "+n.Kind.String(), "flow.node")
		return false
	}
	n.Type = connectorName(connector)
	c, ok := connector.(connectors.Config)
	if !ok {
		return true
	}
	wrong := connectors.Check(c, n.Type)
	if len(wrong) > 0 {
		f.fail(n, fault.Config(wrong...))
		return false
	}
	n.Config = connectors.Redact(c)
	return true
}

// connectorName is the name of the connector's package, which is the name it is registered by.
func connectorName(connector any) string {
	t := reflect.TypeOf(connector)
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	for i := len(t.PkgPath()) - 1; i >= 0; i-- {
		if t.PkgPath()[i] == '/' {
			return t.PkgPath()[i+1:]
		}
	}
	return t.PkgPath()
}

// fail notes an error that made a node impossible.
func (f *Flow) fail(n *Node, err error) {
	f.partial = true
	var c *fault.ConfigurationError
	if errors.As(err, &c) && len(c.Violations) > 0 {
		for _, v := range c.Violations {
			v.File, v.Line, v.Col = n.Place.File, n.Place.Line, n.Place.Col
			v.Path = strings.TrimSuffix(n.Name+"."+v.Path, ".")
			f.Refuse(v)
		}
		return
	}
	f.Refuse(fault.Violation{File: n.Place.File, Line: n.Place.Line, Path: n.Name, Got: err.Error(), Want: "a node that can be made", Code: "flow.node"})
}

// broken gives a stream whose uses are passed over, so that one mistake is told once.
func broken[T any](f *Flow, n *Node) Stream[T] {
	if f.byName[n.Name] == nil {
		f.byName[n.Name] = n // its name is taken all the same
	}
	return Stream[T]{f: f}
}

// ok says whether the stream can be used; what is broken has been told already.
func (s Stream[T]) ok() bool { return s.codec != nil }

func (s Stream[T]) edges() []Edge {
	edges := make([]Edge, len(s.from))
	for i, r := range s.from {
		edges[i] = Edge{From: r}
	}
	return edges
}

// node is the node that the stream is the main output of; nil for unions and other outputs.
func (s Stream[T]) node() *Node {
	if len(s.from) != 1 || s.from[0].Port != PortMain {
		return nil
	}
	return s.f.byName[s.from[0].Node]
}

// path names the outputs that the stream consists of.
func (s Stream[T]) path() string {
	all := make([]string, len(s.from))
	for i, r := range s.from {
		all[i] = r.String()
	}
	return strings.Join(all, ", ")
}

// EventTime says when the records of a source happened, and how far behind the newest record of its split one may come. It goes right behind From.
func (s Stream[T]) EventTime(when func(T) time.Time, outOfOrderness time.Duration) Stream[T] {
	if !s.ok() {
		return s
	}
	n := s.node()
	if n == nil || n.Kind != KindSource {
		s.f.refuse(caller(), s.path(), "EventTime", "it right behind From: only sources have event time", ruleTime)
		return s
	}
	if outOfOrderness < 0 {
		s.f.refuse(caller(), n.Name, fmt.Sprintf("records up to %s out of order", outOfOrderness), "0 or more", ruleTime)
	}
	n.Time = &EventTime{OutOfOrderness: outOfOrderness, Set: func(b record.Any, _ func(int, error)) error {
		batch := b.(*record.Batch[T])
		for i := range batch.Values {
			batch.Metas[i].Time = when(batch.Values[i]).UnixMilli()
		}
		return nil
	}}
	return s
}

// IdleAfter lets the clock move the watermark of a split that had no record for d. It goes behind EventTime.
func (s Stream[T]) IdleAfter(d time.Duration) Stream[T] {
	if !s.ok() {
		return s
	}
	switch n := s.node(); {
	case n == nil || n.Time == nil:
		s.f.refuse(caller(), s.path(), "IdleAfter", "it behind EventTime", ruleTime)
	case d <= 0:
		s.f.refuse(caller(), n.Name, fmt.Sprintf("idle after %s", d), "more than 0", ruleTime)
	default:
		n.Time.IdleAfter = d
	}
	return s
}

// Parallelism sets how many lanes or workers the node behind the stream has; otherwise the runtime decides.
func (s Stream[T]) Parallelism(n int) Stream[T] {
	if !s.ok() {
		return s
	}
	switch at := s.node(); {
	case at == nil || at.Kind == KindOp:
		s.f.refuse(caller(), s.path(), "Parallelism", "it right behind a source or a keyed step: other steps run where their input is", "flow.parallelism")
	case n < 1:
		s.f.refuse(caller(), at.Name, fmt.Sprintf("parallelism %d", n), "1 or more", "flow.parallelism")
	default:
		at.Parallelism = n
	}
	return s
}

// Errors are the records that failed in the node behind the stream; taking them lets the node go on after such a record.
func (s Stream[T]) Errors() Stream[sinks.DeadLetter] {
	if !s.ok() {
		return Stream[sinks.DeadLetter]{f: s.f}
	}
	e := Stream[sinks.DeadLetter]{f: s.f, codec: sinks.DeadLetters()}
	for _, r := range s.from {
		e.from = append(e.from, Ref{r.Node, PortErrors})
	}
	return e
}

// Union puts streams of one type together, in no particular order.
func Union[T any](s Stream[T], more ...Stream[T]) Stream[T] {
	u := Stream[T]{s.f, slices.Clone(s.from), s.codec}
	for _, m := range more {
		u.from = append(u.from, m.from...)
		switch {
		case !m.ok():
			u.codec = nil
		case s.ok() && m.f != s.f:
			s.f.refuse(caller(), m.path(), "a stream of the flow "+m.f.name, "streams of one flow", ruleUnion)
			u.codec = nil
		}
	}
	return u
}

// Filter keeps the records for which keep is true.
func (s Stream[T]) Filter(name string, keep func(T) bool) Stream[T] {
	if !s.ok() {
		return s
	}
	return step(s, name, "filter", s.codec, operators.Filter(s.codec, func(v T) (bool, error) { return keep(v), nil }))
}

// Map makes one record of each; an error is about that record only.
func Map[In, Out any](s Stream[In], name string, fn func(In) (Out, error)) Stream[Out] {
	return typedStep(s, name, "map", func(out *row.Codec[Out]) operators.Any { return operators.Map(s.codec, out, fn) })
}

// FlatMap makes any number of records of each.
func FlatMap[In, Out any](s Stream[In], name string, fn func(v In, emit func(Out)) error) Stream[Out] {
	return typedStep(s, name, "flat_map", func(out *row.Codec[Out]) operators.Any { return operators.FlatMap(s.codec, out, fn) })
}

// Through adds an operator of one's own; open makes an instance for each lane.
func Through[In, Out any](s Stream[In], name string, open func() operators.Operator[In, Out]) Stream[Out] {
	return typedStep(s, name, "through", func(out *row.Codec[Out]) operators.Any { return operators.Through(s.codec, out, open) })
}

func typedStep[In, Out any](s Stream[In], name, verb string, op func(out *row.Codec[Out]) operators.Any) Stream[Out] {
	if !s.ok() {
		return Stream[Out]{f: s.f}
	}
	out, err := row.CodecOf[Out]()
	if err != nil {
		n := &Node{Name: name, Kind: KindOp, Place: caller()}
		s.f.fail(n, err)
		return broken[Out](s.f, n)
	}
	return step(s, name, verb, out, op(out))
}

func step[In, Out any](s Stream[In], name, verb string, out *row.Codec[Out], op operators.Any) Stream[Out] {
	s.f.Add(&Node{Name: name, Kind: KindOp, Type: verb, Inputs: s.edges(), Out: out, Op: op})
	return Stream[Out]{s.f, []Ref{{Node: name}}, out}
}

// To adds a sink.
func (s Stream[T]) To(name string, sink sinks.Sink[T]) {
	if !s.ok() {
		return
	}
	n := &Node{Name: name, Kind: KindSink, Place: caller(), Inputs: s.edges(), Out: s.codec}
	if !s.f.configured(n, sink) {
		return
	}
	var err error
	if n.Sink, err = sink.Sink(s.codec); err != nil {
		s.f.fail(n, err)
		return
	}
	s.f.Add(n)
}

// Keyed is a stream whose records are brought together by key.
type Keyed[T, K any] struct {
	Stream[T]
	key    func(T) K
	window *operators.Window
}

// windowConfig is a window as plans and explain show it.
func windowConfig(w operators.Window) map[string]any {
	c := map[string]any{"tumbling": connectors.FormatDuration(w.Size), "allowed_lateness": connectors.FormatDuration(w.Lateness)}
	if w.Offset != 0 {
		c["offset"] = connectors.FormatDuration(w.Offset)
	}
	return c
}

// KeyBy gives records a key: a bool, a number, a string, a time, or a struct of those.
func KeyBy[T, K any](s Stream[T], key func(T) K) Keyed[T, K] { return Keyed[T, K]{Stream: s, key: key} }

// Window cuts each key's records by event time. Without it, an aggregate gives one result per key at the end of the input.
func (k Keyed[T, K]) Window(w Window) Keyed[T, K] {
	k.window = &w.w
	return k
}

// Window says how event time is cut.
type Window struct{ w operators.Window }

// Tumbling cuts event time into stretches of one size, aligned with the epoch in UTC.
func Tumbling(size time.Duration) Window { return Window{operators.Window{Size: size}} }

// AllowedLateness delays each window's result by d, and takes records that come up to d late.
func (w Window) AllowedLateness(d time.Duration) Window {
	w.w.Lateness = d
	return w
}

// Offset moves the windows by d: for days that begin at six, 6h.
func (w Window) Offset(d time.Duration) Window {
	w.w.Offset = d
	return w
}

// Result is the output of a keyed step, with the late records of its input.
type Result[T, R any] struct {
	Stream[R]
	late Stream[T]
}

// Late are the records that came after their window's result.
func (r Result[T, R]) Late() Stream[T] { return r.late }

// Aggregate gives one result per key and window.
func Aggregate[T, K, A, R any](k Keyed[T, K], name string, agg operators.Aggregator[T, K, A, R]) Result[T, R] {
	var w operators.Window
	var config map[string]any
	if k.window != nil {
		w = *k.window
		config = map[string]any{"window": windowConfig(w)}
	}
	return keyed[T, R](k.Stream, name, "aggregate", config, func(*row.Codec[R]) (operators.AnyKeyed, error) {
		if k.window != nil && w.Size <= 0 {
			return nil, fault.Config(fault.Violation{Path: "window.size", Got: w.Size.String(), Want: "a size of whole milliseconds above zero", Code: "window.size"})
		}
		return operators.Aggregate(k.codec, k.key, w, agg)
	})
}

// Process runs a function of one's own on each key's records, with state and timers; open makes an instance for each worker. State that
// was not written for ttl is dropped; zero keeps it for ever.
func Process[T, K, Out any](k Keyed[T, K], name string, ttl time.Duration, open func() operators.Processor[T, K, Out]) Stream[Out] {
	var config map[string]any
	if ttl > 0 {
		config = map[string]any{"ttl": connectors.FormatDuration(ttl)}
	}
	return keyed[T, Out](k.Stream, name, "process", config, func(out *row.Codec[Out]) (operators.AnyKeyed, error) {
		if k.window != nil {
			return nil, fault.Config(fault.Violation{Path: "window", Got: "a window", Want: "none: Process sets timers of its own", Code: ruleWindow})
		}
		return operators.Process(k.codec, out, k.key, ttl, open)
	}).Stream
}

func keyed[T, Out any](
	s Stream[T], name, verb string, config map[string]any, op func(out *row.Codec[Out]) (operators.AnyKeyed, error),
) Result[T, Out] {
	if !s.ok() {
		return Result[T, Out]{Stream: Stream[Out]{f: s.f}, late: Stream[T]{f: s.f}}
	}
	n := &Node{Name: name, Kind: KindKeyed, Type: verb, Config: config, Place: caller(), Inputs: s.edges()}
	out, err := row.CodecOf[Out]()
	if err == nil {
		n.Keyed, err = op(out)
	}
	if err != nil {
		s.f.fail(n, err)
		return Result[T, Out]{Stream: broken[Out](s.f, n), late: Stream[T]{f: s.f}}
	}
	n.Out = out
	s.f.Add(n)
	return Result[T, Out]{
		Stream: Stream[Out]{s.f, []Ref{{Node: name}}, out},
		late:   Stream[T]{s.f, []Ref{{name, PortLate}}, s.codec},
	}
}
