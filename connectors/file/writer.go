package file

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/errorfs"
	"github.com/activedataflow/adf/sinks"
)

// work is what a writer hands to the committer: the files of one commit, staged.
type work struct{ files []staged }

// staged is a file of a commit.
type staged struct {
	// Name is its name in the staging directory, Final its path below that of the sink, with slashes.
	Name  string `json:"name"`
	Final string `json:"final"`
}

// maxOpen bounds the files that one writer has open. When records come for more directories than that in turn, the file that was written to least
// recently is ended, so some directories get several files.
const maxOpen = 64

// writer stages the files of one commit.
type writer struct {
	place
	shard       sinks.Shard
	from        int64
	compression string
	prefix      string
	roll        int64

	stem   string         // of staged names
	counts map[string]int // how many files each directory has had
	open   []*output      // the one written to last comes last
	files  []staged
	done   bool
}

// output is an open file: text goes to w, is compressed if need be, and ends in file.
type output struct {
	dir  string
	form form
	size int64 // bytes of text
	path string
	w    io.WriteCloser
	buf  *bufio.Writer
	file errorfs.File
}

func newWriter(p place, sh sinks.Shard, from int64, compression, prefix string, roll int64) (*writer, error) {
	w := &writer{
		place: p, shard: sh, from: from, compression: compression, prefix: prefix, roll: roll,
		stem: stagedStem(sh, from) + nonce(), counts: map[string]int{},
	}
	return w, p.makeDir(p.staging())
}

// nonce makes names that no other attempt has.
func nonce() string {
	var b [8]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// Write puts the records of a part into their files.
func (w *writer) Write(ctx context.Context, part []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	err := readPart(part, w.record)
	if errors.Is(err, errPart) {
		err = &fault.SinkError{Detail: fault.Detail{Code: "file.part", Doing: "write", Connector: "file", At: w.path, Retry: fault.RetryNever, Err: err}}
	}
	return err
}

func (w *writer) record(f form, dir string, text []byte) error {
	o := w.find(dir)
	if o != nil && (o.form != f || o.size+int64(len(f.Between)+len(text)) > w.roll) {
		if err := w.finish(o); err != nil {
			return err
		}
		o = nil
	}
	before := f.Between
	if o == nil {
		if len(w.open) == maxOpen {
			if err := w.finish(w.open[0]); err != nil {
				return err
			}
		}
		var err error
		if o, err = w.create(f, dir); err != nil {
			return err
		}
		before = f.Head
	}
	return o.write(before, text)
}

// find gives the open file of a directory, and notes that it is used.
func (w *writer) find(dir string) *output {
	last := len(w.open) - 1
	for i := last; i >= 0; i-- {
		if o := w.open[i]; o.dir == dir {
			copy(w.open[i:], w.open[i+1:])
			w.open[last] = o
			return o
		}
	}
	return nil
}

func (w *writer) create(f form, dir string) (*output, error) {
	s := staged{
		Name: fmt.Sprintf("%s-%d", w.stem, len(w.files)),
		Final: path.Join(dir, fmt.Sprintf("%s-%s-%02d-%08d-%d%s%s",
			w.prefix, runKey(w.shard), w.shard.Shard, w.from, w.counts[dir], f.Ext, suffixes[w.compression])),
	}
	o := &output{dir: dir, form: f, path: filepath.Join(w.staging(), s.Name)}
	var err error
	if o.file, err = w.fs.Create(o.path); err != nil {
		return nil, ioSinkError("create", o.path, err)
	}
	w.files = append(w.files, s)
	w.open = append(w.open, o)
	w.counts[dir]++
	o.buf = bufio.NewWriterSize(o.file, 64<<10)
	switch w.compression {
	case gz:
		o.w = gzip.NewWriter(o.buf)
	case zst:
		o.w, err = zstd.NewWriter(o.buf, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	default:
		o.w = plain{o.buf}
	}
	return o, err
}

// suffixes end the names of compressed files.
var suffixes = map[string]string{gz: ".gz", zst: ".zst"}

// plain is no compression.
type plain struct{ *bufio.Writer }

func (plain) Close() error { return nil }

func (o *output) write(before string, text []byte) error {
	o.size += int64(len(before) + len(text))
	_, err := io.WriteString(o.w, before)
	if err == nil {
		_, err = o.w.Write(text)
	}
	if err != nil {
		return ioSinkError("write", o.path, err)
	}
	return nil
}

// finish ends a file and makes it safe.
func (w *writer) finish(o *output) error {
	if err := o.write(o.form.Tail, nil); err != nil {
		return err
	}
	err := o.w.Close()
	if err == nil {
		err = o.buf.Flush()
	}
	if err == nil {
		err = o.file.Sync()
	}
	if err != nil {
		return ioSinkError("write", o.path, err)
	}
	w.open = slices.DeleteFunc(w.open, func(other *output) bool { return other == o })
	if err := o.file.Close(); err != nil {
		return ioSinkError("close", o.path, err)
	}
	return nil
}

// Prepare ends all files and makes them safe.
func (w *writer) Prepare(context.Context) (work, error) {
	for len(w.open) > 0 {
		if err := w.finish(w.open[0]); err != nil {
			return work{}, err
		}
	}
	if len(w.files) > 0 {
		if err := w.syncDir(w.staging()); err != nil {
			return work{}, err
		}
	}
	w.done = true
	return work{w.files}, nil
}

// Close removes what was staged, unless it is prepared.
func (w *writer) Close() error {
	if w.done {
		return nil
	}
	w.done = true
	for _, o := range w.open {
		o.file.Close()
	}
	return w.discard(w.files)
}
