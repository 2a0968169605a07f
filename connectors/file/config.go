package file

import (
	"errors"
	"regexp"
	"slices"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/format"
)

// Fields declares the options of the source.
func (s *Source[T]) Fields(b *connectors.Binder) {
	globs := func(all []string) error {
		for _, g := range all {
			if !doublestar.ValidatePathPattern(g) {
				return errors.New("a path in which *, **, ?, [a-z] and {a,b} stand for something, and a backslash takes that from them")
			}
		}
		return nil
	}
	connectors.Value(b, "path", &s.Path).Example("data/*.csv").
		Doc("the files to read: a path in which * stands for any name, ** for any directories, ?, [a-z] and {a,b} as in a shell").
		Check(func(p string) error { return globs([]string{p}) })
	connectors.Strings(b, "paths", &s.Paths).Doc("several of them, instead of path").Check(globs)
	text{&s.Format, &s.Delimiter, &s.Quote, &s.NoHeader, &s.NullText}.fields(b)
	connectors.Value(b, "encoding", &s.Encoding).Default("utf-8").Doc("csv: how text is encoded: utf-8, utf-16le, utf-16be, iso-8859-1 or windows-1252")
	connectors.Value(b, "compression", &s.Compression).Default(auto).OneOf(auto, none, gz, zst).
		Doc("how files are compressed; auto: as their names (.gz, .zst) or first bytes say")
	connectors.Value(b, "watch", &s.Watch).Example("10s").
		Doc("look for new files again and again, this long apart, and never end; without it the files are read once")
	connectors.Bytes(b, "split_size", &s.SplitSize).Default(defaultSplitSize).
		Doc("large jsonl files, and csv files with quote: none, are read in ranges of this size, side by side")
	connectors.Value(b, "infer_records", &s.InferRecords).Default(defaultInfer).Check(func(n int) error {
		if n < 0 {
			return errors.New("a number above 0")
		}
		return nil
	}).
		Doc("how many records schema: infer looks at")
	b.Check(func() []fault.Violation {
		switch {
		case s.Path == "" && len(s.Paths) == 0:
			return []fault.Violation{{Path: "path", Got: "nothing", Want: "the files to read", Fix: "for example path: data/*.csv"}}
		case s.Path != "" && len(s.Paths) > 0:
			return []fault.Violation{{Path: "paths", Got: "paths beside path", Want: "one of the two"}}
		}
		return nil
	})
	b.Check(func() []fault.Violation { return s.options().Validate() })
}

const (
	defaultSplitSize = 64_000_000
	defaultInfer     = 1000
	defaultRollSize  = 128_000_000
)

func (s *Source[T]) globs() []string {
	if s.Path != "" {
		return []string{s.Path}
	}
	return s.Paths
}

func (s *Source[T]) options() format.Options {
	return format.Options{Format: s.Format, Delimiter: s.Delimiter, Quote: s.Quote, NoHeader: s.NoHeader, NullText: s.NullText, Encoding: s.Encoding}
}

// Fields declares the options of the sink.
func (s *Sink[T]) Fields(b *connectors.Binder) {
	connectors.Value(b, "path", &s.Path).Required().Example("out/results").Doc("the directory to write into; it is made when needed")
	text{&s.Format, &s.Delimiter, &s.Quote, &s.NoHeader, &s.NullText}.fields(b)
	connectors.Value(b, "compression", &s.Compression).Default(none).OneOf(none, gz, zst).Doc("how files are compressed")
	connectors.Bytes(b, "roll_size", &s.RollSize).Default(defaultRollSize).
		Doc("a file that would have more bytes of text than this is ended and the next one begun; a larger record has a file of its own")
	connectors.Strings(b, "partition_by", &s.PartitionBy).
		Doc("fields by whose values files are put into directories, one below the other, named field=value").
		Check(func(fields []string) error {
			for i, f := range fields {
				if f == "" || slices.Contains(fields[:i], f) {
					return errors.New("names of fields, each once")
				}
			}
			return nil
		})
	connectors.Value(b, "prefix", &s.Prefix).Default("part").Doc("how the names of files begin").Check(func(p string) error {
		if !prefixRule.MatchString(p) {
			return errors.New("up to 64 letters, digits, '.', '_' and '-', the first a letter or digit")
		}
		return nil
	})
	b.Check(func() []fault.Violation { return s.options().Validate() })
}

var prefixRule = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (s *Sink[T]) options() format.Options {
	return format.Options{Format: s.Format, Delimiter: s.Delimiter, Quote: s.Quote, NoHeader: s.NoHeader, NullText: s.NullText}
}

// text are the options of formats that source and sink share.
type text struct {
	format, delimiter, quote *string
	noHeader                 *bool
	nullText                 *[]string
}

func (t text) fields(b *connectors.Binder) {
	connectors.Value(b, "format", t.format).Required().OneOf("csv", "jsonl", "json").Example("csv").
		Doc("csv; jsonl: a JSON object on each line; json: one JSON array of objects")
	connectors.Value(b, "delimiter", t.delimiter).Example(`";"`).Doc("csv: what is between two values, a comma if nothing is said")
	connectors.Value(b, "quote", t.quote).Example("none").Doc(`csv: what is around values with delimiters or line breaks in them, a " if nothing is said; none: nothing is`)
	connectors.Value(b, "no_header", t.noHeader).Doc("csv: there is no line with the names of the columns")
	connectors.Strings(b, "null_text", t.nullText).Example("[NA]").Doc("csv: texts that stand for null, besides an empty value")
}

// checked completes a configuration with its defaults, or says what is wrong with it.
func checked(c connectors.Config) error {
	return fault.Config(connectors.Check(c, "")...)
}

// Register adds the source and the sink to a registry.
func Register(r *connectors.Registry) error {
	d := connectors.Descriptor{Name: "file", Doc: "Files on a disk: csv, jsonl, json, plain or compressed", Version: "0.1.0", Core: ">=0.1.0-0, <1.0.0"}
	if err := r.Source(d, newSource); err != nil {
		return err
	}
	return r.Sink(d, newSink)
}
