package file

import "fmt"

// Split is a file or a byte range of one, and the position in it. Offsets count bytes of the text, that is after decompression.
type Split struct {
	ID   string `json:"id"`
	Path string `json:"path"`
	// Start and End bound the range: it has the records that begin behind Start (or at 0) and not behind End. End 0 is the end of the file.
	Start int64 `json:"start,omitempty"`
	End   int64 `json:"end,omitempty"`
	// Offset is where to go on, and Line its line, 0 when unknown. Before the first read of a range that does not begin at 0 it is
	// Start, usually in the middle of a record.
	Offset int64 `json:"offset,omitempty"`
	Line   int64 `json:"line,omitempty"`
	// Begun says that Offset is where a record ended.
	Begun bool `json:"begun,omitempty"`
	// Header has the columns of a csv file, once the line with them was read.
	Header []string `json:"header,omitempty"`
}

// SplitID is the path, with the byte range when there are several.
func (s Split) SplitID() string { return s.ID }

// layout is how a file was cut when it was seen first. It stays so: a file that grew and another split_size must not give a
// second split with records that another one had.
type layout struct {
	// Size is the size then.
	Size int64 `json:"size"`
	// Cut is the length of the ranges; 0: one split for the whole file.
	Cut int64 `json:"cut,omitempty"`
}

// splits cuts a file. The last range goes on to the end, wherever it is by the time it is read.
func (l layout) splits(path string) []Split {
	if l.Cut == 0 || l.Size <= l.Cut {
		return []Split{{ID: path, Path: path}}
	}
	var all []Split
	for start := int64(0); start < l.Size; start += l.Cut {
		s := Split{Path: path, Start: start, Offset: start}
		if start+l.Cut < l.Size {
			s.End = start + l.Cut
			s.ID = fmt.Sprintf("%s:%d-%d", path, s.Start, s.End)
		} else {
			s.ID = fmt.Sprintf("%s:%d-", path, s.Start)
		}
		all = append(all, s)
	}
	return all
}
