package stdio_test

import (
	"testing"

	"github.com/activedataflow/adf/connectors/connectortest"
	"github.com/activedataflow/adf/connectors/stdio"
)

func TestOptions(t *testing.T) { connectortest.Run(t, stdio.Register) }
