package lines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// Sink writes the text of records to files in a directory, exactly once: one file for each commit, whose name is the progress.
type Sink struct {
	Dir string
}

// Fields declares the options.
func (s *Sink) Fields(b *connectors.Binder) {
	connectors.Value(b, "dir", &s.Dir).Required().Doc("Directory to write to.").Example("out/notes")
}

// Sink makes the sink of records with the codec c.
func (s *Sink) Sink(c *row.Codec[row.Row]) (sinks.Any, error) {
	if c.Schema().String() != codec.Schema().String() {
		return nil, fmt.Errorf("got records of (%s), want (%s)", c.Schema(), codec.Schema())
	}
	return sinks.EraseExact(s), nil
}

// Encoder makes text before the checkpoint; a record that does not fit is refused here.
func (s *Sink) Encoder() sinks.Encoder[row.Row] { return encoder{} }

type encoder struct{}

func (encoder) Encode(part []byte, b *record.Batch[row.Row], fail func(i int, err error)) ([]byte, error) {
	for i, r := range b.Values {
		text := r.Values[0].Str()
		if strings.Contains(text, "\n") {
			fail(i, &fault.SinkError{Detail: fault.Detail{Code: "lines.newline", Doing: "encode record", Connector: "lines", Retry: fault.RetryNever,
				Err: errors.New("got a text of several lines, want one line")}})
			continue
		}
		part = append(append(part, text...), '\n')
	}
	return part, nil
}

// Writer writes one commit to a file that nobody looks at yet.
func (s *Sink) Writer(_ context.Context, sh sinks.Shard, from int64) (sinks.Writer[string], error) {
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return nil, refused("make directory", err)
	}
	f, err := os.CreateTemp(s.Dir, ".staged-*")
	if err != nil {
		return nil, refused("stage file", err)
	}
	return &writer{f}, nil
}

type writer struct{ file *os.File }

func (w *writer) Write(_ context.Context, part []byte) error {
	_, err := w.file.Write(part)
	return refused("write file", err)
}

func (w *writer) Prepare(context.Context) (string, error) {
	return w.file.Name(), refused("write file", errors.Join(w.file.Sync(), w.file.Close()))
}

// Close removes what was not committed; a file that has its final name has this one no more.
func (w *writer) Close() error {
	w.file.Close()
	if err := os.Remove(w.file.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return refused("remove staged file", err)
	}
	return nil
}

// Committer gives files their final names.
func (s *Sink) Committer(context.Context) (sinks.Committer[string], error) {
	return committer{s.Dir}, nil
}

type committer struct{ dir string }

// name is the final name of a commit. It says which parts are in the file, so the directory itself is the progress.
func (c committer) name(sh sinks.Shard, from, to int64) string {
	return filepath.Join(c.dir, fmt.Sprintf("%s-%s-%s-%d-%d-%d.txt", sh.Flow, sh.Node, sh.Run, sh.Shard, from, to))
}

// Progress is the last part of a shard that is in the directory.
func (c committer) Progress(_ context.Context, sh sinks.Shard) (int64, error) {
	names, err := filepath.Glob(filepath.Join(c.dir, fmt.Sprintf("%s-%s-%s-%d-*.txt", sh.Flow, sh.Node, sh.Run, sh.Shard)))
	last := int64(-1)
	for _, n := range names {
		var from, to int64
		tail := strings.Split(strings.TrimSuffix(filepath.Base(n), ".txt"), "-")
		if _, err := fmt.Sscan(tail[len(tail)-2], &from); err != nil {
			continue
		}
		if _, err := fmt.Sscan(tail[len(tail)-1], &to); err == nil {
			last = max(last, to)
		}
	}
	return last, err
}

// Commit makes one file visible. Linking it to a name that must not exist yet is the one action that changes data and progress together.
func (c committer) Commit(ctx context.Context, m sinks.Committable[string]) error {
	last, err := c.Progress(ctx, m.Shard)
	if err != nil {
		return refused("read progress", err)
	}
	if due, err := m.Due(last); !due {
		return errors.Join(err, os.Remove(m.Value))
	}
	err = os.Link(m.Value, c.name(m.Shard, m.From, m.To))
	if errors.Is(err, fs.ErrExist) { // the same commit, by somebody else
		err = nil
	}
	return refused("commit file", errors.Join(err, os.Remove(m.Value)))
}

func (committer) Close() error { return nil }

func refused(doing string, err error) error {
	if err == nil {
		return nil
	}
	retry := fault.RetryLater
	if os.IsPermission(err) {
		retry = fault.RetryNever
	}
	return &fault.SinkError{Detail: fault.Detail{Code: "lines.io", Doing: doing, Connector: "lines", Retry: retry, Err: err}}
}
