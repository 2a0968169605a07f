package adftest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
	"github.com/activedataflow/adf/splits"
)

// script is what all sources of a flow read, in one order. A record is read when everything before it has been handed to those who read it.
type script struct {
	splits []*split
	steps  []step
	total  int  // records
	open   bool // its end is not the end of the input

	mu      sync.Mutex
	readers []*reader // of the attempt under way
	next    int       // the step that comes next; -1 until every reader has been asked once and has its splits
	read    int       // records
	busy    *reader   // whose last batch is on its way
	flushed bool      // its lane has been asked to hand on what it buffers
	until   time.Time // when the pause under way ends
	alarm   *time.Timer
	// At limit records, and at the end of one that stays open, reached is called and nothing more is read; below 0 there is no limit.
	limit   int
	reached func()
	held    bool
}

// step is one record of a split, or a pause.
type step struct {
	split *split
	n     int // of the record in its split
	pause time.Duration
}

// split is the records of one split.
type split struct {
	id, source string
	codec      row.AnyCodec
	records    record.Any
	rejected   []record.Rejection
	places     []place
	promise    int64 // that the next record carries
	promised   bool  // since the last record
}

// place says where record n of a split is.
type place struct {
	rejected bool
	at       int
}

// add notes that the record appended last is the next one of the script; m is its meta.
func (s *script) add(sp *split, rejected bool) {
	p := place{rejected, sp.records.Len() - 1}
	if rejected {
		p.at = len(sp.rejected) - 1
	}
	s.steps = append(s.steps, step{split: sp, n: len(sp.places)})
	sp.places = append(sp.places, p)
	sp.promised = false
	s.total++
}

// meta is that of the record added next.
func (sp *split) meta() record.Meta {
	return record.Meta{Time: record.NoTime, Watermark: sp.promise, Position: int64(len(sp.places))}
}

// segment makes the script ready for a run that goes up to a number of records.
func (s *script) segment(limit int, reached func()) {
	s.next, s.limit, s.reached, s.held = -1, limit, reached, false
}

// wake lets all readers be polled again.
func (s *script) wake() {
	for _, r := range s.readers {
		r.signal()
	}
}

// begin finds the step that comes next by where the splits stand. A split that nobody has is read to its end.
func (s *script) begin() bool {
	if slices.ContainsFunc(s.readers, func(r *reader) bool { return !r.polled }) {
		return false
	}
	s.next, s.read = len(s.steps), 0
	going := false
	after := 0 // behind the last record that was read
	for i, st := range s.steps {
		if st.split == nil {
			continue
		}
		at, ok := s.position(st.split)
		going = going || ok
		if ok && at <= st.n {
			break
		}
		s.read++
		after = i + 1
	}
	if going {
		s.next = after
	}
	s.wake()
	return true
}

func (s *script) position(sp *split) (at int, ok bool) {
	for _, r := range s.readers {
		if at, ok := r.at[sp]; ok {
			return at, true
		}
	}
	return 0, false
}

func (s *script) hold() {
	if !s.held {
		s.held = true
		s.reached()
	}
}

// poll does what comes next when it is this reader's turn.
func (s *script) poll(r *reader, dst record.Any) splits.Status {
	r.polled = true
	if s.busy == r {
		if !s.flushed { // finding nothing, a lane hands on what it buffers; then it asks again
			s.flushed = true
			r.signal()
			return splits.Nothing
		}
		s.busy = nil
		s.wake()
	}
	if s.next < 0 && !s.begin() || s.busy != nil {
		return splits.Nothing
	}
	for s.limit < 0 || s.read < s.limit {
		if s.next == len(s.steps) {
			return s.end(r)
		}
		st := s.steps[s.next]
		if st.split == nil {
			if !s.passed(st.pause) {
				return splits.Nothing
			}
			s.next++
			continue
		}
		if _, mine := r.at[st.split]; !mine {
			for _, other := range s.readers {
				if _, its := other.at[st.split]; its {
					other.signal()
				}
			}
			return splits.Nothing
		}
		s.give(r, st.split, dst)
		return splits.More
	}
	s.hold()
	return splits.Nothing
}

// give hands out the next records, as many as are of this split.
func (s *script) give(r *reader, sp *split, dst record.Any) {
	dst.SetSplitID(sp.id)
	for s.next < len(s.steps) && s.steps[s.next].split == sp && dst.Len() < splits.BatchRecords && (s.limit < 0 || s.read < s.limit) {
		p := sp.places[s.steps[s.next].n]
		if p.rejected && dst.Len() > 0 {
			break // what a batch rejects goes before its records
		}
		s.next++
		s.read++
		r.at[sp]++
		if p.rejected {
			// A batch whose type is erased has no method to add to what it rejects: only sources of a known type do that.
			all := reflect.ValueOf(dst).Elem().FieldByName("Rejected").Addr().Interface().(*[]record.Rejection)
			*all = append(*all, sp.rejected[p.at])
			break
		}
		sp.codec.CopyRecord(dst, sp.records, p.at)
	}
	s.busy, s.flushed = r, false
}

// passed says whether a pause is over, and begins it.
func (s *script) passed(d time.Duration) bool {
	now := time.Now()
	if s.until.IsZero() {
		s.until = now.Add(d)
		s.alarm = time.AfterFunc(d, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.wake()
		})
	}
	if now.Before(s.until) {
		return false
	}
	s.until = time.Time{}
	s.wake()
	return true
}

// end ends all splits at once: none of them has ended before the script has.
func (s *script) end(r *reader) splits.Status {
	switch {
	case s.open:
		s.hold()
		return splits.Nothing
	case len(r.at) > 0:
		for sp := range r.at {
			r.finished = append(r.finished, sp.id)
		}
		clear(r.at)
		return splits.More
	case r.noMore:
		return splits.End
	}
	return splits.Nothing
}

// source is a source of the flow under test: its part of the script.
type source struct {
	script      *script
	name        string
	boundedness splits.Boundedness
	codec       row.AnyCodec
}

func (s *source) Boundedness() splits.Boundedness { return s.boundedness }
func (s *source) Codec() row.AnyCodec             { return s.codec }

func (s *source) own() (own []*split) {
	for _, sp := range s.script.splits {
		if sp.source == s.name {
			own = append(own, sp)
		}
	}
	return own
}

func (s *source) NewEnumerator(_ context.Context, ec splits.AnyEnumeratorContext, restored *splits.State) (splits.AnyEnumerator, error) {
	return &enumerator{source: s, ec: ec, given: restored != nil}, nil
}

func (s *source) NewReader(context.Context, splits.ReaderContext) (splits.AnyReader, error) {
	s.script.mu.Lock()
	defer s.script.mu.Unlock()
	r := &reader{source: s, at: map[*split]int{}, ready: make(chan struct{}, 1)}
	s.script.readers = append(s.script.readers, r)
	return r, nil
}

// enumerator deals the splits out to the readers as they come. A restored one has done so: all of them are in the readers' states.
type enumerator struct {
	source *source
	ec     splits.AnyEnumeratorContext
	given  bool
}

func (e *enumerator) Start(context.Context) error { return nil }

func (e *enumerator) AddReader(_ context.Context, reader int) error {
	for i, sp := range e.source.own() {
		if !e.given && i%e.ec.Parallelism() == reader {
			e.ec.Assign(reader, splits.Envelope{ID: sp.id, State: stateOf(0)})
		}
	}
	e.ec.NoMoreSplits(reader)
	return nil
}

func (e *enumerator) HandleSplitRequest(context.Context, int) error { return nil }

func (e *enumerator) AddSplitsBack(_ context.Context, back []splits.Envelope, _ int) error {
	if len(back) > 0 {
		e.ec.Assign(e.ec.Readers()[0], back...)
	}
	return nil
}

func (e *enumerator) Snapshot(context.Context) (splits.State, error) {
	return splits.State{Version: stateVersion}, nil
}

func (e *enumerator) Close() error { return nil }

// stateVersion is the version of a split's position: the number of records read of it, as text.
const stateVersion = 1

func stateOf(at int) splits.State {
	return splits.State{Version: stateVersion, Data: strconv.AppendInt(nil, int64(at), 10)}
}

// reader reads a source's splits of one lane, when it is their turn.
type reader struct {
	source   *source
	at       map[*split]int // how many records are read of each split that has not ended
	noMore   bool
	polled   bool
	finished []string
	ready    chan struct{}
}

func (r *reader) signal() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

func (r *reader) Start(context.Context) error { return nil }
func (r *reader) Ready() <-chan struct{}      { return r.ready }

func (r *reader) Poll(dst record.Any) (splits.Status, error) {
	r.source.script.mu.Lock()
	defer r.source.script.mu.Unlock()
	return r.source.script.poll(r, dst), nil
}

func (r *reader) AddSplits(added []splits.Envelope) error {
	r.source.script.mu.Lock()
	defer r.source.script.mu.Unlock()
	for _, e := range added {
		i := slices.IndexFunc(r.source.script.splits, func(sp *split) bool { return sp.id == e.ID })
		at, err := strconv.Atoi(string(e.Data))
		if i < 0 || err != nil {
			return errors.Join(fmt.Errorf("got the split %q, which the script does not have, at %q", e.ID, e.Data), err)
		}
		r.at[r.source.script.splits[i]] = at
	}
	return nil
}

func (r *reader) NoMoreSplits() {
	r.source.script.mu.Lock()
	defer r.source.script.mu.Unlock()
	r.noMore = true
	r.signal()
}

func (r *reader) Finished() []string {
	ids := r.finished
	r.finished = nil
	return ids
}

func (r *reader) Snapshot() ([]splits.Envelope, error) {
	r.source.script.mu.Lock()
	defer r.source.script.mu.Unlock()
	var all []splits.Envelope
	for sp, at := range r.at {
		all = append(all, splits.Envelope{ID: sp.id, State: stateOf(at)})
	}
	return all, nil
}

func (r *reader) CheckpointComplete(context.Context, []splits.Envelope) error { return nil }

// Close takes the reader out; the last one ends the attempt.
func (r *reader) Close() error {
	s := r.source.script
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers = slices.DeleteFunc(s.readers, func(other *reader) bool { return other == r })
	if len(s.readers) == 0 {
		s.next, s.busy, s.until = -1, nil, time.Time{}
		if s.alarm != nil {
			s.alarm.Stop()
		}
	}
	return nil
}
