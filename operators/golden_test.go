package operators

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/operators/state"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

var update = flag.Bool("update-forms", false, "write the golden files of forms that are new")

// golden compares bytes with a file, as hexadecimal text, and gives the file's bytes.
func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	file := filepath.Join("testdata", name+".hex")
	if *update {
		if err := os.WriteFile(file, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s: got %x\nwant %x", name, got, want)
	}
	return want
}

// TestForms holds the bytes that cross the shuffle and lie in checkpoints. State of version 1 must be readable for ever.
func TestForms(t *testing.T) {
	in := schema(t, "k string, n int64, f float64, d decimal(38,4), s string, u duration, z timestamp")
	step, err := AggregateRows(in, []Assign{{"k", "k"}, {"odd", "n % 2"}}, Window{Size: time.Minute, Offset: time.Second}, []Assign{
		{"rows", "count()"}, {"cn", "count(n)"}, {"sn", "sum(n)"}, {"mn", "mean(n)"}, {"sf", "sum(f)"}, {"mf", "mean(f)"}, {"sd", "sum(d)"}, {"md", "mean(d)"},
		{"ls", "min(s)"}, {"hd", "max(d)"}, {"hf", "max(f)"}, {"su", "sum(u)"}, {"lz", "min(z)"},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, step, 1, 1, false)
	r.add(0, rows(t, in, "s",
		`{"k":"a","n":3,"f":0.1,"d":"1.5","s":"x","u":"1h","z":"2013-01-01T00:00:00Z","t":5}`,
		`{"k":"a","n":9223372036854775807,"f":1e30,"d":"9999999999999999999999999999999999.9999","s":"w","t":5}`,
		`{"k":"a","n":9223372036854775807,"f":1e-30,"t":5}`,
		`{"k":"b","f":1.7e308,"t":61000}`, `{"k":"b","f":"-Inf","t":61000}`, `{"n":-2,"t":-60000}`))
	r.flush(0)
	payload := golden(t, "windows.payload", r.payloads[0])
	r.snapshot()
	delta := golden(t, "windows.state", r.logs[0][0])

	again := newRig(t, step, 1, 1, false)
	if err := again.bucket(0).Load([][]byte{delta}); err != nil {
		t.Fatal(err)
	}
	again.output(func(out Output) error { return again.task.Process(t.Context(), again.bucket(0), 0, payload, out) })
	again.finish()
	again.want(
		`-59001 {"k":null,"odd":0,"window_start":"1969-12-31T23:58:01Z","window_end":"1969-12-31T23:59:01Z","rows":2,"cn":2,"sn":-4,"mn":-2,"sf":null,"mf":null,`+
			`"sd":null,"md":null,"ls":null,"hd":null,"hf":null,"su":null,"lz":null}`,
		`120999 {"k":"b","odd":null,"window_start":"1970-01-01T00:01:01Z","window_end":"1970-01-01T00:02:01Z","rows":4,"cn":0,"sn":null,"mn":null,"sf":null,"mf":null,`+
			`"sd":null,"md":null,"ls":null,"hd":null,"hf":1.7e+308,"su":null,"lz":null}`)
	if len(again.failed) != 1 || !strings.Contains(again.failed[0], "the sum 36893488147419103234 does not fit int64") {
		t.Errorf("failed: %v", again.failed)
	}

	c := row.RowCodec(schema(t, "k int64, s string"))
	proc, err := Process(c, c, func(r row.Row) int64 { return r.Values[0].Int() }, time.Hour, func() Processor[row.Row, int64, row.Row] {
		return rowsThrough{state.NewValue[string]("kept", 0)}
	})
	if err != nil {
		t.Fatal(err)
	}
	r = newRig(t, proc, 1, 1, true)
	r.add(0, rows(t, c.Schema(), "s1", `{"k":1,"s":"a","t":5,"w":-7}`, `{"k":1,"t":5,"w":-6}`))
	r.add(0, rows(t, c.Schema(), "s2", `{"k":1,"s":"b"}`))
	r.flush(0)
	golden(t, "process.payload", r.payloads[0])
	r.snapshot()
	again = newRig(t, proc, 1, 1, true)
	if err := again.bucket(0).Load([][]byte{golden(t, "process.state", r.logs[0][0])}); err != nil {
		t.Fatal(err)
	}
	again.advance(record.MaxTime, 0)
	again.want(`5 {"k":1,"s":"a"}`, `5 {"k":1,"s":null}`, `5 {"k":-1,"s":"a"}`, `{"k":1,"s":"b"}`, `{"k":-1,"s":""}`)
}

// TestArena uses its memory again, and gives back what it does not need.
func TestArena(t *testing.T) {
	var a arena
	fill := func(n int) {
		var keys []string
		for i := range n {
			keys = append(keys, a.copy([]byte{byte(i), byte(i >> 8), byte(i >> 16)}))
		}
		keys = append(keys, a.copy(make([]byte, 3*arenaBlock)), a.copy(nil))
		for i, k := range keys[:n] {
			if k != string([]byte{byte(i), byte(i >> 8), byte(i >> 16)}) {
				t.Fatalf("key %d became %x", i, k)
			}
		}
		if a.size() != 3*n+3*arenaBlock {
			t.Fatalf("got %d bytes", a.size())
		}
		a.reset()
	}
	for range 10 {
		fill(100_000)
	}
	if n := len(a.blocks); n > 100_000*3/arenaBlock+4 {
		t.Errorf("got %d blocks", n)
	}
	for range 10 {
		fill(1)
	}
	if n := len(a.blocks); n > 4 {
		t.Errorf("%d blocks are left", n)
	}
}
