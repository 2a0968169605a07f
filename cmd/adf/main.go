// Command adf runs data flows from files, with every connector of this repository.
package main

import (
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/file"
	"github.com/activedataflow/adf/connectors/generate"
	"github.com/activedataflow/adf/connectors/stdio"
	"github.com/activedataflow/adf/flinkbridge/flinkcli"
)

func main() {
	flinkcli.Main(cli.App{
		Name:       "adf",
		Connectors: []cli.Connector{discard.Register, file.Register, generate.Register, stdio.Register},
	})
}
