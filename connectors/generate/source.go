package generate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// Source makes records up. In Go, Make makes them; a source of rows makes those of Columns. Set the fields first; do not copy it then.
type Source[T any] struct {
	// Make makes record n. It gives the same record each time, and is called from several goroutines at once.
	Make func(n int64) T
	// Records is how many there are; 0: they never end.
	Records int64
	// Rate is how many records a second there are, all splits together; 0: as fast as possible.
	Rate float64
	// Live makes each record when its event time has come, and what is overdue at once; it takes the place of Rate.
	Live bool
	// Seed gives other records of Columns.
	Seed int64
	// Splits is how many splits the records are dealt to, one after another: the most readers that can share the work. 0 is 8.
	Splits int
	// Start is the event time of record 0, as "2024-01-01T00:00:00Z", which is the default; Step is the time between two records, 0 is 1 ms.
	Start string
	Step  time.Duration
	// Columns are the fields of a row: a name and how it is made, as "user key(10000)". None: an id, a time, a key and a value.
	//
	//	sequence         int64: the record's number
	//	int(min,max)     int64, both ends included
	//	float(min,max)   float64
	//	bool
	//	pick(a,b,…)      string: one of these
	//	key(n)           string: one of k0 to k(n-1)
	//	text(length)     string of letters and spaces
	//	time             timestamp: Start + number · Step
	Columns []string

	once sync.Once
	made *made[T]
	err  error
}

// made is a source whose options have been checked.
type made[T any] struct {
	codec *row.Codec[T]
	clock clock
	// fill appends count records, from number n on, each of apart from the one before.
	fill func(dst *record.Batch[T], n, of int64, count int)
}

// clock gives records their event time.
type clock struct {
	start time.Time
	step  time.Duration
}

func (c clock) micros(n int64) int64 {
	return c.start.UnixMicro() + n/1000*c.step.Nanoseconds() + n%1000*c.step.Nanoseconds()/1000
}

// prepare checks the options, once.
func (s *Source[T]) prepare() (*made[T], error) {
	s.once.Do(func() { s.made, s.err = s.build() })
	return s.made, s.err
}

func (s *Source[T]) build() (*made[T], error) {
	if err := fault.Config(connectors.Check(s, "")...); err != nil {
		return nil, err
	}
	m := &made[T]{}
	m.clock.step = s.Step
	m.clock.start, _ = time.Parse(time.RFC3339, s.Start)
	var err error
	if s.Make != nil {
		m.fill = func(dst *record.Batch[T], n, of int64, count int) {
			for i := range count {
				dst.Values = append(dst.Values, s.Make(n+int64(i)*of))
			}
		}
		m.codec, err = row.CodecOf[T]()
		return m, err
	}
	codec, ok := any(&m.codec).(**row.Codec[row.Row])
	if !ok {
		return nil, &fault.ConfigurationError{Detail: fault.Detail{
			Code: "generate.make", Doing: "make a source", Connector: "generate", Retry: fault.RetryNever,
			Err: fmt.Errorf("got no Make, want a function that makes a %T", *new(T)), Fix: "set Make, or use Source[row.Row] with Columns",
		}}
	}
	cs, schema, err := columns(s.Columns, s.Seed)
	if err != nil {
		return nil, err
	}
	*codec = row.RowCodec(schema)
	clock := m.clock
	m.fill = func(dst *record.Batch[T], n, of int64, count int) {
		rows := any(dst).(*record.Batch[row.Row])
		width := len(cs)
		vs := row.SlabOf(rows).Values(width * count)
		for i := range cs {
			cs[i].fill(vs[i:], width, n, of, count, clock)
		}
		for i := range count {
			rows.Values = append(rows.Values, row.Row{Schema: schema, Values: vs[i*width : (i+1)*width : (i+1)*width]})
		}
	}
	return m, nil
}

// Acknowledges is false: there is nobody to be told.
func (s *Source[T]) Acknowledges() bool { return false }

// Boundedness is Bounded when the number of records is.
func (s *Source[T]) Boundedness() splits.Boundedness {
	if s.Records > 0 {
		return splits.Bounded
	}
	return splits.Unbounded
}

// Size is that of the first records, times their number.
func (s *Source[T]) Size(context.Context) (bytes int64, known bool) {
	m, err := s.prepare()
	if err != nil || s.Records <= 0 {
		return 0, false
	}
	sample := &record.Batch[T]{}
	n := min(s.Records, splits.BatchRecords)
	m.fill(sample, 0, 1, int(n))
	sample.Metas = make([]record.Meta, n)
	return int64(float64(len(m.codec.AppendBatch(nil, sample))) / float64(n) * float64(s.Records)), true
}

// Codec is that of the splits.
func (s *Source[T]) Codec() splits.Codec[Split] { return splits.JSON[Split]() }

// RecordCodec is that of the records.
func (s *Source[T]) RecordCodec() (*row.Codec[T], error) {
	m, err := s.prepare()
	if err != nil {
		return nil, err
	}
	return m.codec, nil
}

// Enumerator hands the splits out at once, the same number to each lane.
func (s *Source[T]) Enumerator(_ context.Context, ec splits.EnumeratorContext[Split], restored *splits.State) (splits.Enumerator[Split], error) {
	if _, err := s.prepare(); err != nil {
		return nil, err
	}
	return splits.List(ec, restored, splits.ListOptions[Split]{
		Codec:  s.Codec(),
		Spread: true,
		Find: func(context.Context) ([]Split, error) {
			all := make([]Split, s.Splits)
			for i := range all {
				all[i] = Split{int64(i), int64(s.Splits), int64(i)}
			}
			return all, nil
		},
	})
}

// Reader reads all its splits side by side, so that they advance together in event time.
func (s *Source[T]) Reader(_ context.Context, rc splits.ReaderContext) (splits.Reader[T, Split], error) {
	m, err := s.prepare()
	if err != nil {
		return nil, err
	}
	return splits.Multiplex(rc, func(_ context.Context, at Split) (splits.SplitReader[T, Split], error) {
		if at.Of != int64(s.Splits) {
			return nil, &fault.ConfigurationError{Detail: fault.Detail{
				Code: "generate.splits", Doing: "go on from a checkpoint", Connector: "generate", Split: at.SplitID(), Retry: fault.RetryNever,
				Err: fmt.Errorf("the records were dealt to %d splits, now to %d", at.Of, s.Splits), Fix: "set splits back, or start afresh",
			}}
		}
		return s.open(m, at), nil
	}, splits.MultiplexOptions[Split]{Active: splits.All}), nil
}

type splitReader[T any] struct {
	src   *Source[T]
	made  *made[T]
	at    Split
	rate  float64   // records a second, all splits together; 0: as fast as possible
	since time.Time // when record number first was due
	first int64
}

// open begins with the split: at a rate its next record is due now, and so are those of the other splits beside it.
func (s *Source[T]) open(m *made[T], at Split) *splitReader[T] {
	if s.Live {
		return &splitReader[T]{s, m, at, float64(time.Second) / float64(m.clock.step), m.clock.start, 0}
	}
	return &splitReader[T]{s, m, at, s.Rate, time.Now(), at.Next - at.N}
}

// Fetch makes as many records as a batch takes, or as are due.
func (r *splitReader[T]) Fetch(ctx context.Context, dst *record.Batch[T]) (Split, bool, error) {
	n := int64(splits.BatchRecords)
	if r.src.Records > 0 {
		n = min(n, (r.src.Records-r.at.Next+r.at.Of-1)/r.at.Of)
	}
	if n > 0 && r.rate > 0 {
		n = r.pace(ctx, n)
	}
	if n > 0 {
		r.made.fill(dst, r.at.Next, r.at.Of, int(n))
		for i := range n {
			number := r.at.Next + i*r.at.Of
			dst.Metas = append(dst.Metas, record.Meta{Time: floorMillis(r.made.clock.micros(number)), Watermark: record.NoTime, Position: number})
		}
		r.at.Next += n * r.at.Of
	}
	return r.at, r.src.Records > 0 && r.at.Next >= r.src.Records, nil
}

// pace waits until up to n records are due, or for the linger, and gives how many are.
func (r *splitReader[T]) pace(ctx context.Context, n int64) int64 {
	perSecond := r.rate / float64(r.at.Of)
	want := max(1, min(n, int64(perSecond*splits.Linger.Seconds())))
	last := r.at.Next + (want-1)*r.at.Of
	wait := time.Duration(float64(last-r.first) / r.rate * float64(time.Second))
	if wait -= time.Since(r.since); wait > 0 {
		t := time.NewTimer(min(wait, splits.Linger))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return 0
		}
	}
	// Record number x is due when x-first records at the rate have passed.
	passed := time.Since(r.since).Seconds() * r.rate
	due := int64((passed+float64(r.first)-float64(r.at.Next))/float64(r.at.Of) + 1)
	if wait <= splits.Linger { // they are due, whatever the rounding
		due = max(due, want)
	}
	return min(n, max(0, due))
}

func floorMillis(micros int64) int64 {
	if micros < 0 {
		micros -= 999
	}
	return micros / 1000
}

func (r *splitReader[T]) Close() error { return nil }
