package cluster

import (
	"archive/zip"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/activedataflow/adf/fault"
)

// jar writes a JAR of names and contents, in turn.
func jar(t *testing.T, path string, entries ...string) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for i := 0; i < len(entries); i += 2 {
		w, err := z.Create(entries[i])
		if err == nil {
			_, err = w.Write([]byte(entries[i+1]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func entries(t *testing.T, path string) (names []string, content map[string]string) {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	content = map[string]string{}
	for _, f := range z.File {
		data, err := readEntry(f)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name)
		content[f.Name] = string(data)
	}
	return names, content
}

const entryFile = "org/apache/beam/runners/flink/FlinkPipelineRunner.class"

func code(err error) string {
	if d, ok := fault.DetailOf(err); ok {
		return d.Code
	}
	return ""
}

func TestMerge(t *testing.T) {
	dir := t.TempDir()
	big := strings.Repeat("the same again ", 1000)
	parts := []string{
		jar(t, filepath.Join(dir, "b-1.jar"), "same.txt", "from b", "META-INF/services/x.Y", "# of b\nb.One\nall.Both # twice\n", "META-INF/B.SF", "signed", "META-INF/B.RSA", "signed"),
		jar(t, filepath.Join(dir, "a-1.jar"), "META-INF/MANIFEST.MF", "of a", "same.txt", "from a", "dir/", "", "big.txt", big, "META-INF/services/x.Y", "all.Both\n\na.One", "module-info.class", "m",
			"META-INF/versions/9/module-info.class", "m", "META-INF/versions/9/V.class", "v", entryFile, "class", "org/apache/beam/sdk/sdk.properties", "# of Beam\nversion=2.62.0\n"),
		jar(t, filepath.Join(dir, "flink-core-1.19.0.jar"), "org/apache/flink/X.class", "flink"),
	}
	out := filepath.Join(dir, "out.jar")
	made := Runner{Beam: "2.62.0", Flink: "1.19"}
	if err := merge(out, parts, made); err != nil {
		t.Fatal(err)
	}
	names, content := entries(t, out)
	want := []string{"META-INF/MANIFEST.MF", properties, "same.txt", "big.txt", "META-INF/versions/9/V.class", entryFile, "org/apache/beam/sdk/sdk.properties", "META-INF/services/x.Y"}
	if !slices.Equal(names, want) {
		t.Errorf("got  %q\nwant %q", names, want)
	}
	for name, want := range map[string]string{
		"same.txt": "from a", "big.txt": big, "META-INF/services/x.Y": "all.Both\na.One\nb.One\n",
		properties: "beam.version=2.62.0\nflink.version=1.19\npart.1=a-1.jar\npart.2=b-1.jar\n",
	} {
		if content[name] != want {
			t.Errorf("%s: got %q, want %q", name, content[name], want)
		}
	}
	if !strings.Contains(content["META-INF/MANIFEST.MF"], "Main-Class: "+EntryClass+"\r\n") {
		t.Errorf("got %q", content["META-INF/MANIFEST.MF"])
	}
	if r, err := InspectRunner(out); err != nil || r != made {
		t.Errorf("got %+v, %v", r, err)
	}

	again := filepath.Join(dir, "again.jar")
	slices.Reverse(parts)
	if err := merge(again, parts, made); err != nil {
		t.Fatal(err)
	}
	a, _ := os.ReadFile(out)
	b, _ := os.ReadFile(again)
	if string(a) != string(b) {
		t.Error("the same parts make another JAR")
	}
	if err := merge(out, parts[:1], made); err == nil || !strings.Contains(err.Error(), "nothing to merge") {
		t.Errorf("only Flink: got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "c.jar"), []byte("no JAR"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := merge(out, []string{filepath.Join(dir, "c.jar")}, made); err == nil || !strings.Contains(err.Error(), "c.jar: zip: not a valid zip file") {
		t.Errorf("no JAR: got %v", err)
	}
}

func TestInspectRunner(t *testing.T) {
	dir := t.TempDir()
	server := jar(t, filepath.Join(dir, "server.jar"), entryFile, "class", "META-INF/maven/org.apache.beam/beam-runners-flink-1.18-job-server/pom.properties", "",
		"org/apache/beam/sdk/sdk.properties", "version = 2.60.0\n")
	if r, err := InspectRunner(server); err != nil || r != (Runner{"2.60.0", "1.18"}) {
		t.Errorf("got %+v, %v", r, err)
	}
	if got, err := RunnerJar(t.Context(), RunnerOptions{Jar: server}); err != nil || got != server {
		t.Errorf("got %q, %v", got, err)
	}
	other := jar(t, filepath.Join(dir, "other.jar"), "X.class", "class")
	for _, file := range []string{other, filepath.Join(dir, "missing.jar")} {
		_, err := RunnerJar(t.Context(), RunnerOptions{Jar: file})
		if code(err) != "flink.runner" || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "job-server JAR") {
			t.Errorf("got %v", err)
		}
	}
}

// maven is a command that does what Maven does, with parts of its own; it counts its calls.
func maven(t *testing.T, script string) (command, calls string) {
	t.Helper()
	dir := t.TempDir()
	calls = filepath.Join(dir, "calls")
	command = filepath.Join(dir, "mvn")
	part := jar(t, filepath.Join(dir, "part.jar"), entryFile, "class", "org/apache/beam/sdk/sdk.properties", "version=9.9.9\n")
	text := "#!/bin/sh\necho \"$@\" >>" + calls + "\n" + strings.ReplaceAll(script, "PART", part)
	if err := os.WriteFile(command, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return command, calls
}

func TestRunnerJarIsMadeOnce(t *testing.T) {
	mvn, calls := maven(t, "grep -q beam-runners-flink pom.xml && mkdir parts && cp PART parts/")
	o := RunnerOptions{Cache: t.TempDir(), Maven: mvn, Beam: "9.9.9", Flink: "1.18"}
	if _, ok := CachedRunner(o); ok {
		t.Error("it is there already")
	}
	got, err := RunnerJar(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r, err := InspectRunner(got); err != nil || r != (Runner{"9.9.9", "1.18"}) {
		t.Errorf("got %+v, %v", r, err)
	}
	if again, ok := CachedRunner(o); !ok || again != got {
		t.Errorf("got %q, %v", again, ok)
	}
	count := func() int {
		data, _ := os.ReadFile(calls)
		return strings.Count(string(data), "-Dbeam.version=9.9.9 -Dflink.version=1.18 dependency:copy-dependencies")
	}
	if again, err := RunnerJar(t.Context(), o); err != nil || again != got || count() != 1 {
		t.Errorf("got %q, %v after %d calls", again, err, count())
	}
	f, err := os.OpenFile(got, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteString("damage")
	f.Close()
	if again, err := RunnerJar(t.Context(), o); err != nil || again != got || count() != 2 || !checked(got) {
		t.Errorf("a damaged one is used: got %q, %v after %d calls", again, err, count())
	}
	left, err := os.ReadDir(filepath.Dir(got))
	if err != nil || len(left) != 2 {
		t.Errorf("got %v in the cache, %v", left, err)
	}
}

func TestRunnerJarWithoutMaven(t *testing.T) {
	mvn, _ := maven(t, "echo could not resolve beam; exit 1")
	o := RunnerOptions{Cache: t.TempDir(), Maven: mvn}
	_, err := RunnerJar(t.Context(), o)
	if code(err) != "flink.runner" || !strings.Contains(err.Error(), "mvn: exit status 1\ncould not resolve beam") {
		t.Errorf("got %v", err)
	}
	o.Maven = filepath.Join(t.TempDir(), "none")
	if _, err := RunnerJar(t.Context(), o); code(err) != "flink.runner" || !strings.Contains(err.Error(), "give a runner JAR or a job-server JAR by --runner-jar") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o.Maven, _ = maven(t, "sleep 60")
	if _, err := RunnerJar(ctx, o); err == nil {
		t.Error("it goes on after its context has ended")
	}
	left, _ := filepath.Glob(filepath.Join(o.Cache, "flink", "*"))
	if len(left) != 0 {
		t.Errorf("left in the cache: %v", left)
	}
}
