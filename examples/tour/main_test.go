package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/adftest"
	"github.com/activedataflow/adf/connectors/file"
)

func at(hour string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", "2013-"+hour)
	if err != nil {
		panic(err)
	}
	return t
}

func left(carrier, hour string, delay int64) Flight { return Flight{carrier, &delay, at(hour)} }

func cancelled(carrier, hour string) Flight { return Flight{carrier, nil, at(hour)} }

func TestDays(t *testing.T) {
	f := adf.New("days")
	flow(f, "nowhere", "nowhere", time.Hour)
	r := adftest.Run(t, f,
		adftest.In("flights", left("UA", "01-01 10:00", 10), left("AA", "01-01 11:00", 0), cancelled("UA", "01-01 12:00")),
		adftest.In("flights", left("UA", "01-02 00:30", 5)),
		adftest.In("flights", left("UA", "01-01 23:50", 20)), // 40 minutes back: in time
		adftest.In("flights", left("AA", "01-02 02:00", 7)),
		adftest.In("flights", left("AA", "01-01 23:59", 9))) // more than an hour back: its day has had its result

	days := adftest.Out[Day](r, "out")
	if len(days) != 4 || days[1].Carrier != "UA" || days[1].Flights != 3 || *days[1].MeanDelay != 15 {
		t.Errorf("got %+v", days)
	}
	if late := adftest.Out[Flight](r, "late"); len(late) != 1 || late[0].Carrier != "AA" {
		t.Errorf("late: got %+v", late)
	}
}

func TestDaysAreExact(t *testing.T) {
	f := adf.New("days")
	flow(f, "nowhere", "nowhere", 24*time.Hour)
	var script []adftest.Option
	for i := range int64(12) {
		carrier := []string{"AA", "UA", "B6"}[i%3]
		split := []string{"flights/january", "flights/february"}[i%2]
		script = append(script, adftest.In(split, left(carrier, "01-01 10:00", i), left(carrier, "01-03 10:00", i)))
	}
	adftest.Run(t, f, append(script, adftest.CrashAnywhere())...)
}

func TestDaysInYAML(t *testing.T) {
	f := adftest.Load(t, "days.yaml", adf.LoadOptions{Params: map[string]string{"bound": "1h"}}, file.Register)
	r := adftest.Run(t, f,
		adftest.JSON("flights", `{"carrier": "UA", "dep_delay": 10, "time_hour": "2013-01-01T10:00:00Z"}`),
		adftest.In("flights", cancelled("UA", "01-01 12:00"), left("UA", "01-01 13:00", 20)), // fields go by their names
		adftest.Watermark("flights", at("01-02 00:00")),
		adftest.In("flights", left("AA", "01-01 14:00", 7)))

	want := []string{
		`{"carrier":"UA","window_start":"2013-01-01T00:00:00Z","window_end":"2013-01-02T00:00:00Z","flights":3,"mean_delay":15}`,
	}
	if got := adftest.Lines(r, "out"); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.Late("per_day") != 1 {
		t.Errorf("got %d late flights, want the one behind the promise", r.Late("per_day"))
	}
}
