package state

// Cell declares one named kind of state: a value per key and namespace (a window's end, 0 where there is none). Make one with
// [NewValue]. Its name is stable: a snapshot finds its values by it.
type Cell interface {
	Name() string
}

// Bucket is the state of one bucket of one node. It is used from one goroutine at a time.
type Bucket struct {
}
