package discard_test

import (
	"testing"

	"github.com/activedataflow/adf/connectors/connectortest"
	"github.com/activedataflow/adf/connectors/discard"
)

func TestOptions(t *testing.T) { connectortest.Run(t, discard.Register) }
