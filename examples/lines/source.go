// Package lines reads and writes files of text lines: the example of docs/write-a-connector.md.
package lines

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// Split is one file, and how far it is read.
type Split struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
}

// SplitID is the file's path: it is never used for other data as long as files are not replaced.
func (s Split) SplitID() string { return s.File }

// Source reads the lines of all files in a directory.
type Source struct {
	Dir string
}

// Fields declares the options, once for everything: reading them from YAML, checking them, `adf connectors lines`.
func (s *Source) Fields(b *connectors.Binder) {
	connectors.Value(b, "dir", &s.Dir).Required().Doc("Directory with the files.").Example("notes")
}

// codec is that of the records: rows with one field.
var codec = func() *row.Codec[row.Row] {
	schema, err := row.ParseSchema("text string not null")
	if err != nil {
		panic(err)
	}
	return row.RowCodec(schema)
}()

// Source makes the source of a flow in a file.
func (s *Source) Source(context.Context, connectors.SourceEnv) (splits.Any, error) {
	return splits.Erase(s, codec), nil
}

// RecordCodec is that of the records.
func (s *Source) RecordCodec() (*row.Codec[row.Row], error) { return codec, nil }

// Boundedness says that the input ends.
func (s *Source) Boundedness() splits.Boundedness { return splits.Bounded }

// Codec writes splits down.
func (s *Source) Codec() splits.Codec[Split] { return splits.JSON[Split]() }

// Enumerator lists the files. What was handed out before a restart is not handed out again.
func (s *Source) Enumerator(_ context.Context, ec splits.EnumeratorContext[Split], restored *splits.State) (splits.Enumerator[Split], error) {
	return splits.List(ec, restored, splits.ListOptions[Split]{Codec: s.Codec(), Find: func(context.Context) ([]Split, error) {
		paths, err := filepath.Glob(filepath.Join(s.Dir, "*"))
		found := make([]Split, len(paths))
		for i, p := range paths {
			found[i] = Split{File: p}
		}
		return found, err
	}})
}

// Reader reads one file after the other.
func (s *Source) Reader(_ context.Context, rc splits.ReaderContext) (splits.Reader[row.Row, Split], error) {
	return splits.Multiplex(rc, open, splits.MultiplexOptions[Split]{}), nil
}

// open opens a file where its split stands.
func open(_ context.Context, s Split) (splits.SplitReader[row.Row, Split], error) {
	f, err := os.Open(s.File)
	if err != nil {
		return nil, failed("open file", s, err)
	}
	if _, err := f.Seek(s.Offset, io.SeekStart); err != nil {
		f.Close()
		return nil, failed("find position", s, err)
	}
	return &reader{f, bufio.NewReader(f), s}, nil
}

// reader reads one split.
type reader struct {
	file *os.File
	buf  *bufio.Reader
	at   Split
}

// Fetch reads one batch, and tells where the split stands behind it.
func (r *reader) Fetch(_ context.Context, dst *record.Batch[row.Row]) (after Split, done bool, err error) {
	slab := row.SlabOf(dst)
	for range splits.BatchRecords {
		line, err := r.buf.ReadString('\n')
		if err != nil && err != io.EOF {
			return r.at, false, failed("read file", r.at, err)
		}
		if text := trimmed(line); line != "" {
			values := slab.Values(1)
			values[0] = row.String(text)
			dst.Append(row.Row{Schema: codec.Schema(), Values: values}, record.Meta{Time: record.NoTime, Watermark: record.NoTime, Position: r.at.Offset})
			r.at.Offset += int64(len(line))
		}
		if err == io.EOF {
			return r.at, true, nil
		}
	}
	return r.at, false, nil
}

func trimmed(line string) string {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		return line[:n-1]
	}
	return line
}

func (r *reader) Close() error { return r.file.Close() }

// failed is an error that says what, where, and whether trying again can help.
func failed(doing string, s Split, err error) error {
	retry := fault.RetryLater
	if os.IsNotExist(err) || os.IsPermission(err) {
		retry = fault.RetryNever
	}
	return &fault.SourceError{Detail: fault.Detail{Code: "lines.io", Doing: doing, Connector: "lines", Split: s.File, Retry: retry, Err: err}}
}
