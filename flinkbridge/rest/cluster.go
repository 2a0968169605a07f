package rest

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/activedataflow/adf/fault"
)

// Overview is the cluster at a glance.
type Overview struct {
	TaskManagers  int    `json:"taskmanagers"`
	Slots         int    `json:"slots-total"`
	FreeSlots     int    `json:"slots-available"`
	JobsRunning   int    `json:"jobs-running"`
	JobsFinished  int    `json:"jobs-finished"`
	JobsCancelled int    `json:"jobs-cancelled"`
	JobsFailed    int    `json:"jobs-failed"`
	Version       string `json:"flink-version"`
	Commit        string `json:"flink-commit"`
}

// Overview also finds out whether there is a Flink cluster at the address.
func (c *Client) Overview(ctx context.Context) (Overview, error) {
	var o Overview
	q := call{doing: "ask the cluster what it is", path: []string{"overview"}}
	if err := c.do(ctx, q, &o); err != nil {
		return o, err
	}
	if o.Version == "" {
		return o, c.failure(q, "flink.answer", fault.RetryNever, errors.New(c.Address()+" answers, but not as Flink does"), "check that it is the address of Flink's REST server")
	}
	return o, nil
}

// Features are what the REST server may do.
type Features struct {
	Submit bool `json:"web-submit"`
	Cancel bool `json:"web-cancel"`
}

// Features asks for what the server may do.
func (c *Client) Features(ctx context.Context) (Features, error) {
	var a struct {
		Features Features `json:"features"`
	}
	err := c.do(ctx, call{doing: "ask for the features of the server", path: []string{"config"}}, &a)
	return a.Features, err
}

// Config is the JobManager's configuration, as Flink's options are called; secrets come masked.
func (c *Client) Config(ctx context.Context) (map[string]string, error) {
	var list []struct{ Key, Value string }
	if err := c.do(ctx, call{doing: "read the cluster's configuration", path: []string{"jobmanager", "config"}}, &list); err != nil {
		return nil, err
	}
	config := map[string]string{}
	for _, x := range list {
		config[x.Key] = x.Value
	}
	return config, nil
}

// Environment is the JobManager's process.
type Environment struct {
	JVM struct {
		Version string   `json:"version"`
		Arch    string   `json:"arch"`
		Options []string `json:"options"`
	} `json:"jvm"`
	ClassPath []string `json:"classpath"`
}

// Environment asks for the JobManager's JVM.
func (c *Client) Environment(ctx context.Context) (Environment, error) {
	var e Environment
	return e, c.do(ctx, call{doing: "ask for the JobManager's environment", path: []string{"jobmanager", "environment"}}, &e)
}

// TaskManager is one of the processes that do the work.
type TaskManager struct {
	ID string `json:"id"`
	// Address is that of its actor system, as "pekko.tcp://flink@127.0.0.1:37001/user/rpc/taskmanager_0".
	Address       string `json:"path"`
	Slots         int    `json:"slotsNumber"`
	FreeSlots     int    `json:"freeSlots"`
	LastHeartbeat Millis `json:"timeSinceLastHeartbeat"`
	Hardware      struct {
		Cores          int   `json:"cpuCores"`
		PhysicalMemory int64 `json:"physicalMemory"`
		FreeMemory     int64 `json:"freeMemory"`
		ManagedMemory  int64 `json:"managedMemory"`
	} `json:"hardware"`
}

// TaskManagers lists those that are registered.
func (c *Client) TaskManagers(ctx context.Context) ([]TaskManager, error) {
	var a struct {
		TaskManagers []TaskManager `json:"taskmanagers"`
	}
	return a.TaskManagers, c.do(ctx, call{doing: "list the TaskManagers", path: []string{"taskmanagers"}}, &a)
}

// TaskManagerLog is the beginning of a TaskManager's log, up to most bytes.
func (c *Client) TaskManagerLog(ctx context.Context, id string, most int64) ([]byte, error) {
	return c.send(ctx, call{doing: "read a TaskManager's log", path: []string{"taskmanagers", id, "log"}, missing: "TaskManager " + id}, most)
}

// Millis is a point in time in milliseconds since 1970, as Flink writes them; negative or 0 when there is none yet.
type Millis int64

// Time is the zero time when there is none.
func (m Millis) Time() time.Time {
	if m.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// IsZero says that there is none.
func (m Millis) IsZero() bool { return m <= 0 }

// MarshalJSON writes RFC 3339, null when there is none.
func (m Millis) MarshalJSON() ([]byte, error) {
	if m.IsZero() {
		return []byte("null"), nil
	}
	return json.Marshal(m.Time())
}

// UnmarshalJSON reads milliseconds.
func (m *Millis) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	return json.Unmarshal(data, (*int64)(m))
}
