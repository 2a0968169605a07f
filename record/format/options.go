package format

import (
	"strings"
	"unicode/utf8"

	"github.com/activedataflow/adf/fault"
)

// Options say how records look as text. The zero value of everything but Format is what most files are.
type Options struct {
	// Format is "csv", "jsonl" (one JSON object a line) or "json" (one array of objects, or objects one after another).
	Format string
	// Delimiter separates the columns of csv: one ASCII character, "," when empty. "\t" is a tab.
	Delimiter string
	// Quote is the quote character of csv: one ASCII character, `"` when empty; "none" when quotes have no meaning.
	Quote string
	// NoHeader says that csv begins with a record at once; columns then come in the order of the schema.
	NoHeader bool
	// NullText are the texts that mean null in csv, as "NA"; the empty text when there are none. A quoted text is never null.
	// An empty text is null as well where it can be nothing else: in every type but string.
	NullText []string
	// Encoding is that of csv: "utf-8" when empty (a byte order mark is passed over), "utf-16le", "utf-16be", "iso-8859-1" or "windows-1252".
	// JSON is always UTF-8.
	Encoding string
}

const (
	formatCSV   = "csv"
	formatJSONL = "jsonl"
	formatJSON  = "json"
)

var encodings = []string{"utf-8", "utf-16le", "utf-16be", "iso-8859-1", "windows-1252"}

// Validate gives every mistake in the options; the path of each is the option's bare name, in lower snake case.
func (o Options) Validate() []fault.Violation {
	var vs []fault.Violation
	wrong := func(path, got, want, code string) {
		vs = append(vs, fault.Violation{Path: path, Got: got, Want: want, Code: "format." + code})
	}
	quoted := func(s string) string { return `"` + s + `"` }
	switch o.Format {
	case formatCSV, formatJSONL, formatJSON:
	case "":
		wrong("format", "nothing", "csv, jsonl or json", "format")
	default:
		wrong("format", quoted(o.Format), "csv, jsonl or json", "format")
	}
	if o.Format == formatJSONL || o.Format == formatJSON {
		const want = "it only with csv"
		if o.Delimiter != "" {
			wrong("delimiter", quoted(o.Delimiter), want, "delimiter")
		}
		if o.Quote != "" {
			wrong("quote", quoted(o.Quote), want, "quote")
		}
		if o.NoHeader {
			wrong("no_header", "true", want, "no_header")
		}
		if len(o.NullText) > 0 {
			wrong("null_text", quoted(strings.Join(o.NullText, `", "`)), want, "null_text")
		}
		if o.Encoding != "" && o.Encoding != "utf-8" {
			wrong("encoding", quoted(o.Encoding), "utf-8, which JSON always is", "encoding")
		}
		return vs
	}
	if !isDelimiter(o.delimiter()) {
		wrong("delimiter", quoted(o.Delimiter), `one ASCII character other than a line end, as "," or "\t"`, "delimiter")
	}
	if o.Quote != "none" && !isDelimiter(o.quote()) {
		wrong("quote", quoted(o.Quote), `one ASCII character other than a line end, or "none"`, "quote")
	} else if o.quote() == o.delimiter() {
		wrong("quote", quoted(o.quote()), "another character than the delimiter", "quote")
	}
	for _, text := range o.NullText {
		if !utf8.ValidString(text) || strings.ContainsAny(text, "\r\n"+o.delimiter()) || o.Quote != "none" && strings.Contains(text, o.quote()) {
			wrong("null_text", quoted(text), "a text without delimiter, quote and line end", "null_text")
		}
	}
	if o.Encoding != "" && !contains(encodings, o.Encoding) {
		wrong("encoding", quoted(o.Encoding), strings.Join(encodings, ", "), "encoding")
	}
	return vs
}

// Splittable says whether reading can begin anywhere in the text (Start.Skip), because a line end is always the end of a record: jsonl, and
// csv without quotes in an encoding of single bytes.
func (o Options) Splittable() bool {
	return o.Format == formatJSONL || o.Format == formatCSV && o.Quote == "none" && !strings.HasPrefix(o.Encoding, "utf-16")
}

func (o Options) delimiter() string {
	if o.Delimiter == "" {
		return ","
	}
	return o.Delimiter
}

// quote is the quote character, "" when there is none.
func (o Options) quote() string {
	switch o.Quote {
	case "":
		return `"`
	case "none":
		return ""
	}
	return o.Quote
}

func isDelimiter(s string) bool {
	return len(s) == 1 && s[0] < utf8.RuneSelf && s[0] != '\n' && s[0] != '\r' && s[0] != 0
}

func contains(list []string, s string) bool {
	for _, e := range list {
		if e == s {
			return true
		}
	}
	return false
}
