package generate_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/connectors/memory"
	"github.com/activedataflow/adf/engine"
)

// Squares of numbers, made by a function of the record's number.
func Example() {
	squares := &memory.Store[int64]{}
	f := adf.New("squares")
	adf.From(f, "numbers", &generate.Source[int64]{Records: 5, Make: func(n int64) int64 { return n * n }}).To("out", memory.To(squares))
	if _, err := engine.Run(context.Background(), f, engine.Options{}); err != nil {
		fmt.Println(err)
	}
	all := squares.Records()
	slices.Sort(all)
	fmt.Println(all)
	// Output: [0 1 4 9 16]
}
