package cli_test

import (
	"slices"
	"testing"
	"time"

	"github.com/activedataflow/adf"
	"github.com/activedataflow/adf/cli"
	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/connectors/discard"
	"github.com/activedataflow/adf/connectors/generate"
)

// settings are parameters that are bound as a configuration.
type settings struct {
	Topic string
	Level string
	Keys  []string
	Wait  time.Duration
}

func (s *settings) Fields(b *connectors.Binder) {
	connectors.Value(b, "topic", &s.Topic).Required().Doc("what is read")
	connectors.Value(b, "level", &s.Level).Default("low").OneOf("low", "high").Doc("how much")
	connectors.Strings(b, "keys", &s.Keys).Doc("which ones")
	connectors.Value(b, "wait", &s.Wait).Default(time.Minute).Doc("how long")
}

func TestParams(t *testing.T) {
	var s settings
	var text string
	var whole, size int64
	var part float64
	var yes bool
	var span time.Duration
	app := cli.App{Name: "params", Flow: "params", Build: func(f *adf.Flow, p cli.Params) error {
		s = settings{}
		p.Bind(&s)
		text, whole, part, yes = p.String("text", "none"), p.Int("whole", 7), p.Float("part", 0.5), p.Bool("yes", true)
		span, size = p.Duration("span", time.Hour), p.Bytes("size", 1000)
		type number struct {
			N int64 `adf:"n"`
		}
		adf.From(f, "numbers", &generate.Source[number]{Records: 1, Make: func(n int64) number { return number{n} }}).To("nowhere", &discard.Sink[number]{})
		return nil
	}}
	validate := func(sets ...string) (int, string) {
		args := []string{"validate"}
		for _, s := range sets {
			args = append(args, "--set", s)
		}
		return execute(t, app, "", args...)
	}

	if code, out := validate("topic=flights"); code != 0 {
		t.Fatalf("got %d: %s", code, out)
	}
	if s.Topic != "flights" || s.Level != "low" || s.Keys != nil || s.Wait != time.Minute {
		t.Errorf("got %+v", s)
	}
	if text != "none" || whole != 7 || part != 0.5 || !yes || span != time.Hour || size != 1000 {
		t.Errorf("got the defaults %q %d %g %t %s %d", text, whole, part, yes, span, size)
	}

	code, out := validate("topic=t", "level=high", "keys=a,b", "wait=5s", "text=", "whole=0", "part=0", "yes=false", "span=1d12h", "size=16MiB")
	if code != 0 {
		t.Fatalf("got %d: %s", code, out)
	}
	if s.Level != "high" || !slices.Equal(s.Keys, []string{"a", "b"}) || s.Wait != 5*time.Second {
		t.Errorf("got %+v", s)
	}
	if text != "" || whole != 0 || part != 0 || yes || span != 36*time.Hour || size != 16<<20 {
		t.Errorf("got %q %d %g %t %s %d, want what was set, zeros too", text, whole, part, yes, span, size)
	}

	code, out = validate("level=hihg", "whole=much", "part=half", "yes=yes", "span=-1s", "size=big", "topics=x")
	want := `error: --set level: got hihg, want one of low, high
  fix   did you mean "high"?
error: --set topic: got nothing, want a string
error: --set whole: got much, want a whole number
error: --set part: got half, want a number
error: --set yes: got yes, want true or false
error: --set span: got -1s, want a duration with units, not negative, as "24h", "1d12h" or "500ms"
error: --set size: got big, want a size, as 4096, "64KB" or "16MiB"
error: --set topics: got an unknown parameter, want one of keys, level, part, size, span, text, topic, wait, whole, yes
  fix   did you mean "topic"?
error: 8 mistakes, nothing has run
`
	if code != 2 || out != want {
		t.Errorf("got %d:\n%s\nwant:\n%s", code, out, want)
	}
}
