package file

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// reader reads one split.
type reader[T any] struct {
	src   *Source[T]
	codec *row.Codec[T]
	split Split
	in    *stream
	text  *format.Reader[T]
}

// open opens a split at its position.
func (s *Source[T]) open(c *row.Codec[T], split Split) (*reader[T], error) {
	if (split.Start > 0 || split.End > 0) && !s.options().Splittable() {
		return nil, &fault.SourceError{Detail: fault.Detail{
			Code: "file.range", Doing: "open", Connector: "file", At: split.Path, Retry: fault.RetryNever,
			Err: errors.New("it was cut into byte ranges, and with the options of now it can not be read in ranges"),
			Fix: "set the options back, or start the flow over with --fresh",
		}}
	}
	r := &reader[T]{src: s, codec: c, split: split}
	if err := r.begin(); err != nil {
		return nil, err
	}
	return r, nil
}

// begin opens the file at the split's position.
func (r *reader[T]) begin() error {
	s := &r.split
	if s.Offset > 0 && s.Header == nil && r.src.Format == "csv" && !r.src.NoHeader {
		head, err := r.openAt(format.Start{Name: s.Path})
		if err != nil {
			return err
		}
		s.Header = head.Header()
		r.in.Close()
	}
	var err error
	r.text, err = r.openAt(format.Start{
		Name: s.Path, Offset: s.Offset, Line: s.Line, Header: s.Header, Skip: s.Offset > 0 && !s.Begun, End: s.End,
	})
	if err == nil && !s.Begun {
		s.Offset, s.Begun = r.text.Offset(), true // behind the record that Skip passed over
	}
	return err
}

func (r *reader[T]) openAt(at format.Start) (*format.Reader[T], error) {
	in, err := openStream(r.split.Path, r.src.Compression, at.Offset)
	if err != nil {
		return nil, err
	}
	text, err := format.NewReader(in, r.src.options(), r.codec, at)
	if err != nil {
		in.Close()
		return nil, r.classify(in, err)
	}
	r.in = in
	return text, nil
}

// Fetch reads a batch. A split in the middle of a file does not know its lines until a message needs one: then the line ends before it are counted,
// and the batch is read again.
func (r *reader[T]) Fetch(_ context.Context, dst *record.Batch[T]) (Split, bool, error) {
	err := r.text.Read(dst, splits.BatchRecords, splits.BatchBytes)
	if failed := err != nil && err != io.EOF && r.in.failed == nil; (failed || len(dst.Rejected) > 0) && r.split.Offset > 0 && r.split.Line == 0 {
		if err := r.countLines(); err != nil {
			return r.split, false, err
		}
		dst.Reset()
		err = r.text.Read(dst, splits.BatchRecords, splits.BatchBytes)
	}
	if err != nil && err != io.EOF {
		return r.split, false, r.classify(r.in, err)
	}
	for _, rejected := range dst.Rejected {
		r.locate(rejected.Err)
	}
	dst.Split = r.split.ID
	r.split.Offset, r.split.Line, r.split.Begun = r.text.Offset(), r.text.Line(), true
	r.split.Header = r.text.Header()
	return r.split, err == io.EOF, nil
}

// countLines finds out the line of the split's position, and opens the file there again.
func (r *reader[T]) countLines() error {
	r.in.Close()
	in, err := openStream(r.split.Path, r.src.Compression, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	block := make([]byte, 64<<10)
	line := int64(1)
	for left := r.split.Offset; left > 0; {
		n, err := in.Read(block[:min(left, int64(len(block)))])
		line += int64(bytes.Count(block[:n], []byte{'\n'}))
		if left -= int64(n); err == io.EOF && left > 0 {
			return shrunk(r.split.Path, r.split.Offset-left, r.split.Offset)
		} else if err != nil && err != io.EOF {
			return err
		}
	}
	r.split.Line = line
	return r.begin()
}

// classify tells a failure of the file from one of its text, and says where.
func (r *reader[T]) classify(in *stream, err error) error {
	if in.failed != nil {
		err = in.failed
	}
	return r.locate(err)
}

// locate completes an error of the text.
func (r *reader[T]) locate(err error) error {
	if d, ok := fault.DetailOf(err); ok {
		d.Connector, d.Split = "file", r.split.ID
	}
	return err
}

// Close closes the file.
func (r *reader[T]) Close() error {
	r.in.Close()
	return nil
}
