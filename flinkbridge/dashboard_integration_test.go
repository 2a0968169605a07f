//go:build integration

package flinkbridge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/engine"
	"github.com/activedataflow/adf/flinkbridge/rest"
	"github.com/activedataflow/adf/sinks"
)

func init() {
	Register("watched", func(_ context.Context, p map[string]string) (*adf.Flow, error) {
		began, err := strconv.ParseInt(p["began"], 10, 64)
		return watched(p["out"], time.UnixMilli(began)), err
	})
}

// watched counts a known number of records, some of them late and some that fail; another source, which does not end, follows the clock from a time on.
func watched(out string, began time.Time) *adf.Flow {
	f := adf.New("watched")
	known := adf.From(f, "known", &generate.Source[numbered]{Records: 20000, Splits: 4, Make: func(n int64) numbered {
		if n%100 == 99 {
			return numbered{n, time.UnixMilli(max(0, n-10000))}
		}
		return numbered{n, time.UnixMilli(n)}
	}}).EventTime(func(x numbered) time.Time { return x.At }, time.Second)
	readings := adf.Map(known, "checked", func(x numbered) (reading, error) {
		if x.N%1000 == 7 {
			return reading{}, errors.New("a seven")
		}
		return reading{"k" + strconv.FormatInt(x.N%10, 10), x.At.UnixMilli(), 1}, nil
	})
	totals := adf.Aggregate(adf.KeyBy(readings, func(r reading) string { return r.Sensor }).Window(adf.Tumbling(time.Second)), "totals", extent[int64]{
		fresh: func() int64 { return 0 }, add: func(a *int64, r reading) { *a += r.Value }, merge: func(a *int64, o int64) { *a += o },
	})
	adf.Map(totals.Stream, "flat", func(w window[int64]) (counted, error) { return counted{w.Key, w.Start, w.Got}, nil }).
		To("out", &file.Sink[counted]{Path: out + "/out", Format: "jsonl"})
	totals.Late().To("late", &file.Sink[reading]{Path: out + "/late", Format: "jsonl"})
	f.Errors().To("dead", &file.Sink[sinks.DeadLetter]{Path: out + "/dead", Format: "jsonl"})
	if !began.IsZero() {
		adf.From(f, "steady", &generate.Source[numbered]{Rate: 20, Splits: 2, Make: func(n int64) numbered {
			return numbered{n, began.Add(time.Duration(n) * 50 * time.Millisecond)}
		}}).EventTime(func(x numbered) time.Time { return x.At }, time.Second).To("kept", &file.Sink[numbered]{Path: out + "/kept", Format: "jsonl"})
	}
	return f
}

// TestDashboard: what Flink's dashboard shows of a flow is what the flow is and did.
func TestDashboard(t *testing.T) {
	client, _, o := up(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	began := time.Now()
	submit := func(change func(o *SubmitOptions, out string)) (rest.Job, string) {
		out, o := t.TempDir(), o
		o.Builder, o.Params = "watched", map[string]string{"out": out, "began": strconv.FormatInt(began.UnixMilli(), 10)}
		change(&o, out)
		sub, err := Submit(ctx, client, watched(out, began), o)
		if err != nil {
			t.Fatal(err)
		}
		j, err := client.Job(ctx, sub.Job)
		if err != nil {
			t.Fatal(err)
		}
		return j, out
	}
	names := func(j rest.Job) (all []string) {
		for _, v := range j.Vertices {
			name := regexp.MustCompile(`\[\d+\]`).ReplaceAllString(v.Name, "")
			if first, rest, several := strings.Cut(strings.Trim(name, "{}"), ", to "); several { // the order of what follows is the runner's choice
				to := strings.Split(rest, ", to ")
				slices.Sort(to)
				name = "{" + first + ", to " + strings.Join(to, ", to ") + "}"
			}
			all = append(all, name)
		}
		return all
	}

	t.Run("streaming", func(t *testing.T) {
		j, out := submit(func(o *SubmitOptions, _ string) { o.Interval = time.Second })
		want := []string{
			"Source: Impulse", "clock/{PairWithRestriction0, SplitAndSize0}", "{clock, to known, to steady}", "{find splits of known, to dead, to kept, to known, to late, to out}",
			"{find splits of steady, to steady}", "{read known, map checked, to dead, to late, to totals}", "{aggregate totals, map flat, to dead, to late, to out}",
			"{read steady, to dead, to kept}", "{number parts of out, to out}", "commit out", "{number parts of late, to late}", "commit late",
			"{number parts of dead, to dead}", "commit dead", "{number parts of kept, to kept}", "commit kept",
		}
		slices.Sort(want)
		if got := slices.Sorted(slices.Values(names(j))); !slices.Equal(got, want) {
			t.Errorf("got the operators\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}

		result, err := engine.Run(ctx, watched(t.TempDir(), time.Time{}), engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n := result.Node("totals"); n.Late == 0 || result.Node("checked").Errors != 20 {
			t.Fatalf("the flow does not do what it is for: %+v", result)
		}
		// differences tells what is not as the engine counts it, or not as it should be while the job runs.
		differences := func(nodes []NodeMetrics) (all []string) {
			differ := func(node, what string, got, want int64) {
				if got != want {
					all = append(all, node+" has "+strconv.FormatInt(got, 10)+" "+what+", want "+strconv.FormatInt(want, 10))
				}
			}
			of := map[string]NodeMetrics{}
			for _, n := range nodes {
				of[n.Node] = n
			}
			for _, n := range result.Nodes {
				m := of[n.Name]
				differ(n.Name, "records in", m.RecordsIn, n.In)
				differ(n.Name, "records out", m.RecordsOut, n.Out)
				differ(n.Name, "late", m.RecordsLate, n.Late)
				differ(n.Name, "failed", m.RecordsFailed, n.Errors)
			}
			for _, sink := range []string{"out", "late", "dead"} {
				size := int64(0)
				files, _ := filepath.Glob(out + "/" + sink + "/*.jsonl")
				for _, name := range files {
					if info, err := os.Stat(name); err == nil {
						size += info.Size()
					}
				}
				if n := of[sink].BytesOut; size == 0 || n < size || n > 2*size { // a part has a few bytes besides its text
					all = append(all, fmt.Sprintf("%s has %d bytes out, and %d in its files", sink, n, size))
				}
				if of[sink].PartsCommitted == 0 {
					all = append(all, sink+" has no parts committed")
				}
			}
			differ("known", "open splits", of["known"].Splits, 0)
			differ("steady", "open splits", of["steady"].Splits, 2)
			if of["totals"].BytesIn == 0 || of["known"].SplitsOpened < 4 {
				all = append(all, "the shuffle has no bytes, or no splits were opened")
			}
			now := time.Now()
			if w := of["steady"].Watermark; w == nil || time.UnixMilli(*w).Before(began.Add(-2*time.Second)) || time.UnixMilli(*w).After(now) {
				all = append(all, "the watermark of steady is not between its first record and now")
			}
			if l := of["steady"].Lag; l == nil || *l < 0 || *l > now.Sub(began).Milliseconds() {
				all = append(all, "the lag of steady is not between nothing and the time that it runs")
			}
			if w := of["totals"].Watermark; w == nil || *w < 20000 {
				all = append(all, "totals has not fired its last windows")
			}
			return all
		}
		for end := time.Now().Add(2 * time.Minute); ; {
			nodes, err := Nodes(ctx, client, j)
			if err != nil {
				t.Fatal(err)
			}
			wrong := differences(nodes)
			if len(wrong) == 0 {
				break
			}
			if time.Sleep(time.Second); time.Now().After(end) {
				t.Fatalf("%s\n%+v", strings.Join(wrong, "\n"), nodes)
			}
		}
		time.Sleep(3 * time.Second) // more of it would be counted by now
		nodes, err := Nodes(ctx, client, j)
		if wrong := differences(nodes); err != nil || len(wrong) > 0 {
			t.Errorf("later: %v %s", err, strings.Join(wrong, "\n"))
		}
		if err := client.Cancel(ctx, j.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := client.WaitEnd(ctx, j.ID); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("batch", func(t *testing.T) {
		j, _ := submit(func(o *SubmitOptions, _ string) { o.Until = Until{Span: 100 * time.Millisecond} })
		all := ""
		for _, v := range j.Vertices {
			all += v.Name + "\n"
		}
		for _, want := range []string{
			"find splits of known", "{read known, map checked, write late, write dead, to ", "(GroupReduce at group for totals)",
			"{aggregate totals, map flat, write out, write dead and 1 more, to ", "commit all output)",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("no operator has %q in\n%s", want, all)
			}
		}
		if strings.Contains(all, "flinkbridge") {
			t.Errorf("a newcomer need not know the bridge:\n%s", all)
		}
		if _, err := client.WaitEnd(ctx, j.ID); err != nil {
			t.Fatal(err)
		}
	})
}
