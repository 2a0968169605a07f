package flinkcli

import (
	"github.com/spf13/cobra"

	"github.com/activedataflow/adf/cli"
)

// Commands makes the command "flink" with all that is below it.
func Commands(s *cli.Shell) []*cobra.Command {
	f := &flink{s}
	return []*cobra.Command{cli.Group("flink", "Work with a Flink cluster", `Work with a Flink cluster: start one on this machine, look whether one is fit, submit flows to it, and see and stop its jobs.

Where the cluster is: --flink, else $ADF_FLINK, else the one that "flink up" has started, else http://127.0.0.1:8081.`,
		f.upCommand(), f.downCommand(), f.doctorCommand(), f.submitCommand(), f.listCommand(), f.statusCommand(), f.savepointCommand(), f.stopCommand(), f.cancelCommand(),
		f.poolCommand(), f.bootCommand(),
	)}
}

// flink is what the commands have in common.
type flink struct{ *cli.Shell }
