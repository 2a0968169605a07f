package adf

// Plan is a flow as data: nodes, edges, schemas, configurations and guarantees, without any user type and without a runtime.
// It is what explain shows, what a checkpoint is matched with, and what a worker in another process checks its own flow against.
type Plan struct {
}
