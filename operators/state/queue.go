package state

// queue is a heap with the least item first.
type queue[T interface{ before(T) bool }] []T

func (q *queue[T]) push(x T) {
	*q = append(*q, x)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

// pop removes the least item.
func (q *queue[T]) pop() {
	h := *q
	last := len(h) - 1
	h[0] = h[last]
	var zero T
	h[last] = zero
	*q = h[:last]
	if cap(h) > 64 && last < cap(h)/4 {
		*q = append(make(queue[T], 0, cap(h)/2), h[:last]...)
	}
	q.down(0)
}

func (q *queue[T]) down(i int) {
	h := *q
	for {
		least := i
		for _, c := range [2]int{2*i + 1, 2*i + 2} {
			if c < len(h) && h[c].before(h[least]) {
				least = c
			}
		}
		if least == i {
			return
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}

// order makes a heap of items in any order.
func (q *queue[T]) order() {
	for i := len(*q)/2 - 1; i >= 0; i-- {
		q.down(i)
	}
}

// moment is when something is to be done with the entry of a key and namespace.
type moment struct {
	time int64
	key  string
	ns   int64
}

// before orders by time, then key, then namespace.
func (m moment) before(o moment) bool {
	if m.time != o.time {
		return m.time < o.time
	}
	if m.key != o.key {
		return m.key < o.key
	}
	return m.ns < o.ns
}
