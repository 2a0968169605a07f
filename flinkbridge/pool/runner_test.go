package pool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	fnpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/fnexecution_v1"
	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/activedataflow/adf/fault"
)

// The test binary is also the worker, the pool and the boot command of the tests that need a process.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "--worker=true":
		beWorker()
	case os.Getenv(roleVariable) == "pool":
		os.Unsetenv(roleVariable)
		log := slog.New(slog.NewTextHandler(os.Stderr, nil))
		p, err := Start(Options{Address: "127.0.0.1:0", Dir: os.Args[1], Log: log})
		if err != nil {
			panic(err)
		}
		fmt.Println(p.Address())
		select {}
	case os.Getenv(roleVariable) == "boot":
		os.Unsetenv(roleVariable)
		fmt.Fprintln(os.Stderr, Boot(context.Background(), os.Args[1:]))
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "pool-test-")
	if err != nil {
		panic(err)
	}
	sharedDir = dir
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

const roleVariable = "ADF_POOL_TEST"

// sharedDir keeps the test binary as worker binary for the tests that do not look at the cache.
var sharedDir string

// beWorker does as Beam's Go harness, whose flags these are: without its control stream it sleeps for ever.
func beWorker() {
	f := flag.NewFlagSet("worker", flag.ExitOnError)
	f.Bool("worker", false, "")
	f.String("logging_endpoint", "", "")
	f.String("semi_persist_dir", "", "")
	f.String("options", "", "")
	id, control := f.String("id", "", ""), f.String("control_endpoint", "", "")
	f.Parse(os.Args[1:])
	text, err := os.ReadFile(os.Getenv("PIPELINE_OPTIONS_FILE"))
	var options struct{ Mode string }
	if err == nil {
		err = json.Unmarshal(text, &options)
	}
	if err != nil {
		fmt.Println("options:", err)
		os.Exit(9)
	}
	switch options.Mode {
	case "crash":
		fmt.Println("panic: boom")
		os.Exit(3)
	case "mute":
		time.Sleep(time.Hour)
	case "stubborn":
		signal.Ignore(syscall.SIGTERM)
	case "child":
		child := exec.Command("sleep", "3600")
		if err := child.Start(); err != nil {
			panic(err)
		}
		fmt.Println("child", child.Process.Pid)
	case "exit":
		if err := ExitWithControl(*control); err != nil {
			panic(err)
		}
	case "tell":
		fmt.Printf("args %q capabilities %q status %q\n", os.Args[1:], os.Getenv("RUNNER_CAPABILITIES"), os.Getenv("STATUS_ENDPOINT"))
	}
	cc, err := dial(*control)
	if err != nil {
		panic(err)
	}
	stream, err := fnpb.NewBeamFnControlClient(cc).Control(as(context.Background(), *id))
	for err == nil {
		if _, err = stream.Recv(); err == nil {
			fmt.Print("dying on the job")
			os.Exit(4)
		}
	}
	if !errors.Is(err, io.EOF) {
		fmt.Println("Worker failed:", err)
		os.Exit(1)
	}
	cc.Close()
	fmt.Println("Worker exited successfully!")
	time.Sleep(time.Hour)
}

// runner is Beam's Flink runner as far as workers see it: one of these is one job.
type runner struct {
	fnpb.UnimplementedBeamFnControlServer
	fnpb.UnimplementedBeamFnLoggingServer
	fnpb.UnimplementedProvisionServiceServer
	jobpb.UnimplementedArtifactRetrievalServiceServer

	t               *testing.T
	control, others string // addresses
	binary, sum     string // file, and what is said of it
	fetches         atomic.Int64
	servers         []*grpc.Server

	mu      sync.Mutex
	info    *fnpb.ProvisionInfo
	streams map[string]*stream
	logged  []string
}

type stream struct{ instruct, end chan struct{} }

func newRunner(t *testing.T, mode string) *runner {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{t: t, streams: map[string]*stream{}, info: &fnpb.ProvisionInfo{}}
	r.give(exe)
	r.info.PipelineOptions, err = structpb.NewStruct(map[string]any{"mode": mode})
	if err != nil {
		t.Fatal(err)
	}
	serve := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s := grpc.NewServer()
		t.Cleanup(s.Stop)
		fnpb.RegisterBeamFnControlServer(s, r)
		fnpb.RegisterBeamFnLoggingServer(s, r)
		fnpb.RegisterProvisionServiceServer(s, r)
		jobpb.RegisterArtifactRetrievalServiceServer(s, r)
		r.servers = append(r.servers, s)
		go s.Serve(l)
		return l.Addr().String()
	}
	r.control, r.others = serve(), serve()
	return r
}

var sums sync.Map // of files, by path

// give sets the file that is the job's worker binary.
func (r *runner) give(path string) {
	r.t.Helper()
	sum, ok := sums.Load(path)
	if !ok {
		content, err := os.ReadFile(path)
		if err != nil {
			r.t.Fatal(err)
		}
		h := sha256.Sum256(content)
		sum = hex.EncodeToString(h[:])
		sums.Store(path, sum)
	}
	r.binary = path
	r.says(sum.(string))
}

// says sets what the job says of its worker binary.
func (r *runner) says(sum string) {
	r.sum = sum
	payload, err := proto.Marshal(&pipepb.ArtifactFilePayload{Path: r.binary, Sha256: sum})
	if err != nil {
		r.t.Fatal(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.info.Dependencies = []*pipepb.ArtifactInformation{
		{TypeUrn: typeFile, RoleUrn: "beam:artifact:role:other:v1"},
		{TypeUrn: typeFile, TypePayload: payload, RoleUrn: roleWorker},
	}
}

func (r *runner) GetProvisionInfo(ctx context.Context, _ *fnpb.GetProvisionInfoRequest) (*fnpb.GetProvisionInfoResponse, error) {
	if workerOf(ctx) == "" {
		return nil, status.Error(codes.Unauthenticated, "no worker_id")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return &fnpb.GetProvisionInfoResponse{Info: proto.Clone(r.info).(*fnpb.ProvisionInfo)}, nil
}

func (r *runner) ResolveArtifacts(_ context.Context, q *jobpb.ResolveArtifactsRequest) (*jobpb.ResolveArtifactsResponse, error) {
	return &jobpb.ResolveArtifactsResponse{Replacements: q.Artifacts}, nil
}

func (r *runner) GetArtifact(q *jobpb.GetArtifactRequest, to jobpb.ArtifactRetrievalService_GetArtifactServer) error {
	r.fetches.Add(1)
	var p pipepb.ArtifactFilePayload
	if err := proto.Unmarshal(q.Artifact.TypePayload, &p); err != nil {
		return err
	}
	f, err := os.Open(p.Path)
	if err != nil {
		return status.Error(codes.NotFound, "artifact not found")
	}
	defer f.Close()
	for {
		b := make([]byte, 2<<20)
		n, err := io.ReadFull(f, b)
		if n == 0 {
			return nil
		}
		if err := to.Send(&jobpb.GetArtifactResponse{Data: b[:n]}); err != nil {
			return err
		}
		if err != nil {
			return nil
		}
	}
}

func (r *runner) Control(s fnpb.BeamFnControl_ControlServer) error {
	me := &stream{make(chan struct{}), make(chan struct{})}
	r.mu.Lock()
	r.streams[workerOf(s.Context())] = me
	r.mu.Unlock()
	for {
		select {
		case <-me.instruct:
			if err := s.Send(&fnpb.InstructionRequest{InstructionId: "1"}); err != nil {
				return err
			}
		case <-me.end:
			return nil
		case <-s.Context().Done():
			return s.Context().Err()
		}
	}
}

func (r *runner) Logging(s fnpb.BeamFnLogging_LoggingServer) error {
	for {
		l, err := s.Recv()
		if err != nil {
			return nil
		}
		r.mu.Lock()
		for _, e := range l.LogEntries {
			r.logged = append(r.logged, e.Severity.String()+" "+e.Message)
		}
		r.mu.Unlock()
	}
}

func workerOf(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	return strings.Join(md.Get("worker_id"), ",")
}

// stream gives a worker's control stream; it waits until the worker has opened it, which is after it has connected.
func (r *runner) stream(id string) *stream {
	r.t.Helper()
	var s *stream
	eventually(r.t, id+" opens its control stream", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		s = r.streams[id]
		return s != nil
	})
	return s
}

// closeControl ends a worker's control stream, as the runner does when a job ends.
func (r *runner) closeControl(id string) {
	r.t.Helper()
	close(r.stream(id).end)
	r.mu.Lock()
	delete(r.streams, id)
	r.mu.Unlock()
}

// die ends all of the runner's services at once.
func (r *runner) die() {
	for _, s := range r.servers {
		s.Stop()
	}
}

func (r *runner) request(id string) *fnpb.StartWorkerRequest {
	at := func(url string) *pipepb.ApiServiceDescriptor { return &pipepb.ApiServiceDescriptor{Url: url} }
	return &fnpb.StartWorkerRequest{WorkerId: id, ControlEndpoint: at(r.control), LoggingEndpoint: at(r.others), ArtifactEndpoint: at(r.others),
		ProvisionEndpoint: at(r.others)}
}

// start asks a pool for a worker, and gives the error of the answer.
func (r *runner) start(to fnpb.BeamFnExternalWorkerPoolClient, id string) string {
	r.t.Helper()
	answer, err := to.StartWorker(r.t.Context(), r.request(id))
	if err != nil {
		r.t.Fatal(err)
	}
	return answer.Error
}

func (r *runner) mustStart(to fnpb.BeamFnExternalWorkerPoolClient, ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		if err := r.start(to, id); err != "" {
			r.t.Fatalf("start %s: %s", id, err)
		}
	}
}

// client connects to a pool.
func client(t *testing.T, address string) fnpb.BeamFnExternalWorkerPoolClient {
	t.Helper()
	cc, err := dial(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cc.Close() })
	return fnpb.NewBeamFnExternalWorkerPoolClient(cc)
}

// newPool starts a pool that looks often.
func newPool(t *testing.T, change func(*Options)) (*Pool, fnpb.BeamFnExternalWorkerPoolClient, *logged) {
	t.Helper()
	log := &logged{}
	o := Options{Address: "127.0.0.1:0", Dir: sharedDir, Grace: 3 * time.Second, Log: slog.New(slog.NewTextHandler(log, nil)), every: 100 * time.Millisecond}
	if change != nil {
		change(&o)
	}
	p, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		if t.Failed() {
			t.Log(log.String())
		}
		noProcesses(t)
	})
	return p, client(t, p.Address()), log
}

func stop(t *testing.T, to fnpb.BeamFnExternalWorkerPoolClient, id string) string {
	t.Helper()
	answer, err := to.StopWorker(t.Context(), &fnpb.StopWorkerRequest{WorkerId: id})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Error
}

// logged is a log that can be looked at.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited 20s in vain: %s", what)
		}
	}
}

// alive says whether a process is there and no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(after, "Z")
}

// noProcesses checks that this process has no children, zombies included.
func noProcesses(t *testing.T) {
	t.Helper()
	var ws syscall.WaitStatus
	if pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("a process is left: wait gave %d, %v", pid, err)
	}
}

// code is the code of an error in a runner's answer.
func code(err error) string {
	d, ok := fault.DetailOf(err)
	if !ok {
		return ""
	}
	return d.Code
}
