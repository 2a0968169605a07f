package stdio

import (
	"errors"

	"github.com/activedataflow/adf/connectors"
	"github.com/activedataflow/adf/fault"
	"github.com/activedataflow/adf/record/format"
)

// Fields declares the options of the source.
func (s *Source[T]) Fields(b *connectors.Binder) {
	connectors.Value(b, "format", &s.Format).Required().OneOf("csv", "jsonl", "json").Example("jsonl").
		Doc("csv; jsonl: a JSON object on each line; json: one JSON array of objects")
	csv{&s.Delimiter, &s.Quote, &s.NoHeader, &s.NullText}.fields(b)
	connectors.Value(b, "encoding", &s.Encoding).Default("utf-8").Doc("csv: how text is encoded: utf-8, utf-16le, utf-16be, iso-8859-1 or windows-1252")
	connectors.Value(b, "infer_records", &s.InferRecords).Default(defaultInfer).Check(func(n int) error {
		if n < 0 {
			return errors.New("a number above 0")
		}
		return nil
	}).
		Doc("how many records schema: infer waits for and looks at")
	b.Check(s.options().Validate)
}

// defaultInfer is small, because somebody may be typing.
const defaultInfer = 100

func (s *Source[T]) options() format.Options {
	return format.Options{Format: s.Format, Delimiter: s.Delimiter, Quote: s.Quote, NoHeader: s.NoHeader, NullText: s.NullText, Encoding: s.Encoding}
}

// Fields declares the options of the sink.
func (s *Sink[T]) Fields(b *connectors.Binder) {
	connectors.Value(b, "format", &s.Format).Default("jsonl").OneOf("csv", "jsonl").
		Doc("csv; jsonl: a JSON object on each line")
	csv{&s.Delimiter, &s.Quote, &s.NoHeader, &s.NullText}.fields(b)
	b.Check(s.options().Validate)
}

func (s *Sink[T]) options() format.Options {
	return format.Options{Format: s.Format, Delimiter: s.Delimiter, Quote: s.Quote, NoHeader: s.NoHeader, NullText: s.NullText}
}

// csv are the options of that format which source and sink share.
type csv struct {
	delimiter, quote *string
	noHeader         *bool
	nullText         *[]string
}

func (c csv) fields(b *connectors.Binder) {
	connectors.Value(b, "delimiter", c.delimiter).Example(`";"`).Doc("csv: what is between two values, a comma if nothing is said")
	connectors.Value(b, "quote", c.quote).Example("none").Doc(`csv: what is around values with delimiters or line breaks in them, a " if nothing is said; none: nothing is`)
	connectors.Value(b, "no_header", c.noHeader).Doc("csv: there is no line with the names of the columns")
	connectors.Strings(b, "null_text", c.nullText).Example("[NA]").Doc("csv: texts that stand for null, besides an empty value")
}

// checked completes a configuration with its defaults, or says what is wrong with it.
func checked(c connectors.Config) error { return fault.Config(connectors.Check(c, "")...) }

// Register adds the source and the sink to a registry.
func Register(r *connectors.Registry) error {
	const version, core = "0.1.0", ">=0.1.0-0, <1.0.0"
	in := connectors.Descriptor{Name: "stdin", Doc: "Standard input: csv, jsonl, json", Version: version, Core: core}
	if err := r.Source(in, newSource); err != nil {
		return err
	}
	return r.Sink(connectors.Descriptor{Name: "stdout", Doc: "Standard output: csv, jsonl", Version: version, Core: core}, newSink)
}
