package stdio

// Split is the input of one process. Nobody can continue it, so all that matters of its position is whether there is one.
type Split struct {
	ID string `json:"id"`
	// Offset counts the bytes that were read.
	Offset int64 `json:"offset,omitempty"`
}

// SplitID is another one for each process.
func (s Split) SplitID() string { return s.ID }
