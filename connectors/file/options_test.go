package file_test

import (
	"testing"

	"github.com/activedataflow/adf/connectors/connectortest"
	"github.com/activedataflow/adf/connectors/file"
)

func TestOptions(t *testing.T) { connectortest.Run(t, file.Register) }
