package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/sinks"
)

// summaryOf is what the result does not say itself.
type summaryOf struct {
	stopped bool // by a signal
	kept    bool // state outlives the process
}

// summary tells what a run came to.
func (c *command) summary(g *adf.Graph, r engine.Result, of summaryOf) {
	took := r.Took.Round(10 * time.Millisecond)
	switch {
	case !r.FinishedBefore.IsZero():
		fmt.Fprintf(c.stderr, "%s had finished already at %s, and there is nothing new to read; --fresh starts over\n",
			r.Flow, r.FinishedBefore.UTC().Format("2006-01-02 15:04:05 UTC"))
		return
	case r.Finished:
		fmt.Fprintf(c.stderr, "%s finished in %s: %s read", r.Flow, took, counted(int(read(r.Nodes)), "record"))
	case of.stopped:
		fmt.Fprintf(c.stderr, "%s stopped in order after %s: %s read", r.Flow, took, counted(int(read(r.Nodes)), "record"))
	default:
		fmt.Fprintf(c.stderr, "%s has caught up in %s: %s read", r.Flow, took, counted(int(read(r.Nodes)), "record"))
	}
	if r.RestoredEpoch > 0 {
		fmt.Fprintf(c.stderr, ", from epoch %d on", r.RestoredEpoch)
	}
	if of.kept {
		fmt.Fprintf(c.stderr, ", saved as epoch %d", r.Epoch)
	}
	if r.Restarts > 0 {
		fmt.Fprintf(c.stderr, ", went back to a checkpoint %d times", r.Restarts)
	}
	fmt.Fprint(c.stderr, "\n")
	c.table(g, r)
}

// table shows what every node did, and where late and failed records went.
func (c *command) table(g *adf.Graph, r engine.Result) {
	t := &table{right: map[int]bool{2: true, 3: true, 4: true, 5: true, 6: true, 7: true}}
	t.row("NODE", "KIND", "IN", "OUT", "LATE", "ERRORS", "SPLITS", "PARTS")
	var notes []string
	for _, s := range r.Nodes {
		n := g.Node(s.Name)
		in, out, late, splits, parts := grouped(s.In), grouped(s.Out), "", "", ""
		switch n.Kind {
		case adf.KindSource:
			in, splits = "", grouped(s.Splits)
		case adf.KindKeyed:
			if n.Keyed.EventTime() {
				late = grouped(s.Late)
			}
		case adf.KindSink:
			out = ""
			if n.Sink.Guarantee() == sinks.ExactlyOnce {
				parts = grouped(s.Parts)
			}
		}
		t.row(s.Name, strings.TrimRight(n.Kind.String()+" "+n.Type, " "), in, out, late, grouped(s.Errors), splits, parts)
		if s.Late > 0 {
			notes = append(notes, whereTo(g, adf.Ref{Node: s.Name, Port: adf.PortLate}, counted(int(s.Late), "late record")))
		}
		if s.Errors > 0 && n.Emit { // else the run has failed for them
			notes = append(notes, whereTo(g, adf.Ref{Node: s.Name, Port: adf.PortErrors}, counted(int(s.Errors), "failed record")))
		}
	}
	_ = t.write(c.stderr, "")
	for _, n := range notes {
		fmt.Fprintln(c.stderr, n)
	}
}

func whereTo(g *adf.Graph, ref adf.Ref, what string) string {
	var to []string
	for _, reader := range g.Consumers(ref) {
		to = append(to, reader.Node.Name)
	}
	if len(to) == 0 {
		return fmt.Sprintf("%s: %s only counted, nobody reads it", ref, what)
	}
	return fmt.Sprintf("%s: %s, to %s", ref, what, strings.Join(to, ", "))
}
