package row

import "testing"

func TestSchemaTextRoundTrips(t *testing.T) {
	for _, text := range []string{
		"", "id int64 not null, name string", "d decimal(10,2), l list<string not null>, m map<int64>",
		`"odd name" row<a int64 not null, "b""c" list<map<row<x date>>>> not null`, "t timestamp, u duration, v bytes, w bool, x float64",
	} {
		s, err := ParseSchema(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if got := s.String(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}

func TestSchemaErrorsSayWhere(t *testing.T) {
	for text, want := range map[string]string{
		"a":                 `column 2: got the end, want ` + typeNames,
		"a int64 a":         `column 9: got "a", want ","`,
		"a int64, a string": `field "a" is there twice`,
		"a decimal(39)":     `column 11: got "39)", want a number up to 38`,
		"a decimal(4,5)":    `column 13: got "5)", want a number up to 4`,
		"a list<int64":      `column 13: got the end, want ">"`,
		"a int64 not nul":   `column 16: got the end, want "not null"`,
		`"a int64`:          `column 9: got the end, want a closing '"'`,
	} {
		_, err := ParseSchema(text)
		if err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParseSchema(f *testing.F) {
	f.Add("id int64 not null, d decimal(10,2), l list<row<a map<date>>>")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSchema(text)
		if err != nil {
			return
		}
		again, err := ParseSchema(s.String())
		if err != nil || !again.Equal(s) {
			t.Fatalf("%q became %q: %v", text, s, err)
		}
	})
}
