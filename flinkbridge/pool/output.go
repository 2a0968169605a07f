package pool

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// output takes what a worker writes, logs it line by line, and remembers the last lines for the message when it fails.
type output struct {
	mu   sync.Mutex
	log  *slog.Logger // nil until the process id is known: lines wait
	part []byte       // of a line
	wait []string
	ring []string
}

const (
	// maxLine bounds a line in bytes; a longer one is logged in pieces.
	maxLine = 16 << 10
	// keptLines is how many lines are remembered.
	keptLines = 20
)

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		whole := end >= 0
		if !whole {
			end = len(b)
		}
		if room := maxLine - len(o.part); end > room {
			end, whole = room, true
			o.part, b = append(o.part, b[:end]...), b[end:]
		} else {
			o.part, b = append(o.part, b[:end]...), b[min(end+1, len(b)):]
		}
		if whole {
			o.line()
		}
	}
	return n, nil
}

// line ends the line in part.
func (o *output) line() {
	text := strings.TrimRight(string(o.part), "\r")
	o.part = o.part[:0]
	if strings.TrimSpace(text) == "" {
		return
	}
	if len(o.ring) == keptLines {
		o.ring = append(o.ring[:0], o.ring[1:]...)
	}
	o.ring = append(o.ring, text)
	if o.log == nil {
		o.wait = append(o.wait, text)
		return
	}
	o.log.Info("worker says", "text", text)
}

// to begins the logging.
func (o *output) to(log *slog.Logger) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.log = log
	for _, text := range o.wait {
		log.Info("worker says", "text", text)
	}
	o.wait = nil
}

// flush ends the last line when the worker did not.
func (o *output) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.part) > 0 {
		o.line()
	}
}

// tail gives the last lines.
func (o *output) tail() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.ring, "\n")
}

// last is tail as the end of a message.
func (o *output) last() string {
	if t := o.tail(); t != "" {
		return "; its last words:\n" + t
	}
	return "; it said nothing"
}
