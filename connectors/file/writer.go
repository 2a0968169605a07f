package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
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

// Text is collected for each file and written in pieces, each compressed by itself: several compressed streams one behind the other are one to whoever reads
// them. So one writer has one compressor and, unless a commit is large, one open file at a time, however many directories there are.
type limits struct {
	piece int // size of a piece, about
	held  int // memory of all pieces
	open  int // files; of more directories with much text each, some get several files
}

var usualLimits = limits{piece: 1 << 20, held: 64 << 20, open: 512}

// writer stages the files of one commit.
type writer struct {
	place
	limits      limits
	shard       sinks.Shard
	from        int64
	compression string
	prefix      string
	roll        int64

	stem    string // of staged names
	outputs map[string]*output
	order   []*output // by age
	last    *output
	open    []*output
	counts  map[string]int // how many files each directory has had
	held    int            // capacity of all pieces
	files   []staged
	done    bool

	compressed bytes.Buffer
	gzip       *gzip.Writer
	zstd       *zstd.Encoder
}

// output is a file that is being written. It is created with its first piece.
type output struct {
	dir   string
	form  form
	size  int64 // of all its text
	piece []byte
	path  string
	file  errorfs.File
}

func newWriter(p place, sh sinks.Shard, from int64, compression, prefix string, roll int64) (*writer, error) {
	w := &writer{
		place: p, limits: usualLimits, shard: sh, from: from, compression: compression, prefix: prefix, roll: roll,
		stem: stagedStem(sh, from) + nonce(), outputs: map[string]*output{}, counts: map[string]int{},
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
	o := w.last
	if o == nil || o.dir != dir {
		o = w.outputs[dir]
	}
	if o != nil && (o.form != f || o.size+int64(len(f.Between)+len(text)) > w.roll) {
		if err := w.finish(o); err != nil {
			return err
		}
		o = nil
	}
	before := f.Between
	if o == nil {
		o = &output{dir: dir, form: f}
		w.outputs[dir] = o
		w.order = append(w.order, o)
		before = f.Head
	}
	w.last = o
	was := cap(o.piece)
	o.piece = append(append(o.piece, before...), text...)
	o.size += int64(len(before) + len(text))
	w.held += cap(o.piece) - was
	switch {
	case len(o.piece) >= w.limits.piece:
		return w.flush(o)
	case w.held >= w.limits.held:
		for _, o := range slices.Clone(w.order) { // flush may end files
			if err := w.flush(o); err != nil {
				return err
			}
			o.piece = nil
		}
		w.held = 0
	}
	return nil
}

// flush writes the text that was collected for a file.
func (w *writer) flush(o *output) error {
	if len(o.piece) == 0 {
		return nil
	}
	if o.file == nil {
		if err := w.create(o); err != nil {
			return err
		}
	}
	data, err := w.compress(o.piece)
	if err == nil {
		_, err = o.file.Write(data)
	}
	if err != nil {
		return ioSinkError("write", o.path, err)
	}
	o.piece = o.piece[:0]
	return nil
}

func (w *writer) create(o *output) error {
	if len(w.open) == w.limits.open {
		if err := w.finish(w.open[0]); err != nil {
			return err
		}
	}
	s := staged{
		Name: fmt.Sprintf("%s-%d", w.stem, len(w.files)),
		Final: path.Join(o.dir, fmt.Sprintf("%s-%s-%02d-%08d-%d%s%s",
			w.prefix, runKey(w.shard), w.shard.Shard, w.from, w.counts[o.dir], o.form.Ext, suffixes[w.compression])),
	}
	o.path = filepath.Join(w.staging(), s.Name)
	var err error
	if o.file, err = w.fs.Create(o.path); err != nil {
		return ioSinkError("create", o.path, err)
	}
	w.files = append(w.files, s)
	w.open = append(w.open, o)
	w.counts[o.dir]++
	return nil
}

// suffixes end the names of compressed files.
var suffixes = map[string]string{gz: ".gz", zst: ".zst"}

// compress gives a piece as it is written; it is good until the next.
func (w *writer) compress(piece []byte) ([]byte, error) {
	w.compressed.Reset()
	switch w.compression {
	case gz:
		if w.gzip == nil {
			w.gzip = gzip.NewWriter(&w.compressed)
		}
		w.gzip.Reset(&w.compressed)
		if _, err := w.gzip.Write(piece); err != nil {
			return nil, err
		}
		if err := w.gzip.Close(); err != nil {
			return nil, err
		}
		return w.compressed.Bytes(), nil
	case zst:
		if w.zstd == nil {
			var err error
			if w.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(usualLimits.piece)); err != nil {
				return nil, err
			}
		}
		return w.zstd.EncodeAll(piece, w.compressed.AvailableBuffer()), nil
	}
	return piece, nil
}

// finish ends a file and makes it safe.
func (w *writer) finish(o *output) error {
	o.piece = append(o.piece, o.form.Tail...)
	if err := w.flush(o); err != nil {
		return err
	}
	if err := o.file.Sync(); err != nil {
		return ioSinkError("sync", o.path, err)
	}
	w.forget(o)
	if err := o.file.Close(); err != nil {
		return ioSinkError("close", o.path, err)
	}
	return nil
}

// forget takes a file out of those that are being written.
func (w *writer) forget(o *output) {
	same := func(other *output) bool { return other == o }
	w.open, w.order = slices.DeleteFunc(w.open, same), slices.DeleteFunc(w.order, same)
	delete(w.outputs, o.dir)
	w.held -= cap(o.piece)
	if w.last == o {
		w.last = nil
	}
}

// Prepare ends all files and makes them safe.
func (w *writer) Prepare(context.Context) (work, error) {
	for len(w.order) > 0 {
		if err := w.finish(w.order[0]); err != nil {
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
