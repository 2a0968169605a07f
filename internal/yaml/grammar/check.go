package grammar

import (
	"fmt"
	"slices"
	"strings"

	"github.com/activedataflow/adf/fault"
)

// check finds what is wrong with the flow as a whole.
func (r *reader) check() {
	read := map[string]bool{}
	for _, n := range r.order {
		var known []Ref
		for _, ref := range n.from {
			if r.checkRef(n, ref) {
				read[ref.String()] = true
				known = append(known, ref)
			} else {
				n.Broken, r.lost = true, true
			}
		}
		n.from = known
	}
	for _, n := range r.order {
		if r.lost || r.hidden {
			break
		}
		if !n.sink && !read[n.Name] {
			r.refuse(at(n.Node), n.Path, "an output that nobody reads", "a step or sink with from: "+n.Name, ruleUnread)
		}
		errors := n.Name + ".errors"
		place := n.onError
		if place == nil {
			place = at(n.Node)
		}
		switch {
		case n.Emit && !read[errors]:
			r.refuse(place, n.Path+".on_error", "on_error: emit, and nobody reads "+errors, "a step or sink with from: "+errors, ruleErrors)
		case n.onError != nil && !n.Emit && read[errors]:
			r.refuse(place, n.Path+".on_error", "on_error: fail, and something reads "+errors, "on_error: emit", ruleErrors)
		}
	}
	if r.sort() {
		r.checkTime()
	}
}

// checkTime refuses windows over records without event time.
func (r *reader) checkTime() {
	for _, n := range r.order {
		if !n.window {
			continue
		}
		var without []string
		seen := map[*node]bool{}
		var visit func(n *node)
		visit = func(n *node) {
			if seen[n] {
				return
			}
			seen[n] = true
			if _, source := n.part.(*Source); source && !n.timed && !n.Broken {
				without = append(without, n.Name)
			}
			for _, ref := range n.from {
				if of := r.nodes[ref.Node]; of != nil {
					visit(of)
				}
			}
		}
		visit(n)
		if len(without) > 0 {
			v := r.refuse(at(n.Node), n.Path+".window", "a window over records of "+strings.Join(without, " and ")+", without event time", "sources with time", ruleTime)
			v.Fix = "time: {field: COLUMN, out_of_orderness: DURATION} at " + strings.Join(without, " and ")
		}
	}
}

func (r *reader) checkRef(n *node, ref Ref) bool {
	path := n.Path + ".from"
	of := r.nodes[ref.Node]
	switch {
	case of == nil && r.hidden:
		return false
	case of == nil:
		var known []string
		for _, o := range r.order {
			if !o.sink {
				known = append(known, o.Name)
			}
		}
		v := r.refuse(ref.At, path, "the unknown node "+ref.At.Show(), "one of "+strings.Join(known, ", "), ruleFrom)
		if len(known) == 0 {
			v.Want = "a source or step, and there is none"
		}
		v.Fix = fault.DidYouMean(ref.Node, known)
		return false
	case !slices.Contains([]string{"", "late", "errors"}, ref.Port):
		v := r.refuse(ref.At, path, fmt.Sprintf("the unknown output %q of %s", ref.Port, ref.Node), ref.Node+", "+ref.Node+".late or "+ref.Node+".errors", ruleFrom)
		v.Fix = fault.DidYouMean(ref.Port, []string{"late", "errors"})
		return false
	case strings.HasSuffix(ref.At.Text, "."):
		r.refuse(ref.At, path, ref.At.Show(), "a name", ruleFrom)
		return false
	case of.sink && ref.Port != "errors":
		r.refuse(ref.At, path, "the sink "+ref.Node, "a source or step: a sink has no output but "+ref.Node+".errors", ruleFrom)
		return false
	case ref.Port == "late" && !of.window:
		if !of.Broken {
			r.refuse(ref.At, path, ref.String(), "the late output of a step with a tumbling window", ruleLate)
		}
		return false
	}
	return true
}

// sort orders the nodes, producers before consumers, and refuses cycles.
func (r *reader) sort() (ok bool) {
	ok = true
	const doing, done = 1, 2
	state := map[*node]int{}
	var path []*node
	var visit func(n *node)
	visit = func(n *node) {
		switch state[n] {
		case done:
			return
		case doing:
			cycle := append(path[slices.Index(path, n):len(path):len(path)], n)
			names := make([]string, len(cycle))
			for i, c := range cycle {
				names[len(cycle)-1-i], c.Broken = c.Name, true // records flow against from
			}
			r.refuse(at(n.Node), n.Path, "a cycle: "+strings.Join(names, " → "), "a flow without cycles", ruleCycle)
			ok = false
			return
		}
		state[n] = doing
		path = append(path, n)
		for _, ref := range n.from {
			if of := r.nodes[ref.Node]; of != nil {
				visit(of)
			}
		}
		path = path[:len(path)-1]
		state[n] = done
		r.flow.Order = append(r.flow.Order, n.part)
	}
	for _, n := range r.order {
		visit(n)
	}
	return ok
}
