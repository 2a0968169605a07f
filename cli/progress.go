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

// logger logs to standard error.
func (c *command) logger(f *runFlags) *slog.Logger {
	onTerminal := c.stderr.terminal()
	level := slog.LevelInfo
	switch {
	case f.logLevel != "":
		_ = level.UnmarshalText([]byte(f.logLevel)) // one of its names
	case f.quiet:
		level = slog.LevelError
	case onTerminal:
		level = slog.LevelWarn
	}
	o := &slog.HandlerOptions{Level: level}
	if onTerminal && !c.debug && f.logFormat == "text" {
		o.ReplaceAttr = func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == "stack" {
				return slog.Attr{}
			}
			return a
		}
	}
	var h slog.Handler = slog.NewTextHandler(c.stderr, o)
	if f.logFormat == "json" {
		h = slog.NewJSONHandler(c.stderr, o)
	}
	if onTerminal && f.logLevel == "" {
		h = withoutEnd{h}
	}
	return slog.New(h)
}

// withoutEnd leaves out the engine's word on a run that has failed: the error comes in full right behind it.
type withoutEnd struct{ slog.Handler }

func (h withoutEnd) Handle(ctx context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, "the run has ended") {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func (h withoutEnd) WithAttrs(a []slog.Attr) slog.Handler { return withoutEnd{h.Handler.WithAttrs(a)} }
func (h withoutEnd) WithGroup(n string) slog.Handler      { return withoutEnd{h.Handler.WithGroup(n)} }
