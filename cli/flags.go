package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
)

// misuse is a mistake on the command line.
func misuse(path, got, want, fix string) fault.Violation {
	return fault.Violation{Path: path, Got: got, Want: want, Fix: fix, Code: "usage"}
}

// wrongFlag makes a violation of what the flags' parser says.
func wrongFlag(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		value   *pflag.InvalidValueError
		missing *pflag.ValueRequiredError
	)
	help := fmt.Sprintf("%s --help lists the flags", cmd.CommandPath())
	switch {
	case errors.As(err, &unknown):
		var names []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
		if near := fault.Nearest(unknown.GetSpecifiedName(), names); near != "" {
			help = "did you mean --" + near + "?"
		}
		dashes := "--"
		if unknown.GetSpecifiedShortnames() != "" {
			dashes = "-"
		}
		return fault.Config(misuse(dashes+unknown.GetSpecifiedName(), "an unknown flag", "a flag of "+cmd.CommandPath(), help))
	case errors.As(err, &value):
		want := errors.Unwrap(value).Error()
		switch value.GetFlag().Value.Type() {
		case "bool":
			want = "true or false"
		case "int":
			want = "a whole number"
		}
		return fault.Config(misuse("--"+value.GetFlag().Name, fmt.Sprintf("%q", value.GetValue()), want, ""))
	case errors.As(err, &missing):
		return fault.Config(misuse("--"+missing.GetSpecifiedName(), "nothing", "a value behind it", help))
	}
	return fault.Config(misuse("", err.Error(), "flags as "+cmd.CommandPath()+" has them", help))
}

func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, s := range cmd.Commands() {
		if s.IsAvailableCommand() {
			names = append(names, s.Name())
		}
	}
	return fault.Config(misuse(cmd.CommandPath(), fmt.Sprintf("the unknown command %q", name), "one of "+strings.Join(names, ", "), fault.DidYouMean(name, names)))
}

// count refuses too few and too many arguments.
func count(cmd *cobra.Command, args []string, least, most int) error {
	if len(args) >= least && len(args) <= most {
		return nil
	}
	got := counted(len(args), "argument")
	if len(args) == 0 {
		got = "no arguments"
	}
	return fault.Config(misuse(cmd.CommandPath(), got, cmd.UseLine(), ""))
}

// choice is a flag with a few values.
type choice struct {
	value *string
	of    []string
}

func (c choice) String() string { return *c.value }
func (c choice) Type() string   { return strings.Join(c.of, "|") }
func (c choice) Set(s string) error {
	if !slices.Contains(c.of, s) {
		return errors.New("one of " + strings.Join(c.of, ", "))
	}
	*c.value = s
	return nil
}

// addChoice adds a flag with a few values, the first of which is the default; fallback names what an empty default does.
func addChoice(cmd *cobra.Command, to *string, name, usage string, of ...string) {
	if *to == "" {
		*to = of[0]
	}
	of = slices.DeleteFunc(slices.Clone(of), func(s string) bool { return s == "" })
	cmd.Flags().Var(choice{to, of}, name, usage)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(of, cobra.ShellCompDirectiveNoFileComp))
}

// span is a flag that is a duration as configurations write it.
type span struct{ value *time.Duration }

func (s span) String() string { return connectors.FormatDuration(*s.value) }
func (s span) Type() string   { return "DURATION" }
func (s span) Set(text string) error {
	d, err := connectors.ParseDuration(text)
	if err != nil || d == 0 {
		return errors.New(connectors.WantDuration)
	}
	*s.value = d
	return nil
}

// number is a flag that is a whole number from least on.
type number struct {
	value *int
	least int
}

func (n number) String() string { return strconv.Itoa(*n.value) }
func (n number) Type() string   { return "N" }
func (n number) Set(text string) error {
	i, err := strconv.Atoi(text)
	if err != nil || i < n.least {
		return fmt.Errorf("a whole number from %d on", n.least)
	}
	*n.value = i
	return nil
}
