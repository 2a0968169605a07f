package memory

import "strconv"

// Split is one of the numbered splits, with the number of the record that is read next.
type Split struct {
	N    int   `json:"n"`
	Next int64 `json:"next"`
}

// SplitID is the split's number.
func (s Split) SplitID() string { return strconv.Itoa(s.N) }
