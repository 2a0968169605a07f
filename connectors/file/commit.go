package file

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/errorfs"
	"github.com/activedataflow/adf/sinks"
)

// place is the directory of a sink:
//
//	PATH/…                                final files
//	PATH/.adf/staging/RUN-SHARD-SEQ-…     files that are being written, and manifests
//	PATH/.adf/progress/RUN-SHARD/SEQ      manifests: the one with the highest SEQ is the shard's progress
type place struct {
	fs   errorfs.FS
	path string
}

func (p place) staging() string { return filepath.Join(p.path, ".adf", "staging") }
func (p place) progress(shard string) string {
	return filepath.Join(p.path, ".adf", "progress", shard)
}

// runKey names the files of one node in one run: 80 bits of a hash, so that runs never meet in a directory.
func runKey(sh sinks.Shard) string {
	sum := sha256.Sum256([]byte(sh.Flow + "\x00" + sh.Node + "\x00" + sh.Run))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

func shardKey(sh sinks.Shard) string { return fmt.Sprintf("%s-%02d", runKey(sh), sh.Shard) }

// stagedStem begins the names of what a commit stages.
func stagedStem(sh sinks.Shard, from int64) string { return fmt.Sprintf("%s-%d-", shardKey(sh), from) }

// manifest decides a commit: whichever attempt creates it has committed, and its files are the ones that count.
type manifest struct {
	Version int      `json:"version"`
	Flow    string   `json:"flow"`
	Node    string   `json:"node"`
	Run     string   `json:"run"`
	Shard   int      `json:"shard"`
	From    int64    `json:"from"`
	To      int64    `json:"to"`
	Files   []staged `json:"files,omitempty"`
}

const manifestVersion = 1

// orphanAge is how old something in staging is that nobody will finish.
const orphanAge = 24 * time.Hour

type committer struct {
	place
	mu   sync.Mutex
	safe map[string]int64 // by shard: the last manifest that this committer has seen to its end
}

func newCommitter(p place) (*committer, error) {
	c := &committer{place: p, safe: map[string]int64{}}
	if err := c.makeDir(c.staging()); err != nil {
		return nil, err
	}
	c.sweep()
	return c, nil
}

// Progress finishes the shard's last commit if a crash has left it behind its manifest.
func (c *committer) Progress(_ context.Context, sh sinks.Shard) (int64, error) {
	return c.settle(shardKey(sh))
}

// Commit makes the files of one commit visible.
func (c *committer) Commit(ctx context.Context, w sinks.Committable[work]) error {
	progress, err := c.Progress(ctx, w.Shard)
	if err != nil {
		return err
	}
	if due, err := w.Due(progress); err != nil || !due {
		return errors.Join(err, c.discard(w.Value.files))
	}
	if err := c.decide(w); err != nil {
		return err
	}
	// There is a manifest now, this one or that of an attempt that was faster, which may have had fewer parts.
	if progress, err = c.Progress(ctx, w.Shard); err != nil {
		return err
	}
	if due, err := w.Due(progress); err != nil || !due {
		return err
	}
	return stagedGone(c.staging())
}

// decide creates the manifest of a commit, unless there is one.
func (c *committer) decide(w sinks.Committable[work]) error {
	for _, f := range w.Value.files {
		path := filepath.Join(c.staging(), f.Name)
		if _, err := c.fs.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return stagedGone(path)
		} else if err != nil {
			return ioSinkError("commit", path, err)
		}
	}
	dir := c.progress(shardKey(w.Shard))
	if err := c.makeDir(dir); err != nil {
		return err
	}
	before, err := c.manifests(dir)
	if err != nil {
		return err
	}
	whole, err := c.stageManifest(w)
	if err != nil {
		return err
	}
	final := filepath.Join(dir, manifestName(w.From))
	linked := c.fs.Link(whole, final)
	if err := c.remove(whole); err != nil {
		return err
	}
	// ErrNotExist: another attempt has committed and removed what this one staged.
	if linked != nil && !errors.Is(linked, fs.ErrExist) && !errors.Is(linked, fs.ErrNotExist) {
		return ioSinkError("create manifest", final, linked)
	}
	if err := c.syncDir(dir); err != nil || linked != nil {
		return err
	}
	// A process that slept between its look at the progress and here may have brought back the name of a manifest that was removed. It
	// counts for nothing: later ones are there, since the last two are always kept.
	now, err := c.manifests(dir)
	if err != nil {
		return err
	}
	if now[len(now)-1] > w.From {
		return c.remove(final)
	}
	for i := 0; i < len(before)-1; i++ {
		if err := c.remove(filepath.Join(dir, manifestName(before[i]))); err != nil {
			return err
		}
	}
	return nil
}

func stagedGone(path string) error {
	return &fault.SinkError{Detail: fault.Detail{
		Code: "file.staged_gone", Doing: "commit", Connector: "file", At: path, Retry: fault.RetryLater,
		Err: errors.New("what was written for the commit is gone"), Fix: "leave the directory .adf to the sink; what is missing is written again",
	}}
}

// stageManifest writes a manifest down, whole, under a name of its own.
func (c *committer) stageManifest(w sinks.Committable[work]) (string, error) {
	content, err := json.Marshal(manifest{manifestVersion, w.Flow, w.Node, w.Run, w.Shard.Shard, w.From, w.To, w.Value.files})
	if err != nil {
		return "", err
	}
	path := filepath.Join(c.staging(), stagedStem(w.Shard, w.From)+nonce()+"-manifest")
	f, err := c.fs.Create(path)
	if err != nil {
		return "", ioSinkError("create", path, err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return "", errors.Join(ioSinkError("write", path, err), c.remove(path))
	}
	return path, nil
}

// settle sees the last commit of a shard to its end and gives the shard's progress, -1 when there is none.
func (c *committer) settle(shard string) (int64, error) {
	dir := c.progress(shard)
	all, err := c.manifests(dir)
	if err != nil || len(all) == 0 {
		return -1, err
	}
	last := all[len(all)-1]
	m, err := c.readManifest(filepath.Join(dir, manifestName(last)))
	if errors.Is(err, fs.ErrNotExist) { // two commits came in between
		return c.settle(shard)
	}
	if err != nil {
		return -1, err
	}
	c.mu.Lock()
	seen, ok := c.safe[shard]
	c.mu.Unlock()
	if ok && seen == last {
		return m.To, nil
	}
	if err := c.publish(m.Files); err != nil {
		return -1, err
	}
	if err := c.discardUpTo(shard, m.To); err != nil {
		return -1, err
	}
	c.mu.Lock()
	c.safe[shard] = last
	c.mu.Unlock()
	return m.To, nil
}

// publish gives files their final names, those that do not have them yet, and makes all of them durable: another process may have renamed some and
// ended before it had.
func (c *committer) publish(files []staged) error {
	var dirs []string
	for _, f := range files {
		final := filepath.Join(c.path, filepath.FromSlash(f.Final))
		if err := c.move(filepath.Join(c.staging(), f.Name), final); err != nil {
			return err
		}
		for dir := filepath.Dir(final); !slices.Contains(dirs, dir); dir = filepath.Dir(dir) {
			dirs = append(dirs, dir)
			if dir == filepath.Clean(c.path) {
				break
			}
		}
	}
	for _, dir := range dirs {
		if err := c.fs.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // not there: emptied and removed already
			return ioSinkError("sync", dir, err)
		}
	}
	return nil
}

// move renames a staged file. One that is not there has been renamed before.
func (c *committer) move(from, to string) error {
	for range 10 { // whoever reads the directory may remove it while it is empty
		if _, err := c.fs.Stat(from); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err := c.makeDir(filepath.Dir(to)); err != nil {
			return err
		}
		err := c.fs.Rename(from, to)
		if err == nil {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return ioSinkError("rename to its final name", to, err)
		}
	}
	return ioSinkError("rename to its final name", to, errors.New("its directory is removed again and again"))
}

// discardUpTo removes what attempts at the commits of a shard up to seq have left in staging.
func (c *committer) discardUpTo(shard string, seq int64) error {
	entries, err := c.fs.ReadDir(c.staging())
	if err != nil {
		return ioSinkError("list", c.staging(), err)
	}
	for _, e := range entries {
		if of, from, ok := parseStaged(e.Name()); ok && of == shard && from <= seq {
			if err := c.remove(filepath.Join(c.staging(), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweep removes what nobody will finish. What a manifest counts on gets its final name first. What fails is left to the next committer.
func (c *committer) sweep() {
	entries, _ := c.fs.ReadDir(c.staging())
	for _, e := range entries {
		shard, _, ok := parseStaged(e.Name())
		info, err := e.Info()
		if !ok || err != nil || time.Since(info.ModTime()) < orphanAge {
			continue
		}
		if _, err := c.settle(shard); err == nil {
			_ = c.remove(filepath.Join(c.staging(), e.Name()))
		}
	}
}

// parseStaged takes the name of something staged apart: RUN-SHARD-SEQ-….
func parseStaged(name string) (shard string, from int64, ok bool) {
	parts := strings.SplitN(name, "-", 4)
	if len(parts) < 4 {
		return "", 0, false
	}
	from, err := strconv.ParseInt(parts[2], 10, 64)
	return parts[0] + "-" + parts[1], from, err == nil
}

func manifestName(from int64) string { return fmt.Sprintf("%019d", from) }

// manifests lists the sequence numbers at which a shard's manifests begin, ascending.
func (c *committer) manifests(dir string) ([]int64, error) {
	entries, err := c.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) { // the shard has none, unless everything is away: this committer has made the staging directory
		if _, err := c.fs.Stat(c.staging()); err != nil {
			return nil, ioSinkError("find", c.staging(), err)
		}
		if entries, err = c.fs.ReadDir(dir); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, ioSinkError("list", dir, err)
	}
	var all []int64
	for _, e := range entries {
		if from, err := strconv.ParseInt(e.Name(), 10, 64); err == nil {
			all = append(all, from)
		}
	}
	return all, nil
}

func (c *committer) readManifest(path string) (m manifest, err error) {
	f, err := c.fs.Open(path)
	if err != nil {
		return m, ioSinkError("open", path, err)
	}
	defer f.Close()
	content, err := io.ReadAll(f)
	if err != nil {
		return m, ioSinkError("read", path, err)
	}
	if err = json.Unmarshal(content, &m); err == nil && m.Version != manifestVersion {
		err = fmt.Errorf("got version %d, want %d", m.Version, manifestVersion)
	}
	if err != nil {
		return m, &fault.SinkError{Detail: fault.Detail{
			Code: "file.manifest", Doing: "read the progress", Connector: "file", At: path, Retry: fault.RetryNever, Err: err,
			Fix: "leave the directory .adf to the sink, and use the release that wrote it or a later one",
		}}
	}
	return m, nil
}

// Close has nothing to do.
func (c *committer) Close() error { return nil }

// discard removes staged files.
func (p place) discard(files []staged) error {
	for _, f := range files {
		if err := p.remove(filepath.Join(p.staging(), f.Name)); err != nil {
			return err
		}
	}
	return nil
}

// remove removes a file if it is there.
func (p place) remove(path string) error {
	if err := p.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return ioSinkError("remove", path, err)
	}
	return nil
}

func (p place) makeDir(path string) error {
	if err := errorfs.MkdirAll(p.fs, path); err != nil {
		return ioSinkError("make directory", path, err)
	}
	return nil
}

func (p place) syncDir(path string) error {
	if err := p.fs.SyncDir(path); err != nil {
		return ioSinkError("sync", path, err)
	}
	return nil
}
