package expr_test

import (
	"testing"

	"github.com/activedataflow/adf/operators/expr"
	"github.com/activedataflow/adf/record/row"
)

// BenchmarkEval is what one record costs.
func BenchmarkEval(b *testing.B) {
	s, err := row.ParseSchema("id int64 not null, amount float64, quantity int64, carrier string, paid bool, price decimal(10,2), time timestamp")
	if err != nil {
		b.Fatal(err)
	}
	vs := []row.Value{row.Int(7), row.Float(12.5), row.Int(3), row.String("UA"), row.Bool(true), row.Decimal(1999, 2), row.Timestamp(1357034400_000_000)}
	for _, text := range []string{
		"paid", "amount * quantity", "quantity * 2", "amount > 10", `carrier == "UA"`, `paid and amount > 10 and carrier != "AA"`,
		`carrier in ["AA", "B6", "DL", "EV", "UA"]`, "price * quantity", `lower(carrier) + "-" + string(id)`, "hour(time)", `truncate(time, "day")`,
		`quantity > 2 ? amount : amount * 0.9`,
	} {
		x, err := expr.Compile(text, s)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			b.ReportAllocs()
			var env expr.Env
			for b.Loop() {
				if _, err := x.Eval(vs, &env); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
