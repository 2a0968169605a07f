package cli

import (
	"context"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/fault"
)

// Commands makes further commands, beside those that are always there. What they get is a shell: with it they read flows, answer and end as the others do.
type Commands = func(*Shell) []*cobra.Command

// Shell is what a command line has for its commands. Errors that a command returns are told by it, with the exit code that fits.
type Shell struct{ *command }

// Name is how the program is called.
func (s *Shell) Name() string { return s.command.Name }

// JSON says whether one JSON document is the answer; it then comes by [Shell.Answer], and nothing else goes to [Shell.Out].
func (s *Shell) JSON() bool { return s.json }

// Out is where results go.
func (s *Shell) Out() io.Writer { return s.stdout }

// Notes is where everything else goes.
func (s *Shell) Notes() io.Writer { return s.stderr }

// Answer writes a JSON document to [Shell.Out].
func (s *Shell) Answer(v any) error { return s.answer(v) }

// Fail makes the command end with the exit code of a failure although it returns no error, since it has told by itself what is wrong.
func (s *Shell) Fail() { s.code = exitFailed }

// Table writes rows in columns to [Shell.Out]; the columns with the given numbers stand to the right.
func (s *Shell) Table(rows [][]string, right ...int) error {
	t := &table{right: map[int]bool{}, rows: rows}
	for _, i := range right {
		t.right[i] = true
	}
	return t.write(s.stdout, "")
}

// Flow makes cmd a command about a flow, as "run" is one: its first argument is the flow's file, which a program with a flow of its own may
// leave out, then come those named in more, and --set sets parameters. The result reads the flow that the arguments of an execution name.
func (s *Shell) Flow(cmd *cobra.Command, more ...string) func(ctx context.Context, args []string) (*adf.Flow, error) {
	f := &flowFlags{}
	s.takesFlow(cmd, more...)
	f.add(cmd)
	return func(ctx context.Context, args []string) (*adf.Flow, error) {
		file := ""
		if len(args) > len(more) {
			file = args[0]
		}
		return s.load(ctx, file, f)
	}
}

// Interruptible is a context that ends when SIGINT or SIGTERM comes; until stop is called.
func (s *Shell) Interruptible(ctx context.Context) (_ context.Context, stop func()) {
	s.interruptible = true
	return signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
}

// Group is a command that only has others below it.
func Group(name, short, long string, commands ...*cobra.Command) *cobra.Command {
	g := &cobra.Command{
		Use: name, Short: short, Long: long, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
	}
	g.AddCommand(commands...)
	return g
}

// Args refuses fewer and more arguments than a command takes.
func Args(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error { return count(cmd, args, least, most) }
}

// Misuse is the error of a wrong flag or argument: what was found there, and what is expected. The fix may be empty.
func Misuse(path, got, want, fix string) error { return fault.Config(misuse(path, got, want, fix)) }

// DurationFlag adds a flag with a duration as configurations write it; to has its default.
func DurationFlag(cmd *cobra.Command, to *time.Duration, name, usage string) {
	cmd.Flags().Var(span{to}, name, usage)
}

// NumberFlag adds a flag with a whole number from least on; to has its default.
func NumberFlag(cmd *cobra.Command, to *int, least int, name, usage string) {
	cmd.Flags().Var(number{to, least}, name, usage)
}

// ChoiceFlag adds a flag that is one of a few values; the first is the default, unless to has one.
func ChoiceFlag(cmd *cobra.Command, to *string, name, usage string, of ...string) {
	addChoice(cmd, to, name, usage, of...)
}
