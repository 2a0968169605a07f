package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/internal/errorfs"
	"github.com/activedataflow/adf/sinks"
)

var lines = form{Ext: ".txt"}

// partOf makes a part of lines: "dir:text" puts the text into a directory.
func partOf(f form, texts ...string) []byte {
	part := f.append(nil)
	for _, text := range texts {
		dir, text, ok := strings.Cut(text, ":")
		if !ok {
			dir, text = "", dir
		}
		part = appendBytes(appendBytes(part, dir), appendBytes(nil, text))
	}
	return part
}

type target struct {
	place
	t *testing.T
}

func newTarget(t *testing.T) target {
	return target{place{errorfs.OS{}, filepath.Join(t.TempDir(), "out")}, t}
}

var testShard = sinks.Shard{Flow: "flow", Node: "out", Run: "run-1"}

// prepare stages parts as one commit.
func (tg target) prepare(from int64, parts ...[]byte) (sinks.Committable[work], error) {
	w, err := newWriter(tg.place, testShard, from, none, "part", 1000)
	if err != nil {
		return sinks.Committable[work]{}, err
	}
	defer w.Close()
	for _, p := range parts {
		if err := w.Write(context.Background(), p); err != nil {
			return sinks.Committable[work]{}, err
		}
	}
	prepared, err := w.Prepare(context.Background())
	return sinks.Committable[work]{Shard: testShard, From: from, To: from + int64(len(parts)) - 1, Value: prepared}, err
}

func (tg target) must(c sinks.Committable[work], err error) sinks.Committable[work] {
	tg.t.Helper()
	if err != nil {
		tg.t.Fatal(err)
	}
	return c
}

func (tg target) commit(c sinks.Committable[work]) error {
	cm, err := newCommitter(tg.place)
	if err != nil {
		return err
	}
	return cm.Commit(context.Background(), c)
}

func (tg target) progressOf(sh sinks.Shard) int64 {
	tg.t.Helper()
	cm, err := newCommitter(tg.place)
	if err != nil {
		tg.t.Fatal(err)
	}
	n, err := cm.Progress(context.Background(), sh)
	if err != nil {
		tg.t.Fatal(err)
	}
	return n
}

// content is every file that a reader of the directory sees, by its path with the run's key as RUN.
func (tg target) content() map[string]string { return tree(tg.t, tg.path, testShard) }

func tree(t *testing.T, dir string, sh sinks.Shard) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if d.Name() == ".adf" {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			rel, _ := filepath.Rel(dir, path)
			files[strings.ReplaceAll(filepath.ToSlash(rel), runKey(sh), "RUN")] = string(content)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func (tg target) want(files map[string]string) {
	tg.t.Helper()
	if got := tg.content(); fmt.Sprint(got) != fmt.Sprint(files) {
		tg.t.Fatalf("got %v, want %v", got, files)
	}
}

// clean checks that nothing is left in staging.
func (tg target) clean() {
	tg.t.Helper()
	entries, err := os.ReadDir(tg.staging())
	if err != nil {
		tg.t.Fatal(err)
	}
	for _, e := range entries {
		tg.t.Errorf("%s is left in staging", e.Name())
	}
}

func TestCommitMakesFilesVisible(t *testing.T) {
	tg := newTarget(t)
	first := tg.must(tg.prepare(0, partOf(lines, "a\n", "b\n"), nil, partOf(lines, "c\n")))
	tg.want(map[string]string{})
	if err := tg.commit(first); err != nil {
		t.Fatal(err)
	}
	if err := tg.commit(tg.must(tg.prepare(3, partOf(lines, "d\n")))); err != nil {
		t.Fatal(err)
	}
	if err := tg.commit(tg.must(tg.prepare(4, nil))); err != nil { // progress alone
		t.Fatal(err)
	}
	tg.want(map[string]string{"part-RUN-00-00000000-0.txt": "a\nb\nc\n", "part-RUN-00-00000003-0.txt": "d\n"})
	if n := tg.progressOf(testShard); n != 4 {
		t.Errorf("progress is %d, want 4", n)
	}
	tg.clean()
	other := testShard
	other.Run = "run-2"
	if n := tg.progressOf(other); n != -1 {
		t.Errorf("progress of another run is %d, want -1", n)
	}
}

func TestFilesRollAndAreWhole(t *testing.T) {
	tg := newTarget(t)
	f := form{Ext: ".json", Head: "[\n", Between: ",\n", Tail: "\n]\n"}
	long := strings.Repeat("x", 600)
	if err := tg.commit(tg.must(tg.prepare(0, partOf(f, long, "1", "2"), partOf(f, long, strings.Repeat("y", 2000), "3")))); err != nil {
		t.Fatal(err)
	}
	tg.want(map[string]string{
		"part-RUN-00-00000000-0.json": "[\n" + long + ",\n1,\n2\n]\n",
		"part-RUN-00-00000000-1.json": "[\n" + long + "\n]\n",
		"part-RUN-00-00000000-2.json": "[\n" + strings.Repeat("y", 2000) + "\n]\n",
		"part-RUN-00-00000000-3.json": "[\n3\n]\n",
	})
}

// However many directories there are and however little memory, nothing is lost and every file is whole.
func TestManyDirectories(t *testing.T) {
	for _, compression := range []string{none, gz, zst} {
		for _, l := range []limits{usualLimits, {piece: 10, held: 1 << 20, open: 1000}, {piece: 100, held: 300, open: 1000}, {piece: 20, held: 500, open: 3}} {
			tg := newTarget(t)
			f := form{Ext: ".json", Head: "[", Between: ",", Tail: "]\n"}
			w, err := newWriter(tg.place, testShard, 0, compression, "part", 60)
			if err != nil {
				t.Fatal(err)
			}
			w.limits = l
			want := map[string]string{}
			var texts []string
			for round := range 30 {
				for d := range 12 {
					if round%(d+1) == 0 {
						texts = append(texts, fmt.Sprintf("d=%d:{\"n\":%d}", d, round))
						want[fmt.Sprint(d)] += fmt.Sprintf(" %d", round)
					}
				}
			}
			if err := w.Write(context.Background(), partOf(f, texts...)); err != nil {
				t.Fatal(err)
			}
			prepared, err := w.Prepare(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if err := tg.commit(sinks.Committable[work]{Shard: testShard, Value: prepared}); err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for d := range 12 {
				type number struct {
					N int64 `adf:"n"`
				}
				numbers, err := readBack[number](filepath.Join(tg.path, fmt.Sprintf("d=%d", d)), "json", ".json"+suffixes[compression])
				if err != nil {
					t.Fatal(err)
				}
				slices.SortFunc(numbers, func(a, b number) int { return int(a.N - b.N) })
				for _, n := range numbers {
					got[fmt.Sprint(d)] += fmt.Sprintf(" %d", n.N)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s, %+v: got %v, want %v", compression, l, got, want)
			}
			tg.clean()
		}
	}
}

// Every attempt sees its own part; the first that decided counts, whatever became of its file.
func TestRepeatedCommitsChangeNothing(t *testing.T) {
	tg := newTarget(t)
	zombie := tg.must(tg.prepare(0, partOf(lines, "a\n")))
	if err := tg.commit(tg.must(tg.prepare(0, partOf(lines, "a\n")))); err != nil {
		t.Fatal(err)
	}
	name := "part-RUN-00-00000000-0.txt"
	tg.want(map[string]string{name: "a\n"})
	if err := os.Remove(filepath.Join(tg.path, strings.ReplaceAll(name, "RUN", runKey(testShard)))); err != nil {
		t.Fatal(err)
	}
	if err := tg.commit(zombie); err != nil {
		t.Fatal(err)
	}
	tg.want(map[string]string{})
	if err := tg.commit(tg.must(tg.prepare(0, partOf(lines, "a\n")))); err != nil {
		t.Fatal(err)
	}
	tg.want(map[string]string{})
	tg.clean()
}

func TestGap(t *testing.T) {
	tg := newTarget(t)
	err := tg.commit(tg.must(tg.prepare(1, partOf(lines, "a\n"))))
	var gap *sinks.GapError
	if !errors.As(err, &gap) || gap.Progress != -1 || gap.From != 1 || fault.Retryable(err) {
		t.Fatalf("got %v, want a gap", err)
	}
	tg.want(map[string]string{})
	tg.clean()
}

// sleeping is a file system that calls a function before the nth link.
type sleeping struct {
	errorfs.FS
	before func()
}

func (s sleeping) Link(old, new string) error {
	s.before()
	return s.FS.Link(old, new)
}

// A process sleeps between its look at the progress and its manifest. Meanwhile others commit the same and more, so that the manifest it creates
// has been there and was removed.
func TestZombieBetweenProgressAndManifest(t *testing.T) {
	for later := range 5 {
		tg := newTarget(t)
		zombie := tg.must(tg.prepare(0, partOf(lines, "0\n")))
		cm, err := newCommitter(tg.place)
		if err != nil {
			t.Fatal(err)
		}
		cm.fs = sleeping{errorfs.OS{}, func() {
			for seq := range int64(later + 1) {
				if err := tg.commit(tg.must(tg.prepare(seq, partOf(lines, fmt.Sprintf("%d\n", seq))))); err != nil {
					t.Fatal(err)
				}
			}
			entries, _ := filepath.Glob(filepath.Join(tg.path, "part-*"))
			for _, e := range entries { // whoever reads the directory takes what is there
				os.Remove(e)
			}
		}}
		if err := cm.Commit(context.Background(), zombie); err != nil {
			t.Fatalf("%d later: %v", later, err)
		}
		tg.want(map[string]string{})
		tg.clean()
		if n := tg.progressOf(testShard); n != int64(later) {
			t.Errorf("progress is %d, want %d", n, later)
		}
		if err := tg.commit(tg.must(tg.prepare(int64(later)+1, partOf(lines, "next\n")))); err != nil {
			t.Fatal(err)
		}
	}
}

// Another attempt had fewer parts: what it lacked is prepared again.
func TestOvertaken(t *testing.T) {
	tg := newTarget(t)
	slow := tg.must(tg.prepare(0, partOf(lines, "0\n"), partOf(lines, "1\n")))
	if err := tg.commit(tg.must(tg.prepare(0, partOf(lines, "0\n")))); err != nil {
		t.Fatal(err)
	}
	if err := tg.commit(slow); err == nil || !fault.Retryable(err) {
		t.Fatalf("got %v, want an error that a retry helps against", err)
	}
	if err := tg.commit(tg.must(tg.prepare(1, partOf(lines, "1\n")))); err != nil {
		t.Fatal(err)
	}
	tg.want(map[string]string{"part-RUN-00-00000000-0.txt": "0\n", "part-RUN-00-00000001-0.txt": "1\n"})
	tg.clean()
}

// Every operation fails once, in every way; then the commit is repeated as a runtime does, and the result is exact.
func TestEveryStepFails(t *testing.T) {
	parts := [][]byte{partOf(lines, "a=1:x\n", "a=2:y\n"), partOf(lines, "a=1:z\n", strings.Repeat("w", 999)+"\n")}
	once := func(p place) error {
		w, err := newWriter(p, testShard, 0, none, "part", 1000)
		if err != nil {
			return err
		}
		defer w.Close()
		for _, part := range parts {
			if err := w.Write(context.Background(), part); err != nil {
				return err
			}
		}
		prepared, err := w.Prepare(context.Background())
		if err != nil {
			return err
		}
		cm, err := newCommitter(p)
		if err != nil {
			return err
		}
		return cm.Commit(context.Background(), sinks.Committable[work]{Shard: testShard, From: 0, To: 1, Value: prepared})
	}
	want := map[string]string{
		"a=1/part-RUN-00-00000000-0.txt": "x\nz\n", "a=2/part-RUN-00-00000000-0.txt": "y\n",
		"part-RUN-00-00000000-0.txt": strings.Repeat("w", 999) + "\n",
	}
	tg := newTarget(t)
	clean := errorfs.Wrap(errorfs.OS{})
	if err := once(place{clean, tg.path}); err != nil {
		t.Fatal(err)
	}
	steps := clean.Steps()
	tg.want(want)
	if !slices.ContainsFunc(steps, func(s errorfs.Step) bool { return s.Op == errorfs.OpLink }) {
		t.Fatalf("no link among %v", steps)
	}
	for n, step := range steps {
		for _, f := range []errorfs.Fault{{Err: syscall.ENOSPC}, {Partly: true}, {Crash: true}, {Crash: true, Partly: true}} {
			f.Nth = n + 1
			tg := newTarget(t)
			broken := errorfs.Wrap(errorfs.OS{}, f)
			err := once(place{broken, tg.path})
			if err == nil && !f.Crash && step.Op != errorfs.OpRemove {
				t.Errorf("%v, %+v: no error", step, f)
			}
			if err != nil && !fault.Retryable(err) {
				t.Errorf("%v, %+v: %v: a retry would help", step, f, err)
			}
			for name, content := range tg.content() { // whole, or not there
				if want[name] != content {
					t.Errorf("%v, %+v: %s has %q, want %q", step, f, name, content, want[name])
				}
			}
			if err := once(place{errorfs.OS{}, tg.path}); err != nil {
				t.Errorf("%v, %+v: then: %v", step, f, err)
			}
			tg.want(want)
			tg.clean()
			if n := tg.progressOf(testShard); n != 1 {
				t.Errorf("%v, %+v: progress %d, want 1", step, f, n)
			}
		}
	}
}

func TestDiskFull(t *testing.T) {
	tg := newTarget(t)
	tg.fs = errorfs.Wrap(errorfs.OS{}, errorfs.Fault{Op: errorfs.OpWrite, Err: syscall.ENOSPC})
	_, err := tg.prepare(0, partOf(lines, "a\n"))
	if err == nil || !fault.Retryable(err) {
		t.Fatalf("got %v, want an error that a retry helps against", err)
	}
	got := err.Error()
	start := strings.Index(got, tg.path)
	got = got[:start] + "PATH" + got[strings.Index(got, ": no space"):]
	if want := `sink file: write: PATH: no space left on device [file.disk_full]; make room there; nothing is lost or half-written, and the commit is tried again`; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	tg.clean()
}

// Orphans go when they are a day old, and never when a manifest counts on them.
func TestSweep(t *testing.T) {
	tg := newTarget(t)
	tg.must(tg.prepare(7, partOf(lines, "orphan\n")))
	young := tg.must(tg.prepare(7, partOf(lines, "young\n")))
	decided := tg.must(tg.prepare(0, partOf(lines, "decided\n")))
	cm, err := newCommitter(tg.place)
	if err != nil {
		t.Fatal(err)
	}
	if err := cm.decide(decided); err != nil { // and dies
		t.Fatal(err)
	}
	entries, _ := os.ReadDir(tg.staging())
	for _, e := range entries {
		if e.Name() != young.Value.files[0].Name {
			old := time.Now().Add(-orphanAge - time.Minute)
			if err := os.Chtimes(filepath.Join(tg.staging(), e.Name()), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := newCommitter(tg.place); err != nil {
		t.Fatal(err)
	}
	tg.want(map[string]string{"part-RUN-00-00000000-0.txt": "decided\n"})
	entries, _ = os.ReadDir(tg.staging())
	if len(entries) != 1 || entries[0].Name() != young.Value.files[0].Name {
		t.Errorf("staging has %v, want the young file alone", entries)
	}
}

func TestStagedFileGone(t *testing.T) {
	tg := newTarget(t)
	c := tg.must(tg.prepare(0, partOf(lines, "a\n")))
	os.Remove(filepath.Join(tg.staging(), c.Value.files[0].Name))
	err := tg.commit(c)
	if d, _ := fault.DetailOf(err); d == nil || d.Code != "file.staged_gone" || !fault.Retryable(err) {
		t.Fatalf("got %v", err)
	}
	if n := tg.progressOf(testShard); n != -1 {
		t.Errorf("progress is %d, want -1", n)
	}
}

func TestDamagedManifest(t *testing.T) {
	tg := newTarget(t)
	if err := tg.commit(tg.must(tg.prepare(0, partOf(lines, "a\n")))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tg.progress(shardKey(testShard)), manifestName(0)), []byte(`{"version":2}`), 0o644); err != nil {
		t.Fatal(err)
	}
	cm, err := newCommitter(tg.place)
	if err != nil {
		t.Fatal(err)
	}
	_, err = cm.Progress(context.Background(), testShard)
	if d, _ := fault.DetailOf(err); d == nil || d.Code != "file.manifest" || fault.Retryable(err) {
		t.Fatalf("got %v", err)
	}
}

func TestManifestGolden(t *testing.T) {
	tg := newTarget(t)
	if err := tg.commit(tg.must(tg.prepare(0, partOf(lines, "d=1:a\n")))); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(tg.progress(shardKey(testShard)), "0000000000000000000"))
	if err != nil {
		t.Fatal(err)
	}
	got := string(content)
	at := strings.Index(got, `"name":"`) + len(`"name":"zl7yxq4xpyl6ovtz-00-0-`)
	got = got[:at] + "NONCE" + got[at+16:]
	key := runKey(testShard)
	want := `{"version":1,"flow":"flow","node":"out","run":"run-1","shard":0,"from":0,"to":0,"files":[{"name":"` + key + `-00-0-NONCE-0","final":"d=1/part-` + key + `-00-00000000-0.txt"}]}`
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if key != "rn2563g4cv4yfmql" {
		t.Errorf("the key of a run is %s: files of an earlier release would not be found", key)
	}
}

func FuzzReadPart(f *testing.F) {
	f.Add(partOf(lines, "a:b", "c"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, part []byte) {
		n := 0
		err := readPart(part, func(_ form, dir string, text []byte) error { n += len(dir) + len(text); return nil })
		if err != nil && !errors.Is(err, errPart) {
			t.Fatal(err)
		}
	})
}
