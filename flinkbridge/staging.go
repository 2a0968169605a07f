package flinkbridge

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"github.com/activedataflow/adf/engine/checkpoint"
)

// stagedFor is how long output that waits for its commit is kept in staging, at least: longer than any outage that a job rides out. What is older was left by a crash, or
// is the manifest of a batch run.
const stagedFor = 7 * 24 * time.Hour

// sweep removes what runs of the flow have left in staging.
func (j *job) sweep(ctx context.Context) {
	s, ok := j.staging.(checkpoint.Sweeper)
	if !ok {
		return
	}
	ours := func(name string) bool {
		run, ok := strings.CutPrefix(name, j.stagedAs(""))
		id, err := hex.DecodeString(run)
		return ok && err == nil && len(id) == runBytes && run != j.Run
	}
	if err := s.RemoveOlder(ctx, ours, time.Now().Add(-stagedFor)); err != nil {
		j.log.Warn("what earlier runs have left in staging stays", "error", err)
	}
}
