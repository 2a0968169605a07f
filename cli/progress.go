package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/engine"
)

// screen is standard error, which logs, notes and the progress line share.
type screen struct {
	mu  sync.Mutex
	w   io.Writer
	bar *progressbar.ProgressBar
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar != nil {
		_ = s.bar.Clear()
	}
	return s.w.Write(p)
}

func (s *screen) terminal() bool {
	f, ok := s.w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// progress is the line that tells how far a run is: one that changes on a terminal, else a new one every second.
type progress struct {
	screen *screen
	flow   string
	last   time.Duration
	count  int64
	shown  bool
}

// newProgress is nil when there is none.
func (c *command) newProgress(g *adf.Graph, f *runFlags) *progress {
	if f.quiet || f.progress == "off" || f.progress == "auto" && !c.stderr.terminal() {
		return nil
	}
	p := &progress{screen: c.stderr, flow: g.Plan.Flow()}
	if c.stderr.terminal() {
		c.stderr.bar = progressbar.NewOptions64(-1, progressbar.OptionSetWriter(c.stderr.w), progressbar.OptionShowCount(), progressbar.OptionShowTotalBytes(false),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"), progressbar.OptionSpinnerType(14), progressbar.OptionSetSpinnerChangeInterval(0))
	}
	return p
}

func (p *progress) show(now engine.Progress) {
	p.screen.mu.Lock()
	defer p.screen.mu.Unlock()
	n := read(now.Nodes)
	if bar := p.screen.bar; bar != nil {
		bar.Describe(fmt.Sprintf("%s epoch %d", p.flow, now.Epoch))
		_ = bar.Set64(n)
		return
	}
	if p.shown && now.Took-p.last < time.Second {
		return
	}
	rate := int64(float64(n-p.count) / max(now.Took-p.last, time.Millisecond).Seconds())
	fmt.Fprintf(p.screen.w, "%s: %s read, %s/s, epoch %d\n", p.flow, counted(int(n), "record"), grouped(rate), now.Epoch)
	p.last, p.count, p.shown = now.Took, n, true
}

func (p *progress) close() {
	if p == nil || p.screen.bar == nil {
		return
	}
	p.screen.mu.Lock()
	defer p.screen.mu.Unlock()
	_ = p.screen.bar.Clear()
	p.screen.bar = nil
}

// logger logs to standard error, and says whether the stack of a panic is in the log. On a terminal, and when it is to be quiet, the error at the end of
// a run is told once, by the command, and without a stack.
func (c *command) logger(f *runFlags) (log *slog.Logger, stacks bool) {
	level, short := slog.LevelInfo, false
	switch {
	case f.logLevel != "":
		_ = level.UnmarshalText([]byte(f.logLevel)) // one of its names
	case f.quiet:
		level, short = slog.LevelError, true
	case c.stderr.terminal():
		level, short = slog.LevelWarn, true
	}
	o := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(c.stderr, o)
	if f.logFormat == "json" {
		h = slog.NewJSONHandler(c.stderr, o)
	}
	if short {
		h = withoutEnd{h}
	}
	return slog.New(h), !short
}

// withoutEnd leaves out stacks, and the engine's word on a run that has failed: the error comes in full right behind it.
type withoutEnd struct{ slog.Handler }

func (h withoutEnd) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "the run has ended") {
		return nil
	}
	short := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "stack" {
			short.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, short)
}

func (h withoutEnd) WithAttrs(a []slog.Attr) slog.Handler { return withoutEnd{h.Handler.WithAttrs(a)} }
func (h withoutEnd) WithGroup(n string) slog.Handler      { return withoutEnd{h.Handler.WithGroup(n)} }
