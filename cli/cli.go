package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
)

// Main runs the command line of a program and ends the process with its exit code. Build makes the program's flow; with nil, flows come
// from files only. What is registered can be used in files, too. [App.Main] has more to say.
func Main(build Build, with ...Connector) { App{Build: build, Connectors: with}.Main() }

// Build puts the program's flow together. The parameters are those of --set; what is wrong with them and with the flow is collected and told
// together, so an error is only for what goes wrong besides.
type Build func(f *adf.Flow, p Params) error

// Connector registers one or more connectors; every connector's folder has one, named Register.
type Connector = func(*connectors.Registry) error

// App is what a program brings along.
type App struct {
	// Name is how the command is called in help and messages; "" is the name of the program's file.
	Name string
	// Flow is the name of the flow that Build makes: checkpoints and committed output belong to it. "" is the last part of the main
	// package's path, and Name where there is none, as under `go run main.go`.
	Flow string
	// Build makes the program's flow; nil when flows come from files only.
	Build Build
	// Connectors are those that files can use.
	Connectors []Connector
	// Funcs are the Go functions that files reach by `use:`.
	Funcs adf.Funcs
	// Runners are what --runner of run can choose besides the engine, as flinkbridge/flinkcli has them.
	Runners []Runner
	// Commands are those of further parts, as flinkbridge/flinkcli has them.
	Commands []Commands
}

// Main runs the command line and ends the process with its exit code.
func (a App) Main() {
	os.Exit(Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, a))
}

// Run runs the command line with the given arguments and gives the exit code, one of [ExitCodes]. A flow file may come from stdin;
// results go to stdout, everything else to stderr. When ctx ends, a run ends at once. SIGINT and SIGTERM are taken while a flow runs.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, a App) int {
	if a.Name == "" {
		a.Name = strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
	}
	c := &command{App: a, stdin: stdin, stdout: stdout, stderr: &screen{w: stderr}, json: wantsJSON(args), stacks: "--json"}
	root, err := c.root()
	if err == nil {
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	return c.end(err)
}

// The exit codes.
const (
	exitOK      = 0
	exitFailed  = 1
	exitWrong   = 2
	exitStopped = 3
	exitRefused = 4
	exitAtOnce  = 130
)

// ExitCode is a code that a command ends with, and what it says.
type ExitCode struct {
	Code    int
	Meaning string
}

// ExitCodes are all there are.
func ExitCodes() []ExitCode {
	return []ExitCode{
		{exitOK, "it is done; also when there was nothing new to read, and when a run --until signal got one"},
		{exitFailed, "it failed: the run, or what else was to be done"},
		{exitWrong, "the command line, the flow or its configuration is wrong: nothing has run"},
		{exitStopped, "a signal stopped the run in order, before its end: state is saved and output committed up to there"},
		{exitRefused, "another run has taken the flow over, or its checkpoint does not fit the flow or its sinks: somebody has to decide"},
		{exitAtOnce, "a second signal ended the run at once: the next one goes on from the last checkpoint; or a first one what is no run"},
	}
}

// command is one execution of the command line.
type command struct {
	App
	stdin  io.Reader
	stdout io.Writer
	stderr *screen
	json   bool
	debug  bool   // stacks are shown
	stacks string // what would show them; "" when they have been logged
	code   int    // for an end without an error
	// interruptible: a signal has ended the command, no run.
	interruptible bool
	registry      *connectors.Registry
}

// wantsJSON looks for --json before the flags are parsed: what is wrong with them is told as JSON, too.
func wantsJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	return slices.ContainsFunc(args, func(a string) bool { return a == "--json" || a == "--json=true" })
}

func (c *command) root() (_ *cobra.Command, err error) {
	if c.registry, err = c.App.registry(); err != nil {
		return nil, err
	}
	root := &cobra.Command{
		Use:           c.Name,
		Short:         "Runs data flows: sources, steps and sinks, written once",
		Long:          "Runs data flows: sources, steps and sinks, written once, in Go or YAML.\n\n" + codesHelp(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			return unknownCommand(cmd, args[0])
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetOut(c.stdout)
	root.SetErr(c.stderr)
	root.SetFlagErrorFunc(wrongFlag)
	root.PersistentFlags().BoolVar(&c.json, "json", c.json, "answer with JSON on standard output; errors, too")
	root.AddCommand(
		c.runCommand(), c.validateCommand(), c.explainCommand(), c.graphCommand(), c.previewCommand(),
		c.connectorsCommand(), c.schemaCommand(), c.versionCommand(), c.completionCommand(),
	)
	for _, more := range c.Commands {
		root.AddCommand(more(&Shell{c})...)
	}
	return root, nil
}

func codesHelp() string {
	var b strings.Builder
	b.WriteString("Exit codes:\n")
	for _, x := range ExitCodes() {
		fmt.Fprintf(&b, "  %3d  %s\n", x.Code, x.Meaning)
	}
	return strings.TrimRight(b.String(), "\n")
}

// flowFlags are those of every command that reads a flow.
type flowFlags struct{ set []string }

func (f *flowFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.set, "set", nil, "set a parameter of the flow: `NAME=VALUE`, once for each")
}

// params are the parameters that --set gives.
func (f *flowFlags) params() (map[string]string, error) {
	params, wrong := map[string]string{}, []fault.Violation(nil)
	for _, s := range f.set {
		name, value, ok := strings.Cut(s, "=")
		switch _, twice := params[name]; {
		case !ok || name == "":
			wrong = append(wrong, misuse("--set", fmt.Sprintf("%q", s), "NAME=VALUE", ""))
		case twice:
			wrong = append(wrong, misuse("--set", name+" a second time", "each parameter once", ""))
		}
		params[name] = value
	}
	return params, fault.Config(wrong...)
}

// takesFlow gives a command its arguments: the flow's file (- for standard input), which a program with a flow of its own may leave out, and what
// the command has besides.
func (c *command) takesFlow(cmd *cobra.Command, more ...string) {
	file := "FLOW.yaml"
	if c.Build != nil {
		file = "[FLOW.yaml]"
	}
	cmd.Use = strings.Join(append([]string{cmd.Use, file}, more...), " ")
	least := len(more)
	if c.Build == nil {
		least++
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error { return count(cmd, args, least, len(more)+1) }
	cmd.ValidArgsFunction = flowFiles
}

func flowFiles(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return []cobra.Completion{"yaml", "yml", "json"}, cobra.ShellCompDirectiveFilterFileExt
}

// load reads the flow of a file, or builds the program's own when there is none.
func (c *command) load(ctx context.Context, file string, flags *flowFlags) (f *adf.Flow, err error) {
	params, err := flags.params()
	if err != nil {
		return nil, err
	}
	err = guarded("put the flow together", func() error {
		o := adf.LoadOptions{Registry: c.registry, Params: params, Funcs: c.Funcs}
		switch file {
		case "":
			f, err = c.build(params)
		case "-":
			var data []byte
			if data, err = io.ReadAll(c.stdin); err == nil {
				f, err = adf.Parse(ctx, "standard input", data, o)
			}
		default:
			f, err = adf.Load(ctx, file, o)
		}
		return err
	})
	return f, err
}

// graph is load, and the flow's check as a whole.
func (c *command) graph(ctx context.Context, file string, flags *flowFlags) (g *adf.Graph, err error) {
	f, err := c.load(ctx, file, flags)
	if err != nil {
		return nil, err
	}
	return checked(ctx, f)
}

func checked(ctx context.Context, f *adf.Flow) (g *adf.Graph, err error) {
	err = guarded("check the flow", func() error {
		g, err = f.Build(ctx)
		return err
	})
	return g, err
}

func (c *command) build(params map[string]string) (*adf.Flow, error) {
	f := adf.New(c.flowName())
	p := newParams(params)
	err := c.Build(f, p)
	wrong := p.mistakes()
	if err != nil {
		return nil, errors.Join(fault.Config(wrong...), &fault.ConfigurationError{Detail: fault.Detail{
			Code: "flow.build", Doing: "put the flow together", Retry: fault.RetryNever, Err: err,
		}})
	}
	for _, v := range wrong {
		f.Refuse(v)
	}
	return f, nil
}

func (c *command) flowName() string {
	if c.Flow != "" {
		return c.Flow
	}
	if info, ok := debug.ReadBuildInfo(); ok && strings.Contains(info.Path, "/") {
		return path.Base(info.Path)
	}
	return c.Name
}

// guarded makes an error of a panic in the code of a flow.
func guarded(doing string, do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &fault.ConfigurationError{Detail: fault.Detail{
				Code: "user.panic", Doing: doing, Retry: fault.RetryNever, Err: fmt.Errorf("panic: %v", p), Stack: string(debug.Stack()),
			}}
		}
	}()
	return do()
}

// first is the first argument, "" when there is none.
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
