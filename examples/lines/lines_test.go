package lines

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/activedataflow/adf/connectors/connectortest"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/sinks/sinktest"
	"github.com/activedataflow/adf/splits/splittest"
)

func TestSource(t *testing.T) {
	splittest.Run(t, splittest.Harness[row.Row, Split]{
		New: func(tb splittest.TB) splittest.Input[row.Row, Split] {
			dir := t.TempDir()
			for file := range 6 {
				var text strings.Builder
				for line := range 2500 {
					fmt.Fprintf(&text, "line %d of file %d\n", line, file)
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.txt", file)), []byte(text.String()), 0o644); err != nil {
					tb.Fatalf("%v", err)
				}
			}
			return splittest.Input[row.Row, Split]{Source: &Source{Dir: dir}}
		},
		Codec: codec,
		Fixed: true,
	})
}

func TestSink(t *testing.T) {
	sinktest.Run(t, sinktest.Harness[row.Row, string]{
		New: func(tb sinktest.TB) sinktest.Target[row.Row, string] {
			dir := t.TempDir()
			return sinktest.Target[row.Row, string]{
				Open: func() (sinks.Exact[row.Row, string], error) { return &Sink{Dir: dir}, nil },
				Read: func() ([]row.Row, error) { return readAll(dir) },
			}
		},
		Data: sinktest.Data[row.Row]{
			Record:  func(i int) row.Row { return line(fmt.Sprintf("line %d", i)) },
			Codec:   codec,
			Refused: new(line("two\nlines")),
		},
	})
}

func line(text string) row.Row {
	return row.Row{Schema: codec.Schema(), Values: []row.Value{row.String(text)}}
}

func readAll(dir string) (all []row.Row, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	for _, p := range paths {
		data, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		for text := range strings.Lines(string(data)) {
			all = append(all, line(strings.TrimSuffix(text, "\n")))
		}
	}
	return all, err
}

func TestOptions(t *testing.T) { connectortest.Run(t, Register) }
