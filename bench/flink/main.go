// Command flink is adf with a step that tells the time, for the measurement of latency: use: now adds the clock's time in milliseconds as the column emitted.
package main

import (
	"context"
	"slices"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/flinkbridge/flinkcli"
	"github.com/activedataflow/adf/operators"
	"github.com/activedataflow/adf/record"
	"github.com/activedataflow/adf/record/row"
)

func main() {
	flinkcli.Main(cli.App{
		Name:       "bench-flink",
		Connectors: []cli.Connector{file.Register, generate.Register},
		Funcs:      adf.Funcs{"now": {Step: now}},
	})
}

func now(in *row.Schema) (operators.Any, error) {
	out, err := row.NewSchema(append(slices.Clone(in.Fields), row.Field{Name: "emitted", Type: row.Type{Kind: row.KindInt64}})...)
	if err != nil {
		return nil, err
	}
	return operators.Through(row.RowCodec(in), row.RowCodec(out), func() operators.Operator[row.Row, row.Row] { return stamp{out} }), nil
}

type stamp struct{ out *row.Schema }

func (stamp) Open(context.Context, operators.OpContext) error { return nil }
func (stamp) Close() error                                    { return nil }

func (s stamp) Process(_ context.Context, in, out *record.Batch[row.Row], _ func(i int, err error)) error {
	now, slab := row.Int(time.Now().UnixMilli()), row.SlabOf(out)
	for i, r := range in.Values {
		vs := slab.Values(len(r.Values) + 1)
		copy(vs, r.Values)
		vs[len(r.Values)] = now
		out.Append(row.Row{Schema: s.out, Values: vs}, in.Metas[i])
	}
	return nil
}
