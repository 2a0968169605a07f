package grammar

import (
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
)

func (r *reader) readStep(n *Node, t *connectors.Tree) {
	s := &Step{Node: *n}
	entry := r.nodes[n.Name]
	entry.Node, entry.part = &s.Node, s
	if !r.isMap(t, n.Path, "a step: a map with from and a verb") {
		r.lost = true
		return
	}
	r.flow.Steps = append(r.flow.Steps, s)
	r.keys(t, n.Path, stepMap)
	s.From = r.from(&s.Node, t)
	entry.from = s.From

	verb := r.verb(t, n.Path, verbs, at(n))
	s.HasBy = t.Field("by") != nil
	r.setCommon(&s.Node, t, verb == "aggregate" || verb == "use" && s.HasBy || verb == "")
	v := t.Field(verb)
	path := n.Path + "." + verb
	switch verb {
	case "":
	case "do":
		s.Do = r.readDo(v, path)
	case "aggregate":
		s.Aggregate = r.assigns(v, path, "results as {NAME: count()}")
	case "use":
		r.readUse(s, v, path)
	default:
		s.Do = []Verb{r.stateless(verb, v, path)}
	}
	r.readBy(s, verb, t)
	r.readWindow(s, verb, t)
	entry.window = s.Window != nil && s.Window.Size > 0
	if ttl := t.Field("ttl"); ttl != nil && verb != "" {
		s.TTL = r.duration(t, n.Path, "ttl")
		if verb != "use" || !s.HasBy {
			r.refuse(ttl, n.Path+".ttl", "ttl on a step that keeps no state of its own", "it on a use step with by only", ruleTTL)
		} else if _, err := connectors.ParseDuration(ttl.Text); err == nil && s.TTL == 0 {
			r.refuse(ttl, n.Path+".ttl", ttl.Show(), "a duration above 0; without ttl, state is kept", ruleTTL)
		}
	}
}

// verb finds the one key that is a verb; "" when there is none.
func (r *reader) verb(t *connectors.Tree, path string, of []string, at *connectors.Tree) string {
	var verb string
	later := false
	for _, f := range t.Fields {
		k, known := stepMap.find(f.Key)
		later = later || known && k.later
		switch {
		case !slices.Contains(of, f.Key):
		case verb != "":
			r.refuse(keyAt(t, f), path+"."+f.Key, "a second verb, after "+verb, "one", ruleVerb).Fix = "several stateless verbs go into a do list"
		default:
			verb = f.Key
		}
	}
	if verb == "" && !later {
		r.refuse(at, path, "no verb", "one of "+strings.Join(of, ", "), ruleVerb)
	}
	return verb
}

func (r *reader) readDo(t *connectors.Tree, path string) []Verb {
	const want = "a list of stateless verbs, as [{filter: x > 0}, {drop: [y]}]"
	if t.Kind == connectors.TreeList && len(t.Items) == 0 {
		r.refuse(t, path, "an empty list", want, ruleVerb)
	}
	if !r.isList(t, path, want) {
		return nil
	}
	var all []Verb
	for i, item := range t.Items {
		path := fmt.Sprintf("%s[%d]", path, i)
		if !r.isMap(item, path, "a map with one stateless verb") {
			continue
		}
		verb := ""
		for _, f := range item.Fields {
			k, known := stepMap.find(f.Key)
			switch {
			case slices.Contains(stateless, f.Key):
				if verb != "" {
					r.refuse(keyAt(item, f), path+"."+f.Key, "a second verb, after "+verb, "one in each item of the list", ruleVerb)
					continue
				}
				verb = f.Key
				all = append(all, r.stateless(verb, f.Value, path+"."+verb))
			case known && k.later:
				r.refuse(keyAt(item, f), path+"."+f.Key, f.Key+", which is not in this version", "one of "+strings.Join(stateless, ", "), ruleLater)
				verb = f.Key
			case known:
				r.refuse(keyAt(item, f), path+"."+f.Key, f.Key+" inside do", "one of "+strings.Join(stateless, ", ")+"; other keys belong to the step", ruleVerb)
				verb = f.Key
			default:
				v := r.refuse(keyAt(item, f), path+"."+f.Key, "an unknown verb", "one of "+strings.Join(stateless, ", "), ruleUnknown)
				v.Fix = fault.DidYouMean(f.Key, stateless)
				verb = f.Key
			}
		}
		if len(item.Fields) == 0 {
			r.refuse(item, path, "an empty map", "one of "+strings.Join(stateless, ", "), ruleVerb)
		}
	}
	return all
}

func (r *reader) stateless(verb string, t *connectors.Tree, path string) Verb {
	v := Verb{Name: verb}
	switch verb {
	case "filter":
		v.Filter = r.expr(t, path, "a condition, as dep_delay > 0")
	case "set":
		v.Assign = r.assigns(t, path, "columns as {NAME: EXPRESSION}")
	case "select":
		v.Assign = r.selects(t, path)
	case "rename":
		r.pairs(t, path, "names as {OLD: NEW}", func(f connectors.TreeField, path string) {
			if r.isScalar(f.Value, path, "the new name") {
				v.Columns = r.column(v.Columns, Column{Name: f.Key, New: f.Value.Text, At: keyAt(t, f), Path: path}, f.Value)
			}
		})
	case "cast":
		r.pairs(t, path, "types as {COLUMN: TYPE}", func(f connectors.TreeField, path string) {
			if field, ok := r.field(f.Key, f.Value, path); ok {
				v.Columns = append(v.Columns, Column{Name: f.Key, Type: field, At: keyAt(t, f), Path: path})
			}
		})
	case "drop":
		if t.Kind == connectors.TreeList && len(t.Items) == 0 {
			r.refuse(t, path, "an empty list", "a list of columns, as [a, b]", ruleRequired)
		}
		if r.isList(t, path, "a list of columns, as [a, b]") {
			for i, item := range t.Items {
				path := fmt.Sprintf("%s[%d]", path, i)
				if r.isScalar(item, path, "the name of a column") {
					v.Columns = r.column(v.Columns, Column{Name: item.Text, At: item, Path: path}, item)
				}
			}
		}
	}
	return v
}

// column adds a column whose name, or new name, is not there yet.
func (r *reader) column(all []Column, c Column, at *connectors.Tree) []Column {
	name := func(c Column) string {
		if c.New != "" {
			return c.New
		}
		return c.Name
	}
	if slices.ContainsFunc(all, func(o Column) bool { return name(o) == name(c) }) {
		r.refuse(at, c.Path, fmt.Sprintf("the column %q a second time", name(c)), "each column once", ruleColumn)
		return all
	}
	return append(all, c)
}

// pairs reads a map that is not empty.
func (r *reader) pairs(t *connectors.Tree, path, want string, read func(f connectors.TreeField, path string)) {
	if t.Kind == connectors.TreeMap && len(t.Fields) == 0 {
		r.refuse(t, path, "an empty map", want, ruleRequired)
	}
	if r.isMap(t, path, want) {
		for _, f := range t.Fields {
			read(f, path+"."+f.Key)
		}
	}
}

func (r *reader) assigns(t *connectors.Tree, path, want string) []Assign {
	var all []Assign
	r.pairs(t, path, want, func(f connectors.TreeField, path string) {
		if e := r.expr(f.Value, path, "an expression"); e.Tree != nil {
			all = append(all, Assign{Name: f.Key, Expr: e})
		}
	})
	return all
}

// selects reads the columns of a select: a map, or a list of columns and of maps with one entry.
func (r *reader) selects(t *connectors.Tree, path string) []Assign {
	const want = "columns as [a, b, {NAME: EXPRESSION}]"
	if t.Kind == connectors.TreeMap {
		return r.assigns(t, path, want)
	}
	if t.Kind == connectors.TreeList && len(t.Items) == 0 {
		r.refuse(t, path, "an empty list", want, ruleRequired)
	}
	return r.list(t, path, want)
}

// list reads a list of columns and of maps with one entry.
func (r *reader) list(t *connectors.Tree, path, want string) []Assign {
	if !r.isList(t, path, want) {
		return nil
	}
	var all []Assign
	for i, item := range t.Items {
		path := fmt.Sprintf("%s[%d]", path, i)
		var a Assign
		switch {
		case item.Kind == connectors.TreeMap && len(item.Fields) == 1:
			f := item.Fields[0]
			a = Assign{Name: f.Key, Expr: r.expr(f.Value, path+"."+f.Key, "an expression")}
		case item.Kind == connectors.TreeMap:
			r.refuse(item, path, fmt.Sprintf("a map with %d entries", len(item.Fields)), "one entry: {NAME: EXPRESSION}", ruleExpr)
		default:
			a.Expr = r.expr(item, path, "a column, or {NAME: EXPRESSION}")
			if a.Expr.Tree != nil {
				a.Name = item.Text
			}
		}
		if a.Expr.Tree == nil {
			continue
		}
		if slices.ContainsFunc(all, func(o Assign) bool { return o.Name == a.Name }) {
			r.refuse(item, path, fmt.Sprintf("the column %q a second time", a.Name), "each column once", ruleColumn)
			continue
		}
		all = append(all, a)
	}
	return all
}

// expr reads an expression; its Tree is nil when it is wrong.
func (r *reader) expr(t *connectors.Tree, path, want string) Expr {
	if !r.isScalar(t, path, want) {
		return Expr{}
	}
	if t.Comment {
		v := r.refuse(t, path, fmt.Sprintf("the expression %s, cut off by a comment", t.Show()), "the expression in quotes, or the comment in a line of its own", ruleExpr)
		v.Fix = `" #" begins a comment`
		return Expr{}
	}
	if !t.Quoted && open(t.Text) {
		v := r.refuse(t, path, fmt.Sprintf("%q, with a bracket that has no other half", t.Show()), "an expression", ruleExpr)
		v.Fix = "inside {…} and […] a comma ends a value: an expression with a comma needs quotes"
		return Expr{}
	}
	return Expr{t, path}
}

// open says that a text has more brackets that open than that close, or the other way around, outside of quotes.
func open(text string) bool {
	depth, quote := 0, rune(0)
	for _, c := range text {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '(' || c == '[':
			depth++
		case c == ')' || c == ']':
			depth--
		}
	}
	return depth != 0
}

func (r *reader) readUse(s *Step, t *connectors.Tree, path string) {
	if !r.isScalar(t, path, "the name of a Go function") {
		return
	}
	if s.Use, s.UseAt = t.Text, t; slices.Contains(r.Funcs, t.Text) {
		return
	}
	want := "one of " + strings.Join(r.Funcs, ", ")
	if len(r.Funcs) == 0 {
		want = "a function that the program registered, and it registered none"
	}
	r.refuse(t, path, "the unknown function "+t.Show(), want, ruleUse).Fix = fault.DidYouMean(t.Text, r.Funcs)
}

func (r *reader) readBy(s *Step, verb string, t *connectors.Tree) {
	path := s.Path + ".by"
	by := t.Field("by")
	switch {
	case by == nil && verb == "aggregate":
		r.refuse(at(&s.Node), path, "nothing", "the key, as [carrier]", ruleBy).Fix = "by: [] makes one group of all records"
	case by == nil || verb == "":
	case verb != "aggregate" && verb != "use":
		r.refuse(by, path, "by on a step with "+verb, "it with aggregate or use only", ruleBy)
	default:
		s.By = r.list(by, path, "a list of columns, as [carrier]")
	}
}

func (r *reader) readWindow(s *Step, verb string, t *connectors.Tree) {
	path := s.Path + ".window"
	w := t.Field("window")
	if w == nil || verb == "" {
		return
	}
	if verb != "aggregate" {
		r.refuse(w, path, "window on a step with "+verb, "it with aggregate only", ruleWindow)
		return
	}
	if !r.isMap(w, path, "a window, as {tumbling: 24h}") {
		return
	}
	r.keys(w, path, windowMap)
	s.Window = &Window{Size: r.duration(w, path, "tumbling"), Lateness: r.duration(w, path, "allowed_lateness"), Offset: r.duration(w, path, "offset")}
	tumbling, global := w.Field("tumbling"), w.Field("global")
	switch {
	case tumbling != nil && global != nil:
		r.refuse(global, path, "tumbling and global", "one of them", ruleWindow)
	case tumbling == nil && global == nil:
		if !slices.ContainsFunc(w.Fields, func(f connectors.TreeField) bool { k, _ := windowMap.find(f.Key); return k.later }) {
			r.refuse(w, path, "no kind of window", "tumbling: SIZE or global: true", ruleWindow)
		}
	case global != nil:
		if r.isScalar(global, path+".global", "true") && global.Text != "true" {
			r.refuse(global, path+".global", global.Show(), "true", ruleWindow)
		}
		for _, name := range []string{"allowed_lateness", "offset"} {
			if f := w.Field(name); f != nil {
				r.refuse(f, path+"."+name, name+" with a global window", "it with tumbling only", ruleWindow)
			}
		}
	case tumbling.Kind == connectors.TreeScalar && s.Window.Size < 1e6:
		if _, err := connectors.ParseDuration(tumbling.Text); err == nil {
			r.refuse(tumbling, path+".tumbling", tumbling.Show(), "a duration of at least 1ms", ruleWindow)
		}
	}
}
