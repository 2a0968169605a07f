//go:build unix && !linux

package pool

import "errors"

func connected(int, uint16) (bool, error) { return false, errors.ErrUnsupported }
