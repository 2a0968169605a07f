package flinkbridge

import (
	"context"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	Start()
	initBeam()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil))) // Beam and prism tell a lot
	// Prism's server has no way to end; it is there before the tests, so that what it runs is not theirs.
	client, err := prismServer()
	if err != nil {
		panic(err)
	}
	_, _ = client.GetState(context.Background(), &jobpb.GetJobStateRequest{}) // there is no such job; after the answer everything of the connection is up
	if err := os.Chdir(".."); err != nil {                                    // the examples' paths begin there
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent(),
		// Prism and the SDK's harness leave these behind when a job is cancelled that has timers or is about to write state.
		goleak.IgnoreAnyFunction("github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*StateChannel).Send"),
		goleak.IgnoreAnyFunction("github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*StateChannel).read"),
		// The harness locks itself out when a stream ends while an instruction closes its writers: closeInstruction holds the lock that
		// terminateStreamOnError takes again. What closes then stays, and the reader of that stream.
		goleak.IgnoreAnyFunction("github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*ScopedDataManager).Close"),
		goleak.IgnoreAnyFunction("github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*dataWriter).Close"),
		goleak.IgnoreAnyFunction("github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness.(*DataChannel).read"),
		goleak.IgnoreAnyFunction("github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism/internal/engine.(*ElementManager).Bundles.func1"))
}

// limited is how long a test may take: prism can hang, and a test must not.
const limited = 50 * time.Second
