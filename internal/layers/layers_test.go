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

// rules say, for a folder and everything below it, which folders of the module it may import; the longest matching rule counts. "" is the root
// package. A folder without a rule fails the test, so that a new one gets a place.
var rules = map[string][]string{
	"fault":                           {},
	"internal/errorfs":                {"fault"},
	"proto/adf/v1":                    {},
	"proto/adf/service/v1":            {"proto/adf/v1"},
	"record":                          {"fault", "proto/adf/v1"},
	"splits":                          {"record", "fault", "proto/adf/v1"},
	"splits/splitsrpc":                {"splits", "record", "fault", "proto/adf/v1", "proto/adf/service/v1"},
	"splits/splittest":                {"splits", "record", "fault", "proto/adf/v1", "proto/adf/service/v1"},
	"sinks":                           {"record", "fault", "proto/adf/v1"},
	"operators":                       {"record", "fault", "proto/adf/v1"},
	"internal/yaml":                   {"connectors", "fault"},
	"connectors":                      {"splits", "sinks", "operators", "record", "fault", "internal/errorfs"},
	"connectors/connectortest":        {"connectors", "fault"},
	"":                                {"connectors", "splits", "sinks", "operators", "record", "fault", "proto/adf/v1", "internal/yaml"},
	"engine/checkpoint":               {"fault", "proto/adf/v1", "internal/errorfs"},
	"engine/checkpoint/checkpointrpc": {"engine/checkpoint", "fault", "proto/adf/v1", "proto/adf/service/v1"},
	"engine/task":                     {"", "connectors", "splits", "sinks", "operators", "record", "fault", "proto/adf/v1"},
	"engine":                          {"", "connectors", "splits", "sinks", "operators", "record", "fault", "proto/adf/v1", "engine/checkpoint", "engine/task"},
	"cli":                             {"", "engine", "connectors", "splits", "sinks", "operators", "record", "fault", "proto/adf/v1"},
	"cmd/adf":                         {"", "cli", "engine", "connectors"},
	"internal/layers":                 {},
	"internal/itest":                  {"", "engine", "connectors", "record", "operators", "fault"},
}

// heavy are modules that only some folders may reach, over any number of steps.
var heavy = map[string][]string{
	"github.com/apache/beam/":           {"flinkbridge", "cmd/adf"},
	"github.com/apache/iceberg-go":      {"connectors/iceberg", "cmd/adf"},
	"github.com/spf13/cobra":            {"cli", "cmd/adf"},
	"github.com/expr-lang/expr":         {"operators", "", "engine", "cli", "cmd/adf", "internal/itest"},
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
		check(t, p)
	}
	if seen < 10 {
		t.Errorf("got %d packages: the list is not whole", seen)
	}
}

func check(t *testing.T, p goPackage) {
	folder := folderOf(p.ImportPath)
	rule := ruleOf(folder)
	if rule == "?" {
		t.Errorf("%s has no rule", folder)
		return
	}
	for _, i := range p.Imports {
		to := folderOf(i)
		if to == "?" || under(to, rule) && ruleOf(to) == rule && !strings.HasPrefix(folder, "connectors/") {
			continue
		}
		if to == folder || strings.HasPrefix(folder, "connectors/") && strings.HasPrefix(to, folder+"/") {
			continue
		}
		ok := slices.ContainsFunc(rules[rule], func(a string) bool { return allowed(to, a) })
		if strings.HasPrefix(folder, "connectors/") && strings.HasPrefix(to, "connectors/") {
			ok = false // no connector stands on another
		}
		if strings.HasPrefix(folder, "connectors/") && to == "connectors" {
			ok = true
		}
		if !ok {
			t.Errorf("%s imports %s, and may only import %v", folder, to, rules[rule])
		}
	}
	for prefix, may := range heavy {
		reaches := slices.ContainsFunc(p.Deps, func(d string) bool { return strings.HasPrefix(d, prefix) })
		if reaches && !slices.ContainsFunc(may, func(m string) bool { return m == folder || m != "" && under(folder, m) }) {
			t.Errorf("%s reaches %s, which only %v may", folder, prefix, may)
		}
	}
}

// allowed says whether an import falls under a rule's entry: the folder itself and what is below it, but the root stands for itself alone.
func allowed(to, entry string) bool {
	if entry == "" || entry == "connectors" && to == "connectors" {
		return to == entry
	}
	return under(to, entry)
}

func under(folder, of string) bool { return folder == of || strings.HasPrefix(folder, of+"/") }

// folderOf is an import path's folder in the module, "?" for those outside.
func folderOf(path string) string {
	if path == module {
		return ""
	}
	if rest, ok := strings.CutPrefix(path, module+"/"); ok {
		return rest
	}
	return "?"
}

// ruleOf is the longest rule that a folder falls under, "?" when there is none.
func ruleOf(folder string) string {
	best := "?"
	for r := range rules {
		if (r == "" && folder == "" || r != "" && under(folder, r)) && (best == "?" || len(r) > len(best)) {
			best = r
		}
	}
	return best
}
