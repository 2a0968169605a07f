package operators_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/format"
	"github.com/activedataflow/adf/record/row"
)

func schemaOf(t testing.TB, text string) *row.Schema {
	t.Helper()
	s, err := row.ParseSchema(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rowsOf reads rows from lines of JSON; their positions are 0, 1, 2, their times 1 s, 2 s, 3 s.
func rowsOf(t testing.TB, s *row.Schema, lines ...string) *record.Batch[row.Row] {
	t.Helper()
	r, err := format.NewReader(strings.NewReader(strings.Join(lines, "\n")), format.Options{Format: "jsonl"}, row.RowCodec(s), format.Start{Name: "in"})
	if err != nil {
		t.Fatal(err)
	}
	b := &record.Batch[row.Row]{Split: "split"}
	for b.Len() < len(lines) {
		if err := r.Read(b, 100, 1<<20); err != nil && b.Len() < len(lines) || len(b.Rejected) > 0 {
			t.Fatal(err, b.Rejected)
		}
	}
	for i := range b.Metas {
		b.Metas[i] = record.Meta{Time: int64(i+1) * 1000, Position: int64(i)}
	}
	b.Split = "split"
	return b
}

// shown is a batch of rows as lines of JSON with their positions.
func shown(c row.AnyCodec, b record.Any) []string {
	var all []string
	for i, m := range b.Meta() {
		all = append(all, fmt.Sprintf("%d %s", m.Position, c.AppendJSON(nil, b, i)))
	}
	return all
}

const orderColumns = "id int64 not null, carrier string, amount float64, quantity int64, paid bool, price decimal(10,2), tags list<string>"

var orderLines = []string{
	`{"id": 1, "carrier": "UA", "amount": 2.5, "quantity": 4, "paid": true, "price": 1.25, "tags": ["a"]}`,
	`{"id": 2, "carrier": null, "amount": null, "quantity": 9223372036854775807, "paid": false, "price": null, "tags": null}`,
	`{"id": 3, "carrier": "DL", "amount": 1, "quantity": null, "paid": null, "price": 3, "tags": []}`,
	`{"id": 4, "carrier": "7", "amount": -1, "quantity": 0, "paid": true, "price": 0.10, "tags": ["b", "c"]}`,
}

// TestRowVerbs shows what each verb makes of the four rows above: the schema, the rows with their positions, and the failures.
func TestRowVerbs(t *testing.T) {
	s := schemaOf(t, orderColumns)
	type assigns = []operators.Assign
	fields := func(pairs ...string) []row.Field {
		var all []row.Field
		for i := 0; i < len(pairs); i += 2 {
			f, err := row.ParseField(pairs[i], pairs[i+1])
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, f)
		}
		return all
	}
	same := orderColumns
	for _, test := range []struct {
		name   string
		make   func() (operators.Any, error)
		schema string
		rows   []string
		failed []string
	}{
		{"filter, unknown goes", func() (operators.Any, error) { return operators.FilterRows(s, "paid") }, same, []string{
			`0 {"id":1,"carrier":"UA","amount":2.5,"quantity":4,"paid":true,"price":1.25,"tags":["a"]}`,
			`3 {"id":4,"carrier":"7","amount":-1,"quantity":0,"paid":true,"price":0.10,"tags":["b","c"]}`,
		}, nil},
		{"filter by metadata", func() (operators.Any, error) {
			return operators.FilterRows(s, `meta.split == "split" and meta.time == "1970-01-01T00:00:02Z"`)
		}, same, []string{
			`1 {"id":2,"carrier":null,"amount":null,"quantity":9223372036854775807,"paid":false,"price":null,"tags":null}`,
		}, nil},
		{"filter that fails", func() (operators.Any, error) { return operators.FilterRows(s, "quantity + 1 > 1") }, same, []string{
			`0 {"id":1,"carrier":"UA","amount":2.5,"quantity":4,"paid":true,"price":1.25,"tags":["a"]}`,
		}, []string{`1: runtime: evaluate "quantity + 1 > 1": column 10: got 9223372036854775807 + 1, want a result that fits int64 [expression.overflow]`}},
		{"set, in place and new", func() (operators.Any, error) {
			return operators.SetRows(s, assigns{{"total", "amount * quantity"}, {"amount", "id"}, {"n", "len(tags)"}})
		}, "id int64 not null, carrier string, amount int64 not null, quantity int64, paid bool, price decimal(10,2), tags list<string>, total float64, n int64", []string{
			`0 {"id":1,"carrier":"UA","amount":1,"quantity":4,"paid":true,"price":1.25,"tags":["a"],"total":10,"n":1}`,
			`1 {"id":2,"carrier":null,"amount":2,"quantity":9223372036854775807,"paid":false,"price":null,"tags":null,"total":null,"n":null}`,
			`2 {"id":3,"carrier":"DL","amount":3,"quantity":null,"paid":null,"price":3.00,"tags":[],"total":null,"n":0}`,
			`3 {"id":4,"carrier":"7","amount":4,"quantity":0,"paid":true,"price":0.10,"tags":["b","c"],"total":-0,"n":2}`,
		}, nil},
		{"set sees the row as it came", func() (operators.Any, error) {
			return operators.SetRows(s, assigns{{"id", "quantity"}, {"quantity", "id"}})
		}, "id int64, carrier string, amount float64, quantity int64 not null, paid bool, price decimal(10,2), tags list<string>", []string{
			`0 {"id":4,"carrier":"UA","amount":2.5,"quantity":1,"paid":true,"price":1.25,"tags":["a"]}`,
			`1 {"id":9223372036854775807,"carrier":null,"amount":null,"quantity":2,"paid":false,"price":null,"tags":null}`,
			`2 {"id":null,"carrier":"DL","amount":1,"quantity":3,"paid":null,"price":3.00,"tags":[]}`,
			`3 {"id":0,"carrier":"7","amount":-1,"quantity":4,"paid":true,"price":0.10,"tags":["b","c"]}`,
		}, nil},
		{"set that fails, one row", func() (operators.Any, error) {
			return operators.SetRows(s, assigns{{"half", "div(100, quantity)"}})
		}, same + ", half int64", []string{
			`0 {"id":1,"carrier":"UA","amount":2.5,"quantity":4,"paid":true,"price":1.25,"tags":["a"],"half":25}`,
			`1 {"id":2,"carrier":null,"amount":null,"quantity":9223372036854775807,"paid":false,"price":null,"tags":null,"half":0}`,
			`2 {"id":3,"carrier":"DL","amount":1,"quantity":null,"paid":null,"price":3.00,"tags":[],"half":null}`,
		}, []string{`3: runtime: set half: evaluate "div(100, quantity)": column 1: got div(100, 0), want a divisor that is not 0 [expression.division]`}},
		{"select", func() (operators.Any, error) {
			return operators.SelectRows(s, assigns{{"who", "carrier"}, {"id", "id"}, {"parts", `[upper(carrier), "x"]`}, {"again", "id"}})
		}, "who string, id int64 not null, parts list<string> not null, again int64 not null", []string{
			`0 {"who":"UA","id":1,"parts":["UA","x"],"again":1}`, `1 {"who":null,"id":2,"parts":[null,"x"],"again":2}`,
			`2 {"who":"DL","id":3,"parts":["DL","x"],"again":3}`, `3 {"who":"7","id":4,"parts":["7","x"],"again":4}`,
		}, nil},
		{"rename, two swap", func() (operators.Any, error) {
			return operators.RenameRows(s, [][2]string{{"id", "amount"}, {"amount", "id"}, {"paid", "was paid"}})
		}, `amount int64 not null, carrier string, id float64, quantity int64, "was paid" bool, price decimal(10,2), tags list<string>`, []string{
			`0 {"amount":1,"carrier":"UA","id":2.5,"quantity":4,"was paid":true,"price":1.25,"tags":["a"]}`,
			`1 {"amount":2,"carrier":null,"id":null,"quantity":9223372036854775807,"was paid":false,"price":null,"tags":null}`,
			`2 {"amount":3,"carrier":"DL","id":1,"quantity":null,"was paid":null,"price":3.00,"tags":[]}`,
			`3 {"amount":4,"carrier":"7","id":-1,"quantity":0,"was paid":true,"price":0.10,"tags":["b","c"]}`,
		}, nil},
		{"drop", func() (operators.Any, error) {
			return operators.DropRows(s, []string{"tags", "id", "price", "paid", "amount"})
		}, "carrier string, quantity int64", []string{
			`0 {"carrier":"UA","quantity":4}`, `1 {"carrier":null,"quantity":9223372036854775807}`, `2 {"carrier":"DL","quantity":null}`, `3 {"carrier":"7","quantity":0}`,
		}, nil},
		{"cast", func() (operators.Any, error) {
			return operators.CastRows(s, fields("carrier", "int64", "amount", "int64", "price", "decimal(10,1)", "tags", "list<string>", "id", "string"))
		}, "id string not null, carrier int64, amount int64, quantity int64, paid bool, price decimal(10,1), tags list<string>", []string{
			`1 {"id":"2","carrier":null,"amount":null,"quantity":9223372036854775807,"paid":false,"price":null,"tags":null}`,
			`3 {"id":"4","carrier":7,"amount":-1,"quantity":0,"paid":true,"price":0.1,"tags":["b","c"]}`,
		}, []string{
			`0: runtime: cast carrier to int64: got "UA", want an int64 [cast.value]`,
			`2: runtime: cast carrier to int64: got "DL", want an int64 [cast.value]`,
		}},
		{"cast to not null", func() (operators.Any, error) {
			return operators.CastRows(s, fields("quantity", "float64", "price", "decimal(10,2) not null", "id", "int64"))
		}, "id int64 not null, carrier string, amount float64, quantity float64, paid bool, price decimal(10,2) not null, tags list<string>", []string{
			`0 {"id":1,"carrier":"UA","amount":2.5,"quantity":4,"paid":true,"price":1.25,"tags":["a"]}`,
			`2 {"id":3,"carrier":"DL","amount":1,"quantity":null,"paid":null,"price":3.00,"tags":[]}`,
			`3 {"id":4,"carrier":"7","amount":-1,"quantity":0,"paid":true,"price":0.10,"tags":["b","c"]}`,
		}, []string{`1: runtime: cast quantity to float64: got 9223372036854775807, which does not fit float64 [cast.value]`}},
	} {
		t.Run(test.name, func(t *testing.T) {
			op, err := test.make()
			if err != nil {
				t.Fatal(err)
			}
			if got := op.Out().Schema().String(); got != test.schema || op.In().Schema() != s {
				t.Errorf("got the schema\n     %s\nwant %s", got, test.schema)
			}
			in := rowsOf(t, s, orderLines...)
			before := shown(op.In(), in)
			out, failed := through[row.Row, row.Row](t, op, in)
			if got := shown(op.Out(), out); !slices.Equal(got, test.rows) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.rows, "\n"))
			}
			if !slices.Equal(failed, test.failed) {
				t.Errorf("got the failures\n%s\nwant\n%s", strings.Join(failed, "\n"), strings.Join(test.failed, "\n"))
			}
			for _, r := range out.Values {
				if r.Schema != op.Out().Schema() {
					t.Errorf("a row has the schema %s", r.Schema)
				}
			}
			if !slices.Equal(shown(op.In(), in), before) {
				t.Error("the input has changed: others read it too")
			}
		})
	}
}

func TestRowVerbsRefuse(t *testing.T) {
	s := schemaOf(t, orderColumns)
	type assigns = []operators.Assign
	for _, test := range []struct {
		name string
		make func() (operators.Any, error)
		want string
		at   int // column of the expression's mistake; 0 when there is none
	}{
		{"filter", func() (operators.Any, error) { return operators.FilterRows(s, "payd") },
			`column 1: got unknown column "payd", want one of id, carrier, amount, quantity, paid, price, tags; did you mean "paid"?`, 1},
		{"filter of no bool", func() (operators.Any, error) { return operators.FilterRows(s, "  amount * 2") }, "column 3: got float64, want a bool, as x > 0", 3},
		{"filter of null", func() (operators.Any, error) { return operators.FilterRows(s, "null") }, "column 1: got null, want a bool, as x > 0", 1},
		{"set", func() (operators.Any, error) { return operators.SetRows(s, assigns{{"a", "amount +"}}) }, "a: column 9: got the end, want a value", 9},
		{"set, all mistakes", func() (operators.Any, error) {
			return operators.SetRows(s, assigns{{"a", "amount"}, {"a", "id"}, {"b", "1 + carier"}, {"", "id"}, {"c", "null"}})
		}, "a: the field is given twice\n" +
			`b: column 5: got unknown column "carier", want one of id, carrier, amount, quantity, paid, price, tags; did you mean "carrier"?` + "\n" +
			": an expression has no name\n" +
			"c: column 1: got null, which has no type, want a value, or a null with a type as int(null)", 5},
		{"set of nothing", func() (operators.Any, error) { return operators.SetRows(s, nil) }, "no field is given", 0},
		{"select", func() (operators.Any, error) {
			return operators.SelectRows(s, assigns{{"a", "id"}, {"b", "upper(id)"}})
		},
			"b: column 1: got upper(int64), want upper(string)", 1},
		{"select of nothing", func() (operators.Any, error) { return operators.SelectRows(s, nil) }, "no field is given", 0},
		{"rename", func() (operators.Any, error) {
			return operators.RenameRows(s, [][2]string{{"ID", "x"}, {"amount", ""}, {"paid", "y"}, {"paid", "z"}})
		}, `ID: got the unknown column "ID", want one of id, carrier, amount, quantity, paid, price, tags; did you mean "id"?` + "\n" +
			"amount: got an empty name, want a new name\npaid: got the column twice, want each column once", 0},
		{"rename to what is there", func() (operators.Any, error) { return operators.RenameRows(s, [][2]string{{"id", "amount"}}) },
			"amount: got a second field of this name, want names used once", 0},
		{"drop", func() (operators.Any, error) { return operators.DropRows(s, []string{"id", "tag"}) },
			`tag: got the unknown column "tag", want one of id, carrier, amount, quantity, paid, price, tags; did you mean "tags"?`, 0},
		{"drop of all", func() (operators.Any, error) { return operators.DropRows(s, s.Names()) }, "got a drop of every column, want at least one that stays", 0},
		{"cast", func() (operators.Any, error) {
			list := row.Type{Kind: row.KindList, Elem: &row.Type{Kind: row.KindInt64}}
			return operators.CastRows(s, []row.Field{{Name: "id", Type: list}, {Name: "nix", Type: list}, {Name: "paid", Type: s.Fields[4].Type}, {Name: "paid", Type: s.Fields[4].Type}})
		}, "id: got int64 to list<int64 not null>, want a type that a int64 can become\n" +
			`nix: got the unknown column "nix", want one of id, carrier, amount, quantity, paid, price, tags` + "\npaid: got the column twice, want each column once", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			op, err := test.make()
			if err == nil || err.Error() != test.want {
				t.Fatalf("got %v, %v, want\n%s", op, err, test.want)
			}
			var e *expr.Error
			var c *fault.ConfigurationError
			switch found := errors.As(err, &e); {
			case found != (test.at > 0) || found && e.Col != test.at:
				t.Errorf("got the column %v, want %d", e, test.at)
			case test.at == 0 && !strings.HasPrefix(test.want, "no field") && (!errors.As(err, &c) || c.Violations[0].Code == ""):
				t.Errorf("got %T, want violations with codes", err)
			}
		})
	}
	_, err := operators.SetRows(s, assigns{{"total", "a +"}})
	var f *operators.FieldError
	if !errors.As(err, &f) || f.Name != "total" {
		t.Errorf("got %v, want the field total", err)
	}
}

// TestRowsDoNotAllocate runs rows through a filter and a set with batches that are reused, as a runtime does.
func TestRowsDoNotAllocate(t *testing.T) {
	s := schemaOf(t, orderColumns)
	lines := make([]string, 1000)
	for i := range lines {
		lines[i] = strings.Replace(orderLines[0], `"id": 1`, fmt.Sprintf(`"id": %d`, i), 1)
	}
	in := rowsOf(t, s, lines...)
	filter, err := operators.FilterRows(s, `paid and amount > 1 and carrier != "AA"`)
	if err != nil {
		t.Fatal(err)
	}
	set, err := operators.SetRows(s, []operators.Assign{
		{Name: "total", Expr: "amount * quantity"}, {Name: "label", Expr: `lower(carrier) + "-" + string(id)`}, {Name: "sum", Expr: "price * quantity + 1"}, {Name: "list", Expr: `[carrier, "x"]`},
	})
	if err != nil {
		t.Fatal(err)
	}
	steps := []operators.Any{filter, set}
	instances := []operators.Instance{filter.Instance(), set.Instance()}
	batches := []record.Any{filter.Out().NewBatch(), set.Out().NewBatch()}
	got := testing.AllocsPerRun(20, func() {
		from := record.Any(in)
		for i := range steps {
			batches[i].Reset()
			if err := instances[i].Process(context.Background(), from, batches[i], nil); err != nil {
				t.Fatal(err)
			}
			from = batches[i]
		}
	})
	if got/1000 >= 0.01 {
		t.Errorf("got %v allocations per record, want less than 0.01", got/1000)
	}
	if last := shown(set.Out(), batches[1])[999]; last !=
		`999 {"id":999,"carrier":"UA","amount":2.5,"quantity":4,"paid":true,"price":1.25,"tags":["a"],"total":10,"label":"ua-999","sum":6.00,"list":["UA","x"]}` {
		t.Errorf("got %s", last)
	}
}

// BenchmarkRows is a filter and a set over batches of a thousand rows.
func BenchmarkRows(b *testing.B) {
	s := schemaOf(b, orderColumns)
	lines := make([]string, 1000)
	for i := range lines {
		lines[i] = orderLines[i%2*3]
	}
	in := rowsOf(b, s, lines...)
	filter, err := operators.FilterRows(s, "paid")
	if err != nil {
		b.Fatal(err)
	}
	set, err := operators.SetRows(s, []operators.Assign{{Name: "total", Expr: "amount * quantity"}})
	if err != nil {
		b.Fatal(err)
	}
	for name, op := range map[string]operators.Any{"filter": filter, "set": set} {
		b.Run(name, func(b *testing.B) {
			n, out := op.Instance(), op.Out().NewBatch()
			for b.Loop() {
				out.Reset()
				if err := n.Process(context.Background(), in, out, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(in.Len()), "ns/record")
		})
	}
}
