package pool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/activedataflow/adf/fault"
)

// Boot is the command of a PROCESS environment: it asks the runner what to run, fetches the worker binary as a pool does, and becomes it. It returns only when that
// fails, and then has told the runner's log too. The runner ends the worker. The arguments are those that a runner gives, --id and --provision_endpoint at least, and our own --dir and
// --cache_bytes as in [Options]. A PROCESS environment names one program and no arguments: a script that runs `exec adf flink boot "$@"`.
func Boot(ctx context.Context, args []string) error {
	var id, dir string
	var cacheBytes int64
	e := endpoints{control: &pipepb.ApiServiceDescriptor{}, logging: &pipepb.ApiServiceDescriptor{}, artifact: &pipepb.ApiServiceDescriptor{}, provision: &pipepb.ApiServiceDescriptor{}}
	f := flag.NewFlagSet("boot", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&id, "id", "", "the worker's id")
	f.StringVar(&e.provision.Url, "provision_endpoint", "", "the runner's provision service")
	f.StringVar(&e.control.Url, "control_endpoint", "", "the runner's control service")
	f.StringVar(&e.logging.Url, "logging_endpoint", "", "the runner's logging service")
	f.StringVar(&e.artifact.Url, "artifact_endpoint", "", "the runner's artifact service")
	semiPersist := f.String("semi_persist_dir", "/tmp", "a directory for the worker's files")
	f.StringVar(&dir, "dir", DefaultDir(), "keeps worker binaries")
	f.Int64Var(&cacheBytes, "cache_bytes", 2<<30, "bounds the worker binaries kept")
	err := f.Parse(args)
	if err == nil && f.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if err == nil && (id == "" || e.provision.Url == "") {
		err = errors.New("--id and --provision_endpoint are needed")
	}
	if err != nil {
		return &fault.ConfigurationError{Detail: fault.Detail{Code: "flink.pool.boot", Doing: "boot a worker", Retry: fault.RetryNever,
			Fix: "this command is for Flink's TaskManagers, which give it its arguments", Err: err}}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	t, err := provision(ctx, id, e, "--semi_persist_dir="+*semiPersist)
	if err == nil {
		e.logging.Url = t.logging
		err = become(ctx, dir, cacheBytes, t)
	}
	return errors.Join(err, report(ctx, id, e.logging.Url, err))
}

// become runs the task's binary in place of this program.
func become(ctx context.Context, dir string, cacheBytes int64, t *task) error {
	c, err := openCache(dir, cacheBytes)
	if err != nil {
		return err
	}
	binary, err := c.fetch(ctx, t)
	if err != nil {
		return err
	}
	options, err := optionsFile(c.dir, t.options)
	if err != nil {
		return failed(t.id, "flink.pool.dir", err)
	}
	defer options.Close()
	inherited, err := syscall.Dup(int(options.Fd())) // a copy stays open across exec
	if err != nil {
		return failed(t.id, "flink.pool.worker.start", err)
	}
	defer syscall.Close(inherited)
	env := append(t.environ(), "PIPELINE_OPTIONS_FILE=/dev/fd/"+strconv.Itoa(inherited))
	return notRunnable(t.id, binary, &os.PathError{Op: "exec", Path: binary, Err: syscall.Exec(binary, append([]string{binary}, t.args...), env)})
}

// report tells the runner's log why there is no worker: the runner shows nothing of what this process writes.
func report(ctx context.Context, id, logging string, failure error) error {
	if logging == "" {
		return nil
	}
	cc, err := dial(logging)
	if err != nil {
		return err
	}
	defer cc.Close()
	ctx, cancel := context.WithTimeout(as(context.WithoutCancel(ctx), id), 5*time.Second)
	defer cancel()
	stream, err := fnpb.NewBeamFnLoggingClient(cc).Logging(ctx)
	if err != nil {
		return fmt.Errorf("tell the runner: %w", plain(err))
	}
	entry := &fnpb.LogEntry{Severity: fnpb.LogEntry_Severity_CRITICAL, Timestamp: timestamppb.Now(), Message: failure.Error(), LogLocation: "adf flink boot"}
	if err = stream.Send(&fnpb.LogEntry_List{LogEntries: []*fnpb.LogEntry{entry}}); err == nil {
		err = stream.CloseSend()
	}
	for err == nil {
		_, err = stream.Recv() // until the runner has taken it
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fmt.Errorf("tell the runner: %w", plain(err))
}
