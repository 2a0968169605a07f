package row

import (
	"math"
	"testing"

	"github.com/activedataflow/adf/record"
)

func mustSchema(text string) *Schema {
	s, err := ParseSchema(text)
	if err != nil {
		panic(err)
	}
	return s
}

func TestEvolutionOfTypes(t *testing.T) {
	types := []string{"bool", "int64", "float64", "decimal(19,0)", "decimal(21,2)", "decimal(20,2)", "string", "bytes", "timestamp", "date", "duration", "list<int64>", "list<float64>", "map<int64>", "row<a int64>", "row<a int64, b string>"}
	allowed := map[[2]string]bool{
		{"int64", "float64"}: true, {"int64", "decimal(19,0)"}: true, {"int64", "decimal(21,2)"}: true, {"decimal(19,0)", "decimal(21,2)"}: true, {"decimal(20,2)", "decimal(21,2)"}: true,
		{"date", "timestamp"}: true, {"list<int64>", "list<float64>"}: true, {"row<a int64>", "row<a int64, b string>"}: true, {"row<a int64, b string>", "row<a int64>"}: true,
	}
	for _, from := range types {
		for _, to := range types {
			_, err := NewEvolution(mustSchema("x "+from), mustSchema("x "+to))
			if (err == nil) != (from == to || allowed[[2]string{from, to}]) {
				t.Errorf("%s to %s: got %v", from, to, err)
			}
		}
	}
}

func TestEvolutionErrorsNameTheField(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"a int64", "a int64, b string not null", "field b: it is new, so it must be nullable: got string not null"},
		{"a int64", "a int64 not null", "field a: it was nullable, so it must stay so: got int64 not null"},
		{"a string", "a int64", "field a: string can not become int64"},
		{"a int64", "a decimal(18,2)", "field a: int64 can not become decimal(18,2): 19 digits before the point are needed"},
		{"a decimal(10,2)", "a decimal(12,1)", "field a: decimal(10,2) can not become decimal(12,1): digits would be lost"},
		{"r row<a int64>", "r row<a int64, b int64 not null>", "field r: field b: it is new, so it must be nullable: got int64 not null"},
		{"l list<string>", "l list<date>", "field l: elements: string can not become date"},
		{"l list<string>", "l list<string not null>", "field l: the elements of list<string not null> were nullable, so they must stay so"},
		{"m map<int64>", "m list<int64>", "field m: map<int64> can not become list<int64>"},
	} {
		_, err := NewEvolution(mustSchema(c.from), mustSchema(c.to))
		if err == nil || err.Error() != c.want {
			t.Errorf("%s to %s: got %v, want %s", c.from, c.to, err, c.want)
		}
	}
}

const (
	oldSchema = "id int64 not null, gone string, day date, price decimal(6,2), l list<int64>, m map<row<a int64>>"
	newSchema = "new string, price decimal(10,4), id float64, m map<row<b string, a decimal(19,0)>>, day timestamp, l list<float64>"
)

// A batch written with an old schema is read with a new one.
func TestDurableBatchesEvolve(t *testing.T) {
	from := RowCodec(mustSchema(oldSchema))
	to := RowCodec(mustSchema(newSchema))
	var old record.Batch[Row]
	for i, vs := range [][]Value{
		{Int(1), String("x"), Date(15765), Decimal(1250, 2), List([]Value{Int(1), Null()}), Map([]Entry{{"k", Nested([]Value{Int(5)})}, {"n", Null()}})},
		{Int(2), Null(), Null(), Null(), Null(), Null()},
	} {
		if err := from.AppendRecord(&old, vs, record.Meta{Time: 5, Position: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	durable := from.AppendDurable(nil, &old)
	for range 2 { // the second time with the evolution known
		var got record.Batch[Row]
		if err := to.DecodeBatch(durable, &got); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{
			`{"new":null,"price":12.5000,"id":1,"m":{"k":{"b":null,"a":5},"n":null},"day":"2013-03-01T00:00:00Z","l":[1,null]}`,
			`{"new":null,"price":null,"id":2,"m":null,"day":null,"l":null}`,
		} {
			if text := string(to.AppendJSON(nil, &got, i)); text != want {
				t.Errorf("got\n%s\nwant\n%s", text, want)
			}
		}
		if got.Metas[1] != old.Metas[1] {
			t.Errorf("got %+v", got.Metas[1])
		}
	}
	var same record.Batch[Row]
	if err := from.DecodeBatch(durable, &same); err != nil || string(from.AppendDurable(nil, &same)) != string(durable) {
		t.Errorf("its own schema: got %v", err)
	}
	type typed struct {
		ID  float64 `adf:"id"`
		New *string `adf:"new"`
	}
	c, err := CodecOf[typed]()
	if err != nil {
		t.Fatal(err)
	}
	var structs record.Batch[typed]
	if err := c.DecodeBatch(durable, &structs); err != nil || structs.Values[1].ID != 2 || structs.Values[1].New != nil {
		t.Errorf("as a struct: got %+v and %v", structs.Values, err)
	}
	if err := RowCodec(mustSchema("id string")).DecodeBatch(durable, &same); err == nil || err.Error() != "field id: int64 can not become string" {
		t.Errorf("got %v", err)
	}
}

func TestEvolutionOfAValueThatDoesNotFit(t *testing.T) {
	e, err := NewEvolution(mustSchema("a int64"), mustSchema("a float64"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Apply(nil, []Value{Int(math.MaxInt64)}); err == nil || err.Error() != "field a: got 9223372036854775807, which does not fit float64" {
		t.Errorf("got %v", err)
	}
	if vs, err := e.Apply([]Value{Bool(true)}, []Value{Int(3)}); err != nil || len(vs) != 2 || vs[1].Float() != 3 {
		t.Errorf("got %v and %v", vs, err)
	}
	if e.Same() {
		t.Error("a widened field is not the same")
	}
	if e, err = NewEvolution(mustSchema("a int64 not null, b string"), mustSchema("a int64, b string")); err != nil || !e.Same() {
		t.Errorf("got %v", err)
	}
	if e, err = NewEvolution(mustSchema("a int64, b int64"), mustSchema("b int64, a int64")); err != nil || e.Same() {
		t.Errorf("got %v", err)
	}
}
