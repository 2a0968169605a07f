package pool

import (
	"log/slog"
	"strings"
	"testing"
)

func TestOutput(t *testing.T) {
	log := &logged{}
	o := &output{}
	o.Write([]byte("fir"))
	o.Write([]byte("st\r\n\n  \nsecond\nthi"))
	o.to(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "text" {
			return a
		}
		return slog.Attr{}
	}})))
	o.Write([]byte("rd\n" + strings.Repeat("x", maxLine+5) + "\nlast"))
	o.flush()
	o.flush()
	want := "text=first\ntext=second\ntext=third\ntext=" + strings.Repeat("x", maxLine) + "\ntext=xxxxx\ntext=last\n"
	if got := log.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for range 2 * keptLines {
		o.Write([]byte("again\n"))
	}
	if got := strings.Count(o.tail(), "\n"); got != keptLines-1 {
		t.Errorf("got %d lines kept", got+1)
	}
}

func FuzzOutput(f *testing.F) {
	f.Add([]byte("a\nb"), 1)
	f.Add([]byte("\n\n"), 2)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		cut = min(max(cut, 0), len(text))
		whole, parts := &output{}, &output{}
		whole.Write(text)
		parts.Write(text[:cut])
		parts.Write(text[cut:])
		whole.flush()
		parts.flush()
		if whole.tail() != parts.tail() {
			t.Errorf("got %q in two parts, %q in one", parts.tail(), whole.tail())
		}
	})
}
