package flinkbridge

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/sinks"
)

// label gives the steps of a pipeline the names that Flink's dashboard shows: what is done to which nodes of the flow. Of steps that it fuses the runner shows what is
// in front of the first slash, each once: "{read flights, filter long, to per_day, to late}". State and timers are found by ids and collections, which stay.
func label(p *pipepb.Pipeline, s spec, g *adf.Graph) {
	for id, t := range p.Components.Transforms {
		if len(t.Subtransforms) == 0 {
			t.UniqueName = labelOf(s, g, id)
		}
	}
}

// labelOf is the name of a step that [rename] calls as [bounded] and [unbounded] put it: the node, and what the step is to it.
func labelOf(s spec, g *adf.Graph, id string) string {
	name, step, _ := strings.Cut(id, "/")
	n := g.Node(name)
	switch {
	case n == nil && name == commitStep:
		name = "all output"
	case name == positionsScope:
		name = "positions"
	}
	_, then, follows := strings.Cut(step, " to ")
	switch {
	case follows:
		return "to " + then + "/" + id
	case step == "all" || strings.HasPrefix(step, "from "):
		return "to " + name + "/" + id
	case step == "discover" || step == "enumerate":
		return "find splits of " + name
	case n != nil && (step == "read" || step == "process"):
		return chainLabel(s, g, n)
	case step == "group":
		return "group for " + name
	case step == "sequence":
		return "number parts of " + name
	case stableSteps[step]:
		return step + " " + name
	}
	return strings.ReplaceAll(id, "/", " ") // the start, the clock, and what Beam has put in between
}

// most is how long the name of a chain may be: Flink cuts those of metrics at 80, with what is around them.
const most = 60

// chainLabel tells what a chain does, in the order of its nodes. Where it leads to a step of its own, that has its label.
func chainLabel(s spec, g *adf.Graph, root *adf.Node) string {
	first := "read"
	if root.Kind == adf.KindKeyed {
		first = verb(root)
	}
	all := []string{first + " " + root.Name}
	seen := map[*adf.Node]bool{}
	var follow func(n *adf.Node, ports ...string)
	follow = func(n *adf.Node, ports ...string) {
		for _, port := range ports {
			for _, c := range g.Consumers(adf.Ref{Node: n.Name, Port: port}) {
				to := c.Node
				if seen[to] {
					continue
				}
				seen[to] = true
				switch to.Kind {
				case adf.KindKeyed:
					follow(to, adf.PortLate, adf.PortErrors)
				case adf.KindSink:
					if _, exact := to.Sink.(sinks.AnyExact); !exact || !s.Streaming {
						all = append(all, "write "+to.Name)
					}
				default:
					all = append(all, verb(to)+" "+to.Name)
					follow(to, adf.PortMain, adf.PortLate, adf.PortErrors)
				}
			}
		}
	}
	follow(root, adf.PortMain, adf.PortLate, adf.PortErrors)
	text := strings.Join(all, ", ")
	for n := len(all) - 1; n > 0 && utf8.RuneCountInString(text) > most; n-- {
		text = fmt.Sprintf("%s and %d more", strings.Join(all[:n], ", "), len(all)-n)
	}
	return text
}

// verb is what a step does.
func verb(n *adf.Node) string {
	if n.Type == "" || slices.Contains([]string{"do", "use"}, n.Type) {
		return "run"
	}
	return n.Type
}
