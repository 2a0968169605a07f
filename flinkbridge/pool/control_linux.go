package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// connected says whether a process has an established TCP connection to a port, from the kernel's tables of the process's network and of its open files. The error
// says that the system does not tell.
func connected(pid int, port uint16) (bool, error) {
	proc := fmt.Sprintf("/proc/%d", pid)
	sockets := map[string]bool{}
	for _, table := range []string{"/net/tcp", "/net/tcp6"} {
		text, err := os.ReadFile(proc + table)
		if err != nil {
			if _, err := os.Stat("/proc/self/net/tcp"); err != nil {
				return false, err
			}
			continue // no IPv6, or the process is no more
		}
		for _, inode := range established(text, port) {
			sockets["socket:["+inode+"]"] = true
		}
	}
	if len(sockets) == 0 {
		return false, nil
	}
	files, err := os.ReadDir(proc + "/fd")
	if errors.Is(err, fs.ErrPermission) {
		return false, err
	}
	for _, f := range files {
		if to, err := os.Readlink(proc + "/fd/" + f.Name()); err == nil && sockets[to] {
			return true, nil
		}
	}
	return false, nil
}

// established gives the inodes of the established sockets in one of the kernel's tables whose other end has a port.
func established(table []byte, port uint16) (inodes []string) {
	const (
		remote, state, inode = 2, 3, 9 // columns
		open                 = "01"
	)
	for line := range bytes.Lines(table) {
		f := strings.Fields(string(line))
		if len(f) <= inode || f[state] != open {
			continue
		}
		_, text, _ := strings.Cut(f[remote], ":") // as 0100007F:C350
		if n, err := strconv.ParseUint(text, 16, 16); err == nil && uint16(n) == port {
			inodes = append(inodes, f[inode])
		}
	}
	return inodes
}
