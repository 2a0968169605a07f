package pool

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// endpoint is where a worker's control service listens.
type endpoint struct {
	text string
	port uint16
}

func parseEndpoint(text string) (endpoint, error) {
	_, port, err := net.SplitHostPort(text)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 {
		return endpoint{}, fmt.Errorf("got control endpoint %q, want host:port", text)
	}
	return endpoint{text, uint16(n)}, nil
}

// held says whether a process has an established connection to the endpoint. Its port tells: a name of many addresses, or a way through another machine, does not matter
// then. Where the system does not tell of connections, held says whether the endpoint answers. A runner that serves everything at one endpoint, as prism, holds its
// workers by their other connections too, until it stops them.
func (e endpoint) held(pid int) bool {
	held, err := connected(pid, e.port)
	if err == nil {
		return held
	}
	c, err := net.DialTimeout("tcp", e.text, time.Second)
	if err != nil {
		return false
	}
	_ = c.Close()
	return true
}

// ExitWithControl lets a worker end by itself, with success, once it was connected to its control endpoint and is no more; Beam's harness would sleep for ever. It is
// for workers that no pool looks after, as those of a PROCESS environment whose TaskManager died: call it before the harness starts, with the value of --control_endpoint.
func ExitWithControl(control string) error {
	e, err := parseEndpoint(control)
	if err != nil {
		return err
	}
	go func() {
		for seen, missing := false, 0; missing < 3; time.Sleep(time.Second) { // a harness with an error has that long to say it by its own exit
			switch held := e.held(os.Getpid()); {
			case held:
				seen, missing = true, 0
			case seen:
				missing++
			}
		}
		os.Exit(0)
	}()
	return nil
}
