package pool

import (
	"net"
	"os"
	"slices"
	"testing"
)

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:C350 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0000000000000000 100 0 0 10 0
   1: 0100007F:9C40 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 101 1 0000000000000000 20 4 30 10 -1
   2: 0100007F:C350 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0000000000000000 20 4 30 10 -1
   3: 0100007F:9C41 0100007F:C350 08 00000000:00000000 00:00000000 00000000     0        0 103 1 0000000000000000 20 4 30 10 -1
   4: 0000000000000000FFFF00000100007F:9C42 0000000000000000FFFF00000100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 104 1 0000000000000000 20 4 30 10 -1
   5: half a line
`

func TestEstablished(t *testing.T) {
	if got, want := established([]byte(table), 50000), []string{"101", "104"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := established([]byte(table), 50001); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}

func FuzzEstablished(f *testing.F) {
	f.Add([]byte(table), uint16(50000))
	f.Fuzz(func(t *testing.T, b []byte, port uint16) { established(b, port) })
}

// The kernel's word on this process: a connection counts while it is open at both ends, for the side that dialled.
func TestHeld(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", address)
		if err != nil {
			t.Log("not here:", err)
			continue
		}
		defer l.Close()
		e, err := parseEndpoint(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if e.held(os.Getpid()) {
			t.Error("held before the connection")
		}
		c, err := net.Dial("tcp", e.text)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if !e.held(os.Getpid()) {
			t.Error("not held with the connection")
		}
		if e.held(os.Getppid()) {
			t.Error("held by another process")
		}
		s.Close()
		eventually(t, "it is not held when the other end has closed", func() bool { return !e.held(os.Getpid()) })
		if e.held(1 << 30) {
			t.Error("held by no process")
		}
	}
}
