package generate

import "strconv"

// Split is every Of-th record number, from N on; Next is the number that is read next.
type Split struct {
	N    int64 `json:"n"`
	Of   int64 `json:"of"`
	Next int64 `json:"next"`
}

// SplitID is "N/Of".
func (s Split) SplitID() string {
	return strconv.FormatInt(s.N, 10) + "/" + strconv.FormatInt(s.Of, 10)
}
