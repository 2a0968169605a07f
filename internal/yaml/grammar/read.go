package grammar

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/yaml"
	"github.com/activedataflow/adf/record/row"
)

// Options are what a file is read with.
type Options struct {
	Registry *connectors.Registry
	// Params are parameters given from outside.
	Params map[string]string
	// Getenv finds an environment variable.
	Getenv func(string) (string, bool)
	// Funcs are the names for use, sorted.
	Funcs []string
}

// Read reads a flow file and gives everything that is wrong with it, in the order of its place. What is not wrong is in the Flow all the
// same, so that its expressions can be checked too; the Flow is nil when the file can not be parsed at all.
func Read(file string, data []byte, o Options) (*Flow, []fault.Violation) {
	r := &reader{Options: o, flow: &Flow{}, nodes: map[string]*node{}}
	t, wrong := yaml.Parse(file, data)
	r.wrong = wrong
	if t == nil {
		return nil, r.wrong
	}
	if r.isMap(t, "", "a flow: a map with flow, version, sources and sinks") {
		r.expand(t)
		r.readFlow(t)
		r.check()
	}
	Sort(r.wrong)
	return r.flow, r.wrong
}

// Sort puts violations into the order of their place.
func Sort(wrong []fault.Violation) {
	slices.SortStableFunc(wrong, func(a, b fault.Violation) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
}

// reader collects what a file says and what is wrong with it.
type reader struct {
	Options
	flow     *Flow
	defaults common
	nodes    map[string]*node
	order    []*node
	wrong    []fault.Violation
	// lost says that some references are not known, because what they stand in is wrong: then nobody knows who reads what. hidden says the
	// same of names.
	lost, hidden bool
}

// node is an entry of the one namespace.
type node struct {
	*Node
	from   []Ref
	sink   bool
	window bool // it has a late output
	part   any  // *Source, *Step or *Sink
	timed  bool // a source with event time
	// onError is where on_error stands, nil when the node does not say.
	onError *connectors.Tree
}

// common are the keys that every node has.
type common struct {
	parallelism int
	emit, said  bool
}

// refuse notes a violation. What came from a reference is shown as that.
func (r *reader) refuse(at *connectors.Tree, path, got, want, code string) *fault.Violation {
	if at.Raw != "" {
		got = at.Show()
	}
	r.wrong = append(r.wrong, fault.Violation{File: at.File, Line: at.Line, Col: at.Col, Path: path, Got: got, Want: want, Code: code})
	return &r.wrong[len(r.wrong)-1]
}

func (r *reader) isMap(t *connectors.Tree, path, want string) bool {
	if t.Kind != connectors.TreeMap && t.Kind != connectors.TreeBroken {
		r.refuse(t, path, t.Show(), want, ruleMap)
	}
	return t.Kind == connectors.TreeMap
}

func (r *reader) isList(t *connectors.Tree, path, want string) bool {
	if t.Kind != connectors.TreeList && t.Kind != connectors.TreeBroken {
		r.refuse(t, path, t.Show(), want, ruleList)
	}
	return t.Kind == connectors.TreeList
}

func (r *reader) isScalar(t *connectors.Tree, path, want string) bool {
	ok := t.Kind == connectors.TreeScalar && t.Text != ""
	if !ok && t.Kind != connectors.TreeBroken {
		r.refuse(t, path, t.Show(), want, ruleScalar)
	}
	return ok
}

// keys refuses the keys of a map that a production does not have, and gives those that are in no production when it is open.
func (r *reader) keys(t *connectors.Tree, path string, p production) (others []connectors.TreeField) {
	for _, f := range t.Fields {
		at := &connectors.Tree{File: t.File, Line: f.Line, Col: f.Col}
		switch k, ok := p.find(f.Key); {
		case !ok && p.open != "":
			others = append(others, f)
		case !ok:
			v := r.refuse(at, path+"."+f.Key, "an unknown key", "one of "+strings.Join(p.names(false), ", "), ruleUnknown)
			v.Path = strings.TrimPrefix(v.Path, ".")
			v.Fix = fault.DidYouMean(f.Key, p.names(true))
		case k.later:
			r.refuse(at, path+"."+f.Key, f.Key+", which is not in this version", "one of "+strings.Join(p.names(false), ", "), ruleLater)
		}
	}
	return others
}

// expand replaces references: first in the defaults of parameters, which see the environment only, then everywhere else.
func (r *reader) expand(t *connectors.Tree) {
	getenv := r.Getenv
	if getenv == nil {
		getenv = func(string) (string, bool) { return "", false }
	}
	values, declared := maps.Clone(r.Params), []string{}
	if values == nil {
		values = map[string]string{}
	}
	if params := t.Field("params"); params != nil && params.Kind != connectors.TreeNull && r.isMap(params, "params", "parameters: NAME: DEFAULT") {
		r.wrong = append(r.wrong, yaml.Expand(params, "params", yaml.Variables{Lookup: getenv, Want: "a variable of the environment"})...)
		for _, f := range params.Fields {
			path := "params." + f.Key
			declared = append(declared, f.Key)
			given, ok := values[f.Key]
			switch {
			case !paramName.MatchString(f.Key):
				r.refuse(keyAt(params, f), path, fmt.Sprintf("the name %q", f.Key), "letters, digits and '_', no digit first", ruleParam)
			case f.Value.Kind == connectors.TreeBroken:
				values[f.Key] = ""
			case f.Value.Kind == connectors.TreeNull && !ok:
				v := r.refuse(keyAt(params, f), path, "no value", "one: the parameter has no default", ruleParam)
				v.Fix = fmt.Sprintf("give it with --set %s=VALUE", f.Key)
				values[f.Key] = ""
			case f.Value.Kind == connectors.TreeScalar && !ok:
				values[f.Key] = f.Value.Text
			case f.Value.Kind == connectors.TreeScalar, f.Value.Kind == connectors.TreeNull:
				values[f.Key] = given
			default:
				r.refuse(f.Value, path, f.Value.Show(), "a scalar as default, or nothing", ruleParam)
				values[f.Key] = ""
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		if !slices.Contains(declared, name) {
			v := r.refuse(t, "params", fmt.Sprintf("a value for %q", name), "a parameter that the flow declares", ruleParam)
			v.Fix = fault.DidYouMean(name, declared)
		}
	}
	vars := yaml.Variables{Known: declared, Want: "a parameter of the flow or a variable of the environment", Lookup: func(name string) (string, bool) {
		if v, ok := values[name]; ok {
			return v, true
		}
		return getenv(name)
	}}
	for _, f := range t.Fields {
		if f.Key != "params" {
			r.wrong = append(r.wrong, yaml.Expand(f.Value, f.Key, vars)...)
		}
	}
}

var (
	paramName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	nodeName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)
)

const wantName = "up to 63 letters, digits, '_' and '-', a letter first"

// keyAt is the place of a key.
func keyAt(t *connectors.Tree, f connectors.TreeField) *connectors.Tree {
	return &connectors.Tree{File: t.File, Line: f.Line, Col: f.Col}
}

func (r *reader) readFlow(t *connectors.Tree) {
	r.keys(t, "", flowMap)
	for _, name := range []string{"flow", "version", "sources", "sinks"} {
		if t.Field(name) == nil {
			r.refuse(t, name, "nothing", map[string]string{
				"flow": "the name of the flow", "version": "1", "sources": "at least one source", "sinks": "at least one sink",
			}[name], ruleRequired)
		}
	}
	r.flow.At = t
	if f := t.Field("flow"); f != nil && r.isScalar(f, "flow", "the name of the flow") {
		if r.flow.Name, r.flow.At = f.Text, f; !nodeName.MatchString(f.Text) {
			r.refuse(f, "flow", f.Show(), wantName, ruleName)
		}
	}
	if v := t.Field("version"); v != nil && r.isScalar(v, "version", "1") && v.Text != "1" {
		r.refuse(v, "version", v.Show(), "1", ruleVersion)
	}
	if d := t.Field("defaults"); d != nil && d.Kind != connectors.TreeNull && r.isMap(d, "defaults", "a map with parallelism or on_error") {
		r.keys(d, "defaults", defaultsMap)
		r.defaults = r.common(d, "defaults")
	}
	r.section(t, "sources", true, r.readSource)
	r.section(t, "steps", false, r.readStep)
	r.section(t, "sinks", true, r.readSink)
}

// section reads a map of named nodes.
func (r *reader) section(t *connectors.Tree, name string, required bool, read func(n *Node, t *connectors.Tree)) {
	s := t.Field(name)
	r.hidden = r.hidden || s != nil && s.Kind == connectors.TreeBroken
	if s == nil || !required && s.Kind == connectors.TreeNull || !r.isMap(s, name, "a map of named "+name) {
		return
	}
	if required && len(s.Fields) == 0 {
		r.refuse(s, name, "an empty map", "at least one", ruleRequired)
	}
	for _, f := range s.Fields {
		n := &Node{Name: f.Key, Path: name + "." + f.Key, File: s.File, Line: f.Line, Col: f.Col}
		if !nodeName.MatchString(f.Key) {
			r.refuse(keyAt(s, f), n.Path, fmt.Sprintf("the name %q", f.Key), wantName, ruleName)
		}
		if before := r.nodes[f.Key]; before != nil {
			r.refuse(keyAt(s, f), n.Path, "a second node of this name", fmt.Sprintf("names used once; %s is in line %d", before.Path, before.Line), ruleTwice)
			r.lost = true
			continue
		}
		entry := &node{Node: n}
		r.nodes[f.Key] = entry
		r.order = append(r.order, entry)
		before := len(r.wrong)
		read(n, f.Value)
		entry.Broken = len(r.wrong) > before || broken(f.Value)
	}
}

// broken says that something in a value has been refused before.
func broken(t *connectors.Tree) bool {
	return t.Kind == connectors.TreeBroken || slices.ContainsFunc(t.Items, broken) ||
		slices.ContainsFunc(t.Fields, func(f connectors.TreeField) bool { return broken(f.Value) })
}

// common reads the keys that every node has.
func (r *reader) common(t *connectors.Tree, path string) common {
	c := r.defaults
	if p := t.Field("parallelism"); p != nil && r.isScalar(p, path+".parallelism", wantParallelism) {
		n, err := strconv.Atoi(p.Text)
		if c.parallelism = n; err != nil || n < 1 || n > maxParallelism {
			r.refuse(p, path+".parallelism", p.Show(), wantParallelism, ruleParallelism)
		}
	}
	if e := t.Field("on_error"); e != nil && r.isScalar(e, path+".on_error", "fail or emit") {
		if c.emit, c.said = e.Text == "emit", true; e.Text != "fail" && e.Text != "emit" {
			v := r.refuse(e, path+".on_error", e.Show(), "fail or emit", ruleOnError)
			v.Fix = fault.DidYouMean(e.Text, []string{"fail", "emit"})
		}
	}
	return c
}

const (
	maxParallelism  = 4096
	wantParallelism = "a whole number from 1 to 4096"
)

// setCommon takes over the common keys; lanes says that the node has a parallelism of its own.
func (r *reader) setCommon(n *Node, t *connectors.Tree, lanes bool) {
	c := r.common(t, n.Path)
	n.Emit = c.emit
	r.nodes[n.Name].onError = t.Field("on_error")
	if p := t.Field("parallelism"); p != nil && !lanes {
		r.refuse(p, n.Path+".parallelism", "parallelism "+p.Show(), "it on sources and on steps with a key only: this node runs where its input is", ruleParallelism)
	}
	if lanes {
		n.Parallelism = c.parallelism
	}
}

func (r *reader) readSource(n *Node, t *connectors.Tree) {
	s := &Source{Node: *n}
	entry := r.nodes[n.Name]
	entry.Node, entry.part = &s.Node, s
	if !r.isMap(t, n.Path, "a source: a map with its type") {
		r.lost = true
		return
	}
	r.flow.Sources = append(r.flow.Sources, s)
	others := r.keys(t, n.Path, sourceMap)
	r.setCommon(&s.Node, t, true)
	var known []string
	for _, e := range r.Registry.Sources() {
		known = append(known, e.Name)
	}
	if f := r.connector(t, &s.Node, others, known, sourceMap); f != nil {
		e, err := r.Registry.LookupSource(f.Key)
		if err == nil {
			s.Type, s.Options, s.Config = f.Key, f.Value, e.New()
			r.decode(f, n.Path, s.Config)
		}
	}
	if sc := t.Field("schema"); sc != nil {
		s.SchemaAt = sc
		r.readSchema(s, sc, n.Path+".schema")
	}
	entry.timed = t.Field("time") != nil
	if tm := t.Field("time"); tm != nil && r.isMap(tm, n.Path+".time", "a map with field and out_of_orderness") {
		s.Time = r.readTime(tm, n.Path+".time")
	}
}

// connector finds the one key that is a connector's type.
func (r *reader) connector(t *connectors.Tree, n *Node, others []connectors.TreeField, known []string, p production) *connectors.TreeField {
	want := "one of " + strings.Join(known, ", ")
	if len(known) == 0 {
		want = "a registered one, and none is registered"
	}
	var found *connectors.TreeField
	for i, f := range others {
		path := n.Path + "." + f.Key
		switch {
		case !slices.Contains(known, f.Key):
			v := r.refuse(keyAt(t, f), path, fmt.Sprintf("%q, which is neither a key of a %s nor %s", f.Key, p.name, p.open), want, ruleType)
			v.Fix = fault.DidYouMean(f.Key, append(p.names(true), known...))
		case found != nil:
			r.refuse(keyAt(t, f), path, "a second type, after "+found.Key, "one", ruleType)
		default:
			found = &others[i]
		}
	}
	if len(others) == 0 {
		r.refuse(at(n), n.Path, "no type", want, ruleType)
	}
	return found
}

// at is the place of a node.
func at(n *Node) *connectors.Tree {
	return &connectors.Tree{File: n.File, Line: n.Line, Col: n.Col}
}

func (r *reader) decode(f *connectors.TreeField, path string, c connectors.Config) {
	if f.Value.Kind != connectors.TreeBroken {
		r.wrong = append(r.wrong, connectors.Decode(f.Value, path+"."+f.Key, c)...)
	}
}

func (r *reader) readSchema(s *Source, t *connectors.Tree, path string) {
	if t.Kind == connectors.TreeScalar && t.Text == "infer" {
		s.Infer = true
		return
	}
	if t.Kind == connectors.TreeScalar || t.Kind == connectors.TreeList || t.Kind == connectors.TreeNull || len(t.Fields) == 0 && t.Kind == connectors.TreeMap {
		v := r.refuse(t, path, t.Show(), `infer, or columns as {id: int64 not null, name: string}`, ruleSchema)
		v.Fix = fault.DidYouMean(t.Text, []string{"infer"})
		return
	}
	var fields []row.Field
	for _, f := range t.Fields {
		if field, ok := r.field(f.Key, f.Value, path+"."+f.Key); ok {
			fields = append(fields, field)
		}
	}
	if len(fields) == len(t.Fields) && len(fields) > 0 {
		var err error
		if s.Schema, err = row.NewSchema(fields...); err != nil {
			r.refuse(t, path, err.Error(), "a schema", ruleSchema)
		}
	}
}

var columnError = regexp.MustCompile(`^column (\d+): got (.*), want (.*)$`)

// field reads a type.
func (r *reader) field(name string, t *connectors.Tree, path string) (row.Field, bool) {
	if !r.isScalar(t, path, `a type, as "int64 not null"`) {
		return row.Field{}, false
	}
	f, err := row.ParseField(name, t.Text)
	if err == nil {
		return f, true
	}
	got, want, place := t.Show(), err.Error(), *t
	if m := columnError.FindStringSubmatch(err.Error()); m != nil {
		col, _ := strconv.Atoi(m[1])
		place.Line, place.Col = t.At(col)
		got, want = m[2], m[3]
	}
	v := r.refuse(&place, path, got, want, ruleSchema)
	if word, _, _ := strings.Cut(t.Text, " "); place.Line != t.Line || place.Col <= t.Col+1 {
		v.Fix = fault.DidYouMean(word, []string{"bool", "int64", "float64", "decimal", "string", "bytes", "timestamp", "date", "duration"})
	}
	return row.Field{}, false
}

func (r *reader) readTime(t *connectors.Tree, path string) *Time {
	r.keys(t, path, timeMap)
	tm := &Time{FieldAt: t}
	if f := t.Field("field"); f == nil {
		r.refuse(t, path+".field", "nothing", "the column with the event time", ruleRequired)
	} else if r.isScalar(f, path+".field", "the column with the event time") {
		tm.Field, tm.FieldAt = f.Text, f
	}
	if t.Field("out_of_orderness") == nil {
		v := r.refuse(t, path+".out_of_orderness", "nothing", "how far records are out of order", ruleRequired)
		v.Fix = "0s says that each split is in order"
	}
	tm.OutOfOrderness = r.duration(t, path, "out_of_orderness")
	tm.IdleAfter = r.duration(t, path, "idle_after")
	return tm
}

// duration reads a key that is a duration; zero when it is not there.
func (r *reader) duration(t *connectors.Tree, path, name string) time.Duration {
	d := t.Field(name)
	if d == nil || !r.isScalar(d, path+"."+name, connectors.WantDuration) {
		return 0
	}
	v, err := connectors.ParseDuration(d.Text)
	if err != nil {
		r.refuse(d, path+"."+name, d.Show(), connectors.WantDuration, ruleDuration)
	} else if v%time.Millisecond != 0 {
		r.refuse(d, path+"."+name, d.Show(), "whole milliseconds", ruleDuration)
	}
	return v
}

func (r *reader) readSink(n *Node, t *connectors.Tree) {
	s := &Sink{Node: *n}
	entry := r.nodes[n.Name]
	entry.Node, entry.part, entry.sink = &s.Node, s, true
	if !r.isMap(t, n.Path, "a sink: a map with from and its type") {
		r.lost = true
		return
	}
	r.flow.Sinks = append(r.flow.Sinks, s)
	others := r.keys(t, n.Path, sinkMap)
	r.setCommon(&s.Node, t, false)
	s.From = r.from(&s.Node, t)
	entry.from = s.From
	var known []string
	for _, e := range r.Registry.Sinks() {
		known = append(known, e.Name)
	}
	if f := r.connector(t, &s.Node, others, known, sinkMap); f != nil {
		e, err := r.Registry.LookupSink(f.Key)
		if err == nil {
			s.Type, s.Options, s.Config = f.Key, f.Value, e.New()
			r.decode(f, n.Path, s.Config)
		}
	}
}

// from reads what a node reads. Whether it is there is checked when all names are known.
func (r *reader) from(n *Node, t *connectors.Tree) []Ref {
	path := n.Path + ".from"
	f := t.Field("from")
	before := len(r.wrong)
	defer func() { r.lost = r.lost || len(r.wrong) > before || f == nil || f.Kind == connectors.TreeBroken }()
	const want = "the name of a source or step, or a list of names"
	switch {
	case f == nil:
		r.refuse(at(n), path, "nothing", want, ruleRequired)
	case f.Kind == connectors.TreeMap:
		r.refuse(f, path, "a map of inputs, for a join, which is not in this version", want, ruleLater)
	case f.Kind == connectors.TreeScalar:
		return r.ref(nil, f, path)
	case f.Kind == connectors.TreeList && len(f.Items) == 0:
		r.refuse(f, path, "an empty list", want, ruleRequired)
	case r.isList(f, path, want):
		var all []Ref
		for i, item := range f.Items {
			all = r.ref(all, item, fmt.Sprintf("%s[%d]", path, i))
		}
		return all
	}
	return nil
}

func (r *reader) ref(all []Ref, t *connectors.Tree, path string) []Ref {
	if !r.isScalar(t, path, "the name of a source or step") {
		r.lost = true
		return all
	}
	name, port, _ := strings.Cut(t.Text, ".")
	ref := Ref{Node: name, Port: port, At: t}
	if slices.ContainsFunc(all, func(o Ref) bool { return o.Node == ref.Node && o.Port == ref.Port }) {
		r.refuse(t, path, t.Show()+" a second time", "each output once", ruleSame)
		return all
	}
	return append(all, ref)
}
