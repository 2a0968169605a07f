package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/activedataflow/adf/fault"
)

// CacheEnv is the environment variable with the folder of what is fetched and made once.
const CacheEnv = "ADF_CACHE"

// DefaultCache is $ADF_CACHE, else the user's cache folder.
func DefaultCache() (string, error) {
	if dir := os.Getenv(CacheEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", failed("flink.cache", "find the cache folder", err, "set "+CacheEnv)
	}
	return filepath.Join(dir, "adf"), nil
}

func cacheOr(dir string) (string, error) {
	if dir == "" {
		return DefaultCache()
	}
	return filepath.Abs(dir)
}

func failed(code, doing string, err error, fix string) error {
	return &fault.RuntimeError{Detail: fault.Detail{Code: code, Doing: doing, Retry: fault.RetryNever, Fix: fix, Err: err}}
}

// once makes a folder or file of the cache, unless it is there: whole, or not at all.
func once(path string, fill func(tmp string) error) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return failed("flink.cache", "make the cache folder", err, "set "+CacheEnv+" to a folder that can be written")
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return failed("flink.cache", "make the cache folder", err, "set "+CacheEnv+" to a folder that can be written")
	}
	defer os.RemoveAll(tmp)
	made := filepath.Join(tmp, filepath.Base(path))
	if err := fill(made); err != nil {
		return err
	}
	if err := os.Rename(made, path); err != nil {
		if _, there := os.Stat(path); there == nil { // somebody else was faster
			return nil
		}
		return failed("flink.cache", "fill the cache", err, "")
	}
	return nil
}

// tool runs a program; an error has the end of what it said.
func tool(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%s: %w%s", filepath.Base(name), err, tail(string(out)))
	}
	return nil
}

// tail is the end of an output, behind a line break; "" when there is none.
func tail(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if n := 8; len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	if text := strings.TrimSpace(strings.Join(lines, "\n")); text != "" {
		return "\n" + text
	}
	return ""
}

func sum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

var errChecksum = errors.New("its checksum is not the expected one")
