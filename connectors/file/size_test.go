package file_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/connectors/file"
)

func TestSize(t *testing.T) {
	dir := t.TempDir()
	plain := []byte(strings.Repeat("{\"text\": \"a line\"}\n", 1000))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"a.jsonl": plain, "b.jsonl": plain, "c.jsonl.gz": packed.Bytes()} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	type line struct {
		Text string `adf:"text"`
	}
	for _, x := range []struct {
		path  string
		watch time.Duration
		want  int
		known bool
	}{
		{path: "?.jsonl", want: 2 * len(plain), known: true},
		{path: "*", want: 2*len(plain) + 8*packed.Len(), known: true},
		{path: "*", watch: time.Second},
		{path: "none"},
	} {
		src := &file.Source[line]{Path: filepath.Join(dir, x.path), Format: "jsonl", Watch: x.watch}
		if got, known := src.Size(t.Context()); int(got) != x.want || known != x.known {
			t.Errorf("%s: got %d and %v, want %d and %v", x.path, got, known, x.want, x.known)
		}
	}
}
