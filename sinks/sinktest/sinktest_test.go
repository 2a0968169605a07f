package sinktest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// event is a record of the suite's own tests.
type event struct {
	ID   int64  `adf:"id"`
	Name string `adf:"name"`
}

func newEvent(i int) event { return event{int64(i), fmt.Sprintf("event %d", i)} }

var refusedEvent = event{-1, "refused"}

func eventCodec() *row.Codec[event] {
	c, err := row.CodecOf[event]()
	if err != nil {
		panic(err)
	}
	return c
}

// vault is an exactly-once target in memory, right unless told otherwise.
type vault struct {
	wrong    string
	mu       sync.Mutex
	events   []event
	progress map[string]int64
}

// The ways in which a vault can be wrong, and a check that finds each.
var broken = map[string]string{
	"commits twice":                     "replay",
	"fails replays":                     "replay",
	"ignores gaps":                      "gap",
	"names gaps otherwise":              "gap",
	"retries gaps":                      "gap",
	"loses the last part":               "commit",
	"loses the first part":              "commit",
	"writes before the commit":          "commit",
	"publishes at Prepare":              "crash/prepared",
	"progress before data":              "crash/committed",
	"data before progress":              "crash/committed",
	"progress only in the committer":    "progress",
	"one progress for all runs":         "runs",
	"one progress for all shards":       "shards",
	"one progress for all nodes":        "progress",
	"takes what is partly there":        "zombie/partly",
	"skips what is partly there":        "zombie/partly",
	"keeps parts":                       "commit",
	"no progress without data":          "empty parts",
	"checks, then acts":                 "race",
	"drops refused records silently":    "refused",
	"takes refused records":             "refused",
	"names refused records wrongly":     "refused",
	"overwrites the part":               "commit",
	"clears at Close":                   "zombie/whole",
	"commits abandoned writers":         "abandoned",
	"commits by half when cancelled":    "cancelled",
	"commits what was written at Close": "broken parts",
}

func (v *vault) is(wrong string) bool { return v.wrong == wrong }

func (v *vault) Encoder() sinks.Encoder[event] {
	return &vaultEncoder{v, sinks.Records(eventCodec())}
}

type vaultEncoder struct {
	v       *vault
	records sinks.Encoder[event]
}

func (e *vaultEncoder) Encode(part []byte, b *record.Batch[event], fail func(int, error)) ([]byte, error) {
	var bad []int
	for i, x := range b.Values {
		if x == refusedEvent {
			bad = append(bad, i)
		}
	}
	for _, i := range bad {
		switch {
		case e.v.is("drops refused records silently"):
		case e.v.is("names refused records wrongly"):
			fail(i+1, errors.New("refused"))
		default:
			fail(i, errors.New("refused"))
		}
	}
	if !e.v.is("takes refused records") {
		b.Drop(bad)
	}
	if e.v.is("overwrites the part") {
		part = part[:0]
	}
	return e.records.Encode(part, b, fail)
}

func (v *vault) Writer(context.Context, sinks.Shard, int64) (sinks.Writer[[]event], error) {
	return &vaultWriter{v: v}, nil
}

type vaultWriter struct {
	v        *vault
	parts    [][]byte
	events   []event
	prepared bool
}

func (w *vaultWriter) Write(_ context.Context, part []byte) error {
	if w.v.is("keeps parts") {
		w.parts = append(w.parts, part)
		return nil
	}
	return w.take(part)
}

func (w *vaultWriter) take(part []byte) error {
	for b, err := range sinks.Batches(eventCodec(), part) {
		if err != nil {
			return err
		}
		for _, e := range b.Values {
			w.events = append(w.events, event{e.ID, strings.Clone(e.Name)})
		}
	}
	if w.v.is("writes before the commit") {
		w.v.add(w.events)
		w.events = nil
	}
	return nil
}

func (v *vault) add(es []event) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events = append(v.events, es...)
}

func (w *vaultWriter) Prepare(context.Context) ([]event, error) {
	w.prepared = true
	for _, p := range w.parts {
		if err := w.take(p); err != nil {
			return nil, err
		}
	}
	switch {
	case w.v.is("loses the last part"):
		w.events = w.events[:max(0, len(w.events)-perPart)]
	case w.v.is("loses the first part"):
		w.events = w.events[min(len(w.events), perPart):]
	case w.v.is("publishes at Prepare"):
		w.v.add(w.events)
		return nil, nil
	}
	return w.events, nil
}

func (w *vaultWriter) Close() error {
	if w.v.is("clears at Close") && w.prepared {
		w.v.mu.Lock()
		defer w.v.mu.Unlock()
		w.v.events = slices.DeleteFunc(w.v.events, func(e event) bool { return slices.Contains(w.events, e) })
	}
	if !w.prepared && (w.v.is("commits abandoned writers") || w.v.is("commits what was written at Close")) {
		w.v.add(w.events)
	}
	return nil
}

func (v *vault) Committer(context.Context) (sinks.Committer[[]event], error) {
	return &vaultCommitter{v: v, own: map[string]int64{}}, nil
}

type vaultCommitter struct {
	v     *vault
	own   map[string]int64
	later []event
}

func (c *vaultCommitter) key(sh sinks.Shard) string {
	switch {
	case c.v.is("one progress for all runs"):
		sh.Run = ""
	case c.v.is("one progress for all shards"):
		sh.Shard = 0
	case c.v.is("one progress for all nodes"):
		sh.Node = ""
	}
	return sh.String()
}

func (c *vaultCommitter) progress() map[string]int64 {
	if c.v.is("progress only in the committer") {
		return c.own
	}
	return c.v.progress
}

func (c *vaultCommitter) Progress(_ context.Context, sh sinks.Shard) (int64, error) {
	c.v.mu.Lock()
	defer c.v.mu.Unlock()
	return c.last(sh), nil
}

func (c *vaultCommitter) last(sh sinks.Shard) int64 {
	if p, ok := c.progress()[c.key(sh)]; ok {
		return p
	}
	return -1
}

func (c *vaultCommitter) Commit(ctx context.Context, x sinks.Committable[[]event]) error {
	v := c.v
	v.mu.Lock()
	defer v.mu.Unlock()
	v.events = append(v.events, c.later...)
	c.later = nil
	progress := c.last(x.Shard)
	due, err := x.Due(progress)
	var gap *sinks.GapError
	switch {
	case v.is("commits twice") && !due && err == nil:
		due = true
	case v.is("fails replays") && !due && err == nil:
		return errors.New("that is there already")
	case v.is("ignores gaps") && errors.As(err, &gap):
		due, err = true, nil
	case v.is("names gaps otherwise") && errors.As(err, &gap):
		return errors.New("a gap")
	case v.is("retries gaps") && errors.As(err, &gap):
		return &fault.SinkError{Detail: fault.Detail{Retry: fault.RetryLater, Err: gap}}
	case v.is("takes what is partly there") && err != nil && !errors.As(err, &gap):
		due, err = true, nil
	case v.is("skips what is partly there") && err != nil && !errors.As(err, &gap):
		return nil
	case v.is("no progress without data") && len(x.Value) == 0:
		return nil
	}
	if err != nil || !due {
		return err
	}
	if v.is("checks, then acts") {
		v.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		v.mu.Lock()
	}
	switch {
	case v.is("progress before data"):
		c.later = x.Value
	case v.is("commits by half when cancelled") && ctx.Err() != nil:
		v.events = append(v.events, x.Value...)
		return ctx.Err()
	default:
		v.events = append(v.events, x.Value...)
	}
	if !v.is("data before progress") || x.From == 0 {
		c.progress()[c.key(x.Shard)] = x.To
	}
	return nil
}

func (c *vaultCommitter) Close() error { return nil }

func vaultHarness(wrong string) Harness[event, []event] {
	return Harness[event, []event]{
		New: func(TB) Target[event, []event] {
			v := &vault{wrong: wrong, progress: map[string]int64{}}
			return Target[event, []event]{
				Open: func() (sinks.Exact[event, []event], error) { return v, nil },
				Read: func() ([]event, error) {
					v.mu.Lock()
					defer v.mu.Unlock()
					return slices.Clone(v.events), nil
				},
			}
		},
		Data: Data[event]{Record: newEvent, Refused: &refusedEvent},
	}
}

func TestARightSinkPasses(t *testing.T) { Run(t, vaultHarness("")) }

func TestEveryBrokenSinkIsFound(t *testing.T) {
	for wrong, finder := range broken {
		t.Run(wrong, func(t *testing.T) { found(t, Checks(vaultHarness(wrong)), finder) })
	}
}

// found runs checks, of which the finder must fail.
func found(t *testing.T, checks []Check, finder string) {
	t.Helper()
	for _, c := range checks {
		if c.Name == finder {
			if said := outcome(t, c); said == "" {
				t.Errorf("check %q has found nothing", finder)
			} else {
				t.Logf("%s: %s", finder, said)
			}
			return
		}
	}
	t.Fatalf("there is no check %q", finder)
}

// outcome runs a check and gives what it found, "" when nothing.
func outcome(t *testing.T, c Check) string {
	r := &recorder{dir: t.TempDir()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.said = append(r.said, fmt.Sprint("panic: ", p))
			}
		}()
		c.Run(r)
	}()
	<-done
	for _, f := range slices.Backward(r.after) {
		f()
	}
	return strings.Join(r.said, "\n")
}

// recorder is a TB that writes down what a check found.
type recorder struct {
	dir   string
	said  []string
	after []func()
}

func (r *recorder) Helper()             {}
func (r *recorder) Logf(string, ...any) {}
func (r *recorder) Errorf(f string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(f, args...))
}
func (r *recorder) Fatalf(f string, args ...any) { r.Errorf(f, args...); runtime.Goexit() }
func (r *recorder) Cleanup(f func())             { r.after = append(r.after, f) }
func (r *recorder) TempDir() string {
	d, err := os.MkdirTemp(r.dir, "")
	if err != nil {
		panic(err)
	}
	return d
}

// pipe is a direct target in memory, right unless told otherwise.
type pipe struct {
	wrong  string
	byID   bool // idempotent: a record has its place
	mu     sync.Mutex
	events []event
}

var brokenDirect = map[string]string{
	"loses what is not closed":       "flush",
	"loses the last batch":           "flush",
	"writes twice":                   "flush",
	"keeps batches":                  "flush",
	"shares a buffer":                "writers",
	"says exactly once":              "guarantee",
	"is not idempotent":              "written again",
	"fails without records":          "nothing",
	"forgets at Close":               "close",
	"refuses what is cancelled":      "cancelled",
	"drops refused records silently": "refused",
	"takes refused records":          "refused",
	"loses what follows a refusal":   "refused",
}

func (p *pipe) is(wrong string) bool { return p.wrong == wrong }

func (p *pipe) Guarantee() sinks.Guarantee {
	switch {
	case p.is("says exactly once"):
		return sinks.ExactlyOnce
	case p.byID || p.is("is not idempotent"):
		return sinks.Idempotent
	}
	return sinks.AtLeastOnce
}

func (p *pipe) Writer(_ context.Context, wc sinks.WriterContext) (sinks.DirectWriter[event], error) {
	return &pipeWriter{p: p, index: wc.Index}, nil
}

type pipeWriter struct {
	p     *pipe
	index int
	buf   []event
	kept  []*record.Batch[event]
}

func (w *pipeWriter) Write(ctx context.Context, b *record.Batch[event], fail func(int, error)) error {
	if err := ctx.Err(); err != nil {
		if w.p.is("refuses what is cancelled") {
			for i := range b.Values {
				fail(i, err)
			}
			return nil
		}
		return err
	}
	if w.p.is("keeps batches") {
		w.kept = append(w.kept, b)
		return nil
	}
	if w.p.is("loses the last batch") && len(w.buf) > 0 && len(w.buf)%200 == 0 {
		return nil
	}
	for i, e := range b.Values {
		if e == refusedEvent {
			if !w.p.is("drops refused records silently") {
				fail(i, errors.New("refused"))
			}
			if w.p.is("loses what follows a refusal") {
				break
			}
			if !w.p.is("takes refused records") {
				continue
			}
		}
		w.buf = append(w.buf, e)
	}
	return nil
}

func (w *pipeWriter) Flush(ctx context.Context) error {
	if w.p.is("fails without records") && len(w.buf) == 0 {
		return errors.New("nothing to flush")
	}
	if w.p.is("loses what is not closed") {
		return nil
	}
	return w.out(ctx)
}

func (w *pipeWriter) out(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	for _, b := range w.kept {
		w.buf = append(w.buf, b.Values...)
	}
	w.kept = nil
	for _, e := range w.buf {
		if w.p.byID && slices.Contains(w.p.events, e) {
			continue
		}
		w.p.events = append(w.p.events, e)
		if w.p.is("writes twice") {
			w.p.events = append(w.p.events, e)
		}
	}
	if w.p.is("shares a buffer") && w.index > 0 {
		w.p.events = w.p.events[:len(w.p.events)-1]
	}
	w.buf = nil
	return nil
}

func (w *pipeWriter) Close() error {
	if w.p.is("forgets at Close") {
		w.p.mu.Lock()
		defer w.p.mu.Unlock()
		w.p.events = nil
	}
	if w.p.is("loses what is not closed") {
		return w.out(context.Background())
	}
	return nil
}

func pipeHarness(wrong string, byID bool) DirectHarness[event] {
	return DirectHarness[event]{
		New: func(TB) DirectTarget[event] {
			p := &pipe{wrong: wrong, byID: byID}
			return DirectTarget[event]{
				Open: func() (sinks.Direct[event], error) { return p, nil },
				Read: func() ([]event, error) {
					p.mu.Lock()
					defer p.mu.Unlock()
					return slices.Clone(p.events), nil
				},
			}
		},
		Data: Data[event]{Record: newEvent, Refused: &refusedEvent},
	}
}

func TestARightDirectSinkPasses(t *testing.T) {
	t.Run("at least once", func(t *testing.T) { RunDirect(t, pipeHarness("", false)) })
	t.Run("idempotent", func(t *testing.T) { RunDirect(t, pipeHarness("", true)) })
}

func TestEveryBrokenDirectSinkIsFound(t *testing.T) {
	for wrong, finder := range brokenDirect {
		t.Run(wrong, func(t *testing.T) { found(t, DirectChecks(pipeHarness(wrong, false)), finder) })
	}
}
