package flinkcli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/flinkbridge"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

func (f *flink) listCommand() *cobra.Command {
	var c connection
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the jobs of the cluster",
		Long:  "List the jobs of the cluster, the youngest first. Flink remembers those that have ended for a while.",
		Args:  cli.Args(0, 0),
	}
	c.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		client, _, err := c.client()
		if err != nil {
			return err
		}
		defer client.Close()
		jobs, err := client.Jobs(cmd.Context())
		if err != nil {
			return err
		}
		if f.JSON() {
			list := []jobReport{}
			for _, j := range jobs {
				list = append(list, jobReport{ID: j.ID, Name: j.Name, Status: j.Status, Since: j.Start, Ended: j.End, Took: j.Duration, Tasks: j.Tasks})
			}
			return f.Answer(map[string]any{"jobs": list})
		}
		if len(jobs) == 0 {
			fmt.Fprintf(f.Notes(), "there are no jobs at %s\n", client.Address())
			return nil
		}
		rows := [][]string{{"JOB", "NAME", "STATUS", "SINCE", "FOR", "TASKS"}}
		for _, j := range jobs {
			rows = append(rows, []string{j.ID, j.Name, string(j.Status), moment(j.Start), span(j.Duration), fmt.Sprintf("%d of %d run", j.Tasks["running"], j.Tasks["total"])})
		}
		return f.Table(rows)
	}
	return cmd
}

func (f *flink) statusCommand() *cobra.Command {
	var c connection
	cmd := &cobra.Command{
		Use:   "status [JOB]",
		Short: "Tell how the cluster or a job is",
		Long:  "Tell how a job is: its operators, what each node of its flow has counted, checkpoints and the last failure, with the link to Flink's dashboard. Without a job: how the cluster is.\n\n" + whichJob,
		Args:  cli.Args(0, 1),
	}
	c.add(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, _, err := c.client()
		if err != nil {
			return err
		}
		defer client.Close()
		if len(args) == 0 {
			return f.clusterStatus(cmd.Context(), client)
		}
		id, err := find(cmd.Context(), client, args[0], false)
		if err != nil {
			return err
		}
		return f.jobStatus(cmd.Context(), client, id)
	}
	return cmd
}

func (f *flink) clusterStatus(ctx context.Context, client *rest.Client) error {
	o, err := client.Overview(ctx)
	if err != nil {
		return err
	}
	managers, err := client.TaskManagers(ctx)
	if err != nil {
		return err
	}
	if f.JSON() {
		type manager struct {
			ID        string      `json:"id"`
			Slots     int         `json:"slots"`
			FreeSlots int         `json:"free_slots"`
			Heard     rest.Millis `json:"last_heard_of"`
		}
		list := []manager{}
		for _, m := range managers {
			list = append(list, manager{m.ID, m.Slots, m.FreeSlots, m.LastHeartbeat})
		}
		return f.Answer(map[string]any{
			"address": client.Address(), "dashboard": client.DashboardURL(""), "flink": o.Version, "slots": o.Slots, "free_slots": o.FreeSlots, "taskmanagers": list,
			"jobs": map[string]int{"running": o.JobsRunning, "finished": o.JobsFinished, "cancelled": o.JobsCancelled, "failed": o.JobsFailed},
		})
	}
	fmt.Fprintf(f.Out(), "Flink %s at %s\n", o.Version, client.Address())
	rows := [][]string{
		{"  slots", fmt.Sprintf("%d of %d free", o.FreeSlots, o.Slots)},
		{"  jobs", fmt.Sprintf("%d run; %d finished, %d cancelled, %d failed", o.JobsRunning, o.JobsFinished, o.JobsCancelled, o.JobsFailed)},
	}
	for _, m := range managers {
		rows = append(rows, []string{"  taskmanager", fmt.Sprintf("%s: %d of %d slots free, last heard of %s", m.ID, m.FreeSlots, m.Slots, moment(m.LastHeartbeat))})
	}
	return f.Table(append(rows, []string{"  dashboard", client.DashboardURL("")}))
}

// jobReport is what is told of a job; times in milliseconds.
type jobReport struct {
	ID        string           `json:"job"`
	Name      string           `json:"name"`
	Status    rest.Status      `json:"status"`
	Type      string           `json:"type,omitempty"` // STREAMING or BATCH
	Since     rest.Millis      `json:"since"`
	Ended     rest.Millis      `json:"ended,omitzero"`
	Took      int64            `json:"took_ms"`
	Tasks     map[string]int   `json:"tasks,omitempty"`
	Dashboard string           `json:"dashboard,omitempty"`
	Operators []operatorReport `json:"operators,omitempty"`
	// Nodes is what the flow's nodes count, or have counted in all of it when the job has ended.
	Nodes       []flinkbridge.NodeMetrics `json:"nodes,omitempty"`
	Checkpoints *checkpointReport         `json:"checkpoints,omitempty"`
	Restarts    string                    `json:"restarts,omitempty"`
	Failure     *failureReport            `json:"last_failure,omitempty"`
}

type operatorReport struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Status      rest.Status `json:"status"`
	Parallelism int         `json:"parallelism"`
	RecordsIn   int64       `json:"records_in"`
	RecordsOut  int64       `json:"records_out"`
	BytesIn     int64       `json:"bytes_in"`
	BytesOut    int64       `json:"bytes_out"`
}

type checkpointReport struct {
	Completed  int64 `json:"completed"`
	Failed     int64 `json:"failed"`
	InProgress int64 `json:"in_progress"`
	Last       *last `json:"last,omitempty"`
	Savepoint  *last `json:"last_savepoint,omitempty"`
	Restored   *last `json:"restored,omitempty"`
}

type last struct {
	Path string      `json:"path"`
	At   rest.Millis `json:"at"`
	Took int64       `json:"took_ms,omitempty"`
	Size int64       `json:"bytes,omitempty"`
}

type failureReport struct {
	At    rest.Millis `json:"at"`
	Task  string      `json:"task,omitempty"`
	Cause string      `json:"cause"`
}

func report(k rest.Checkpoints) *checkpointReport {
	r := &checkpointReport{Completed: k.Counts.Completed, Failed: k.Counts.Failed, InProgress: k.Counts.InProgress}
	for _, x := range []struct {
		to   **last
		from *rest.Checkpoint
	}{{&r.Last, k.Latest.Completed}, {&r.Savepoint, k.Latest.Savepoint}, {&r.Restored, k.Latest.Restored}} {
		if c := x.from; c != nil {
			*x.to = &last{c.Path, cmp.Or(c.Acked, c.Restored), c.Duration, c.Size}
		}
	}
	return r
}

func (f *flink) jobStatus(ctx context.Context, client *rest.Client, id string) error {
	j, err := client.Job(ctx, id)
	if err != nil {
		return err
	}
	r := jobReport{ID: id, Name: j.Name, Status: j.Status, Type: j.Plan.Type, Since: j.Start, Ended: j.End, Took: j.Duration, Dashboard: client.DashboardURL(id)}
	for _, v := range j.Vertices {
		m := v.Metrics
		r.Operators = append(r.Operators, operatorReport{v.ID, v.Name, v.Status, v.Parallelism, m.ReadRecords, m.WriteRecords, m.ReadBytes, m.WriteBytes})
	}
	r.Nodes, _ = flinkbridge.Nodes(ctx, client, j)         // without them the rest is worth telling
	if k, err := client.Checkpoints(ctx, id); err == nil { // a batch job has none
		r.Checkpoints = report(k)
	}
	if m, err := client.JobMetrics(ctx, id, "numRestarts"); err == nil && !j.Status.Ended() {
		r.Restarts = m["numRestarts"]
	}
	x, err := client.Exceptions(ctx, id)
	if err != nil {
		return err
	}
	if x.Root != "" {
		r.Failure = &failureReport{At: x.At, Cause: rest.Cause(x.Root)}
		if len(x.History) > 0 {
			r.Failure.Task = x.History[0].Task
		}
	}
	if f.JSON() {
		return f.Answer(r)
	}
	return f.show(r)
}

func (f *flink) show(r jobReport) error {
	fmt.Fprintf(f.Out(), "%s is %s, for %s since %s: %s\n", r.Name, r.Status, span(r.Took), moment(r.Since), r.ID)
	rows := [][]string{{"  OPERATOR", "STATUS", "PARALLELISM", "RECORDS IN", "RECORDS OUT", "BYTES IN", "BYTES OUT"}}
	for _, o := range r.Operators {
		rows = append(rows, []string{"  " + o.Name, string(o.Status), strconv.Itoa(o.Parallelism), number(o.RecordsIn), number(o.RecordsOut), size(o.BytesIn), size(o.BytesOut)})
	}
	if err := f.Table(rows, 2, 3, 4, 5, 6); err != nil {
		return err
	}
	if len(r.Nodes) > 0 {
		rows = [][]string{{"  NODE", "RECORDS IN", "RECORDS OUT", "LATE", "FAILED", "LAG", "WATERMARK"}}
		for _, n := range r.Nodes {
			lag, watermark := "", ""
			if n.Lag != nil {
				lag = span(*n.Lag)
			}
			if n.Watermark != nil {
				watermark = time.UnixMilli(*n.Watermark).UTC().Format("2006-01-02 15:04:05.000 UTC")
			}
			rows = append(rows, []string{"  " + n.Node, number(n.RecordsIn), number(n.RecordsOut), number(n.RecordsLate), number(n.RecordsFailed), lag, watermark})
		}
		if err := f.Table(rows, 1, 2, 3, 4, 5); err != nil {
			return err
		}
	}
	rows = nil
	if k := r.Checkpoints; k != nil && k.Completed+k.Failed > 0 {
		rows = append(rows, []string{"  checkpoints", fmt.Sprintf("%s completed, %s failed", number(k.Completed), number(k.Failed))})
		if l := k.Last; l != nil {
			rows = append(rows, []string{"", fmt.Sprintf("last at %s in %s, %s: %s", moment(l.At), span(l.Took), size(l.Size), l.Path)})
		}
		if l := k.Restored; l != nil {
			rows = append(rows, []string{"  restored", fmt.Sprintf("at %s from %s", moment(l.At), l.Path)})
		}
		if l := k.Savepoint; l != nil {
			rows = append(rows, []string{"  savepoint", l.Path})
		}
	}
	if r.Restarts != "" && r.Restarts != "0" {
		rows = append(rows, []string{"  restarts", r.Restarts})
	}
	if x := r.Failure; x != nil {
		where := ""
		if x.Task != "" {
			where = " in " + x.Task
		}
		rows = append(rows, []string{"  last failure", fmt.Sprintf("at %s%s: %s", moment(x.At), where, x.Cause)})
	}
	return f.Table(append(rows, []string{"  dashboard", r.Dashboard}))
}

// about is what commands that do something with a job have.
type about struct {
	connection
	to      string
	timeout time.Duration
}

func (a *about) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.to, "to", "", "the folder of savepoints, a `URL` that every process of the cluster can write to; default: the cluster's own")
}

// on makes a command that does something with a running job, within a time.
func (f *flink) on(cmd *cobra.Command, a *about, do func(ctx context.Context, client *rest.Client, id string) error) *cobra.Command {
	cmd.Use += " JOB"
	cmd.Long += "\n\n" + whichJob
	cmd.Args = cli.Args(1, 1)
	a.add(cmd)
	cli.DurationFlag(cmd, &a.timeout, "timeout", "how long it may take; what has begun goes on after that")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx, stop := f.Interruptible(cmd.Context())
		defer stop()
		ctx, cancel := context.WithTimeout(ctx, a.timeout)
		defer cancel()
		client, _, err := a.client()
		if err != nil {
			return err
		}
		defer client.Close()
		id, err := find(ctx, client, args[0], true)
		if err != nil {
			return err
		}
		return do(ctx, client, id)
	}
	return cmd
}

func (f *flink) savepointCommand() *cobra.Command {
	a := &about{timeout: 5 * time.Minute}
	cmd := &cobra.Command{
		Use:   "savepoint",
		Short: "Take a savepoint of a job, which runs on",
		Long:  "Take a savepoint of a job, and print its path. The job runs on.",
	}
	a.addTo(cmd)
	return f.on(cmd, a, func(ctx context.Context, client *rest.Client, id string) error {
		path, err := client.Savepoint(ctx, id, a.to)
		if err != nil {
			return err
		}
		if f.JSON() {
			return f.Answer(map[string]any{"job": id, "savepoint": path})
		}
		fmt.Fprintln(f.Out(), path)
		return nil
	})
}

func (f *flink) stopCommand() *cobra.Command {
	a := &about{timeout: 5 * time.Minute}
	cmd := &cobra.Command{
		Use:   "stop",
		Short: "Stop a job with a savepoint, to go on from there",
		Long: `Stop a job with a savepoint, and print the savepoint's path. All output before it is committed then, and a job that goes on
from it repeats and misses nothing. Windows that are open stay open in it.`,
	}
	a.addTo(cmd)
	return f.on(cmd, a, func(ctx context.Context, client *rest.Client, id string) error {
		path, err := client.Stop(ctx, id, false, a.to)
		if err != nil {
			return err
		}
		end, err := client.WaitEnd(ctx, id)
		if err == nil && end != rest.Finished {
			err = failed("flink.stop", "stop a job", fmt.Errorf("the savepoint %s is taken, but the job is %s", path, end), "see why: adf flink status "+id)
		}
		if err != nil {
			return err
		}
		if f.JSON() {
			return f.Answer(map[string]any{"job": id, "status": end, "savepoint": path})
		}
		fmt.Fprintln(f.Out(), path)
		return nil
	})
}

func (f *flink) cancelCommand() *cobra.Command {
	a := &about{timeout: time.Minute}
	cmd := &cobra.Command{
		Use:   "cancel",
		Short: "End a job at once, without a savepoint",
		Long:  "End a job at once, without a savepoint, and wait until it has ended. What was not committed by its last checkpoint is not.",
	}
	return f.on(cmd, a, func(ctx context.Context, client *rest.Client, id string) error {
		if err := client.Cancel(ctx, id); err != nil {
			return err
		}
		end, err := client.WaitEnd(ctx, id)
		if err != nil {
			return err
		}
		if f.JSON() {
			return f.Answer(map[string]any{"job": id, "status": end})
		}
		fmt.Fprintf(f.Out(), "%s is %s\n", id, end)
		return nil
	})
}

const whichJob = "JOB is a job's id, the beginning of one, or a name; of several jobs with that name the one that has not ended."

// find is the id of the job that is meant; with running, one that has not ended.
func find(ctx context.Context, client *rest.Client, what string, running bool) (string, error) {
	jobs, err := client.Jobs(ctx)
	if err != nil {
		return "", err
	}
	var byID, byName []rest.JobSummary
	for _, j := range jobs {
		if strings.HasPrefix(j.ID, what) {
			byID = append(byID, j)
		}
		if j.Name == what {
			byName = append(byName, j)
		}
	}
	found := byName
	if len(found) == 0 {
		found = byID
	}
	alive := slices.DeleteFunc(slices.Clone(found), func(j rest.JobSummary) bool { return j.Status.Ended() })
	switch {
	case len(found) == 0:
		var names []string
		for _, j := range jobs {
			names = append(names, j.Name)
		}
		return "", failed("flink.missing", "find the job", fmt.Errorf("%s has no job %q", client.Address(), what), cmp.Or(fault.DidYouMean(what, names), "adf flink list shows the jobs of the cluster"))
	case len(alive) == 1:
		return alive[0].ID, nil
	case len(alive) > 1:
		return "", failed("flink.ambiguous", "find the job", fmt.Errorf("%d jobs that %q can be: %s", len(alive), what, ids(alive)), "give the whole id")
	case running:
		return "", failed("flink.ended_job", "find the job", fmt.Errorf("%s is %s", found[0].ID, found[0].Status), "adf flink list shows the jobs of the cluster")
	case len(byName) == 0 && len(found) > 1:
		return "", failed("flink.ambiguous", "find the job", fmt.Errorf("%d jobs that %q can be: %s", len(found), what, ids(found)), "give the whole id")
	}
	return found[0].ID, nil // the youngest
}

func ids(jobs []rest.JobSummary) string {
	var all []string
	for _, j := range jobs {
		all = append(all, j.ID)
	}
	return strings.Join(all, ", ")
}

func failed(code, doing string, err error, fix string) error {
	return &fault.RuntimeError{Detail: fault.Detail{Code: code, Doing: doing, Retry: fault.RetryNever, Fix: fix, Err: err}}
}

func moment(m rest.Millis) string {
	if m.Time().IsZero() {
		return "-"
	}
	return m.Time().Format("2006-01-02 15:04:05 UTC")
}

// span is a time in milliseconds, as people read it.
func span(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d >= time.Hour:
		d = d.Round(time.Minute)
	case d >= 10*time.Second:
		d = d.Round(time.Second)
	case d >= time.Second:
		d = d.Round(100 * time.Millisecond)
	}
	text := d.String()
	if d >= time.Hour {
		text = strings.TrimSuffix(text, "0s")
	}
	return text
}

func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func size(n int64) string {
	units := []string{"B", "KB", "MB", "GB", "TB"}
	x, u := float64(n), 0
	for x >= 1000 && u < len(units)-1 {
		x, u = x/1000, u+1
	}
	if u == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[u])
}
