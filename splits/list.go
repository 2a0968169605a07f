package splits

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"github.com/activedataflow/adf/fault"
	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
)

// ListOptions say what [List] lists, how often, and how it hands out.
type ListOptions[S Split] struct {
	// Find lists everything that is there now, each split at its start, in the order in which it shall be read. It runs in the
	// background and may block until ctx ends. Splits known already are ignored.
	Find  func(ctx context.Context) ([]S, error)
	Codec Codec[S]
	// Every is the period at which Find is called again; zero: once at each start, and when all it found is assigned, nothing more comes.
	Every time.Duration
	// Spread is for splits that are read side by side, such as those that never end: they are handed out without being asked for, the same
	// number to each lane. Without it a split goes to the reader that asked first.
	Spread bool
}

// ListFailures is how many periodic listings in a row may fail, in a way that a retry can help, before the source fails.
const ListFailures = 5

// List makes an enumerator of a function that lists. It remembers the ids that it handed out, so a restored one lists again and hands
// out only what is new.
//
// Splits are handed out in the order of the listing; those that come back go first. A request that finds nothing waits, or is answered
// with NoMoreSplits once a single listing is all assigned. That answer holds for the requests made so far: when splits come back later they
// go to the next reader that asks, one that was told NoMoreSplits before too. A spread split that comes back goes to the registered
// reader that has fewest and was not told so since its last request, or to the next that registers or asks.
func List[S Split](ec EnumeratorContext[S], restored *State, o ListOptions[S]) (Enumerator[S], error) {
	l := &list[S]{ec: ec, o: o, known: map[string]bool{}, told: map[int]bool{}, gone: map[int]bool{}, load: make([]int, max(1, ec.Parallelism()))}
	if restored != nil {
		if err := l.restore(*restored); err != nil {
			return nil, &fault.RuntimeError{Detail: fault.Detail{
				Code: "split.list.restore", Doing: "restore the list of splits", Retry: fault.RetryNever, Err: err,
				Fix: "use the release that saved it, or a later one",
			}}
		}
	}
	return l, nil
}

type list[S Split] struct {
	ec EnumeratorContext[S]
	o  ListOptions[S]

	known    map[string]bool // every id seen; true: handed out
	back     []S             // came back, to be handed out first
	found    []S             // not yet handed out
	requests []int           // one entry for each credit, oldest first
	told     map[int]bool    // readers that were told NoMoreSplits since their last request
	gone     map[int]bool    // readers that have failed and not registered again
	load     []int           // spread: how many splits each lane was given
	listed   bool            // Find has succeeded since the start
	failures int             // of Find, in a row
	saved    *State          // the snapshot, nil when something has changed
}

func (l *list[S]) Start(context.Context) error {
	l.ec.Every(l.o.Every, l.o.Find, l.add)
	return nil
}

// add takes the result of a listing.
func (l *list[S]) add(found []S, err error) error {
	if err != nil {
		l.failures++
		if l.o.Every > 0 && l.failures < ListFailures && fault.Retryable(err) {
			return nil // the next period repeats it
		}
		return err
	}
	l.failures = 0
	l.listed = true
	for _, s := range found {
		id := s.SplitID()
		if _, known := l.known[id]; known {
			continue
		}
		if id == "" || !utf8.ValidString(id) {
			return &fault.SourceError{Detail: fault.Detail{
				Code: "split.id", Doing: "list splits", Retry: fault.RetryNever, Err: fmt.Errorf("got the split id %q, want UTF-8 text that is not empty", id),
			}}
		}
		l.known[id] = false
		l.found = append(l.found, s)
		l.saved = nil
	}
	l.assign()
	return nil
}

func (l *list[S]) AddReader(_ context.Context, reader int) error {
	l.forget(reader)
	delete(l.gone, reader)
	l.assign()
	return nil
}

func (l *list[S]) HandleSplitRequest(_ context.Context, reader int) error {
	delete(l.told, reader)
	l.requests = append(l.requests, reader)
	l.assign()
	return nil
}

func (l *list[S]) AddSplitsBack(_ context.Context, back []S, reader int) error {
	l.forget(reader)
	l.gone[reader] = true
	if reader >= 0 && reader < len(l.load) {
		l.load[reader] = 0
	}
	for _, s := range back {
		if assigned, known := l.known[s.SplitID()]; known && !assigned {
			return &fault.RuntimeError{Detail: fault.Detail{
				Code: "split.back", Doing: "take a split back", Split: s.SplitID(), Retry: fault.RetryNever, Err: errors.New("it is not assigned to any reader"),
			}}
		}
		l.known[s.SplitID()] = false
	}
	l.back = append(l.back, back...)
	l.saved = nil
	l.assign()
	return nil
}

// forget drops what a reader had asked for before it failed.
func (l *list[S]) forget(reader int) {
	l.requests = slices.DeleteFunc(l.requests, func(r int) bool { return r == reader })
	delete(l.told, reader)
}

// assign hands out what can be handed out now.
func (l *list[S]) assign() {
	readers := l.ec.Readers()
	if l.o.Spread {
		l.spread(readers)
	}
	for len(l.requests) > 0 {
		reader := l.requests[0]
		switch {
		case !slices.Contains(readers, reader): // it has gone
		case !l.o.Spread && len(l.back) > 0:
			l.give(reader, l.back[0])
			l.back = l.back[1:]
		case !l.o.Spread && len(l.found) > 0:
			l.give(reader, l.found[0])
			l.found = l.found[1:]
		case l.o.Every == 0 && l.listed && len(l.back)+len(l.found) == 0:
			l.told[reader] = true
			l.ec.NoMoreSplits(reader)
		default:
			return
		}
		l.requests = l.requests[1:]
	}
}

// spread gives every lane the same number. What falls to a lane that has not registered waits for it, unless it has failed.
func (l *list[S]) spread(readers []int) {
	for len(l.back) > 0 {
		to := -1
		for _, r := range readers {
			if !l.told[r] && (to < 0 || l.load[r] < l.load[to]) {
				to = r
			}
		}
		if to < 0 {
			break
		}
		l.load[to]++
		l.give(to, l.back[0])
		l.back = l.back[1:]
	}
	planned := slices.Clone(l.load)
	l.found = slices.DeleteFunc(l.found, func(s S) bool {
		to := -1
		for r, n := range planned {
			if !l.gone[r] && (to < 0 || n < planned[to]) {
				to = r
			}
		}
		if to < 0 {
			return false
		}
		planned[to]++
		if !slices.Contains(readers, to) {
			return false
		}
		l.load[to]++
		l.give(to, s)
		return true
	})
}

func (l *list[S]) give(reader int, s S) {
	l.known[s.SplitID()] = true
	l.saved = nil
	l.ec.Assign(reader, s)
}

func (l *list[S]) Close() error { return nil }

// listVersion is the version of an encoded adf.v1.ListState.
const listVersion = 1

func (l *list[S]) Snapshot(context.Context) (State, error) {
	if l.saved != nil {
		return *l.saved, nil
	}
	var state adfv1.ListState
	ids := make([]string, 0, len(l.known))
	for id, assigned := range l.known {
		if assigned {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	before := ""
	for _, id := range ids {
		n := 0
		for n < len(id) && n < len(before) && id[n] == before[n] {
			n++
		}
		state.Assigned = append(state.Assigned, &adfv1.ListedId{Shared: uint32(n), Rest: []byte(id[n:])})
		before = id
	}
	es, err := encodeAll(l.o.Codec, slices.Concat(l.back, l.found))
	if err != nil {
		return State{}, err
	}
	for _, e := range es {
		state.Waiting = append(state.Waiting, &adfv1.Split{Id: e.ID, Version: uint32(e.Version), Data: e.Data})
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(&state)
	if err != nil {
		return State{}, err
	}
	l.saved = &State{listVersion, data}
	return *l.saved, nil
}

func (l *list[S]) restore(s State) error {
	if s.Version != listVersion {
		return fmt.Errorf("got version %d of the list of splits, want %d", s.Version, listVersion)
	}
	var state adfv1.ListState
	if err := proto.Unmarshal(s.Data, &state); err != nil {
		return err
	}
	before := ""
	for _, e := range state.Assigned {
		if int(e.Shared) > len(before) {
			return fmt.Errorf("an id shares %d bytes with %q before it", e.Shared, before)
		}
		before = before[:e.Shared] + string(e.Rest)
		l.known[before] = true
	}
	es := make([]Envelope, len(state.Waiting))
	for i, w := range state.Waiting {
		if _, known := l.known[w.Id]; known {
			return fmt.Errorf("the split %q is there twice", w.Id)
		}
		l.known[w.Id] = false
		es[i] = Envelope{w.Id, State{int(w.Version), w.Data}}
	}
	var err error
	l.found, err = decodeAll(l.o.Codec, es)
	return err
}
