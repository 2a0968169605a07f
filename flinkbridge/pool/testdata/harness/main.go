// A worker with Beam's own harness and no pipeline.
package main

import (
	"flag"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/harness/init"
)

func main() {
	flag.Parse()
	beam.Init()
}
