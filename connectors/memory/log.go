package memory

import (
	"slices"
	"sync"
)

// Log is input that grows while it is read: numbered splits to which values are appended. It is safe for concurrent use, and the zero
// value is empty and ready.
type Log[T any] struct {
	mu     sync.Mutex
	splits [][]T
	grown  chan struct{} // closed at the next Append
}

// Append appends values to a split; splits up to this number are made.
func (l *Log[T]) Append(split int, vs ...T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for split >= len(l.splits) {
		l.splits = append(l.splits, nil)
	}
	l.splits[split] = append(l.splits[split], vs...)
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// Splits is the number of splits.
func (l *Log[T]) Splits() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.splits)
}

// all is what is there now, by split.
func (l *Log[T]) all() [][]T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.splits)
}

// read gives up to n values of a split from one on, whether they are the last for now, and what is closed when there are more.
func (l *Log[T]) read(split int, from int64, n int) (vs []T, last bool, grown <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if split < len(l.splits) && from < int64(len(l.splits[split])) {
		vs = l.splits[split][from:]
	}
	vs = slices.Clip(vs[:min(n, len(vs))])
	last = split >= len(l.splits) || from+int64(len(vs)) >= int64(len(l.splits[split]))
	if l.grown == nil {
		l.grown = make(chan struct{})
	}
	return vs, last, l.grown
}
