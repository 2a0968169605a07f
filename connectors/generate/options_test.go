package generate_test

import (
	"testing"

	"github.com/activedataflow/adf/connectors/connectortest"
	"github.com/activedataflow/adf/connectors/generate"
)

func TestOptions(t *testing.T) { connectortest.Run(t, generate.Register) }
