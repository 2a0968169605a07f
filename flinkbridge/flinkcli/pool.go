package flinkcli

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/pool"
)

func (f *flink) poolCommand() *cobra.Command {
	o := pool.Options{MaxWorkers: 64}
	var format string
	cmd := &cobra.Command{
		Use:   "pool",
		Short: "Run the worker pool of a TaskManager",
		Long: `Run the worker pool of a TaskManager: it starts the workers that jobs ask for, and ends those whose job is done. It goes on until SIGINT or SIGTERM
comes, and ends its workers then. There is one beside each TaskManager; "flink up" starts the one of this machine.

It runs what it is sent, as the user it runs as, and speaks plain gRPC: leave it on the loopback address, or keep others out of its network.`,
		Args: cli.Args(0, 0),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Address, "address", pool.DefaultAddress, "listen at `HOST:PORT`")
	flags.StringVar(&o.Dir, "dir", "", "keep worker binaries in `DIR`, which must allow execution; default: a folder of the user's cache")
	cli.NumberFlag(cmd, &o.MaxWorkers, 1, "max-workers", "how many workers run at once")
	cli.ChoiceFlag(cmd, &format, "log-format", "how it is logged", "text", "json")
	_ = cmd.MarkFlagDirname("dir")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := f.Interruptible(cmd.Context())
		defer stop()
		o.Log = slog.New(slog.NewTextHandler(f.Notes(), nil))
		if format == "json" {
			o.Log = slog.New(slog.NewJSONHandler(f.Notes(), nil))
		}
		return pool.Serve(ctx, o)
	}
	return cmd
}

func (f *flink) bootCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "boot --id ID --provision_endpoint HOST:PORT [--dir DIR] [--cache_bytes N]",
		Short: "Start a worker as Beam's PROCESS environment asks for one",
		Long: `Start a worker as Beam's PROCESS environment asks for one, where there is no worker pool. Flink's TaskManagers run it themselves, by a script on their
machines, since such an environment names a program without arguments:

  #!/bin/sh
  exec ` + f.Name() + ` flink boot "$@"`,
		DisableFlagParsing: true, // they are Beam's
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "--help") || slices.Contains(args, "-h") {
				return cmd.Help()
			}
			return pool.Boot(cmd.Context(), args)
		},
	}
}

// ownPool is how this program runs the worker pool of the cluster on this machine.
func ownPool() (func(address string) []string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, failed("flink.pool", "find this program", err, "")
	}
	cache, err := cluster.DefaultCache()
	if err != nil {
		return nil, err
	}
	return func(address string) []string {
		return []string{self, "flink", "pool", "--address", address, "--dir", filepath.Join(cache, "flink", "workers")}
	}, nil
}
