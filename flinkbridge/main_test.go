package flinkbridge

import (
	"flag"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	beam.Init()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil))) // Beam and prism tell a lot
	// Prism's server has no way to end; it is there before the tests, so that what it runs is not theirs.
	if _, err := prismServer(); err != nil {
		panic(err)
	}
	if err := os.Chdir(".."); err != nil { // the examples' paths begin there
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// limited is how long a test may take: prism can hang, and a test must not.
const limited = 50 * time.Second
