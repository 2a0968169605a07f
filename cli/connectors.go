package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
)

func (c *command) connectorsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connectors [NAME]",
		Short: "List the connectors and runtimes, or the options of one",
		Long:  "List the connectors and runtimes of this program, or the options of one: types, defaults, and what they are for.",
		Args:  func(cmd *cobra.Command, args []string) error { return count(cmd, args, 0, 1) },
		RunE: func(_ *cobra.Command, args []string) error {
			all := c.describe()
			if len(args) == 0 {
				return c.list(all)
			}
			x := all[args[0]]
			if x == nil {
				known := slices.Sorted(maps.Keys(all))
				return fault.Config(misuse("connectors", fmt.Sprintf("the unknown connector %q", args[0]), "one of "+strings.Join(known, ", "), fault.DidYouMean(args[0], known)))
			}
			if c.json {
				return c.answer(x)
			}
			return c.show(x)
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return slices.Sorted(maps.Keys(c.describe())), cobra.ShellCompDirectiveNoFileComp
		},
	}
	return cmd
}

// described is a connector, with its options as a source and as a sink.
type described struct {
	connectors.Descriptor
	Source *side `json:"source,omitempty"`
	Sink   *side `json:"sink,omitempty"`
	// Runtime has the options of a run.
	Runtime *side `json:"runtime,omitempty"`
}

type side struct {
	Options []connectors.Option `json:"options"`
}

func newSide(all []connectors.Option) *side { return &side{append([]connectors.Option{}, all...)} }

func (c *command) describe() map[string]*described {
	all := map[string]*described{}
	for _, e := range c.registry.Sources() {
		all[e.Name] = &described{Descriptor: e.Descriptor, Source: newSide(e.Options())}
	}
	for _, e := range c.registry.Sinks() {
		if all[e.Name] == nil {
			all[e.Name] = &described{Descriptor: e.Descriptor}
		}
		all[e.Name].Sink = newSide(e.Options())
	}
	for _, e := range c.registry.Runtimes() {
		if all[e.Name] == nil {
			all[e.Name] = &described{Descriptor: e.Descriptor}
		}
		all[e.Name].Runtime = newSide(e.Options())
	}
	return all
}

func (d *described) sides() string {
	var as []string
	for _, s := range d.each() {
		if s.side != nil {
			as = append(as, s.as)
		}
	}
	return strings.Join(as, ", ")
}

// as is a connector's part in a flow.
type as struct {
	as string
	*side
}

func (d *described) each() []as {
	return []as{{"source", d.Source}, {"sink", d.Sink}, {"runtime", d.Runtime}}
}

func (c *command) list(all map[string]*described) error {
	names := slices.Sorted(maps.Keys(all))
	if c.json {
		list := []*described{}
		for _, n := range names {
			list = append(list, all[n])
		}
		return c.answer(map[string]any{"connectors": list})
	}
	t := &table{}
	t.row("NAME", "AS", "VERSION", "WHAT IT IS")
	for _, n := range names {
		t.row(n, all[n].sides(), all[n].Version, all[n].Doc)
	}
	return t.write(c.stdout, "")
}

func (c *command) show(d *described) error {
	fmt.Fprintf(c.stdout, "%s %s: %s\nworks with ActiveDataFlow %s\n", d.Name, d.Version, d.Doc, d.Core)
	for _, s := range d.each() {
		if s.side == nil {
			continue
		}
		fmt.Fprintf(c.stdout, "\nAs a %s", s.as)
		if len(s.Options) == 0 {
			fmt.Fprint(c.stdout, " it has no options.\n")
			continue
		}
		fmt.Fprint(c.stdout, ":\n")
		c.options("", s.Options)
	}
	return nil
}

// options tells each option in two lines: what it is, and what it is for.
func (c *command) options(in string, all []connectors.Option) {
	for _, o := range all {
		is := []string{o.Type}
		for _, x := range []struct {
			say  bool
			text string
		}{
			{o.Required, "required"}, {o.Secret, "secret"}, {o.Default != "", "default " + o.Default},
			{len(o.OneOf) > 0, "one of " + strings.Join(o.OneOf, " | ")}, {o.Example != "", "for example " + o.Example},
		} {
			if x.say {
				is = append(is, x.text)
			}
		}
		fmt.Fprintf(c.stdout, "  %s  (%s)\n      %s\n", in+o.Name, strings.Join(is, ", "), o.Doc)
		c.options(in+o.Name+".", o.Options)
	}
}
