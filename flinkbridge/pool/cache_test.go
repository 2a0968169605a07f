package pool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func sumOf(text string) string {
	h := sha256.Sum256([]byte(text))
	return hex.EncodeToString(h[:])
}

// sends is a download of a text.
func sends(text string, count *atomic.Int64) func(io.Writer) error {
	return func(w io.Writer) error {
		count.Add(1)
		_, err := io.WriteString(w, text)
		return err
	}
}

func TestCache(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	c, err := openCache(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			path, err := c.get(ctx, sumOf("one"), sends("one", &n))
			if err != nil || filepath.Base(path) != "worker-"+sumOf("one") {
				t.Error(path, err)
			}
		})
	}
	all.Wait()
	if n.Load() != 1 {
		t.Errorf("got %d downloads for eight at once, want 1", n.Load())
	}
	path := filepath.Join(dir, "worker-"+sumOf("one"))
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got %v, %v", info.Mode(), err)
	}

	// A file that was damaged is fetched anew by the next process.
	if err := os.WriteFile(path, []byte("two"), 0o700); err != nil {
		t.Fatal(err)
	}
	again, err := openCache(dir, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.get(ctx, sumOf("one"), sends("one", &n)); err != nil || n.Load() != 2 {
		t.Errorf("got %d downloads, %v; want 2", n.Load(), err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "one" {
		t.Errorf("got %q, %v", text, err)
	}

	// Without a checksum there is nothing to find it by.
	for range 2 {
		if p, err := c.get(ctx, "", sends("one", &n)); err != nil || p != path {
			t.Error(p, err)
		}
	}
	if n.Load() != 4 {
		t.Errorf("got %d downloads, want 4", n.Load())
	}

	// What fails leaves nothing, and the next try is free.
	var m *mismatch
	if _, err := c.get(ctx, sumOf("three"), sends("thr", &n)); !errors.As(err, &m) {
		t.Errorf("got %v, want a mismatch", err)
	}
	broken := errors.New("broken")
	if _, err := c.get(ctx, sumOf("three"), func(io.Writer) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := c.get(ctx, sumOf("three"), sends("three", &n)); err != nil {
		t.Error(err)
	}
	if got, want := names(t, dir), []string{"worker-" + sumOf("one"), "worker-" + sumOf("three")}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestCacheIsBounded(t *testing.T) {
	dir := t.TempDir()
	c, err := openCache(dir, 25)
	if err != nil {
		t.Fatal(err)
	}
	var n atomic.Int64
	get := func(letter string) {
		t.Helper()
		text := strings.Repeat(letter, 10)
		if _, err := c.get(context.Background(), sumOf(text), sends(text, &n)); err != nil {
			t.Fatal(err)
		}
	}
	aged := func(name string, age time.Duration) {
		t.Helper()
		at := time.Now().Add(-age)
		if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
			t.Fatal(err)
		}
	}
	file := func(letter string) string { return workerFile + sumOf(strings.Repeat(letter, 10)) }
	for _, name := range []string{"fetch-1", "options-1", "fetch-2"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	aged("fetch-1", 2*time.Hour)
	aged("options-1", 2*time.Hour)
	get("a")
	get("b")
	aged(file("a"), 3*time.Minute)
	aged(file("b"), 2*time.Minute)
	get("a") // used again: b is the older now
	get("c")
	want := []string{"fetch-2", file("a"), file("c")}
	slices.Sort(want)
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	get("d") // all used just now: a start may be about to use them
	if got := len(names(t, dir)); got != 4 {
		t.Errorf("got %d files, want 4", got)
	}
}

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	l, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l {
		names = append(names, e.Name())
	}
	return names
}

func TestCacheWaitIsGivenUp(t *testing.T) {
	c, err := openCache(t.TempDir(), 100)
	if err != nil {
		t.Fatal(err)
	}
	in, out := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := c.get(context.Background(), sumOf("x"), func(w io.Writer) error {
			close(in)
			<-out
			_, err := io.WriteString(w, "x")
			return err
		})
		done <- err
	}()
	<-in
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.get(ctx, sumOf("x"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(out)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
