package flinkbridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/flinkbridge/rest"
)

// jobSaid is a cluster with one job, as far as Await asks.
type jobSaid struct {
	mu         sync.Mutex
	status     string
	exceptions []string // the youngest first
	watermarks map[string]string
	asked      []string // what was asked of the job besides
}

func (s *jobSaid) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *jobSaid) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch path := r.Method + " " + r.URL.Path; {
	case path == "GET /jobs/j":
		fmt.Fprintf(w, `{"jid":"j","name":"flow","state":%q,"vertices":[{"id":"read","name":"read in","parallelism":1,"tasks":{"RUNNING":1}}]}`, s.status)
	case path == "GET /jobs/j/exceptions":
		var all []string
		for _, x := range s.exceptions {
			all = append(all, fmt.Sprintf(`{"stacktrace":%q}`, "java.lang.RuntimeException: "+x+"\n\tat x"))
		}
		root := ""
		if len(s.exceptions) > 0 {
			root = "java.lang.RuntimeException: " + s.exceptions[0]
		}
		fmt.Fprintf(w, `{"root-exception":%q,"exceptionHistory":{"entries":[%s]}}`, root, strings.Join(all, ","))
	case path == "GET /jobs/j/vertices/read/metrics":
		var all []string
		for name, value := range s.watermarks {
			all = append(all, fmt.Sprintf(`{"id":%q,"value":%q}`, name, value))
		}
		io.WriteString(w, "["+strings.Join(all, ",")+"]")
	case path == "POST /jobs/j/stop":
		s.asked, s.status = append(s.asked, "stop"), "FINISHED"
		io.WriteString(w, `{"request-id":"1"}`)
	case path == "GET /jobs/j/savepoints/1":
		io.WriteString(w, `{"status":{"id":"COMPLETED"},"operation":{"location":"file:/s"}}`)
	case path == "PATCH /jobs/j":
		s.asked, s.status = append(s.asked, "cancel"), "CANCELED"
		io.WriteString(w, "{}")
	default:
		http.Error(w, `{"errors":["Not found: `+path+`"]}`, http.StatusNotFound)
	}
}

// TestAwait: a job is waited for until it is over, or until it is sure that it will not be.
func TestAwait(t *testing.T) {
	const (
		failure = rest.FinalMark + "runtime: not this one (flow flow, run r, node step) [user.record]"
		another = rest.FinalMark + "sink file: no (flow flow, run r, node out) [sink.no]"
		outage  = "sink file: busy (flow flow, run r, node out) [sink.busy]"
	)
	end, early := fmt.Sprint(far.UnixMilli()), fmt.Sprint(time.Now().UnixMilli())
	for name, c := range map[string]struct {
		job   *jobSaid
		sub   Submission
		later func(s *jobSaid) // half a second later
		code  string           // "" when it finishes
		node  string
		asked string
	}{
		"finishes":            {job: &jobSaid{status: "RUNNING"}, later: func(s *jobSaid) { s.status = "FINISHED" }},
		"finished":            {job: &jobSaid{status: "FINISHED"}},
		"failed":              {job: &jobSaid{status: "FAILED", exceptions: []string{"no slots", failure}}, code: "user.record", node: "step"},
		"cancelled elsewhere": {job: &jobSaid{status: "CANCELED"}, code: "flink.job"},
		"fails again":         {job: &jobSaid{status: "RESTARTING", exceptions: []string{failure, outage, failure}}, code: "user.record", node: "step", asked: "cancel"},
		"fails otherwise":     {job: &jobSaid{status: "RESTARTING", exceptions: []string{failure, another}}, later: func(s *jobSaid) { s.status = "FINISHED" }},
		"outages":             {job: &jobSaid{status: "RESTARTING", exceptions: []string{outage, outage, outage}}, later: func(s *jobSaid) { s.status = "FINISHED" }},
		"worked off": {
			job: &jobSaid{status: "RUNNING", watermarks: map[string]string{"0.currentInputWatermark": end, "0.[1]read_in.currentOutputWatermark": early, "0.numRecordsIn": "5"}},
			sub: Submission{Streaming: true, Ends: true}, later: func(s *jobSaid) { s.watermarks["0.[1]read_in.currentOutputWatermark"] = end }, asked: "stop",
		},
		"endless": {
			job: &jobSaid{status: "RUNNING", watermarks: map[string]string{"0.currentInputWatermark": end, "0.[1]read_in.currentOutputWatermark": end}},
			sub: Submission{Streaming: true}, later: func(s *jobSaid) { s.status = "CANCELED" }, code: "flink.job",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.job)
			defer server.Close()
			client, err := rest.New(rest.Config{Address: server.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			c.sub.Job, c.sub.Flow = "j", "flow"
			if c.later != nil {
				defer time.AfterFunc(500*time.Millisecond, func() {
					c.job.set(func() {
						if len(c.job.asked) > 0 {
							t.Errorf("%v was asked too early", c.job.asked)
						}
						c.later(c.job)
					})
				}).Stop()
			}
			err = Await(t.Context(), client, c.sub)
			if c.code == "" && err != nil || c.code != "" && (code(err) != c.code || nodeOf(err) != c.node) {
				t.Errorf("got %v, want the code %q of node %q", err, c.code, c.node)
			}
			if got := strings.Join(c.job.asked, " "); got != c.asked {
				t.Errorf("asked the cluster to %q, want %q", got, c.asked)
			}
		})
	}
	t.Run("given up", func(t *testing.T) {
		server := httptest.NewServer(&jobSaid{status: "RUNNING"})
		defer server.Close()
		client, err := rest.New(rest.Config{Address: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		if err := Await(ctx, client, Submission{Job: "j"}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want that it was given up", err)
		}
	})
}

// TestMode: what kind of job a flow becomes.
func TestMode(t *testing.T) {
	var out memory.Store[int64]
	var windows memory.Store[window[int64]]
	ends, endless := graphOf(t, first(mapped(t.TempDir(), "ends", func(r reading) (reading, error) { return r, nil }))), graphOf(t, endless(1, &out, &windows))
	for _, c := range []struct {
		o               SubmitOptions
		ends            bool
		streaming, fail bool
	}{
		{SubmitOptions{}, true, false, false}, {SubmitOptions{}, false, true, false}, {SubmitOptions{Mode: Auto, Until: Until{Idle: true}}, false, false, false},
		{SubmitOptions{Mode: Batch}, true, false, false}, {SubmitOptions{Mode: Batch}, false, false, true}, {SubmitOptions{Mode: Batch, Until: Until{Records: 1}}, false, false, false},
		{SubmitOptions{Mode: Streaming}, true, true, false}, {SubmitOptions{Mode: Streaming}, false, true, false}, {SubmitOptions{Mode: Streaming, Until: Until{Records: 1}}, false, true, true},
		{SubmitOptions{Mode: "other"}, true, false, true},
	} {
		g := endless
		if c.ends {
			g = ends
		}
		streaming, end, err := c.o.kind(g)
		if streaming != c.streaming || end != c.ends || (err != nil) != c.fail {
			t.Errorf("%+v: got %v, %v and %v", c, streaming, end, err)
		}
	}
}

func first[T any](v T, _ error) T { return v }
