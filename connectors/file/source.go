package file

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// Source reads the records of files. Use it by pointer and do not change it once it is part of a flow.
//
// Files are read in the order of their names. Records that can not be decoded are rejected with file, line and column.
type Source[T any] struct {
	// Path is the glob of the files, or Paths several. * stands for any name, ** for any directories; hidden files need their dot written out.
	Path  string
	Paths []string
	// Format is csv, jsonl or json.
	Format string
	// Delimiter, Quote, NoHeader, NullText and Encoding are those of format.Options.
	Delimiter, Quote string
	NoHeader         bool
	NullText         []string
	Encoding         string
	// Compression is auto (""), none, gzip or zstd.
	Compression string
	// Watch is the period at which new files are looked for; then the source never ends. 0: the files that are there are read once.
	Watch time.Duration
	// SplitSize is the length of byte ranges, 0: 64 MB.
	SplitSize int64
	// InferRecords is how many records are looked at to infer a schema, 0: 1000.
	InferRecords int
	// Schema is that of the records if T is row.Row. Nil: it is inferred from the first file that is not empty.
	Schema *row.Schema

	mu      sync.Mutex
	checked bool
	codec   *row.Codec[T]
}

var (
	_ splits.Source[row.Row, Split] = (*Source[row.Row])(nil)
	_ splits.Typed[row.Row]         = (*Source[row.Row])(nil)
	_ connectors.SourceConfig       = (*Source[row.Row])(nil)
)

func newSource() connectors.SourceConfig { return &Source[row.Row]{} }

// Source makes the source that a flow from a file asks for.
func (s *Source[T]) Source(_ context.Context, env connectors.SourceEnv) (splits.Any, error) {
	if env.Schema != nil {
		s.Schema = env.Schema
	}
	c, err := s.RecordCodec()
	if err != nil {
		return nil, err
	}
	return splits.Erase(s, c), nil
}

// RecordCodec is the codec of the records. For rows without a schema it reads the beginning of a file, once.
func (s *Source[T]) RecordCodec() (*row.Codec[T], error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.codec != nil {
		return s.codec, nil
	}
	var err error
	if rows, ok := any(&s.codec).(**row.Codec[row.Row]); ok {
		schema := s.Schema
		if schema == nil {
			if err = s.check(); err == nil {
				schema, err = s.infer()
			}
			if err != nil {
				return nil, err
			}
		}
		*rows = row.RowCodec(schema)
		return s.codec, nil
	}
	if s.codec, err = row.CodecOf[T](); err != nil {
		return nil, &fault.ConfigurationError{Detail: fault.Detail{
			Code: "file.type", Doing: fmt.Sprintf("read records of type %T", *new(T)), Connector: "file", Retry: fault.RetryNever, Err: err,
		}}
	}
	return s.codec, nil
}

// check completes the options with their defaults, once; s.mu is held.
func (s *Source[T]) check() error {
	if s.checked {
		return nil
	}
	err := checked(s)
	s.checked = err == nil
	return err
}

func (s *Source[T]) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.check()
}

// infer derives a schema from the first file that has something in it.
func (s *Source[T]) infer() (*row.Schema, error) {
	files, err := find(s.globs())
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if f.size == 0 {
			continue
		}
		in, err := openStream(f.path, s.Compression, 0)
		if err != nil {
			return nil, err
		}
		schema, err := format.Infer(in, s.options(), f.path, s.InferRecords)
		if in.failed != nil {
			err = in.failed
		}
		in.Close()
		return schema, err
	}
	const fix = "declare the schema, or put a file there first"
	if len(files) > 0 {
		return nil, &fault.SourceError{Detail: fault.Detail{
			Code: "file.infer_empty", Doing: "infer the schema", Connector: "file", At: files[0].path, Retry: fault.RetryNever,
			Err: errors.New("every file is empty"), Fix: fix,
		}}
	}
	err = noMatch(s.globs())
	if s.Watch > 0 {
		d, _ := fault.DetailOf(err)
		d.Doing, d.Fix = "infer the schema", fix
	}
	return nil, err
}

// Schemaless says that a flow in a file must declare a schema, or say infer.
func (s *Source[T]) Schemaless() bool { return true }

// Acknowledges is false: files do not hear of what has been read.
func (s *Source[T]) Acknowledges() bool { return false }

// Boundedness is Unbounded for a source that watches.
func (s *Source[T]) Boundedness() splits.Boundedness {
	if s.Watch > 0 {
		return splits.Unbounded
	}
	return splits.Bounded
}

// compressedTimes is by how much a compressed file is thought to grow: text does by four to eight.
const compressedTimes = 8

// Size is that of the files that can be seen from here; as text a record is about as large as in its encoded form.
func (s *Source[T]) Size(context.Context) (bytes int64, known bool) {
	if s.Watch > 0 || s.ready() != nil {
		return 0, false
	}
	files, err := find(s.globs())
	if err != nil || len(files) == 0 {
		return 0, false
	}
	for _, f := range files {
		compression, err := compressionOf(s.Compression, f.path)
		if err != nil {
			return 0, false
		}
		if compression != none {
			f.size *= compressedTimes
		}
		bytes += f.size
	}
	return bytes, true
}

// Codec is that of the splits.
func (s *Source[T]) Codec() splits.Codec[Split] { return splits.JSON[Split]() }

// Reader reads one file after the other.
func (s *Source[T]) Reader(_ context.Context, rc splits.ReaderContext) (splits.Reader[T, Split], error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	c, err := s.RecordCodec()
	if err != nil {
		return nil, err
	}
	open := func(_ context.Context, split Split) (splits.SplitReader[T, Split], error) { return s.open(c, split) }
	return splits.Multiplex(rc, open, splits.MultiplexOptions[Split]{}), nil
}

// Enumerator lists the files and cuts them.
func (s *Source[T]) Enumerator(_ context.Context, ec splits.EnumeratorContext[Split], restored *splits.State) (splits.Enumerator[Split], error) {
	if err := s.ready(); err != nil {
		return nil, err
	}
	e := &enumerator{globs: s.globs(), compression: s.Compression, watch: s.Watch > 0, cut: s.SplitSize}
	e.state.Files = map[string]layout{}
	e.state.Whole = !s.options().Splittable()
	var list *splits.State
	if restored != nil {
		e.restored = true
		was, err := stateCodec.Decode(restored.Version, restored.Data)
		if err != nil {
			return nil, &fault.RuntimeError{Detail: fault.Detail{
				Code: "file.restore", Doing: "restore the list of files", Connector: "file", Retry: fault.RetryNever, Err: err,
				Fix: "use the release that saved it, or a later one",
			}}
		}
		list = &was.List
		for path, l := range was.Files {
			e.state.Files[path] = l
		}
		e.state.Whole = e.state.Whole || was.Whole
	}
	var err error
	e.Enumerator, err = splits.List(ec, list, splits.ListOptions[Split]{Find: e.find, Codec: s.Codec(), Every: s.Watch})
	return e, err
}

// enumerator is a list of files that remembers how it cut them.
type enumerator struct {
	splits.Enumerator[Split]
	globs       []string
	compression string
	watch       bool
	restored    bool
	cut         int64

	mu    sync.Mutex // Find runs in the background
	state enumeratorState
}

// enumeratorState is the wire form of an enumerator.
type enumeratorState struct {
	// Whole says that files are not cut. It stays for the life of a flow, so Files is only needed without it.
	Whole bool              `json:"whole,omitempty"`
	Files map[string]layout `json:"files,omitempty"`
	List  splits.State      `json:"list"`
}

var stateCodec = splits.JSON[enumeratorState]()

func (e *enumerator) find(ctx context.Context) ([]Split, error) {
	files, err := find(e.globs)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 && !e.watch && !e.restored {
		return nil, noMatch(e.globs)
	}
	var all []Split
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, err := e.layoutOf(f)
		if err != nil {
			return nil, err
		}
		all = append(all, l.splits(f.path)...)
	}
	return all, nil
}

// layoutOf gives the layout of a file: the one it had before, or a new one.
func (e *enumerator) layoutOf(f found) (layout, error) {
	e.mu.Lock()
	l, known := e.state.Files[f.path]
	e.mu.Unlock()
	if known || e.state.Whole {
		return l, nil
	}
	l = layout{Size: f.size, Cut: e.cut}
	if f.size > e.cut {
		compression, err := compressionOf(e.compression, f.path)
		if err != nil {
			return l, err
		}
		if compression != none {
			l.Cut = 0
		}
	}
	e.mu.Lock()
	e.state.Files[f.path] = l
	e.mu.Unlock()
	return l, nil
}

// Snapshot may know more layouts than the list has splits: those are found again, and cut the same way.
func (e *enumerator) Snapshot(ctx context.Context) (splits.State, error) {
	list, err := e.Enumerator.Snapshot(ctx)
	if err != nil {
		return list, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.List = list
	data, err := stateCodec.Encode(e.state)
	return splits.State{Version: stateCodec.Version(), Data: data}, err
}
