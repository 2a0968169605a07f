package flinkbridge

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine/checkpoint"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
)

// committing gives a job whose sink is a directory of JSON lines, and a part for it that lies on staging storage.
func committing(t *testing.T, dir string) (j *job, part func(n int64) *adfv1.Part) {
	t.Helper()
	f := adf.New("committing")
	adf.From(f, "in", memory.Values[int64](1)).To("out", &file.Sink[int64]{Path: dir, Format: "jsonl"})
	g := built(t, f)
	store, err := checkpoint.OpenDirectory(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := specified(t, g, Options{})
	s.Streaming = true
	j = newJob(t.Context(), s, g, store, slog.Default())
	return j, func(n int64) *adfv1.Part { return partsOf(t, j, true, n).Parts[0] }
}

// partsOf makes the parts of one bundle for the sink out, by value or spilled, as if they had been too large for that.
func partsOf(t *testing.T, j *job, spilled bool, records ...int64) *adfv1.Committable {
	t.Helper()
	st := newStage(t.Context(), j)
	w, b := st.write("out"), j.node("out").Out.NewBatch()
	for _, r := range records {
		b.(*record.Batch[int64]).Append(r, record.Meta{})
	}
	if _, err := w.Add(t.Context(), b, func(_ int, err error) { t.Error(err) }); err != nil {
		t.Fatal(err)
	}
	parts, err := w.Take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if spilled {
		r, err := st.spill(t.Context(), "out", parts[0].GetValue())
		if err != nil {
			t.Fatal(err)
		}
		if err := st.blobs["out"].Commit(); err != nil {
			t.Fatal(err)
		}
		delete(st.blobs, "out")
		parts = []*adfv1.Part{{Content: &adfv1.Part_Blob{Blob: r}}}
	}
	if err := st.end(); err != nil {
		t.Fatal(err)
	}
	return &adfv1.Committable{Run: st.token, Parts: parts}
}

// written is what the directory has, in order.
func written(t *testing.T, dir string) (all []string) {
	t.Helper()
	paths, err := filepath.Glob(dir + "/*.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, string(content))
	}
	return all
}

func line(n int) string { return fmt.Sprintf("{\"value\":%d}\n", n) }

// TestCommittedBefore: after a failure the runner gives again what another worker has committed in part, and removed from staging.
func TestCommittedBefore(t *testing.T) {
	dir := t.TempDir()
	j, part := committing(t, dir)
	first, second, third := part(1), part(2), part(3)
	before := &adfv1.Committable{Run: j.Run, Parts: []*adfv1.Part{first, second}}
	if err := j.commitAll(t.Context(), "out", []*adfv1.Committable{before}); err != nil {
		t.Fatal(err)
	}
	again := &adfv1.Committable{Run: j.Run, Parts: []*adfv1.Part{first, second, third}}
	if err := j.commitAll(t.Context(), "out", []*adfv1.Committable{again}); err != nil {
		t.Fatal(err)
	}
	if got := written(t, dir); !slices.Equal(got, []string{line(1) + line(2), line(3)}) {
		t.Errorf("got %q, want each record once", got)
	}
}

// TestTargetAway: a commit waits for a target that is not there, as a disk that is not mounted, and one that goes away between two commits.
func TestTargetAway(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("disk", dir+"/at"); err != nil {
		t.Fatal(err)
	}
	j, part := committing(t, dir+"/at/out")
	back := func() {
		time.Sleep(150 * time.Millisecond)
		if err := os.MkdirAll(dir+"/disk", 0o755); err != nil {
			t.Error(err)
		}
	}
	go back()
	if err := j.commitAll(t.Context(), "out", []*adfv1.Committable{{Run: j.Run, Parts: []*adfv1.Part{part(1)}}}); err != nil {
		t.Fatal(err)
	}
	to := &target{job: j, node: "out"}
	defer to.close()
	if err := to.commit(t.Context(), &adfv1.Committable{Run: j.Run, From: 1, Parts: []*adfv1.Part{part(2)}}); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir+"/disk", dir+"/away"); err != nil {
		t.Fatal(err)
	}
	go func() {
		time.Sleep(150 * time.Millisecond)
		if err := os.Rename(dir+"/away", dir+"/disk"); err != nil {
			t.Error(err)
		}
	}()
	if err := to.commit(t.Context(), &adfv1.Committable{Run: j.Run, From: 2, Parts: []*adfv1.Part{part(3)}}); err != nil {
		t.Fatal(err)
	}
	if got := written(t, dir+"/at/out"); !slices.Equal(got, []string{line(1), line(2), line(3)}) {
		t.Errorf("got %q, want each record once", got)
	}
}
