package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/fault"
)

// runFlags are what run can be told.
type runFlags struct {
	flowFlags
	storeFlags
	interval                     time.Duration
	parallelism, retries, retain int
	buckets                      int
	runner, until                string
	fresh, rewind, allowDropped  bool
	metrics                      string
	logLevel, logFormat          string
	progress                     string
	quiet                        bool
}

func (c *command) runCommand() *cobra.Command {
	f := &runFlags{interval: 10 * time.Second, retries: 10, retain: 3}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run a flow until it ends",
		Long: `Run a flow until it ends, and tell what every node did.

SIGINT and SIGTERM stop it in order: what is on its way is worked off, state is saved, output committed. A second one ends it at once;
then the next run goes on from the last checkpoint.

` + codesHelp(),
	}
	c.takesFlow(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		runner, err := c.chosen(cmd.Flags(), f)
		if err != nil {
			return err
		}
		return c.run(cmd.Context(), first(args), f, runner)
	}
	f.flowFlags.add(cmd)
	f.storeFlags.add(cmd)
	flags := cmd.Flags()
	flags.Var(span{&f.interval}, "interval", "how far checkpoints are apart")
	flags.Var(number{&f.retain, 1}, "retain", "how many checkpoints are kept")
	flags.Var(number{&f.retries, 0}, "retries", "how often in a row a failure is tried again that a retry can help against")
	flags.Var(number{&f.parallelism, 1}, "parallelism", "lanes of each source and workers of each keyed step that do not say it themselves; default: one for each CPU")
	c.addRunner(cmd, f)
	flags.BoolVar(&f.fresh, "fresh", false, "start over: ignore the saved state")
	flags.BoolVar(&f.rewind, "rewind", false, "go on from a checkpoint that is behind what the sinks have: output since then is repeated")
	flags.BoolVar(&f.allowDropped, "allow-dropped", false, "drop saved state of nodes that the flow does not have any more, and keyed state that has stayed on Flink")
	flags.StringVar(&f.metrics, "metrics", "", "serve /metrics for Prometheus and /healthz at `HOST:PORT`")
	addChoice(cmd, &f.logLevel, "log-level", "what is logged to standard error; default: info, on a terminal warn", "", "debug", "info", "warn", "error")
	addChoice(cmd, &f.logFormat, "log-format", "how it is logged", "text", "json")
	addChoice(cmd, &f.progress, "progress", "a line that tells how far the run is; auto: on a terminal", "auto", "on", "off")
	flags.BoolVar(&f.quiet, "quiet", false, "tell nothing but errors")
	return cmd
}

func (c *command) run(ctx context.Context, file string, f *runFlags, runner *Runner) (err error) {
	if c.debug = f.logLevel == "debug"; !c.json {
		c.stacks = "--log-level debug"
	}
	var store openStore
	if runner == nil {
		if store, err = f.storeFlags.open(); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.close()) }()
	}
	log, stacks := c.logger(f)
	if runner != nil {
		if stacks {
			c.stacks = ""
		}
		return c.runOn(ctx, runner, file, f, log)
	}
	g, err := c.graph(ctx, file, &f.flowFlags)
	if err != nil {
		return err
	}
	if stacks {
		c.stacks = ""
	}
	o := engine.Options{
		Store: store.Store, Interval: f.interval, Retain: f.retain, Retries: f.retries, Parallelism: f.parallelism,
		Until: engine.Until(f.until),
		Fresh: f.fresh, Rewind: f.rewind, AllowDropped: f.allowDropped, Log: log,
	}
	if f.retries == 0 {
		o.Retries = -1
	}
	if store.Store == nil && !f.quiet {
		fmt.Fprintln(c.stderr, "no --checkpoints: state is in memory, and a later run starts over")
	}
	if f.metrics != "" {
		registry := prometheus.NewRegistry()
		registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		o.Metrics = registry
		at, stop, err := serveMetrics(f.metrics, registry)
		if err != nil {
			return err
		}
		defer stop()
		if !f.quiet {
			fmt.Fprintf(c.stderr, "metrics at http://%s/metrics\n", at)
		}
	}
	line := c.newProgress(g, f)
	if line != nil {
		o.Progress = line.show
	}
	s := c.listen(ctx, f.quiet)
	o.Stop = s.stop
	r, err := s.run(g, o)
	atOnce := s.ctx.Err() != nil
	s.close()
	line.close()
	if err != nil {
		if atOnce {
			return errAtOnce
		}
		if !f.quiet && !c.json && moved(r) {
			c.table(g, r)
		}
		return &failedRun{err, r}
	}
	stopped := s.stopped() && !r.Finished && o.Until != engine.Signal
	if stopped {
		c.code = exitStopped
	}
	if c.json {
		return c.answer(struct {
			engine.Result
			Stopped bool `json:"stopped"`
		}{r, stopped})
	}
	if !f.quiet {
		c.summary(g, r, summaryOf{stopped: s.stopped(), kept: store.Store != nil})
	}
	return nil
}

// errAtOnce ends a run that got a second signal.
var errAtOnce = errors.New("ended at once")

// listening takes the signals of a run: the first closes stop, the second ends ctx.
type listening struct {
	ctx    context.Context
	stop   chan struct{}
	cancel context.CancelCauseFunc
	done   chan struct{}
}

func (c *command) listen(ctx context.Context, quiet bool) *listening {
	s := &listening{stop: make(chan struct{}), done: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer close(s.done)
		defer signal.Stop(signals) // a third one ends the process, whatever it is at
		select {
		case <-signals:
		case <-s.ctx.Done():
			return
		}
		if !quiet {
			fmt.Fprintln(c.stderr, "stopping in order; a second signal ends the run at once")
		}
		close(s.stop)
		select {
		case <-signals:
			s.cancel(errAtOnce)
		case <-s.ctx.Done():
		}
	}()
	return s
}

func (s *listening) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// grace is how long a run that was ended at once has for it. What still keeps it then is user code that does not come back; the last checkpoint
// counts, whatever it does.
const grace = 3 * time.Second

// run runs a flow, and waits for it no longer than grace when it is to end at once.
func (s *listening) run(g *adf.Graph, o engine.Options) (engine.Result, error) {
	type outcome struct {
		engine.Result
		error
	}
	done := make(chan outcome, 1)
	go func() {
		r, err := engine.RunGraph(s.ctx, g, o)
		done <- outcome{r, err}
	}()
	select {
	case x := <-done:
		return x.Result, x.error
	case <-s.ctx.Done():
	}
	select {
	case x := <-done:
		return x.Result, x.error
	case <-time.After(grace):
		return engine.Result{}, errAtOnce
	}
}

// close gives the signals back.
func (s *listening) close() {
	s.cancel(nil)
	<-s.done
}

// serveMetrics serves what a run counts, until the returned function is called.
func serveMetrics(address string, from prometheus.Gatherer) (at string, stop func(), err error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return "", nil, &fault.ConfigurationError{Detail: fault.Detail{
			Code: "usage.metrics", Doing: "listen at --metrics " + address, Retry: fault.RetryNever, Err: err, Fix: "give an address of this machine as HOST:PORT that is free, as localhost:9090",
		}}
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(from, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // it ends when it is closed
	}()
	return listener.Addr().String(), func() {
		_ = server.Close()
		<-done
	}, nil
}

// moved says whether a run has done anything with records.
func moved(r engine.Result) bool {
	for _, n := range r.Nodes {
		if n.In+n.Out+n.Errors > 0 {
			return true
		}
	}
	return false
}

// read is how many records the sources gave.
func read(nodes []engine.NodeStats) (n int64) {
	for _, s := range nodes {
		if s.Kind == adf.KindSource.String() {
			n += s.Out
		}
	}
	return n
}
