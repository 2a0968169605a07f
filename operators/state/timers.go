package state

// Timer is a moment at which the processor of a key wants to be called.
type Timer struct {
	// Time is in milliseconds since the epoch: event time, or the clock's when Processing.
	Time       int64
	Processing bool
	// Tag tells timers of the same time apart.
	Tag string
}

// alarm is a timer of a key.
type alarm struct {
	Timer
	key string
}

// before orders by time, then key, then tag.
func (a alarm) before(o alarm) bool {
	if a.Time != o.Time {
		return a.Time < o.Time
	}
	if a.key != o.key {
		return a.key < o.key
	}
	return a.Tag < o.Tag
}

// timers are the timers of a bucket that were set one by one.
type timers struct {
	set     map[alarm]bool // whether the log has it
	queues  [2]queue[alarm]
	changed []alarm            // set since the last delta, perhaps deleted again
	gone    map[alarm]struct{} // deleted since the last delta, and in the log
	live    int64              // bytes of the timers in the log
}

func (t *timers) queue(processing bool) *queue[alarm] {
	if processing {
		return &t.queues[1]
	}
	return &t.queues[0]
}

func (t *timers) add(a alarm) {
	if _, there := t.set[a]; there {
		return
	}
	if t.set == nil {
		t.set = map[alarm]bool{}
	}
	_, inLog := t.gone[a]
	delete(t.gone, a)
	t.set[a] = inLog
	if !inLog {
		t.changed = append(t.changed, a)
	}
	t.plan(a)
}

// plan puts a timer into its queue. A deleted timer stays there until its time has come or too many have gathered.
func (t *timers) plan(a alarm) {
	q := t.queue(a.Processing)
	q.push(a)
	if len(*q) <= 2*len(t.set)+64 {
		return
	}
	*q = (*q)[:0]
	for b := range t.set {
		if b.Processing == a.Processing {
			*q = append(*q, b)
		}
	}
	q.order()
}

func (t *timers) delete(a alarm) {
	inLog, there := t.set[a]
	if !there {
		return
	}
	delete(t.set, a)
	if !inLog {
		return
	}
	if t.gone == nil {
		t.gone = map[alarm]struct{}{}
	}
	t.gone[a] = struct{}{}
}

// next gives the first timer of a kind.
func (t *timers) next(processing bool) (alarm, bool) {
	q := t.queue(processing)
	for len(*q) > 0 {
		if _, there := t.set[(*q)[0]]; there {
			return (*q)[0], true
		}
		q.pop()
	}
	return alarm{}, false
}

func (t *timers) dirty() bool { return len(t.changed) > 0 || len(t.gone) > 0 }
