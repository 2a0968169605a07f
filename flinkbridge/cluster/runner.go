package cluster

import (
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/activedataflow/adf/deploy/flink/runner"
)

// The versions that the runner JAR is made of when none are given.
const (
	BeamVersion = "2.62.0"
	FlinkMinor  = "1.19"
)

// EntryClass is the class of the runner that Flink starts.
const EntryClass = "org.apache.beam.runners.flink.FlinkPipelineRunner"

// RunnerOptions say which runner JAR is wanted.
type RunnerOptions struct {
	// Jar is a runner JAR or a job-server JAR that is there already; it is checked and used as it is.
	Jar string
	// Beam is the version of Beam ("" is [BeamVersion]), Flink that of Flink with two numbers ("" is [FlinkMinor]).
	Beam, Flink string
	// Cache is the folder where the JAR is kept; "" is [DefaultCache].
	Cache string
	// Maven is the command; "" is mvn.
	Maven string
}

// RunnerJar gives the path of the runner JAR. The first time it is made: Maven resolves its parts, which takes half a minute and its registry; later it is
// taken from the cache, when its checksum, beside it in NAME.sha256, is right.
func RunnerJar(ctx context.Context, o RunnerOptions) (string, error) {
	o.Beam, o.Flink, o.Maven = cmp.Or(o.Beam, BeamVersion), cmp.Or(o.Flink, FlinkMinor), cmp.Or(o.Maven, "mvn")
	if o.Jar != "" {
		_, err := InspectRunner(o.Jar)
		return o.Jar, err
	}
	jar, err := cachedRunner(o)
	if err != nil {
		return "", err
	}
	if checked(jar) {
		return jar, nil
	}
	os.Remove(jar + ".sha256") // not there, or damaged
	os.Remove(jar)
	if err := once(jar, func(tmp string) error { return o.build(ctx, tmp) }); err != nil {
		return "", err
	}
	if _, err := InspectRunner(jar); err != nil {
		return "", err
	}
	digest, err := sum(jar)
	if err == nil {
		err = once(jar+".sha256", func(tmp string) error { return os.WriteFile(tmp, []byte(digest+"  "+filepath.Base(jar)+"\n"), 0o644) })
	}
	if err != nil {
		return "", failed("flink.runner", "keep the runner JAR", err, "")
	}
	return jar, nil
}

// CachedRunner is the path of the runner JAR when it has been made already.
func CachedRunner(o RunnerOptions) (jar string, ok bool) {
	o.Beam, o.Flink = cmp.Or(o.Beam, BeamVersion), cmp.Or(o.Flink, FlinkMinor)
	jar, err := cachedRunner(o)
	return jar, err == nil && checked(jar)
}

func cachedRunner(o RunnerOptions) (string, error) {
	cache, err := cacheOr(o.Cache)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(runner.POM)
	return filepath.Join(cache, "flink", fmt.Sprintf("runner-flink-%s-beam-%s-%x.jar", o.Flink, o.Beam, digest[:4])), nil
}

// checked says whether a JAR is what its checksum file says.
func checked(jar string) bool {
	want, err := os.ReadFile(jar + ".sha256")
	if err != nil {
		return false
	}
	got, err := sum(jar)
	return err == nil && strings.HasPrefix(string(want), got+" ")
}

// build resolves the parts and merges them.
func (o RunnerOptions) build(ctx context.Context, jar string) error {
	const fix = "the first time this needs Maven with its registry; or give a runner JAR or a job-server JAR by --runner-jar"
	doing := "make the runner JAR of Beam " + o.Beam + " for Flink " + o.Flink
	maven, err := exec.LookPath(o.Maven)
	if err != nil {
		return failed("flink.runner", doing, err, fix)
	}
	dir := filepath.Dir(jar)
	if err := os.WriteFile(filepath.Join(dir, "pom.xml"), runner.POM, 0o644); err != nil {
		return failed("flink.runner", doing, err, "")
	}
	if err := tool(ctx, dir, maven, "--quiet", "--batch-mode", "-Dstyle.color=never", "-Dbeam.version="+o.Beam, "-Dflink.version="+o.Flink,
		"dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(dir, "parts")); err != nil {
		return failed("flink.runner", doing, err, fix)
	}
	parts, err := filepath.Glob(filepath.Join(dir, "parts", "*.jar"))
	if err == nil {
		err = merge(jar, parts, Runner{Beam: o.Beam, Flink: o.Flink})
	}
	if err != nil {
		return failed("flink.runner", doing, err, "")
	}
	return nil
}

// madeAt is the time of every entry, so that the same parts make the same JAR.
var madeAt = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// properties is the entry that says what a runner JAR was made of.
const properties = "META-INF/adf-runner.properties"

// merge makes one JAR of many, in the order of their names: files that are there twice are taken from the first, but for the lists of services, which are put
// together. Signatures, which would not fit any more, module descriptors, and JARs of Flink itself stay out.
func merge(to string, parts []string, made Runner) (err error) {
	parts = slices.DeleteFunc(slices.Clone(parts), func(p string) bool { return strings.HasPrefix(filepath.Base(p), "flink-") })
	slices.SortFunc(parts, func(a, b string) int { return cmp.Compare(filepath.Base(a), filepath.Base(b)) })
	if len(parts) == 0 {
		return errors.New("there is nothing to merge")
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(f, 1<<20)
	z := zip.NewWriter(out)
	defer func() {
		err = errors.Join(err, z.Close(), out.Flush(), f.Close())
	}()
	text := func(name, content string) error {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: madeAt})
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		return err
	}
	list := fmt.Sprintf("beam.version=%s\nflink.version=%s\n", made.Beam, made.Flink)
	for i, p := range parts {
		list += fmt.Sprintf("part.%d=%s\n", i+1, filepath.Base(p))
	}
	err = errors.Join(
		text("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\nMain-Class: "+EntryClass+"\r\nMulti-Release: true\r\n\r\n"),
		text(properties, list))
	seen := map[string]bool{"META-INF/MANIFEST.MF": true, properties: true}
	services := map[string][]string{}
	for _, p := range parts {
		if err == nil {
			err = mergeOne(z, p, seen, services)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		if err == nil {
			err = text(name, strings.Join(services[name], "\n")+"\n")
		}
	}
	return err
}

func mergeOne(to *zip.Writer, part string, seen map[string]bool, services map[string][]string) error {
	z, err := zip.OpenReader(part)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(part), err)
	}
	defer z.Close()
	for _, f := range z.File {
		switch name := f.Name; {
		case strings.HasPrefix(name, "META-INF/services/") && !strings.HasSuffix(name, "/"):
			lines, err := serviceLines(f)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", filepath.Base(part), name, err)
			}
			for _, l := range lines {
				if !slices.Contains(services[name], l) {
					services[name] = append(services[name], l)
				}
			}
		case strings.HasSuffix(name, "/"), seen[name], leftOut(name):
		default:
			seen[name] = true
			if err := copyRaw(to, f); err != nil {
				return fmt.Errorf("%s: %s: %w", filepath.Base(part), name, err)
			}
		}
	}
	return nil
}

// leftOut are entries that do not belong into a merged JAR.
func leftOut(name string) bool {
	if name == "module-info.class" || strings.HasSuffix(name, "/module-info.class") || name == "META-INF/INDEX.LIST" || name == "log4j.properties" {
		return true
	}
	upper := strings.ToUpper(name)
	return strings.HasPrefix(upper, "META-INF/") && strings.Count(upper, "/") == 1 &&
		(strings.HasSuffix(upper, ".SF") || strings.HasSuffix(upper, ".DSA") || strings.HasSuffix(upper, ".RSA") || strings.HasSuffix(upper, ".EC"))
}

func serviceLines(f *zip.File) (lines []string, err error) {
	data, err := readEntry(f)
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines, err
}

func readEntry(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}

// copyRaw copies an entry as it is compressed.
func copyRaw(to *zip.Writer, f *zip.File) error {
	r, err := f.OpenRaw()
	if err != nil {
		return err
	}
	h := zip.FileHeader{Name: f.Name, Method: f.Method, CRC32: f.CRC32, CompressedSize64: f.CompressedSize64, UncompressedSize64: f.UncompressedSize64}
	h.SetModTime(madeAt) //nolint:staticcheck // the fields themselves: CreateRaw does not make them of Modified
	w, err := to.CreateRaw(&h)
	if err == nil {
		_, err = io.Copy(w, r)
	}
	return err
}

// Runner is what is in a runner JAR.
type Runner struct {
	// Beam is the version of Beam; Flink is that of Flink with two numbers, "" when the JAR does not say it.
	Beam, Flink string
}

// InspectRunner says what a JAR is made of; one without Beam's Flink runner is an error.
func InspectRunner(jar string) (Runner, error) {
	const fix = "give the JAR that adf flink up has made, or a job-server JAR of Beam for this version of Flink (beam-runners-flink-X.Y-job-server)"
	refuse := func(err error) (Runner, error) {
		return Runner{}, failed("flink.runner", "read the runner JAR", err, fix)
	}
	z, err := zip.OpenReader(jar)
	if err != nil {
		return refuse(fmt.Errorf("%s: %w", jar, err))
	}
	defer z.Close()
	var r Runner
	entry := false
	for _, f := range z.File {
		var key *string
		var name string
		switch {
		case strings.HasPrefix(f.Name, "BEAM-PIPELINE/"):
			return refuse(fmt.Errorf("%s: it is the JAR of a job", jar))
		case f.Name == strings.ReplaceAll(EntryClass, ".", "/")+".class":
			entry = true
		case f.Name == properties:
			key, name = &r.Flink, "flink.version"
		case f.Name == "org/apache/beam/sdk/sdk.properties":
			key, name = &r.Beam, "version"
		case strings.HasPrefix(f.Name, "META-INF/maven/org.apache.beam/beam-runners-flink-") && r.Flink == "":
			_, rest, _ := strings.Cut(f.Name, "beam-runners-flink-")
			rest, _, _ = strings.Cut(rest, "/")
			r.Flink, _, _ = strings.Cut(rest, "-")
		}
		if key == nil {
			continue
		}
		data, err := readEntry(f)
		if err != nil {
			return refuse(fmt.Errorf("%s: %s: %w", jar, f.Name, err))
		}
		*key = property(data, name)
	}
	if !entry {
		return refuse(fmt.Errorf("%s: the class %s is not in it", jar, EntryClass))
	}
	return r, nil
}

// property is a value of a Java properties file.
func property(data []byte, key string) string {
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if k, v, ok := strings.Cut(s.Text(), "="); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
