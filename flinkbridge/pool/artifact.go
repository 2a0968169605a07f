package pool

import (
	"context"
	"debug/elf"
	"debug/macho"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/fault"
)

const (
	roleWorker = "beam:artifact:role:go_worker_binary:v1"
	typeFile   = "beam:artifact:type:file:v1"
	typeURL    = "beam:artifact:type:url:v1"
)

// endpoints are those of a runner; the provision service names the others anew.
type endpoints struct{ control, logging, artifact, provision *pipepb.ApiServiceDescriptor }

// task is what a runner wants of one worker.
type task struct {
	id, control, logging, artifact string
	binary                         *pipepb.ArtifactInformation
	sum                            string   // SHA-256 of the binary, in hex; empty when the runner does not say
	options                        []byte   // the pipeline's options, as JSON
	args                           []string // of the worker's command line
	env                            []string
}

// provision asks the runner what to run.
func provision(ctx context.Context, id string, e endpoints, more ...string) (*task, error) {
	if id == "" || e.provision.GetUrl() == "" {
		return nil, failed(id, "flink.pool.request", fmt.Errorf("got worker id %q and provision endpoint %q, want both", id, e.provision.GetUrl()))
	}
	info, err := provisionInfo(ctx, id, e.provision)
	if err != nil {
		return nil, failed(id, "flink.pool.provision", fmt.Errorf("ask %s what to run: %w", e.provision.GetUrl(), plain(err)))
	}
	for _, of := range []struct{ from, to **pipepb.ApiServiceDescriptor }{
		{&info.ControlEndpoint, &e.control}, {&info.LoggingEndpoint, &e.logging}, {&info.ArtifactEndpoint, &e.artifact},
	} {
		if (*of.from).GetUrl() != "" {
			*of.to = *of.from
		}
	}
	for _, of := range []struct {
		name string
		d    *pipepb.ApiServiceDescriptor
	}{{"control", e.control}, {"logging", e.logging}, {"artifact", e.artifact}} {
		if of.d.GetUrl() == "" {
			return nil, failed(id, "flink.pool.request", fmt.Errorf("the runner names no %s endpoint", of.name))
		}
		if of.d.GetAuthentication() != nil {
			return nil, failed(id, "flink.pool.request", fmt.Errorf("the runner wants authentication at its %s endpoint, which Beam's Go workers do not have", of.name))
		}
	}
	t := &task{id: id, control: e.control.GetUrl(), logging: e.logging.GetUrl(), artifact: e.artifact.GetUrl(), options: []byte("{}")}
	if info.PipelineOptions != nil {
		if t.options, err = protojson.Marshal(info.PipelineOptions); err != nil {
			return nil, failed(id, "flink.pool.provision", fmt.Errorf("the pipeline's options: %w", err))
		}
	}
	if t.binary, err = workerBinary(info.Dependencies); err != nil {
		return nil, failed(id, "flink.pool.artifact", err, "submit the job with adf, which adds its own binary")
	}
	// What Beam's boot program gives a worker. The artifact and provision endpoints are not among it: the harness has no such flags.
	t.args = append([]string{"--worker=true", "--id=" + id, "--logging_endpoint=" + t.logging, "--control_endpoint=" + t.control}, more...)
	if len(info.RunnerCapabilities) > 0 {
		t.env = append(t.env, "RUNNER_CAPABILITIES="+strings.Join(info.RunnerCapabilities, " "))
	}
	if u := info.GetStatusEndpoint().GetUrl(); u != "" {
		t.env = append(t.env, "STATUS_ENDPOINT="+u)
	}
	return t, nil
}

func provisionInfo(ctx context.Context, id string, at *pipepb.ApiServiceDescriptor) (*fnpb.ProvisionInfo, error) {
	cc, err := dial(at.GetUrl())
	if err != nil {
		return nil, err
	}
	defer cc.Close()
	r, err := fnpb.NewProvisionServiceClient(cc).GetProvisionInfo(as(ctx, id), &fnpb.GetProvisionInfoRequest{})
	if err == nil && r.GetInfo() == nil {
		err = errors.New("the answer is empty")
	}
	return r.GetInfo(), err
}

// workerBinary is the one artifact that has its role; a single artifact without a role is it too.
func workerBinary(all []*pipepb.ArtifactInformation) (*pipepb.ArtifactInformation, error) {
	var roles []string
	for _, a := range all {
		if a.GetRoleUrn() == roleWorker {
			return a, nil
		}
		roles = append(roles, a.GetRoleUrn())
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return nil, fmt.Errorf("the job brings no worker binary (an artifact of role %s), but %d artifacts %q", roleWorker, len(all), roles)
}

// checksum is the SHA-256 that an artifact should have, in hex; empty when it does not say.
func checksum(a *pipepb.ArtifactInformation) (sum string, err error) {
	switch a.GetTypeUrn() {
	case typeFile:
		var p pipepb.ArtifactFilePayload
		err = proto.Unmarshal(a.GetTypePayload(), &p)
		sum = p.GetSha256()
	case typeURL:
		var p pipepb.ArtifactUrlPayload
		err = proto.Unmarshal(a.GetTypePayload(), &p)
		sum = p.GetSha256()
	}
	if err == nil && sum != "" && !isSum(sum) {
		err = fmt.Errorf("got SHA-256 %q, want 64 hexadecimal digits", sum)
	}
	return strings.ToLower(sum), err
}

func isSum(text string) bool {
	return len(text) == 64 && strings.Trim(text, "0123456789abcdefABCDEF") == ""
}

// fetch gives the file of a task's binary, from the cache or the runner.
func (c *cache) fetch(ctx context.Context, t *task) (path string, err error) {
	wrong := func(err error) error {
		if _, ok := fault.DetailOf(err); ok {
			return err
		}
		return failed(t.id, "flink.pool.artifact", fmt.Errorf("fetch the worker binary from %s: %w", t.artifact, plain(err)))
	}
	if t.sum, err = checksum(t.binary); err != nil {
		return "", wrong(err)
	}
	path, err = c.get(ctx, t.sum, func(to io.Writer) error { return download(ctx, t, to) })
	var m *mismatch
	if errors.As(err, &m) {
		return "", failed(t.id, "flink.pool.checksum", fmt.Errorf("the worker binary from %s: %w", t.artifact, err), "submit the job again: its job JAR or the way to it is damaged")
	}
	if err != nil {
		return "", wrong(err)
	}
	return path, nil
}

func download(ctx context.Context, t *task, to io.Writer) error {
	cc, err := dial(t.artifact)
	if err != nil {
		return err
	}
	defer cc.Close()
	ctx, cancel := context.WithCancel(as(ctx, t.id))
	defer cancel()
	client := jobpb.NewArtifactRetrievalServiceClient(cc)
	resolved, err := client.ResolveArtifacts(ctx, &jobpb.ResolveArtifactsRequest{Artifacts: []*pipepb.ArtifactInformation{t.binary}})
	a := t.binary
	switch {
	case err == nil && len(resolved.GetReplacements()) > 0:
		a = resolved.GetReplacements()[0]
	case err != nil && !unimplemented(err):
		return err
	}
	stream, err := client.GetArtifact(ctx, &jobpb.GetArtifactRequest{Artifact: a})
	if err != nil {
		return err
	}
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := to.Write(r.GetData()); err != nil {
			return err
		}
	}
}

// environ is the environment of the worker: this process's own and what the runner adds.
func (t *task) environ() []string {
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"PIPELINE_OPTIONS_FILE", "RUNNER_CAPABILITIES", "STATUS_ENDPOINT"}, name)
	})
	return append(own, t.env...)
}

// notRunnable tells why a fetched binary cannot be started.
func notRunnable(id, binary string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return &fault.RuntimeError{Detail: fault.Detail{Code: "flink.pool.worker.architecture", Doing: "start worker " + id, Retry: fault.RetryNever,
			Fix: fmt.Sprintf("build the program that is submitted for this machine: GOOS=%s GOARCH=%s", runtime.GOOS, runtime.GOARCH),
			Err: fmt.Errorf("the worker binary is %s, and this machine is %s/%s: %w", platform(binary), runtime.GOOS, runtime.GOARCH, err)}}
	case errors.Is(err, syscall.EACCES):
		return failed(id, "flink.pool.dir", err, "give the pool a directory whose file system allows execution (dir)")
	default:
		return failed(id, "flink.pool.worker.start", err)
	}
}

// platform says what a binary is for.
func platform(path string) string {
	if f, err := elf.Open(path); err == nil {
		defer f.Close()
		return fmt.Sprintf("an ELF program for %s", strings.ToLower(strings.TrimPrefix(f.Machine.String(), "EM_")))
	}
	if f, err := macho.Open(path); err == nil {
		defer f.Close()
		return fmt.Sprintf("a macOS program for %s", strings.ToLower(strings.TrimPrefix(f.Cpu.String(), "Cpu")))
	}
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		var head [2]byte
		if _, err := io.ReadFull(f, head[:]); err == nil && string(head[:]) == "MZ" {
			return "a Windows program"
		}
	}
	return "no program"
}

// dial makes a client of one of a runner's services. They speak plaintext.
func dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)))
}

// as names the worker to the runner, which serves nobody without a name.
func as(ctx context.Context, id string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "worker_id", id)
}

func unimplemented(err error) bool { return status.Code(err) == codes.Unimplemented }

// plain is the message of a gRPC error without its frame, as "NotFound: no such artifact".
func plain(err error) error {
	var s interface{ GRPCStatus() *status.Status }
	if errors.As(err, &s) {
		return fmt.Errorf("%s: %s", s.GRPCStatus().Code(), s.GRPCStatus().Message())
	}
	return err
}
