package pool

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/activedataflow/adf/fault"
)

// cache keeps worker binaries by checksum:
//
//	DIR/worker-SHA256    whole, checked, executable; its time is when it was last used
//	DIR/fetch-…          being written; what a crash leaves is removed later
//	DIR/options-…        the same, of a worker's options
//
// Several processes can share a directory: files get their final name when they are whole, and what was used within the last minute stays.
type cache struct {
	dir   string
	bytes int64

	mu      sync.Mutex
	checked map[string]fs.FileInfo   // by checksum: the file whose content this process has checked
	busy    map[string]chan struct{} // by checksum: closed when it was looked at or fetched
}

const (
	workerFile   = "worker-"
	fetchFile    = "fetch-"
	optionsFiles = "options-"
	settle       = time.Minute // files used since then are not removed: a start may be about to use them
)

// DefaultDir is where worker binaries are kept when not told: the user's cache directory, and without one a directory of the user in the system's temporary directory.
func DefaultDir() string {
	if d, err := os.UserCacheDir(); err == nil {
		return filepath.Join(d, "adf", "workers")
	}
	return filepath.Join(os.TempDir(), "adf-workers-"+strconv.Itoa(os.Getuid()))
}

// openCache uses a directory, which is made. One that others can write to is refused: they could put programs there.
func openCache(dir string, bytes int64) (*cache, error) {
	abs, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(abs, 0o700)
	}
	var info fs.FileInfo
	if err == nil {
		info, err = os.Stat(abs)
	}
	if err == nil {
		s, _ := info.Sys().(*syscall.Stat_t)
		if s != nil && int(s.Uid) != os.Getuid() || info.Mode().Perm()&0o022 != 0 {
			err = fmt.Errorf("others can write to it (%v)", info.Mode())
		}
	}
	if err != nil {
		return nil, &fault.RuntimeError{Detail: fault.Detail{Code: "flink.pool.dir", Doing: "use the directory for worker binaries", At: dir, Retry: fault.RetryNever,
			Fix: "give a directory of this user's own", Err: err}}
	}
	return &cache{dir: abs, bytes: bytes, checked: map[string]fs.FileInfo{}, busy: map[string]chan struct{}{}}, nil
}

// mismatch is a binary that is not what its job said.
type mismatch struct{ got, want string }

func (m *mismatch) Error() string {
	return fmt.Sprintf("its SHA-256 is %s, and should be %s", m.got, m.want)
}

// get gives the file with a checksum, and downloads it when it is not there. Without a checksum it is downloaded each time.
func (c *cache) get(ctx context.Context, sum string, download func(io.Writer) error) (string, error) {
	if sum == "" {
		return c.put("", download)
	}
	for {
		c.mu.Lock()
		other := c.busy[sum]
		if other == nil {
			c.busy[sum] = make(chan struct{})
		}
		c.mu.Unlock()
		if other == nil {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	defer func() {
		c.mu.Lock()
		close(c.busy[sum])
		delete(c.busy, sum)
		c.mu.Unlock()
	}()
	if path, ok := c.lookup(sum); ok {
		return path, nil
	}
	return c.put(sum, download)
}

// lookup gives a file that is there; its content is checked once per process, so that nothing runs that was damaged since.
func (c *cache) lookup(sum string) (path string, ok bool) {
	path = filepath.Join(c.dir, workerFile+sum)
	now := time.Now()
	if os.Chtimes(path, now, now) != nil {
		return "", false
	}
	info, err := os.Stat(path)
	if err != nil {
		return "", false
	}
	c.mu.Lock()
	before := c.checked[sum]
	c.mu.Unlock()
	if before != nil && os.SameFile(before, info) && before.Size() == info.Size() {
		return path, true
	}
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil || hex.EncodeToString(h.Sum(nil)) != sum {
		return "", false
	}
	c.mark(sum, info)
	return path, true
}

func (c *cache) mark(sum string, info fs.FileInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked[sum] = info
}

// put downloads a file, checks it, and only then gives it its name.
func (c *cache) put(sum string, download func(io.Writer) error) (path string, err error) {
	f, err := os.CreateTemp(c.dir, fetchFile)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	h := sha256.New()
	err = download(io.MultiWriter(f, h))
	if err == nil {
		err = f.Chmod(0o700)
	}
	if err == nil {
		err = f.Sync()
	}
	info, serr := f.Stat()
	if err = errors.Join(err, serr, f.Close()); err != nil {
		return "", err
	}
	got := hex.EncodeToString(h.Sum(nil))
	if sum != "" && got != sum {
		return "", &mismatch{got, sum}
	}
	path = filepath.Join(c.dir, workerFile+got)
	if err = os.Rename(f.Name(), path); err != nil {
		return "", err
	}
	c.mark(got, info)
	c.trim(path)
	return path, nil
}

// trim removes the least recently used files until the rest fits, and what crashes left. It does what it can: the next fetch tries again.
func (c *cache) trim(keep string) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	type file struct {
		path string
		info fs.FileInfo
	}
	var files []file
	total := int64(0)
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		path := filepath.Join(c.dir, e.Name())
		switch name := e.Name(); {
		case strings.HasPrefix(name, workerFile):
			files, total = append(files, file{path, info}), total+info.Size()
		case (strings.HasPrefix(name, fetchFile) || strings.HasPrefix(name, optionsFiles)) && time.Since(info.ModTime()) > time.Hour:
			_ = os.Remove(path)
		}
	}
	slices.SortFunc(files, func(a, b file) int {
		return cmp.Or(a.info.ModTime().Compare(b.info.ModTime()), cmp.Compare(a.path, b.path))
	})
	for _, f := range files {
		if total <= c.bytes {
			return
		}
		if f.path != keep && time.Since(f.info.ModTime()) > settle && os.Remove(f.path) == nil {
			total -= f.info.Size()
		}
	}
}
