package file

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/errorfs"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
)

// Sink writes records to files in a directory, exactly once. Use it by pointer and do not change it once it is part of a flow.
//
// A commit writes its files under names of their own in PATH/.adf/staging, then a manifest in PATH/.adf/progress that lists them, created only if
// the shard has none for this commit yet: that is the one action that decides. Then each file is renamed to its final name. Whoever comes after a
// crash finds the manifest and does what is left of the renames. A file can be renamed once only, so what a reader of the
// directory has moved or deleted does not come back, and a process that should be dead changes nothing.
//
// Files below PATH that do not begin with a dot are finished, never change, and may be moved and deleted at will. Their names are
// PREFIX-RUN-SHARD-SEQ-N.EXT, where RUN is the same for all files of one node in one run, SEQ is where the commit begins in the shard's sequence, and N counts
// the files of a commit in one directory. Several sinks may have the same directory.
//
// PATH/.adf belongs to the sink: without it the sink does not know what it has written. What crashes leave in staging goes with the
// next commit of the same shard, or when it is a day old. The whole of PATH must be on one file system that has hard links.
//
// A commit that is repeated must have the same parts, as the runtime's have: it is the first that counts.
type Sink[T any] struct {
	// Path is the directory.
	Path string
	// Format is csv, jsonl or json. In json each file is an array of its own, in csv each has a header line.
	Format string
	// Delimiter, Quote, NoHeader and NullText are those of format.Options.
	Delimiter, Quote string
	NoHeader         bool
	NullText         []string
	// Compression is none (""), gzip or zstd.
	Compression string
	// RollSize bounds the text of one file in bytes, before compression; 0: 128 MB. A record is never cut.
	RollSize int64
	// PartitionBy are the fields by whose values files are put into directories. They stay in the records.
	PartitionBy []string
	// Prefix begins the files' names; "" is "part".
	Prefix string

	fs errorfs.FS // nil: the machine's
}

var (
	_ sinks.Sink[row.Row]    = (*Sink[row.Row])(nil)
	_ connectors.SinkConfig  = (*Sink[row.Row])(nil)
	_ sinks.Exact[int, work] = (*exact[int])(nil)
)

func newSink() connectors.SinkConfig { return &Sink[row.Row]{} }

// Sink makes the sink of records with the codec c.
func (s *Sink[T]) Sink(c *row.Codec[T]) (sinks.Any, error) {
	e, err := s.exact(c)
	if err != nil {
		return nil, err
	}
	return sinks.EraseExact(e), nil
}

func (s *Sink[T]) exact(c *row.Codec[T]) (*exact[T], error) {
	if err := checked(s); err != nil {
		return nil, err
	}
	if _, err := format.NewWriter(s.options(), c); err != nil {
		return nil, err
	}
	e := &exact[T]{place: place{fs: cmp.Or[errorfs.FS](s.fs, errorfs.OS{}), path: s.Path}, sink: s, codec: c}
	for _, name := range s.PartitionBy {
		i, ok := c.Schema().Index(name)
		if !ok {
			return nil, fault.Config(fault.Violation{
				Path: "partition_by", Got: name, Want: "fields of the records", Code: "file.partition_by", Fix: fault.DidYouMean(name, c.Schema().Names()),
			})
		}
		switch kind := c.Schema().Fields[i].Type.Kind; kind {
		case row.KindList, row.KindMap, row.KindRow:
			return nil, fault.Config(fault.Violation{
				Path: "partition_by", Got: fmt.Sprintf("%s, a %s", name, kind), Want: "fields that have one value", Code: "file.partition_by",
			})
		}
		e.by = append(e.by, i)
	}
	return e, nil
}

// exact is a Sink that is checked.
type exact[T any] struct {
	place
	sink  *Sink[T]
	codec *row.Codec[T]
	by    []int // the fields of PartitionBy
}

// Encoder makes text.
func (e *exact[T]) Encoder() sinks.Encoder[T] {
	w, err := format.NewWriter(e.sink.options(), e.codec)
	return &encoder[T]{exact: e, w: w, err: err}
}

// Writer stages the files of one commit.
func (e *exact[T]) Writer(_ context.Context, sh sinks.Shard, from int64) (sinks.Writer[work], error) {
	return newWriter(e.place, sh, from, e.sink.Compression, e.sink.Prefix, e.sink.RollSize)
}

// Committer makes files visible.
func (e *exact[T]) Committer(context.Context) (sinks.Committer[work], error) {
	return newCommitter(e.place)
}

// encoder makes parts of records.
type encoder[T any] struct {
	*exact[T]
	w   *format.Writer[T]
	err error

	form   []byte // the beginning of a part, known with the first record
	text   []byte
	dir    []byte
	values []row.Value
	groups []group
	index  map[string]int
}

// group has the records of one directory, as a frame has them.
type group struct {
	dir     string
	records []byte
}

// Encode appends the records of b as one frame for each directory, in the order in which the directories come first.
func (e *encoder[T]) Encode(part []byte, b *record.Batch[T], fail func(i int, err error)) ([]byte, error) {
	if e.err != nil {
		return part, e.err
	}
	if len(e.by) == 0 {
		return e.encodeOne(part, b, fail), nil
	}
	e.groups = e.groups[:0]
	clear(e.index)
	for i := range b.Values {
		err := e.partition(b, i)
		if err == nil {
			err = e.encode(b, i)
		}
		if err != nil {
			fail(i, refused(err))
			continue
		}
		g := e.group()
		g.records = appendBytes(g.records, e.text)
	}
	if len(part) == 0 && len(e.groups) > 0 {
		part = append(part, e.form...)
	}
	for _, g := range e.groups {
		part = appendBytes(appendBytes(part, g.dir), g.records)
	}
	return part, nil
}

// encodeOne is Encode for a sink with one directory: the frame is made in place.
func (e *encoder[T]) encodeOne(part []byte, b *record.Batch[T], fail func(i int, err error)) []byte {
	frame := -1 // where the records begin
	for i := range b.Values {
		if err := e.encode(b, i); err != nil {
			fail(i, refused(err))
			continue
		}
		if frame < 0 {
			if len(part) == 0 {
				part = append(part, e.form...)
			}
			part = append(appendBytes(part, ""), make([]byte, lengthSize)...)
			frame = len(part)
		}
		part = appendBytes(part, e.text)
	}
	if frame >= 0 {
		putLength(part[frame-lengthSize:frame], len(part)-frame)
	}
	return part
}

// encode sets e.text to the text of a record, and e.form with the first.
func (e *encoder[T]) encode(b *record.Batch[T], i int) error {
	text, err := e.w.Append(e.text[:0], b, i, true)
	if err != nil {
		return err
	}
	e.text = text
	if e.form == nil {
		next, err := e.w.Append(nil, b, i, false)
		if err != nil {
			return err
		}
		e.form = form{
			Ext: "." + e.sink.Format, Head: string(e.w.Head(nil)), Between: string(next[:len(next)-len(text)]), Tail: string(e.w.Tail(nil)),
		}.append(nil)
	}
	return nil
}

// partition sets e.dir to the directory of a record.
func (e *encoder[T]) partition(b *record.Batch[T], i int) error {
	e.dir = e.dir[:0]
	if len(e.by) == 0 {
		return nil
	}
	e.values = e.codec.Values(e.values[:0], b, i)
	for n, field := range e.by {
		if n > 0 {
			e.dir = append(e.dir, '/')
		}
		v := e.values[field]
		e.text = row.AppendText(e.text[:0], v)
		var err error
		if e.dir, err = appendDir(e.dir, e.sink.PartitionBy[n], string(e.text), v.IsNull()); err != nil {
			return err
		}
	}
	return nil
}

// group finds the group of e.dir.
func (e *encoder[T]) group() *group {
	if n := len(e.groups); n > 0 && e.groups[n-1].dir == string(e.dir) {
		return &e.groups[n-1]
	}
	if n, ok := e.index[string(e.dir)]; ok {
		return &e.groups[n]
	}
	n := len(e.groups)
	e.groups = slices.Grow(e.groups, 1)[:n+1]
	g := &e.groups[n]
	g.dir, g.records = string(e.dir), g.records[:0]
	if e.index == nil {
		e.index = map[string]int{}
	}
	e.index[g.dir] = n
	return g
}

// refused is the error of a record that can not be written.
func refused(err error) error {
	var already *fault.SinkError
	if errors.As(err, &already) {
		return err
	}
	return &fault.SinkError{Detail: fault.Detail{Code: "file.record", Doing: "encode a record", Connector: "file", Retry: fault.RetryNever, Err: err}}
}
