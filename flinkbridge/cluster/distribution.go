package cluster

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// FlinkVersion is the version of Flink that is fetched when none is given.
const FlinkVersion = "1.19.3"

// pack is the Python package that is Flink's distribution.
const pack = "apache-flink-libraries"

// sums are the known checksums of the distribution; of other versions the registry's own is believed.
var sums = map[string]string{"1.19.3": "4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60"}

// Distribution gives the folder of Flink's JARs, from the cache or, the first time, from the package registry of Python: 230 MB for 1.19.3.
func Distribution(ctx context.Context, cache, version string) (lib string, err error) {
	cache, err = cacheOr(cache)
	if err != nil {
		return "", err
	}
	lib = filepath.Join(cache, "flink", version)
	return lib, once(lib, func(tmp string) error {
		const fix = "the first time this needs Python with pip and its registry; or give a Flink distribution that is already here by --flink-home"
		python, err := exec.LookPath("python3")
		if err != nil {
			return failed("flink.fetch", "fetch Flink "+version, err, fix)
		}
		down := filepath.Dir(tmp)
		if err := tool(ctx, down, python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", "got", pack+"=="+version); err != nil {
			return failed("flink.fetch", "fetch Flink "+version, err, fix)
		}
		got, err := filepath.Glob(filepath.Join(down, "got", "*"))
		if err != nil || len(got) != 1 {
			return failed("flink.fetch", "fetch Flink "+version, fmt.Errorf("got %d files", len(got)), fix)
		}
		if err := unpack(ctx, got[0], tmp, sums[version]); err != nil {
			return failed("flink.fetch", "unpack Flink "+version, err, "try again; the archive may be damaged")
		}
		return nil
	})
}

// unpack takes the JARs of the class path out of the archive; those of tables and SQL, half of it, are nothing that Beam needs.
func unpack(ctx context.Context, archive, to, want string) error {
	if want != "" {
		if got, err := sum(archive); err != nil || got != want {
			return errors.Join(err, fmt.Errorf("%s: %w: %s", filepath.Base(archive), errChecksum, got))
		}
	}
	if err := os.Mkdir(to, 0o755); err != nil {
		return err
	}
	n := 0
	take := func(name string, r io.Reader) error {
		base := path.Base(name)
		if path.Base(path.Dir(name)) != "lib" || !strings.HasSuffix(base, ".jar") || strings.HasPrefix(base, "flink-table") || strings.HasPrefix(base, "flink-sql") {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n++
		f, err := os.OpenFile(filepath.Join(to, base), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Close())
	}
	var err error
	if strings.HasSuffix(archive, ".whl") {
		err = eachInZip(archive, take)
	} else {
		err = eachInTar(archive, take)
	}
	if err == nil {
		_, err = versionOf(to)
	}
	return err
}

func eachInZip(archive string, take func(string, io.Reader) error) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return err
		}
		if err := errors.Join(take(f.Name, r), r.Close()); err != nil {
			return err
		}
	}
	return nil
}

func eachInTar(archive string, take func(string, io.Reader) error) error {
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err == nil && h.Typeflag == tar.TypeReg {
			err = take(h.Name, t)
		}
		if err != nil {
			return err
		}
	}
}

var distName = regexp.MustCompile(`^flink-dist-(\d+\.\d+\.\d+\S*)\.jar$`)

// versionOf is the version of the Flink whose JARs are in a folder.
func versionOf(lib string) (string, error) {
	all, err := os.ReadDir(lib)
	if err != nil {
		return "", err
	}
	for _, e := range all {
		if m := distName.FindStringSubmatch(e.Name()); m != nil {
			return m[1], nil
		}
	}
	return "", fmt.Errorf("%s: there is no flink-dist-VERSION.jar", lib)
}
