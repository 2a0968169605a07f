package flinkcli

import (
	"cmp"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/flinkbridge/cluster"
	"github.com/activedataflow/adf/flinkbridge/doctor"
	"github.com/activedataflow/adf/flinkbridge/pool"
)

// fitness is what doctor and whatever submits have of flags about the cluster.
type fitness struct {
	connection
	runner, pool, worker string
	parallelism          int
}

func (x *fitness) add(cmd *cobra.Command, parallelism string) {
	x.parallelism = 1
	x.connection.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&x.runner, "runner-jar", "", "the runner JAR or job-server JAR, a `FILE`; default: the one that flink up has made")
	flags.StringVar(&x.pool, "pool", "", "where TaskManagers find their worker pool, `HOST:PORT`; default: that of the cluster of flink up, else "+pool.DefaultAddress)
	flags.StringVar(&x.worker, "binary", "", "the program that works on the TaskManagers' machines, a `FILE`; default: this one")
	cli.NumberFlag(cmd, &x.parallelism, 1, "parallelism", parallelism)
	_ = cmd.MarkFlagFilename("runner-jar")
	_ = cmd.MarkFlagFilename("binary")
}

// wants is what the checks are to look at; close lets go of the client.
func (x *fitness) wants() (w doctor.Wants, close func(), err error) {
	client, local, err := x.client()
	if err != nil {
		return w, nil, err
	}
	w = doctor.Wants{Client: client, Secret: len(x.headers) > 0, RunnerJar: x.runner, Slots: x.parallelism, Pool: x.pool, Answers: pool.Check, Worker: x.worker}
	if w.RunnerJar == "" && local != nil {
		w.RunnerJar = local.RunnerJar()
	}
	if w.RunnerJar == "" {
		if jar, ok := cluster.CachedRunner(cluster.RunnerOptions{}); ok {
			w.RunnerJar = jar
		}
	}
	if w.Pool == "" && local != nil {
		w.Pool = local.PoolAddress()
	}
	w.Pool = cmp.Or(w.Pool, pool.DefaultAddress)
	return w, client.Close, nil
}

func (f *flink) doctorCommand() *cobra.Command {
	var x fitness
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look whether a cluster can run flows",
		Long: `Look whether a cluster can run flows: that it answers and its version fits the runner JAR, that it takes JARs, has free slots and
folders for checkpoints and savepoints, that the worker pool answers, and that this program runs on its machines.

Each check is ok, a problem with what to do about it, or a note: something to know, or that can not be seen from here. With a problem the exit code is 1.`,
		Args: cli.Args(0, 0),
	}
	x.add(cmd, "how many slots have to be free")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		w, closeClient, err := x.wants()
		if err != nil {
			return err
		}
		defer closeClient()
		r := doctor.Examine(cmd.Context(), w)
		if !r.OK {
			f.Fail()
		}
		if f.JSON() {
			return f.Answer(r)
		}
		var rows [][]string
		problems := 0
		for _, c := range r.Checks {
			rows = append(rows, []string{string(c.Status), c.Name, c.Says})
			if c.Fix != "" {
				rows = append(rows, []string{"", "", "  " + c.Fix})
			}
			if c.Status == doctor.Problem {
				problems++
			}
		}
		if err := f.Table(rows); err != nil {
			return err
		}
		switch problems {
		case 0:
		case 1:
			fmt.Fprintln(f.Notes(), "1 problem")
		default:
			fmt.Fprintf(f.Notes(), "%d problems\n", problems)
		}
		return nil
	}
	return cmd
}
