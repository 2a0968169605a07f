//go:build !unix

package cluster

import "errors"

const (
	terminate = iota
	kill
)

var errPlatform = errors.New("a local cluster needs Linux or another Unix")

func (p *Process) start(string) error { return errPlatform }

// Alive is always false: no process can have been started.
func (p Process) Alive() bool { return false }

func (p Process) signal(int) {}

func lock(string) (func(), error) { return nil, errPlatform }
