package adf_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/connectors/stdio"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/splits"
)

// direct is a sink that writes at once.
type direct[T any] struct{ sinks.Guarantee }

func (d direct[T]) Sink(*row.Codec[T]) (sinks.Any, error) {
	return sinks.EraseDirect[T](written[T]{d.Guarantee}), nil
}

type written[T any] struct{ g sinks.Guarantee }

func (d written[T]) Guarantee() sinks.Guarantee { return d.g }
func (d written[T]) Writer(context.Context, sinks.WriterContext) (sinks.DirectWriter[T], error) {
	return d, nil
}
func (written[T]) Write(context.Context, *record.Batch[T], func(int, error)) error { return nil }
func (written[T]) Flush(context.Context) error                                     { return nil }
func (written[T]) Close() error                                                    { return nil }

var explained = map[string]func(f *adf.Flow){
	"windows": func(f *adf.Flow) {
		in := adf.From(f, "in", trips()).EventTime(whenOf, time.Minute).Parallelism(2)
		counts := adf.Aggregate(adf.KeyBy(in.Filter("odd", isOdd), cityOf).Window(adf.Tumbling(24*time.Hour).AllowedLateness(time.Hour)), "counts", counting{})
		counts.To("out", &file.Sink[count]{Path: "out", Format: "jsonl"})
	},
	"ports": func(f *adf.Flow) {
		in := adf.From(f, "in", trips()).EventTime(whenOf, time.Minute)
		counts := adf.Aggregate(adf.KeyBy(in, cityOf).Window(adf.Tumbling(time.Hour)), "counts", counting{})
		counts.To("out", &file.Sink[count]{Path: "out", Format: "jsonl"})
		counts.Late().To("late", direct[trip]{sinks.AtLeastOnce})
		f.Errors().To("dead", direct[sinks.DeadLetter]{sinks.Idempotent})
	},
	"process": func(f *adf.Flow) {
		in := adf.From(f, "in", endless())
		own := adf.Process(adf.KeyBy(in, cityOf), "own", time.Hour, func() operators.Processor[trip, string, trip] { return passing{} })
		own.To("out", direct[trip]{sinks.AtLeastOnce})
	},
	"endless": func(f *adf.Flow) {
		in := adf.From(f, "in", endless()).EventTime(whenOf, time.Minute)
		counts := adf.Aggregate(adf.KeyBy(in, cityOf).Window(adf.Tumbling(time.Hour)), "counts", counting{})
		counts.To("out", direct[count]{sinks.Idempotent})
	},
	"stdin": func(f *adf.Flow) {
		in := adf.From(f, "in", &stdio.Source[trip]{Format: "jsonl"})
		more := adf.From(f, "more", trips())
		adf.Union(in, more).To("out", &file.Sink[trip]{Path: "out", Format: "jsonl"})
	},
}

func TestExplainGolden(t *testing.T) {
	for name, build := range explained {
		f := adf.New(name)
		build(f)
		g, err := f.Build(t.Context())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		x := g.Explain()
		if x.Digest != g.Plan.Digest() {
			t.Errorf("%s: got the digest %s, want %s", name, x.Digest, g.Plan.Digest())
		}
		text := strings.ReplaceAll(x.String(), x.Digest, "DIGEST")
		golden := "testdata/flow/explain." + name + ".golden"
		if *updateFlow {
			if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if text != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, text, want)
		}
		data, err := json.Marshal(x)
		var back adf.Explanation
		if err == nil {
			err = json.Unmarshal(data, &back)
		}
		if err != nil || back.String() != x.String() {
			t.Errorf("%s: as JSON and back it is something else (%v)", name, err)
		}
	}
}

// lost is a source that says why it can not be read again.
type lost struct {
	*memory.Source[trip]
	why string
}

func (l lost) NotReplayable() string { return l.why }

func TestEverySourceMaySayThatItIsNotReplayable(t *testing.T) {
	codec, err := row.CodecOf[trip]()
	if err != nil {
		t.Fatal(err)
	}
	for _, why := range []string{"it burns after reading", ""} {
		n := &adf.Node{Source: splits.Erase[trip, memory.Split](lost{trips(), why}, codec)}
		if got := n.NotReplayable(); got != why {
			t.Errorf("got %q, want %q", got, why)
		}
	}
	if got := (&adf.Node{Source: splits.Erase[trip, memory.Split](trips(), codec)}).NotReplayable(); got != "" {
		t.Errorf("got %q of a source that can be read again", got)
	}
}
