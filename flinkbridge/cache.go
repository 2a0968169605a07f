package flinkbridge

import (
	"crypto/rand"
	"sync"
	"time"
)

// cache is what this process keeps of the state of a job between bundles, so that it is not read and decoded each time. The runner's state is the truth: it carries a
// token that is new with every change, and what is kept counts only when it carries the same one. A bundle takes what it needs out, and puts it back when it has
// succeeded; after a failure it is gone, and made anew from the state.
type cache[T any] struct {
	mu   sync.Mutex
	kept map[string]kept[T]
}

type kept[T any] struct {
	value T
	since time.Time
}

// take gives what is kept under a key, and forgets it.
func (c *cache[T]) take(key string) (v T, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[key]
	delete(c.kept, key)
	return k.value, ok
}

// put keeps something, and gives what nobody has taken for a while: its key lives in another worker now.
func (c *cache[T]) put(key string, v T, stale time.Duration) (old []T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = map[string]kept[T]{}
	}
	now := time.Now()
	c.kept[key] = kept[T]{v, now}
	if stale == 0 {
		return nil
	}
	for key, k := range c.kept {
		if now.Sub(k.since) > stale {
			old = append(old, k.value)
			delete(c.kept, key)
		}
	}
	return old
}

// all takes everything.
func (c *cache[T]) all() (of []T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.kept {
		of = append(of, k.value)
	}
	c.kept = nil
	return of
}

// newToken is a token that nobody had.
func newToken() []byte {
	t := make([]byte, 8)
	rand.Read(t) // never fails
	return t
}
