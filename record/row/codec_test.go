package row

import (
	"bytes"
	"flag"
	"math"
	"math/big"
	"os"
	"reflect"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	adfv1 "github.com/activedataflow/adf/proto/adf/v1"
	"github.com/activedataflow/adf/record"
)

var update = flag.Bool("update", false, "write the golden files of the newest version under testdata")

const everything = `b bool, i int64, f float64, d decimal(38,4), s string not null, y bytes, t timestamp, day date, u duration, l list<list<int64 not null>>, m map<string>, r row<a int64 not null, "odd name" row<x bool>>`

// goldenBatch has every kind of value, null and the ends of the ranges. It never changes: its bytes are kept for each version.
func goldenBatch(t *testing.T) (*Codec[Row], *record.Batch[Row]) {
	huge, _ := new(big.Int).SetString("-12345678901234567890123456789012345678", 10)
	c := RowCodec(mustSchema(everything))
	b := &record.Batch[Row]{Split: "part-1.csv:0"}
	for i, vs := range [][]Value{
		{Bool(true), Int(math.MaxInt64), Float(0.1), BigDecimal(huge, 4), String("é"), Bytes([]byte{0, 255}), Timestamp(1_330_473_600_000_001), Date(15399), Duration(-1500),
			List([]Value{List([]Value{Int(1), Int(-2)}), Null()}), Map([]Entry{{"a", String("x")}, {"b", Null()}}), Nested([]Value{Int(7), Nested([]Value{Bool(false)})})},
		{Null(), Null(), Null(), Null(), String(""), Null(), Null(), Null(), Null(), Null(), Null(), Null()},
		{Bool(false), Int(math.MinInt64), Float(math.Inf(-1)), Decimal(-5, 4), String("z"), Bytes(nil), Timestamp(-1), Date(-719528), Duration(math.MaxInt64), List(nil), Map(nil), Nested([]Value{Int(0), Null()})},
	} {
		m := record.Meta{Time: 1_330_473_600_000 + int64(i), Watermark: record.NoTime, Position: int64(100 * i)}
		if i == 1 {
			m = record.Meta{Time: record.NoTime, Watermark: record.MaxTime, Position: math.MaxInt64}
		}
		if err := c.AppendRecord(b, vs, m); err != nil {
			t.Fatal(err)
		}
	}
	return c, b
}

// Every version ever released can be read, and the newest is written as it always was.
func TestGoldenBatches(t *testing.T) {
	c, b := goldenBatch(t)
	for name, got := range map[string][]byte{"batch": c.AppendBatch(nil, b), "durable": c.AppendDurable(nil, b)} {
		file := "testdata/" + name + ".v1.bin"
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		golden, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, golden) {
			t.Errorf("%s: what is written has changed: it needs a new version, and a golden file of it", name)
		}
		var back record.Batch[Row]
		if err := c.DecodeBatch(golden, &back); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range b.Values {
			if got, want := c.AppendJSON(nil, &back, i), c.AppendJSON(nil, b, i); !bytes.Equal(got, want) || back.Metas[i] != b.Metas[i] {
				t.Errorf("%s: got %s %+v, want %s %+v", name, got, back.Metas[i], want, b.Metas[i])
			}
		}
		if back.Split != b.Split || back.Len() != b.Len() {
			t.Errorf("%s: got %d records of %s", name, back.Len(), back.Split)
		}
	}
}

// The hand-written form is the message that the .proto file says.
func TestBatchIsTheMessage(t *testing.T) {
	c, b := goldenBatch(t)
	var m adfv1.Batch
	if err := proto.Unmarshal(c.AppendDurable(nil, b), &m); err != nil {
		t.Fatal(err)
	}
	if m.Version != 1 || m.Count != 3 || m.Split != b.Split || m.Schema != everything || len(m.Metas) == 0 || len(m.Rows) == 0 || len(m.ProtoReflect().GetUnknown()) > 0 {
		t.Errorf("got %+v", &m)
	}
	canonical, err := proto.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	var back record.Batch[Row]
	if err := c.DecodeBatch(canonical, &back); err != nil || back.Len() != 3 {
		t.Errorf("got %d records and %v", back.Len(), err)
	}
}

func TestDecodeBatchErrors(t *testing.T) {
	c := RowCodec(mustSchema("a int64, r row<x int64>"))
	message := func(m *adfv1.Batch) []byte {
		data, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for want, data := range map[string][]byte{
		"got version 0 of the batch encoding, want 1":                      nil,
		"got version 2 of the batch encoding, want 1":                      message(&adfv1.Batch{Version: 2}),
		"the data ends in the middle of a value":                           message(&adfv1.Batch{Version: 1, Count: 1, Metas: []byte{0, 0, 0}, Rows: []byte{2}}),
		"there is data behind the last record":                             message(&adfv1.Batch{Version: 1, Rows: []byte{0}}),
		"field a: got string, want int64":                                  message(&adfv1.Batch{Version: 1, Count: 1, Metas: []byte{0, 0, 0}, Rows: []byte{5, 0, 0}}),
		"field r: got 2 fields, want 1":                                    message(&adfv1.Batch{Version: 1, Count: 1, Metas: []byte{0, 0, 0}, Rows: []byte{0, 12, 2, 0, 0}}),
		"field r: field x: got bool, want int64":                           message(&adfv1.Batch{Version: 1, Count: 1, Metas: []byte{0, 0, 0}, Rows: []byte{0, 12, 1, 1, 1}}),
		"got the kind 13, want 0 to 12":                                    message(&adfv1.Batch{Version: 1, Count: 1, Metas: []byte{0, 0, 0}, Rows: []byte{13}}),
		"the schema of the data: column 2: got the end, want " + typeNames: message(&adfv1.Batch{Version: 1, Schema: "a"}),
	} {
		err := c.DecodeBatch(data, &record.Batch[Row]{})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestKeysHaveOneForm(t *testing.T) {
	for _, equal := range [][2]Value{
		{Float(0), Float(math.Copysign(0, -1))}, {Float(math.NaN()), Float(-math.NaN())}, {Float(math.NaN()), Float(math.Float64frombits(0x7ff8000000000123))},
		{Decimal(1200, 2), Decimal(12, 0)}, {Decimal(0, 9), Decimal(0, 0)}, {BigDecimal(new(big.Int).Mul(big.NewInt(1e18), big.NewInt(1e18)), 36), Decimal(1, 0)},
		{List([]Value{Float(0)}), List([]Value{Float(math.Copysign(0, -1))})}, {Map([]Entry{{"a", Decimal(10, 1)}}), Map([]Entry{{"a", Decimal(1, 0)}})},
	} {
		if a, b := AppendKey(nil, equal[0]), AppendKey(nil, equal[1]); !bytes.Equal(a, b) {
			t.Errorf("%s and %s: got %x and %x", AppendText(nil, equal[0]), AppendText(nil, equal[1]), a, b)
		}
	}
	if bytes.Equal(AppendKey(nil, String("a"), String("")), AppendKey(nil, String(""), String("a"))) {
		t.Error("keys of two values are told apart")
	}
	key := AppendKey(nil, Int(-1), String("x"), Null())
	vs, err := DecodeKey(key, 3)
	if err != nil || vs[0].Int() != -1 || vs[1].Str() != "x" || !vs[2].IsNull() {
		t.Errorf("got %v and %v", vs, err)
	}
	if _, err := DecodeKey(key, 2); err == nil {
		t.Error("data behind the key is an error")
	}
}

type inner struct {
	X int8
	Y *float32
}

type Base struct {
	ID   int64    `adf:"id"`
	Skip chan int `adf:"-"`
}

type city string

type wide struct {
	Base
	Name    city `adf:"name"`
	Opt     *string
	When    time.Time
	For     time.Duration
	On      Day
	Big     *big.Int
	Raw     []byte
	Flag    bool
	I       int
	I16     int16
	I32     int32
	U8      uint8
	U16     uint16
	U32     uint32
	F32     float32
	F       float64
	List    []inner
	Ptrs    []*int
	Map     map[city]inner
	Nested  inner
	PNested *inner
	Deep    map[string][]map[string]int
}

const wideSchema = "id int64 not null, name string not null, Opt string, When timestamp not null, For duration not null, On date not null, Big decimal(38,0), Raw bytes not null, Flag bool not null, I int64 not null, " +
	"I16 int64 not null, I32 int64 not null, U8 int64 not null, U16 int64 not null, U32 int64 not null, F32 float64 not null, F float64 not null, List list<row<X int64 not null, Y float64> not null> not null, Ptrs list<int64> not null, " +
	"Map map<row<X int64 not null, Y float64> not null> not null, Nested row<X int64 not null, Y float64> not null, PNested row<X int64 not null, Y float64>, Deep map<list<map<int64 not null> not null> not null> not null"

func TestStructsRoundTrip(t *testing.T) {
	c, err := CodecOf[wide]()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Schema().String(), wideSchema; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	s, one, y := "opt", 1, float32(0.5)
	huge := new(big.Int).Lsh(big.NewInt(1), 100)
	values := []wide{
		{Base: Base{ID: -5}, Name: "é", Opt: &s, When: time.Date(2012, 2, 29, 1, 2, 3, 4000, time.UTC), For: time.Hour, On: 15399, Big: huge, Raw: []byte{1}, Flag: true, I: math.MinInt64, I16: -1, I32: math.MaxInt32,
			U8: 255, U16: 65535, U32: math.MaxUint32, F32: 0.25, F: math.Inf(1), List: []inner{{1, &y}, {2, nil}}, Ptrs: []*int{&one, nil}, Map: map[city]inner{"b": {3, nil}, "a": {4, &y}}, Nested: inner{5, &y}, PNested: &inner{6, nil},
			Deep: map[string][]map[string]int{"k": {{"x": 1}, nil}}},
		{When: time.UnixMicro(0).UTC()},
	}
	var b record.Batch[wide]
	for i := range values {
		b.Append(values[i], record.Meta{Position: int64(i)})
	}
	var back record.Batch[wide]
	if err := c.DecodeBatch(c.AppendBatch(nil, &b), &back); err != nil {
		t.Fatal(err)
	}
	back.Values[1].Raw = nil // nil and empty are the same
	if !reflect.DeepEqual(back.Values, values) {
		t.Errorf("got\n%+v\nwant\n%+v", back.Values, values)
	}
	// The same data as rows, and JSON of both.
	rows := RowCodec(c.Schema())
	var asRows record.Batch[Row]
	if err := rows.DecodeBatch(c.AppendBatch(nil, &b), &asRows); err != nil {
		t.Fatal(err)
	}
	if got, want := rows.AppendJSON(nil, &asRows, 0), c.AppendJSON(nil, &b, 0); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var copied record.Batch[wide]
	c.CopyRecord(&copied, &b, 0)
	if !reflect.DeepEqual(copied.Values[0], values[0]) {
		t.Errorf("got %+v", copied.Values[0])
	}
}

func TestScalarsAreRecordsOfOneField(t *testing.T) {
	c, err := CodecOf[*int64]()
	if err != nil || c.Schema().String() != "value int64" {
		t.Fatal(c, err)
	}
	var v *int64
	if err := c.Set(&v, []Value{Int(5)}); err != nil || *v != 5 {
		t.Errorf("got %v and %v", v, err)
	}
	if vs := c.Get(nil, &v); len(vs) != 1 || vs[0].Int() != 5 {
		t.Errorf("got %v", vs)
	}
	if err := c.Set(&v, []Value{String("x")}); err == nil || err.Error() != "field value: got string, want int64" {
		t.Errorf("got %v", err)
	}
}

type self struct{ Next *self }
type embedded struct{ *Base }
type namesake struct {
	A int `adf:"x"`
	B int `adf:"x"`
}

func TestWhatCanNotTravelIsNamed(t *testing.T) {
	_, errChan := SchemaOf[struct{ A struct{ B []chan int } }]()
	_, errFunc := SchemaOf[struct{ F map[string]func() }]()
	_, errAny := SchemaOf[struct{ X any }]()
	_, errUint := SchemaOf[struct{ X *uint64 }]()
	_, errKey := SchemaOf[struct{ M map[int]string }]()
	_, errPtr := SchemaOf[struct{ P **int }]()
	_, errSelf := SchemaOf[self]()
	_, errEmbedded := SchemaOf[embedded]()
	_, errTwice := SchemaOf[namesake]()
	_, errTop := SchemaOf[func()]()
	for want, err := range map[string]error{
		"struct { A struct { B []chan int } }.A.B[]: a chan int can not travel between processes":     errChan,
		"struct { F map[string]func() }.F{}: a func() can not travel between processes":               errFunc,
		"struct { X interface {} }.X: a interface {} can not travel between processes":                errAny,
		"struct { X *uint64 }.X: a uint64 can not travel between processes":                           errUint,
		"struct { M map[int]string }.M: a map with keys of type int can not travel, want string keys": errKey,
		"struct { P **int }.P: a **int can not travel: it has two ways to be null":                    errPtr,
		"row.self.Next: the type row.self contains itself":                                            errSelf,
		"row.embedded.ID: a field of an embedded pointer can not travel":                              errEmbedded,
		`row.namesake: field "x" is there twice`:                                                      errTwice,
		"func(): a func() can not travel between processes":                                           errTop,
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := CodecOf[Row](); err == nil || err.Error() != "rows have no schema of their own: use RowCodec" {
		t.Errorf("got %v", err)
	}
}

func TestSetErrorsNameTheField(t *testing.T) {
	c, err := CodecOf[struct {
		N inner
		L []int8
		M map[string]bool
		D time.Duration
		B *big.Int
	}]()
	if err != nil {
		t.Fatal(err)
	}
	good := func() []Value {
		return []Value{Nested([]Value{Int(1), Null()}), List(nil), Map(nil), Duration(1), Null()}
	}
	for want, change := range map[string]func(vs []Value){
		"field N: got null, want row":                                            func(vs []Value) { vs[0] = Null() },
		"field N: got 1 fields, want 2":                                          func(vs []Value) { vs[0] = Nested([]Value{Int(1)}) },
		"field N: X: got 300, which does not fit int8":                           func(vs []Value) { vs[0] = Nested([]Value{Int(300), Null()}) },
		"field L: element 1: got null, want int64":                               func(vs []Value) { vs[1] = List([]Value{Int(1), Null()}) },
		`field M: key "k": got int64, want bool`:                                 func(vs []Value) { vs[2] = Map([]Entry{{"k", Int(1)}}) },
		"field D: got 2562047788h0m54.775807s, which does not fit time.Duration": func(vs []Value) { vs[3] = Duration(math.MaxInt64) },
		"field B: got 0.5, want a decimal with nothing after the point":          func(vs []Value) { vs[4] = Decimal(5, 1) },
	} {
		vs := good()
		change(vs)
		var b record.Batch[struct {
			N inner
			L []int8
			M map[string]bool
			D time.Duration
			B *big.Int
		}]
		if err := c.AppendRecord(&b, vs, record.Meta{}); err == nil || err.Error() != want || b.Len() != 0 {
			t.Errorf("got %v and %d records, want %s", err, b.Len(), want)
		}
	}
}

// Rows that are copied live on when their batch is reset.
func TestCopiesOutliveTheirBatch(t *testing.T) {
	c, b := goldenBatch(t)
	want := string(c.AppendJSON(nil, b, 0))
	var copied record.Batch[Row]
	c.CopyRecord(&copied, b, 0)
	clone := b.Values[0].Clone()
	var set Row
	if err := c.Set(&set, b.Values[0].Values); err != nil {
		t.Fatal(err)
	}
	var appended record.Batch[Row]
	if err := c.AppendRecord(&appended, b.Values[0].Values, record.Meta{}); err != nil {
		t.Fatal(err)
	}
	b.Reset()
	slab := SlabOf(b)
	for range 100 { // what a new batch writes there
		copy(slab.Values(3), []Value{Int(1), Int(2), Int(3)})
		copy(slab.Entries(1), []Entry{{"new", Int(1)}})
	}
	for name, got := range map[string][]byte{
		"CopyRecord": c.AppendJSON(nil, &copied, 0), "Clone": AppendJSONRow(nil, c.Schema(), clone.Values), "Set": AppendJSONRow(nil, c.Schema(), set.Values), "AppendRecord": c.AppendJSON(nil, &appended, 0),
	} {
		if string(got) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestRowAllocations(t *testing.T) {
	c := RowCodec(mustSchema("a int64, b string, l list<int64>, m map<string>"))
	var b, copied, back record.Batch[Row]
	for i := range 1000 {
		if err := c.AppendRecord(&b, []Value{Int(int64(i)), String("x"), List([]Value{Int(1), Int(2)}), Map([]Entry{{"k", String("v")}})}, record.Meta{}); err != nil {
			t.Fatal(err)
		}
	}
	var data []byte
	allocs := testing.AllocsPerRun(10, func() {
		copied.Reset()
		back.Reset()
		for i := range b.Values {
			c.CopyRecord(&copied, &b, i)
		}
		data = c.AppendBatch(data[:0], &b)
		if err := c.DecodeBatch(data, &back); err != nil {
			t.Fatal(err)
		}
	})
	if most := 10.0; !mangle && allocs > most {
		t.Errorf("got %v allocations for 1000 records, want at most %v", allocs, most)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	c := RowCodec(mustSchema(everything))
	for _, name := range []string{"batch", "durable"} {
		data, err := os.ReadFile("testdata/" + name + ".v1.bin")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	typed, err := CodecOf[wide]()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		typed.DecodeBatch(data, &record.Batch[wide]{}) // must not panic
		var b record.Batch[Row]
		if err := c.DecodeBatch(data, &b); err != nil {
			return
		}
		for i := range b.Values {
			c.AppendJSON(nil, &b, i)
		}
		again := c.AppendBatch(nil, &b)
		var back record.Batch[Row]
		if err := c.DecodeBatch(again, &back); err != nil || !bytes.Equal(c.AppendBatch(nil, &back), again) {
			t.Fatalf("what was read is not written and read as it was: %v", err)
		}
	})
}

func FuzzDecodeKey(f *testing.F) {
	f.Add(AppendKey(nil, Int(5), List([]Value{Float(0.5)}), Map([]Entry{{"a", Decimal(5, 1)}})), 3)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		if n < 0 || n > 100 {
			return
		}
		if vs, err := DecodeKey(data, n); err == nil {
			key := AppendKey(nil, vs...)
			again, err := DecodeKey(key, n)
			if err != nil || !bytes.Equal(AppendKey(nil, again...), key) {
				t.Fatalf("%x: %v", data, err)
			}
		}
		v, rest, err := DecodeValue(data)
		if err != nil {
			return
		}
		if len(rest) > len(data) {
			t.Fatal("more rest than data")
		}
		again, _, err := DecodeValue(AppendValue(nil, v))
		if err != nil || Compare(v, again) != 0 {
			t.Fatalf("%x: %v", data, err)
		}
	})
}

func BenchmarkStructCodec(b *testing.B) {
	type order struct {
		ID       int64
		User     string
		Amount   float64
		Quantity int
		Paid     bool
		City     *string
		At       time.Time
	}
	c, err := CodecOf[order]()
	if err != nil {
		b.Fatal(err)
	}
	city := "Oslo"
	var batch, back record.Batch[order]
	for i := range 1000 {
		batch.Append(order{int64(i), "u42", 12.5, 3, true, &city, time.UnixMicro(0)}, record.Meta{})
	}
	var data []byte
	b.ReportAllocs()
	for b.Loop() {
		back.Reset()
		data = c.AppendBatch(data[:0], &batch)
		if err := c.DecodeBatch(data, &back); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkRowCodec(b *testing.B) {
	c := RowCodec(mustSchema("id int64, user string, amount float64, quantity int64, paid bool, city string, at timestamp"))
	var batch, back record.Batch[Row]
	for i := range 1000 {
		vs := []Value{Int(int64(i)), String("u42"), Float(12.5), Int(3), Bool(true), String("Oslo"), Timestamp(1_362_898_799_000_000)}
		if err := c.AppendRecord(&batch, vs, record.Meta{Time: 1_362_898_799_000 + int64(i), Position: int64(160 * i)}); err != nil {
			b.Fatal(err)
		}
	}
	var data []byte
	b.ReportAllocs()
	for b.Loop() {
		back.Reset()
		data = c.AppendBatch(data[:0], &batch)
		if err := c.DecodeBatch(data, &back); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(1000*b.N)/b.Elapsed().Seconds(), "records/s")
}
