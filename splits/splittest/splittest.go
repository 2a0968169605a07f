package splittest

import (
	"testing"

	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// Harness tells the suite about a source.
type Harness[T any, S splits.Split] struct {
	// New makes input, always of the same content, and a source over it. A few hundred records in five or more splits, each of several batches,
	// show most.
	New func(tb TB) Input[T, S]
	// Codec is that of the records; nil is the source's own ([splits.Typed]) or else row.CodecOf[T].
	Codec *row.Codec[T]
	// Want are the records of the input, in any order; nil: what a first read finds.
	Want []T
	// Enough, for unbounded sources, is the number of records after which a read is long enough.
	Enough int
	// Fixed says that the input can not grow.
	Fixed bool
	// Process names the source in the map given to [Child]; empty: the source is not read by other processes. The processes get the variables
	// (as "NAME=value") that Env makes for an input.
	Process string
	Env     func(in Input[T, S]) []string
}

// Input is input and a source over it.
type Input[T any, S splits.Split] struct {
	Source splits.Source[T, S]
	// Grow adds at least one split to the input and says how many records that was; nil when the input is Fixed.
	Grow func() int
	// Place is for Env: where the input is.
	Place string
}

// TB is what the suite needs of a test. *testing.T has it.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Cleanup(f func())
	TempDir() string
}

// Check is one part of the suite.
type Check struct {
	Name string
	Run  func(tb TB)
}

// Run runs the whole suite, each check as a subtest.
func Run[T any, S splits.Split](t *testing.T, h Harness[T, S]) {
	for _, c := range Checks(h) {
		t.Run(c.Name, func(t *testing.T) { c.Run(t) })
	}
}

// Checks gives the parts of the suite, to be run one by one: those that fit the harness.
func Checks[T any, S splits.Split](h Harness[T, S]) []Check {
	checks := []Check{
		{"once", h.once},
		{"ids", h.ids},
		{"codec", h.codec},
		{"resume", h.resume},
		{"restore", h.restore},
		{"back/survivors", h.backToSurvivors},
		{"back/rejoined", h.backToRejoined},
		{"late reader", h.lateReader},
		{"kept buffers", h.keptBuffers},
		{"checkpoint complete", h.checkpointComplete},
		{"close", h.close},
	}
	if !h.Fixed {
		checks = append(checks, Check{"discovery", h.discovery})
	}
	if h.Process != "" {
		checks = append(checks, Check{"processes", h.processes})
	}
	return checks
}
