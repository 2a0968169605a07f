package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/activedataflow/adf/fault"
)

// The compressions.
const (
	auto = "auto"
	none = "none"
	gz   = "gzip"
	zst  = "zstd"
)

// compressionOf tells a file's compression: by its name, else by its first bytes, which no text in any supported encoding has.
func compressionOf(option, path string) (string, error) {
	if option != auto && option != "" {
		return option, nil
	}
	switch lower := strings.ToLower(path); {
	case strings.HasSuffix(lower, ".gz"), strings.HasSuffix(lower, ".gzip"):
		return gz, nil
	case strings.HasSuffix(lower, ".zst"), strings.HasSuffix(lower, ".zstd"):
		return zst, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return "", ioSourceError("open", path, err)
	}
	defer f.Close()
	var magic [4]byte
	n, err := io.ReadFull(f, magic[:])
	switch {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return "", ioSourceError("read", path, err)
	case bytes.HasPrefix(magic[:n], []byte{0x1f, 0x8b}):
		return gz, nil
	case bytes.Equal(magic[:n], []byte{0x28, 0xb5, 0x2f, 0xfd}):
		return zst, nil
	}
	return none, nil
}

// stream is the text of a file from an offset on. It remembers why reading failed, so that a failing disk is not taken for bad text.
type stream struct {
	path   string
	file   *os.File
	text   io.Reader
	closer func()
	failed error
}

// openStream opens a file at an offset of its text.
func openStream(path, compression string, offset int64) (*stream, error) {
	compression, err := compressionOf(compression, path)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, ioSourceError("open", path, err)
	}
	s := &stream{path: path, file: f, text: f, closer: func() {}}
	if err := s.begin(compression, offset); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *stream) begin(compression string, offset int64) error {
	switch compression {
	case none:
		info, err := s.file.Stat()
		if err != nil {
			return ioSourceError("open", s.path, err)
		}
		if info.Size() < offset {
			return shrunk(s.path, info.Size(), offset)
		}
		if _, err := s.file.Seek(offset, io.SeekStart); err != nil {
			return ioSourceError("seek", s.path, err)
		}
		return nil
	case gz:
		r, err := gzip.NewReader(s.file)
		if err != nil {
			return s.classify(err)
		}
		s.text, s.closer = r, func() { r.Close() }
	case zst:
		r, err := zstd.NewReader(s.file, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return s.classify(err)
		}
		s.text, s.closer = r, r.Close
	}
	skipped, err := io.CopyN(io.Discard, s.text, offset)
	if err == io.EOF {
		return shrunk(s.path, skipped, offset)
	}
	if err != nil {
		return s.classify(err)
	}
	return nil
}

// Read reads text; errors are classified.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.text.Read(p)
	if err != nil && err != io.EOF {
		s.failed = s.classify(err)
		err = s.failed
	}
	return n, err
}

// Close closes the file. It may be called again.
func (s *stream) Close() {
	s.closer()
	s.closer = func() {}
	s.file.Close()
}

// classify tells a failing disk from a file that is not what its compression promises.
func (s *stream) classify(err error) error {
	var disk *fs.PathError
	if errors.As(err, &disk) {
		return ioSourceError("read", s.path, err)
	}
	d := fault.Detail{
		Code: "file.corrupt", Doing: "decompress", Connector: "file", At: s.path, Retry: fault.RetryNever, Err: err,
		Fix: "replace the file, or name its compression",
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF {
		d.Code, d.Err = "file.truncated", errors.New("the compressed file ends in the middle")
		d.Fix = "write files under another name and rename them when they are whole"
	}
	return &fault.SourceError{Detail: d}
}

func shrunk(path string, size, offset int64) error {
	return &fault.SourceError{Detail: fault.Detail{
		Code: "file.shrunk", Doing: "go on reading", Connector: "file", At: path, Retry: fault.RetryNever,
		Err: fmt.Errorf("it has %d bytes of text, but had been read up to %d: it was replaced or cut since the checkpoint", size, offset),
		Fix: "put the former file back, or start the flow over with --fresh",
	}}
}
