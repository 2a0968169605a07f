package flinkcli

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge/cluster"
)

func (f *flink) upCommand() *cobra.Command {
	o := cluster.Options{Port: 8081, TaskManagers: 1, Slots: 4, JobManagerMemory: cluster.DefaultJobManager, TaskManagerMemory: cluster.DefaultTaskManager}
	var runner string
	var config []string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Start a Flink cluster on this machine",
		Long: `Start a Flink cluster on this machine, for trying flows out: JobManager, TaskManagers and a worker pool. It listens on the loopback address only, and goes on until "flink down". State is kept in RocksDB, checkpoints and savepoints in the cluster's folder.

The first time this fetches Flink ` + cluster.FlinkVersion + ` by pip and makes the runner JAR (Beam ` + cluster.BeamVersion + `) by Maven; both stay in the cache. It needs Java 17 or 11.`,
		Args: cli.Args(0, 0),
	}
	flags := cmd.Flags()
	addFolder(cmd, &o.Dir)
	cli.NumberFlag(cmd, &o.Port, 0, "port", "the port of the REST server and the dashboard; 0 takes a free one")
	cli.NumberFlag(cmd, &o.TaskManagers, 1, "taskmanagers", "how many TaskManagers there are")
	cli.NumberFlag(cmd, &o.Slots, 1, "slots", "how many slots each of them has: the largest parallelism that it can run")
	cli.NumberFlag(cmd, &o.JobManagerMemory, cluster.LeastJobManager, "jobmanager-memory", "MiB for the JobManager")
	cli.NumberFlag(cmd, &o.TaskManagerMemory, cluster.LeastTaskManager, "taskmanager-memory", "MiB for each TaskManager, without the workers")
	flags.BoolVar(&o.HighAvailability, "ha", false, "start ZooKeeper, too: jobs go on when the JobManager is killed and started again")
	flags.StringVar(&o.Home, "flink-home", "", "take the Flink distribution in `DIR` instead of fetching one")
	flags.StringVar(&o.Java, "java", "", "the `COMMAND` that runs Java; default: the one of $JAVA_HOME, else java")
	flags.StringVar(&runner, "runner-jar", "", "take the runner JAR or job-server JAR in `FILE` instead of making one")
	flags.StringArrayVar(&config, "config", nil, "an option of Flink: `NAME=VALUE`, once for each")
	_ = cmd.MarkFlagDirname("flink-home")
	_ = cmd.MarkFlagFilename("runner-jar")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		ctx, stop := f.Interruptible(cmd.Context())
		defer stop()
		if o.Dir, err = folder(o.Dir); err != nil {
			return err
		}
		if o.Config, err = pairs("--config", config); err != nil {
			return err
		}
		o.Note = func(what string) { fmt.Fprintln(f.Notes(), what) }
		if o.Pool, err = ownPool(); err != nil {
			return err
		}
		want := cluster.RunnerOptions{Jar: runner}
		if _, ok := cluster.CachedRunner(want); runner == "" && !ok {
			o.Note("making the runner JAR of Beam " + cluster.BeamVersion + ", once")
		}
		jar, err := cluster.RunnerJar(ctx, want)
		if err == nil {
			jar, err = filepath.Abs(jar)
		}
		if err != nil {
			return err
		}
		o.RunnerJar = jar
		c, err := cluster.Up(ctx, o)
		if err != nil {
			return err
		}
		if f.JSON() {
			return f.Answer(struct {
				Address   string            `json:"address"`
				Dashboard string            `json:"dashboard"`
				Pool      string            `json:"pool"`
				Version   string            `json:"flink"`
				RunnerJar string            `json:"runner_jar"`
				Dir       string            `json:"dir"`
				Processes []cluster.Process `json:"processes"`
			}{c.Address(), c.Address() + "/#/overview", c.PoolAddress(), c.Version(), jar, c.Dir(), c.Processes()})
		}
		fmt.Fprintf(f.Out(), "Flink %s is up: %s\n", c.Version(), c.Address())
		var names []string
		for _, p := range c.Processes() {
			names = append(names, fmt.Sprintf("%s (%d)", p.Name, p.PID))
		}
		rows := [][]string{{"  slots", fmt.Sprint(o.TaskManagers * o.Slots)}, {"  processes", strings.Join(names, ", ")}}
		rows = append(rows, []string{"  pool", c.PoolAddress()}, []string{"  runner", jar}, []string{"  folder", c.Dir()}, []string{"  end it", f.Name() + " flink down"})
		return f.Table(rows)
	}
	return cmd
}

func (f *flink) downCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End the Flink cluster on this machine",
		Long: `End the Flink cluster that "flink up" has started: its processes, exactly those. Jobs that run end with it; savepoints, checkpoints and logs stay in
the cluster's folder.`,
		Args: cli.Args(0, 0),
	}
	addFolder(cmd, &dir)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if dir, err = folder(dir); err != nil {
			return err
		}
		c, err := cluster.Open(dir)
		if d, ok := fault.DetailOf(err); ok && d.Code == "flink.cluster.none" {
			if f.JSON() {
				return f.Answer(map[string]any{"ended": []string{}})
			}
			fmt.Fprintf(f.Notes(), "there is no cluster in %s\n", dir)
			return nil
		}
		if err != nil {
			return err
		}
		ended := []string{}
		for _, p := range c.Processes() {
			if p.Alive() {
				ended = append(ended, p.Name)
			}
		}
		if err := c.Down(cmd.Context()); err != nil {
			return err
		}
		if f.JSON() {
			return f.Answer(map[string]any{"ended": ended})
		}
		if len(ended) == 0 {
			fmt.Fprintf(f.Out(), "%s is down; no process of it was left\n", c.Address())
			return nil
		}
		fmt.Fprintf(f.Out(), "%s is down: %s\n", c.Address(), strings.Join(ended, ", "))
		return nil
	}
	return cmd
}
