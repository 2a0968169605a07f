//go:build integration

package itest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/operators"
)

// day is one result: a carrier's flights on a day.
type day struct {
	Carrier   string    `adf:"carrier" json:"carrier"`
	Start     time.Time `adf:"window_start" json:"window_start"`
	Flights   int64     `adf:"flights" json:"flights"`
	MeanDelay *float64  `adf:"mean_delay" json:"mean_delay"`
	Worst     *int64    `adf:"worst" json:"worst"`
}

// oracle asks DuckDB for the same, on the same files.
func oracle(t *testing.T) []day {
	t.Helper()
	const query = `
import duckdb, json
rows = duckdb.sql("""
  select carrier, time_bucket(interval '1 day', time_hour) as start, count(*), avg(dep_delay), max(dep_delay)
  from read_csv('examples/flights/*.csv.gz', nullstr='NA', types={'time_hour': 'TIMESTAMP'})
  group by all order by all
""").fetchall()
for carrier, start, flights, mean, worst in rows:
    print(json.dumps({"carrier": carrier, "window_start": start.strftime('%Y-%m-%dT%H:%M:%SZ'), "flights": flights, "mean_delay": mean,
        "worst": None if worst is None else int(worst)}))
`
	cmd := exec.Command(filepath.Join(root(t), ".cache/venv/bin/python"), "-c", query)
	cmd.Dir = root(t)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("DuckDB, which `make tools` installs: %v", err)
	}
	var days []day
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var d day
		if err := dec.Decode(&d); err != nil {
			t.Fatal(err)
		}
		days = append(days, d)
	}
	if len(days) < 5000 {
		t.Fatalf("DuckDB gave %d rows", len(days))
	}
	return days
}

func compareDays(t *testing.T, got, want []day) {
	t.Helper()
	slices.SortFunc(got, func(a, b day) int {
		if a.Carrier != b.Carrier {
			return strings.Compare(a.Carrier, b.Carrier)
		}
		return a.Start.Compare(b.Start)
	})
	slices.SortFunc(want, func(a, b day) int {
		if a.Carrier != b.Carrier {
			return strings.Compare(a.Carrier, b.Carrier)
		}
		return a.Start.Compare(b.Start)
	})
	if len(got) != len(want) {
		t.Fatalf("got %d results, DuckDB has %d", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if g.Carrier != w.Carrier || !g.Start.Equal(w.Start) || g.Flights != w.Flights || !equal(g.Worst, w.Worst) || !near(g.MeanDelay, w.MeanDelay) {
			a, _ := json.Marshal(g)
			b, _ := json.Marshal(w)
			t.Fatalf("got %s, DuckDB has %s", a, b)
		}
	}
}

func equal(a, b *int64) bool { return a == nil && b == nil || a != nil && b != nil && *a == *b }

// near compares means: DuckDB adds floating-point numbers in an order of its own.
func near(a, b *float64) bool {
	return a == nil && b == nil || a != nil && b != nil && math.Abs(*a-*b) <= 1e-9*max(1, math.Abs(*b))
}

func readDays(t *testing.T, dir string) []day {
	t.Helper()
	var days []day
	for _, l := range lines(t, dir) {
		var d day
		if err := json.Unmarshal([]byte(l), &d); err != nil {
			t.Fatalf("%v: %s", err, l)
		}
		days = append(days, d)
	}
	return days
}

func TestFlightsInYAMLEqualDuckDB(t *testing.T) {
	out := t.TempDir()
	run(t, "run", "internal/itest/testdata/flights.yaml", "--set", "out="+out, "--set", "bound=24h", "--quiet")
	compareDays(t, readDays(t, filepath.Join(out, "days")), oracle(t))
	if late := lines(t, filepath.Join(out, "late")); len(late) != 0 {
		t.Errorf("got %d late records, want none", len(late))
	}
}

// With a bound of an hour most records are late, and always the same ones.
func TestLateRecordsDoNotDependOnParallelism(t *testing.T) {
	const flights = 336776
	var first, firstLate []string
	for _, parallelism := range []int{1, 2, 4} {
		for n := range 3 {
			out := t.TempDir()
			run(t, "run", "internal/itest/testdata/flights.yaml", "--set", "out="+out, "--set", "bound=1h", "--quiet", "--parallelism", fmt.Sprint(parallelism))
			days, late := canonical(t, lines(t, filepath.Join(out, "days"))), canonical(t, lines(t, filepath.Join(out, "late")))
			if first == nil {
				first, firstLate = days, late
				counted := int64(0)
				for _, d := range readDays(t, filepath.Join(out, "days")) {
					counted += d.Flights
				}
				if len(late) == 0 || counted+int64(len(late)) != flights {
					t.Fatalf("got %d counted and %d late, want some late and %d together", counted, len(late), flights)
				}
			}
			same(t, fmt.Sprintf("results at parallelism %d, run %d", parallelism, n+1), days, first)
			same(t, fmt.Sprintf("late at parallelism %d, run %d", parallelism, n+1), late, firstLate)
		}
	}
}

// flight is what the Go flow reads of a line.
type flight struct {
	Carrier  string    `adf:"carrier"`
	DepDelay *int64    `adf:"dep_delay"`
	TimeHour time.Time `adf:"time_hour"`
}

// delays is the user-defined aggregate.
type delays struct{}

type delaySum struct {
	Flights, Delayed, Sum int64
	Worst                 *int64
}

func (delays) New() delaySum { return delaySum{} }

func (delays) Add(a *delaySum, f flight) {
	a.Flights++
	if f.DepDelay != nil {
		a.Delayed++
		a.Sum += *f.DepDelay
		a.Worst = most(a.Worst, f.DepDelay)
	}
}

func (delays) Merge(a *delaySum, b delaySum) {
	a.Flights += b.Flights
	a.Delayed += b.Delayed
	a.Sum += b.Sum
	a.Worst = most(a.Worst, b.Worst)
}

func (delays) Result(carrier string, w operators.Span, a delaySum) day {
	d := day{Carrier: carrier, Start: time.UnixMilli(w.Start).UTC(), Flights: a.Flights, Worst: a.Worst}
	if a.Delayed > 0 {
		mean := float64(a.Sum) / float64(a.Delayed)
		d.MeanDelay = &mean
	}
	return d
}

func most(a, b *int64) *int64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

func TestFlightsInGoEqualDuckDB(t *testing.T) {
	for _, parallelism := range []int{1, 2, 4} {
		out := t.TempDir()
		f := adf.New("flights")
		flights := adf.From(f, "flights", &file.Source[flight]{Path: filepath.Join(root(t), "examples/flights/*.csv.gz"), Format: "csv", NullText: []string{"NA"}}).
			EventTime(func(x flight) time.Time { return x.TimeHour }, 24*time.Hour)
		days := adf.Aggregate(adf.KeyBy(flights, func(x flight) string { return x.Carrier }).Window(adf.Tumbling(24*time.Hour)), "per_day", delays{})
		days.To("out", &file.Sink[day]{Path: out, Format: "jsonl"})
		r, err := engine.Run(context.Background(), f, engine.Options{Parallelism: parallelism})
		if err != nil {
			t.Fatal(err)
		}
		if late := r.Node("per_day").Late; late != 0 {
			t.Errorf("got %d late records, want none", late)
		}
		compareDays(t, readDays(t, out), oracle(t))
	}
}
