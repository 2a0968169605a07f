package memory

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
	"github.com/activedataflow/adf/splits/splittest"
)

func TestMain(m *testing.M) {
	splittest.Child(map[string]func() (splits.Any, error){
		"bounded":   func() (splits.Any, error) { return erase(&Source[string]{Log: words(), Batch: 7}) },
		"following": func() (splits.Any, error) { return erase(&Source[string]{Log: words(), Batch: 7, Follow: true}) },
	})
	goleak.VerifyTestMain(m)
}

func erase(s *Source[string]) (splits.Any, error) {
	c, err := s.RecordCodec()
	return splits.Erase(s, c), err
}

// words is a log of five splits.
func words() *Log[string] {
	l := &Log[string]{}
	for s := range 5 {
		for i := range 40 + s {
			l.Append(s, fmt.Sprint("word ", i, " of split ", s))
		}
	}
	return l
}

func TestConformance(t *testing.T) {
	var all []string
	for _, s := range words().splits {
		all = append(all, s...)
	}
	harness := func(process string, source *Source[string]) splittest.Harness[string, Split] {
		return splittest.Harness[string, Split]{
			New: func(splittest.TB) splittest.Input[string, Split] {
				l := words()
				s := &Source[string]{Log: l, Batch: source.Batch, Active: source.Active, Follow: source.Follow, Discover: source.Discover, Script: source.Script}
				return splittest.Input[string, Split]{Source: s, Grow: func() int {
					l.Append(l.Splits(), "one", "more", "split")
					return 3
				}}
			},
			Want:    all,
			Enough:  len(all),
			Process: process,
		}
	}
	t.Run("bounded", func(t *testing.T) { splittest.Run(t, harness("bounded", &Source[string]{Batch: 7})) })
	t.Run("following", func(t *testing.T) {
		splittest.Run(t, harness("following", &Source[string]{Batch: 7, Follow: true, Discover: time.Millisecond}))
	})
	t.Run("side by side", func(t *testing.T) { splittest.Run(t, harness("", &Source[string]{Batch: 5, Active: 3})) })
	t.Run("failing", func(t *testing.T) {
		down := &fault.SourceError{Detail: fault.Detail{Code: "test.down", Retry: fault.RetryLater, Err: errors.New("down")}}
		splittest.Run(t, harness("", &Source[string]{Batch: 7, Script: []Step{
			{Split: 0, At: 0, Err: down}, {Split: 1, At: 10, Err: down, Times: 3}, {Split: 4, At: 43, Err: down, Delay: time.Millisecond},
		}}))
	})
}

type lane struct{}

func (lane) Index() int    { return 0 }
func (lane) RequestSplit() {}

// reader opens a reader of the first split of a source.
func reader[T any](t *testing.T, s *Source[T]) splits.Reader[T, Split] {
	t.Helper()
	r, err := s.Reader(t.Context(), lane{})
	if err == nil {
		err = errors.Join(r.Start(t.Context()), r.AddSplits([]Split{{}}))
	}
	if err != nil {
		t.Fatal(err)
	}
	r.NoMoreSplits()
	return r
}

// drain polls to the end or an error.
func drain[T any](r splits.Reader[T, Split]) (vs []T, batches int, err error) {
	for {
		b := &record.Batch[T]{}
		switch status, err := r.Poll(b); {
		case err != nil || status == splits.End:
			return vs, batches, err
		case status == splits.Nothing:
			<-r.Ready()
		default:
			vs = append(vs, b.Values...)
			batches++
		}
	}
}

// A step happens before its record, as often as it says, and cuts the batch there.
func TestScript(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Values(1, 2, 3, 4, 5)
		down := errors.New("down")
		s.Script = []Step{{At: 3, Err: down, Times: 2}, {At: 1, Delay: time.Second}, {Split: 7, At: 0, Err: down}}
		r := reader(t, s)
		defer r.Close()
		began := time.Now()
		vs, batches, err := drain(r)
		if fmt.Sprint(vs) != "[1 2 3 4 5]" || batches != 3 || err != nil {
			t.Errorf("got %v in %d batches, %v; want 1 to 5 in 3", vs, batches, err)
		}
		if took := time.Since(began); took != time.Second+30*time.Millisecond {
			t.Errorf("took %v, want the delay of 1 s and two retries after 10 and 20 ms", took)
		}
	})
}

func TestPermanentError(t *testing.T) {
	s := Values("a", "b", "c")
	s.Script = []Step{{At: 2, Err: &fault.SourceError{Detail: fault.Detail{
		Code: "test.broken", Doing: "read", Connector: "memory", Retry: fault.RetryNever, Err: errors.New("the disk is broken"),
	}}}}
	r := reader(t, s)
	defer r.Close()
	vs, _, err := drain(r)
	const want = `source memory: read: the disk is broken (split 0) [test.broken]`
	if len(vs) != 2 || err == nil || err.Error() != want {
		t.Errorf("got %q and %v, want two values and %s", vs, err, want)
	}
	if _, err := r.Poll(&record.Batch[string]{}); err == nil || err.Error() != want {
		t.Errorf("a second poll: got %v, want the same error", err)
	}
}

func TestRows(t *testing.T) {
	schema, err := row.ParseSchema("id int64 not null")
	if err != nil {
		t.Fatal(err)
	}
	s := Values(row.Row{Schema: schema, Values: []row.Value{row.Int(7)}})
	if _, err := s.RecordCodec(); err == nil {
		t.Error("rows without a codec have no schema")
	}
	s.RecordsCodec = row.RowCodec(schema)
	if c, err := s.RecordCodec(); err != nil || !c.Schema().Equal(schema) {
		t.Errorf("got %v, %v", c, err)
	}
}
