package connectortest

import (
	"strings"
	"testing"
	"time"

	"github.com/activedataflow/adf/connectors"
)

// good has an option of every kind.
type good struct {
	text, oneOf, secret string
	flag                bool
	number              int64
	ratio               float64
	wait                time.Duration
	size                int64
	words               []string
	inner               inner
	items               []inner
}

func (c *good) Fields(b *connectors.Binder) {
	connectors.Value(b, "text", &c.text).Doc("Text.").Required()
	connectors.Value(b, "one_of", &c.oneOf).Doc("One.").OneOf("a", "b").Default("a")
	connectors.Value(b, "secret", &c.secret).Doc("Secret.").Secret().OneOf("sesame")
	connectors.Value(b, "flag", &c.flag).Doc("Flag.")
	connectors.Value(b, "number", &c.number).Doc("Number.").Default(3)
	connectors.Value(b, "ratio", &c.ratio).Doc("Ratio.")
	connectors.Value(b, "wait", &c.wait).Doc("Wait.")
	connectors.Bytes(b, "size", &c.size).Doc("Size.")
	connectors.Strings(b, "words", &c.words).Doc("Words.")
	connectors.Object(b, "inner", &c.inner).Doc("Inner.")
	connectors.List(b, "items", &c.items).Doc("Items.")
}

type inner struct{ name string }

func (c *inner) Fields(b *connectors.Binder) {
	connectors.Value(b, "name", &c.name).Doc("Name.").Required()
}

func TestGood(t *testing.T) {
	Config(t, func() connectors.Config { return &good{} })
}

// lax declares numbers as strings and shows its secret: what it refuses itself breaks no rule of the binder.
type lax struct{ count, password string }

func (c *lax) Fields(b *connectors.Binder) {
	connectors.Value(b, "count", &c.count).Doc("Count.").OneOf("1", "2").Check(func(string) error { return nil })
	connectors.Value(b, "password", &c.password).Doc("Password.").Secret().OneOf("sesame")
}

// TestFindsWhatIsMissing: an option that is described as something else than it is does not pass.
func TestFindsWhatIsMissing(t *testing.T) {
	options := connectors.Describe(&lax{})
	if bad := failures(func() connectors.Config { return &lax{} }, options, nil); len(bad) > 0 {
		t.Fatal(bad)
	}
	options[0].Type, options[0].OneOf = "int", nil
	options[0].Required = true
	bad := strings.Join(failures(func() connectors.Config { return &lax{} }, options, nil), "\n")
	for _, want := range []string{"count: hunter2", "count: 1.5", "count is required"} {
		if !strings.Contains(bad, want) {
			t.Errorf("%q is not found in\n%s", want, bad)
		}
	}
}
