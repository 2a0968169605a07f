package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/activedataflow/adf/fault"
)

// found is a file that a glob matched.
type found struct {
	path string
	size int64
}

// find lists the files that globs match, sorted by name, each once. Directories and what is no regular file are passed over, and so are hidden files,
// unless a glob spells the dot out.
func find(globs []string) ([]found, error) {
	var all []found
	for _, glob := range globs {
		if !filepath.IsAbs(glob) {
			if _, err := os.Getwd(); err != nil { // else nothing would match, for ever
				return nil, ioSourceError("list files", glob, err)
			}
		}
		paths, err := doublestar.FilepathGlob(glob, doublestar.WithFailOnIOErrors(), doublestar.WithNoHidden())
		if err != nil {
			return nil, ioSourceError("list files", glob, err)
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			switch {
			case errors.Is(err, fs.ErrNotExist): // removed meanwhile, or a link to nowhere
				continue
			case err != nil:
				return nil, ioSourceError("list files", path, err)
			case info.IsDir() && path == filepath.Clean(glob):
				return nil, &fault.SourceError{Detail: fault.Detail{
					Code: "file.directory", Doing: "list files", Connector: "file", At: glob, Retry: fault.RetryNever,
					Err: errors.New("it is a directory"), Fix: fmt.Sprintf("for the files in it write %q, for those below it too %q", filepath.Join(path, "*"), filepath.Join(path, "**")),
				}}
			case info.Mode().IsRegular():
				all = append(all, found{path, info.Size()})
			}
		}
	}
	slices.SortFunc(all, func(a, b found) int { return strings.Compare(a.path, b.path) })
	return slices.CompactFunc(all, func(a, b found) bool { return a.path == b.path }), nil
}

// noMatch is the error of a bounded source without files.
func noMatch(globs []string) error {
	quoted := make([]string, len(globs))
	for i, g := range globs {
		quoted[i] = fmt.Sprintf("%q", g)
	}
	dir, _ := os.Getwd()
	return &fault.SourceError{Detail: fault.Detail{
		Code: "file.no_match", Doing: "list files", Connector: "file", Retry: fault.RetryNever,
		Err: fmt.Errorf("no file matches %s", strings.Join(quoted, ", ")), Fix: fmt.Sprintf("relative paths start at %s", dir),
	}}
}
