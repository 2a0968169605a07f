package flinkbridge

import (
	"flag"
	"log/slog"
	"os"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness/init" // lets Init become a worker
)

// Start is the first thing in the main of a program whose binary is a worker too, after its builders are registered. In a worker, which a runner starts with
// --worker and flags of Beam's, it does the work and does not come back. Otherwise it does nothing, and the program's own command line is untouched.
func Start() {
	for _, arg := range os.Args[1:] {
		name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if strings.HasPrefix(arg, "-") && name == "worker" && (!given || value == "true") {
			flag.Parse()
			worker.Store(true)
			serveProfiles()
			initBeam()
			os.Exit(1) // a worker does not come here
		}
		if arg == "--" {
			return
		}
	}
}

// initBeam initializes Beam, once, and takes the log back, which Beam makes its own.
func initBeam() {
	if beam.Initialized() {
		return
	}
	log := slog.Default()
	beam.Init()
	slog.SetDefault(log)
}
