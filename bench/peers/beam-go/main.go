// Command beam-go is the work of bench/flink/windows.yaml as the Beam Go SDK has it, for Flink. It writes the pipeline and its options for a job JAR, and it is the
// program that the workers run.
//
//	beam-go --kind state --pool HOST:PORT --out DIR
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"math/bits"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/mtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness/init"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/sdf"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/state"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/timers"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/util/protox"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/rtrackers/offsetrange"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/transforms/stats"
	"google.golang.org/protobuf/encoding/protojson"
)

func init() {
	register.DoFn5x2[context.Context, *sdf.ManualWatermarkEstimator, *sdf.LockRTracker, []byte, func(beam.EventTime, string, []byte), sdf.ProcessContinuation, error](&numbersFn{})
	register.DoFn7x1[context.Context, beam.Window, state.Provider, timers.Provider, string, []byte, func(string, int64), error](&countFn{})
	register.DoFn3x0[context.Context, string, int](&discardFn[int]{})
	register.DoFn3x0[context.Context, string, int64](&discardFn[int64]{})
	register.Function2x1(keyOf)
	register.Emitter3[beam.EventTime, string, []byte]()
	register.Emitter2[string, int64]()
	beam.RegisterType(reflect.TypeFor[offsetrange.Restriction]())
}

func main() {
	kind := flag.String("kind", "state", "state: a value of state and a timer for each key and window; combine: the SDK's own count per key in windows")
	keys := flag.Int("keys", 10_000, "how many keys there are")
	pool := flag.String("pool", "", "where a TaskManager finds its worker pool")
	out := flag.String("out", "", "the folder for pipeline.json and pipeline-options.json")
	name := flag.String("name", "bench-flink-beam-go", "the job's name")
	flag.Parse()
	beam.Init() // a worker does not come back from here
	if err := write(*kind, *name, *pool, *out, *keys); err != nil {
		log.Fatal(err)
	}
}

// The event time of record 0.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// lanes is how many readers there are.
const lanes = 2

func pipeline(kind string, keys int) (*beam.Pipeline, error) {
	p, s := beam.NewPipelineWithRoot()
	// A reader gives a part of its records at a time, so that bundles are as long as the work behind it takes.
	slice := map[string]int{"state": 250, "combine": 50_000}[kind]
	if slice == 0 {
		return nil, fmt.Errorf("--kind %s: want state or combine", kind)
	}
	records := beam.ParDo(s, &numbersFn{Keys: keys, Slice: slice}, beam.Impulse(s))
	records = beam.WindowInto(s, window.NewFixedWindows(time.Second), records)
	if kind == "state" {
		beam.ParDo0(s, &discardFn[int64]{}, beam.ParDo(s, &countFn{Count: state.MakeValueState[int64]("count"), End: timers.InEventTime("end")}, records))
		return p, nil
	}
	beam.ParDo0(s, &discardFn[int]{}, stats.Count(s, beam.ParDo(s, keyOf, records)))
	return p, nil
}

func keyOf(key string, _ []byte) string { return key }

// numbersFn makes records up as adf's generate does: record n has the event time start + n microseconds, a key and text of 85 bytes that a hash picks. Each of its
// restrictions is a lane, which has every lanes-th record.
type numbersFn struct {
	Keys, Slice int

	names []string
	texts [][]byte
}

func (f *numbersFn) Setup() {
	for i := range f.Keys {
		f.names = append(f.names, fmt.Sprint("k", i))
	}
	for i := range uint64(1 << 12) {
		text := make([]byte, 85)
		for j := range text {
			text[j] = 'a' + byte(mix(i*85+uint64(j))%26)
		}
		f.texts = append(f.texts, text)
	}
}

// span is the range of one lane in the numbers of all restrictions.
const span = math.MaxInt64 / lanes

func (*numbersFn) CreateInitialRestriction([]byte) offsetrange.Restriction {
	return offsetrange.Restriction{Start: 0, End: lanes * span}
}

func (*numbersFn) SplitRestriction(_ []byte, r offsetrange.Restriction) (all []offsetrange.Restriction) {
	for i := range int64(lanes) {
		all = append(all, offsetrange.Restriction{Start: i * span, End: (i + 1) * span})
	}
	return all
}

func (*numbersFn) RestrictionSize([]byte, offsetrange.Restriction) float64 { return 1 }

func (*numbersFn) CreateTracker(r offsetrange.Restriction) *sdf.LockRTracker {
	return sdf.NewLockRTracker(offsetrange.NewTracker(r))
}

func (*numbersFn) InitialWatermarkEstimatorState(beam.EventTime, offsetrange.Restriction, []byte) int64 {
	return int64(mtime.MinTimestamp)
}

func (*numbersFn) CreateWatermarkEstimator(ms int64) *sdf.ManualWatermarkEstimator {
	return &sdf.ManualWatermarkEstimator{State: time.UnixMilli(ms)}
}

func (*numbersFn) WatermarkEstimatorState(e *sdf.ManualWatermarkEstimator) int64 {
	return e.State.UnixMilli()
}

var made = beam.NewCounter("numbers", "records_out")

func (f *numbersFn) ProcessElement(
	ctx context.Context, e *sdf.ManualWatermarkEstimator, rt *sdf.LockRTracker, _ []byte, emit func(beam.EventTime, string, []byte),
) (sdf.ProcessContinuation, error) {
	var at time.Time
	from := rt.GetRestriction().(offsetrange.Restriction).Start
	for i := from; i < from+int64(f.Slice); i++ {
		if !rt.TryClaim(i) {
			return sdf.StopProcessing(), nil
		}
		n := i%span*lanes + i/span
		hash := mix(uint64(n))
		key, _ := bits.Mul64(hash, uint64(f.Keys))
		at = start.Add(time.Duration(n) * time.Microsecond)
		emit(mtime.FromTime(at), f.names[key], f.texts[hash%uint64(len(f.texts))])
	}
	e.UpdateWatermark(at.Truncate(time.Millisecond))
	made.Inc(ctx, int64(f.Slice))
	return sdf.ResumeProcessingIn(0), nil
}

func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// countFn counts by key and window: state and timers are those of the element's window.
type countFn struct {
	Count state.Value[int64]
	End   timers.EventTime
}

var counted = beam.NewCounter("counted", "records_in")

func (f *countFn) ProcessElement(
	ctx context.Context, w beam.Window, sp state.Provider, tp timers.Provider, key string, _ []byte, _ func(string, int64),
) error {
	n, _, err := f.Count.Read(sp)
	if err != nil {
		return err
	}
	if n == 0 {
		f.End.Set(tp, w.MaxTimestamp().ToTime())
	}
	counted.Inc(ctx, 1)
	return f.Count.Write(sp, n+1)
}

func (f *countFn) OnTimer(_ context.Context, sp state.Provider, _ timers.Provider, key string, _ timers.Context, emit func(string, int64)) error {
	n, _, err := f.Count.Read(sp)
	if err != nil {
		return err
	}
	emit(key, n)
	return f.Count.Clear(sp)
}

// discardFn counts results and drops them: the SDK has no sink of files for input that does not end that commits exactly once.
type discardFn[N int | int64] struct{}

var results = beam.NewCounter("out", "records_in")

func (*discardFn[N]) ProcessElement(ctx context.Context, _ string, _ N) { results.Inc(ctx, 1) }

// write writes what a job JAR has of the job.
func write(kind, name, pool, out string, keys int) error {
	ctx := context.Background()
	p, err := pipeline(kind, keys)
	if err != nil {
		return err
	}
	edges, _, err := p.Build()
	if err != nil {
		return err
	}
	env, err := graphx.CreateEnvironment(ctx, graphx.URNEnvExternal, func(context.Context) string { return pool })
	if err != nil {
		return err
	}
	pb, err := graphx.Marshal(edges, &graphx.Options{Environment: env})
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	payload := protox.MustEncode(&pipepb.ArtifactFilePayload{Path: "classpath://BEAM-PIPELINE/" + name + "/artifacts/worker", Sha256: fmt.Sprintf("%x", sha256.Sum256(program))})
	if err := graphx.UpdateDefaultEnvWorkerType(graphx.URNArtifactFileType, payload, pb); err != nil {
		return err
	}
	text, err := protojson.Marshal(pb)
	if err != nil {
		return err
	}
	options := map[string]any{
		"beam:option:go_options:v1":  runtime.RawOptionsWrapper{Options: beam.PipelineOptions.Export()},
		"beam:option:experiments:v1": []string{"beam_fn_api"},
	}
	for option, value := range map[string]any{
		"job_name": name, "app_name": name, "streaming": true, "parallelism": lanes, "checkpointing_interval": 10_000, "finish_bundle_before_checkpointing": true,
		"max_bundle_size": 1000, "max_bundle_time_mills": 100,
	} {
		options["beam:option:"+option+":v1"] = value
	}
	given, err := json.Marshal(options)
	if err != nil {
		return err
	}
	for file, content := range map[string][]byte{"pipeline.json": text, "pipeline-options.json": given} {
		if err := os.WriteFile(filepath.Join(out, file), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
