// Package file reads and writes files: csv, jsonl and json arrays, plain or compressed with gzip or zstd.
//
// [Source] reads what globs match, once, or goes on watching for new files. A large uncompressed jsonl file is cut into byte ranges at the
// boundaries of records, so that several lanes read it at once. So is a csv file without quotes (quote: none). A csv file with quotes is not: whether a
// line break ends a record depends on all the quotes before it, so no place in the middle can be told to be a boundary
// without reading everything in front of it. The same holds for json arrays; compressed files and encodings other than UTF-8 have no places to start at.
//
// A file should appear whole: write it under a name that no glob matches, such as one that starts with a dot, and rename it. How a file is cut is fixed when it is seen first,
// and its name is its identity. A file that is written again under the same name is not read again.
//
// [Sink] writes files into a directory, exactly once. Finished files never change, and nothing half-written ever has a final name. What it needs
// to know for that is in the subdirectory .adf, which belongs to the sink: see [Sink].
//
// It imports record, splits, sinks, fault and connectors.
package file
