// Package layers holds the test of the import directions: which package may stand on which.
package layers

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/activedataflow/adf"

// rules say of each part of the house which folders it may import. A part is a folder with everything below it, as far as that has no rule of its own, and
// imports within it are free; "connectors/*" makes each connector a part. What a part may import is a folder, with "/..." also what is below it; "." is
// the root package. A folder that falls under no rule fails the test, so that a new one gets a place.
var rules = map[string][]string{
	"fault":                           {},
	"internal/errorfs":                {},
	"proto/adf/v1":                    {},
	"proto/adf/service/v1":            {"proto/adf/v1"},
	"record":                          {"fault"},
	"splits":                          {"record/...", "fault", "proto/adf/v1"},
	"splits/splitsrpc":                {"splits", "fault", "proto/..."},
	"splits/splittest":                {"splits/...", "record/...", "fault"},
	"sinks":                           {"record/...", "fault"},
	"operators":                       {"record/...", "fault", "proto/adf/v1"},
	"connectors":                      {"splits", "sinks", "record/...", "fault"},
	"connectors/connectortest":        {"connectors", "fault"},
	"connectors/*":                    {"connectors", "splits", "sinks", "record/...", "fault", "internal/errorfs"},
	"internal/yaml":                   {"connectors", "record/...", "fault"},
	".":                               {"connectors", "splits", "sinks", "operators/...", "record/...", "fault", "proto/adf/v1", "internal/yaml/..."},
	"engine":                          {".", "engine/...", "connectors", "splits", "sinks", "operators/...", "record/...", "fault", "proto/adf/v1"},
	"engine/checkpoint":               {"fault", "proto/adf/v1", "internal/errorfs"},
	"engine/checkpoint/checkpointrpc": {"engine/checkpoint", "fault", "proto/..."},
	"engine/task":                     {".", "splits", "sinks", "operators/...", "record/...", "fault", "proto/adf/v1"},
	"adftest":                         {".", "engine", "engine/checkpoint", "connectors", "splits", "sinks", "record/...", "fault"},
	"cli":                             {".", "engine/...", "connectors", "sinks", "record/...", "fault"},
	"deploy/flink/runner":             {},
	"flinkbridge":                     {".", "engine/...", "flinkbridge/rest", "flinkbridge/cluster", "deploy/flink/runner", "connectors", "splits", "sinks", "operators/...", "record/...", "fault", "proto/adf/v1"},
	"flinkbridge/pool":                {"fault"},
	"flinkbridge/rest":                {"fault"},
	"flinkbridge/cluster":             {"flinkbridge/rest", "deploy/flink/runner", "fault"},
	"flinkbridge/doctor":              {"flinkbridge/rest", "flinkbridge/cluster", "fault"},
	"flinkbridge/flinkcli":            {".", "cli", "engine", "engine/...", "flinkbridge/...", "fault"},
	"cmd/adf":                         {"cli", "connectors/...", "flinkbridge/..."},
	"bench/flink":                     {".", "cli", "flinkbridge/flinkcli", "operators", "record/...", "connectors/..."},
	"examples/beam":                   {".", "flinkbridge", "engine", "operators", "connectors/..."},
	"examples/lines":                  {"connectors", "splits", "sinks", "record/...", "fault"},
	"examples/tour":                   {".", "cli", "operators", "connectors/..."},
	"internal/doccheck":               {},
	"internal/itest":                  {},
	"internal/layers":                 {},
	"internal/session":                {},
}

// heavy are modules that only some folders may reach, over any number of steps.
var heavy = map[string][]string{
	"github.com/apache/beam/":           {"flinkbridge", "flinkbridge/pool", "flinkbridge/flinkcli", "cmd/adf", "bench/flink", "examples/beam"},
	"github.com/apache/iceberg-go":      {"connectors/iceberg/...", "cmd/adf"},
	"github.com/spf13/cobra":            {"cli", "flinkbridge/flinkcli", "cmd/adf", "bench/flink", "examples/tour"},
	"github.com/expr-lang/expr":         {"operators/...", ".", "engine/...", "adftest", "flinkbridge", "cli", "flinkbridge/flinkcli", "cmd/adf", "bench/flink", "examples/beam", "examples/tour"},
	"github.com/redpanda-data/benthos/": {},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestImportDirections(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps", module+"/...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %s", exit.Stderr)
		}
		t.Fatal(err)
	}
	seen := 0
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		seen++
		for _, wrong := range check(p) {
			t.Error(wrong)
		}
	}
	if seen < 10 {
		t.Errorf("got %d packages: the list is not whole", seen)
	}
}

// check says what is wrong with a package's imports.
func check(p goPackage) (wrong []string) {
	folder, _ := folderOf(p.ImportPath)
	part, may := partOf(folder)
	if part == "" {
		return []string{folder + " has no rule"}
	}
	for _, i := range p.Imports {
		to, ours := folderOf(i)
		if !ours {
			continue
		}
		if of, _ := partOf(to); of != part && !allowed(to, may) {
			wrong = append(wrong, folder+" imports "+to+", and may only import "+strings.Join(may, ", "))
		}
	}
	for prefix, may := range heavy {
		if slices.ContainsFunc(p.Deps, func(d string) bool { return strings.HasPrefix(d, prefix) }) && !allowed(folder, may) {
			wrong = append(wrong, folder+" reaches "+prefix+", which may only "+strings.Join(may, ", "))
		}
	}
	return wrong
}

// folderOf is an import path's folder in the module.
func folderOf(path string) (folder string, ours bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// partOf is the part that a folder belongs to, and what it may import: the longest rule counts.
func partOf(folder string) (part string, may []string) {
	for name := range rules {
		rule := name
		if of, each := strings.CutSuffix(name, "/*"); each {
			first, _, _ := strings.Cut(strings.TrimPrefix(folder, of+"/"), "/")
			name = of + "/" + first
		}
		if under(folder, name) && len(name) > len(part) || name == part && rule == part {
			part, may = name, rules[rule]
		}
	}
	return part, may
}

// allowed says whether a list has a folder.
func allowed(folder string, list []string) bool {
	return slices.ContainsFunc(list, func(entry string) bool {
		of, below := strings.CutSuffix(entry, "/...")
		return folder == of || below && under(folder, of)
	})
}

func under(folder, of string) bool { return folder == of || strings.HasPrefix(folder, of+"/") }

// The check finds what it is there for.
func TestCheck(t *testing.T) {
	for _, c := range []struct {
		folder, imports, reaches, want string
	}{
		{folder: "connectors/file", imports: "connectors"},
		{folder: "connectors/file/glob", imports: "connectors/file"},
		{folder: "connectors/file", imports: "connectors/stdio", want: "connectors/file imports connectors/stdio, and may only import"},
		{folder: "connectors/file", imports: "engine", want: "connectors/file imports engine"},
		{folder: "connectors", imports: "connectors/file", want: "connectors imports connectors/file"},
		{folder: "connectors/connectortest", imports: "splits", want: "connectors/connectortest imports splits"},
		{folder: "record/row", imports: "record"},
		{folder: "record", imports: "splits", want: "record imports splits"},
		{folder: "operators/state", imports: "operators/state/table"},
		{folder: "engine", imports: "."},
		{folder: ".", imports: "engine", want: ". imports engine"},
		{folder: "engine/task", imports: "engine", want: "engine/task imports engine"},
		{folder: "sideways", imports: "record", want: "sideways has no rule"},
		{folder: "connectors/file", reaches: "github.com/apache/beam/sdks", want: "connectors/file reaches github.com/apache/beam/"},
		{folder: "connectors/iceberg/table", reaches: "github.com/apache/iceberg-go"},
	} {
		p := goPackage{ImportPath: pathOf(c.folder), Deps: []string{c.reaches}}
		if c.imports != "" {
			p.Imports = []string{pathOf(c.imports), "strings"}
		}
		if got := strings.Join(check(p), "\n"); got != c.want && (c.want == "" || !strings.HasPrefix(got, c.want)) {
			t.Errorf("%s imports %q and reaches %q: got %q, want %q", c.folder, c.imports, c.reaches, got, c.want)
		}
	}
}

func pathOf(folder string) string { return strings.TrimSuffix(module+"/"+folder, "/.") }
