package memory

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/sinks"
	"github.com/activedataflow/adf/sinks/sinktest"
)

type visit struct {
	N    int64
	Page string
}

// refuseEmpty is a target that takes no record without a page.
func refuseEmpty(v visit) error {
	if v.Page == "" {
		return errors.New("a visit without a page")
	}
	return nil
}

var visits = sinktest.Data[visit]{
	Record:  func(i int) visit { return visit{int64(i), fmt.Sprint("/page/", i%17)} },
	Refused: &visit{N: 7},
}

func TestSinkConformance(t *testing.T) {
	open := func(s *Sink[visit]) *exact[visit] {
		c, err := row.CodecOf[visit]()
		if err != nil {
			t.Fatal(err)
		}
		return &exact[visit]{s, c}
	}
	t.Run("exact", func(t *testing.T) {
		sinktest.Run(t, sinktest.Harness[visit, []visit]{
			New: func(sinktest.TB) sinktest.Target[visit, []visit] {
				s := &Sink[visit]{Store: &Store[visit]{}, Refuse: refuseEmpty}
				return sinktest.Target[visit, []visit]{
					Open: func() (sinks.Exact[visit, []visit], error) { return open(s), nil },
					Read: func() ([]visit, error) { return s.Store.Records(), nil },
				}
			},
			Data: visits,
		})
	})
	t.Run("direct", func(t *testing.T) {
		sinktest.RunDirect(t, sinktest.DirectHarness[visit]{
			New: func(sinktest.TB) sinktest.DirectTarget[visit] {
				s := &Sink[visit]{Store: &Store[visit]{}, Refuse: refuseEmpty}
				return sinktest.DirectTarget[visit]{
					Open: func() (sinks.Direct[visit], error) { return &direct[visit]{s, open(s).codec}, nil },
					Read: func() ([]visit, error) { return s.Store.Records(), nil },
				}
			},
			Data: visits,
		})
	})
	t.Run("rows", func(t *testing.T) {
		schema, err := row.ParseSchema("n int64 not null, tags list<string not null>")
		if err != nil {
			t.Fatal(err)
		}
		codec := row.RowCodec(schema)
		sinktest.Run(t, sinktest.Harness[row.Row, []row.Row]{
			New: func(sinktest.TB) sinktest.Target[row.Row, []row.Row] {
				s := To(&Store[row.Row]{})
				return sinktest.Target[row.Row, []row.Row]{
					Open: func() (sinks.Exact[row.Row, []row.Row], error) { return &exact[row.Row]{s, codec}, nil },
					Read: func() ([]row.Row, error) { return s.Store.Records(), nil },
				}
			},
			Data: sinktest.Data[row.Row]{
				Record: func(i int) row.Row {
					return row.Row{Schema: schema, Values: []row.Value{row.Int(int64(i)), row.List([]row.Value{row.String(fmt.Sprint("tag", i))})}}
				},
				Codec: codec,
			},
		})
	})
}

// Before makes a commit fail; it leaves nothing behind.
func TestBefore(t *testing.T) {
	store, down := &Store[int64]{}, errors.New("no route to the target")
	fail := true
	s := &Sink[int64]{Store: store, Before: func(context.Context) error {
		if fail {
			return down
		}
		return nil
	}}
	for _, s.AtLeastOnce = range []bool{false, true} {
		c, err := row.CodecOf[int64]()
		if err != nil {
			t.Fatal(err)
		}
		made, err := s.Sink(c)
		if err != nil {
			t.Fatal(err)
		}
		b := &record.Batch[int64]{}
		b.Append(1, record.Meta{})
		write := func() error {
			if d, ok := made.(sinks.AnyDirect); ok {
				w, _ := d.NewWriter(t.Context(), sinks.WriterContext{})
				return w.Write(t.Context(), b, nil)
			}
			e := made.(sinks.AnyExact)
			part, err := e.NewEncoder().Encode(nil, b, nil)
			if err != nil {
				t.Fatal(err)
			}
			k, _ := e.NewCommitter(t.Context())
			return k.Commit(t.Context(), sinks.Shard{}, 0, func(yield func([]byte, error) bool) { yield(part, nil) })
		}
		fail = true
		before := len(store.Records())
		if err := write(); !errors.Is(err, down) || len(store.Records()) != before {
			t.Errorf("at least once %t: got %v and %d records", s.AtLeastOnce, err, len(store.Records())-before)
		}
		fail = false
		if err := write(); err != nil || len(store.Records()) != before+1 {
			t.Errorf("at least once %t: got %v and %d records", s.AtLeastOnce, err, len(store.Records())-before)
		}
	}
}
