//go:build integration && soak

package itest

import "testing"

func TestSoakKill(t *testing.T) {
	killed{records: 700_000, rate: 20_000, kills: 20, restored: 15}.run(t)
}

func TestSoakKillWithErrors(t *testing.T) {
	killed{records: 700_000, rate: 20_000, kills: 20, restored: 15, errors: true}.run(t)
}
