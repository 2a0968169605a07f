package grammar

// key is one key of a production.
type key struct {
	name string
	doc  string
	// later says that the key is part of the grammar and not of this version.
	later bool
}

// production is a map of the grammar.
type production struct {
	name string
	keys []key
	// open says that other keys are names or types, and which.
	open string
}

// The productions.
var (
	flowMap = production{name: "flow", keys: []key{
		{name: "flow", doc: "The flow's name. It is the flow's identity: checkpoints and committed output belong to it."},
		{name: "version", doc: "The version of this grammar, 1."},
		{name: "params", doc: "Parameters and their defaults. ${NAME} stands for the value anywhere in the file; nothing as default makes the parameter required."},
		{name: "defaults", doc: "What holds for every node that does not say otherwise."},
		{name: "sources", doc: "Where records come from."},
		{name: "steps", doc: "What is done with them."},
		{name: "sinks", doc: "Where they go."},
	}}
	defaultsMap = production{name: "defaults", keys: []key{parallelismKey, onErrorKey}}
	sourceMap   = production{name: "source", open: "a source type", keys: []key{
		{name: "schema", doc: "The columns and their types, or infer, which looks at the first records. Left out, the source's own schema holds."},
		{name: "time", doc: "Where the records' event time is."},
		parallelismKey, onErrorKey,
	}}
	timeMap = production{name: "time", keys: []key{
		{name: "field", doc: "The column: a timestamp, a date, or an int64 with milliseconds since 1970-01-01 UTC."},
		{name: "out_of_orderness", doc: "How far behind the newest record of its split a record may come."},
		{name: "idle_after", doc: "After this long without a record, the clock moves a split's watermark. Left out, it stays."},
	}}
	stepMap = production{name: "step", keys: []key{
		{name: "from", doc: "The output that the step reads, or a list of outputs with equal schemas."},
		{name: "do", doc: "Several stateless verbs, one after the other."},
		{name: "filter", doc: "Keeps the records for which the condition is true."},
		{name: "set", doc: "Adds columns, or gives existing ones new values. All expressions see the record as it came."},
		{name: "select", doc: "Makes records of just these columns, in this order."},
		{name: "rename", doc: "Gives columns new names: OLD: NEW."},
		{name: "cast", doc: "Gives columns new types: COLUMN: TYPE. A value that does not fit is an error of that record."},
		{name: "drop", doc: "Leaves columns out."},
		{name: "aggregate", doc: "One result per key and window: NAME: count(), sum(x), mean(x), min(x) or max(x)."},
		{name: "use", doc: "Calls a Go function that the program registered by this name."},
		{name: "by", doc: "The key: columns, or NAME: EXPRESSION. An empty list is one group."},
		{name: "window", doc: "How event time is cut. Without it, an aggregate gives one result per key at the end of bounded input."},
		{name: "ttl", doc: "State of a keyed use step that was not written for this long is dropped."},
		parallelismKey, onErrorKey,
		{name: "explode", later: true}, {name: "rate_limit", later: true}, {name: "route", later: true}, {name: "match", later: true}, {name: "top", later: true},
		{name: "dedup", later: true}, {name: "reduce", later: true}, {name: "join", later: true}, {name: "lookup", later: true},
	}}
	windowMap = production{name: "window", keys: []key{
		{name: "tumbling", doc: "Windows of this size, one after the other, aligned with the epoch in UTC."},
		{name: "global", doc: "true: one window over everything, with its result at the end of bounded input."},
		{name: "offset", doc: "Moves the windows: for days that begin at six, 6h."},
		{name: "allowed_lateness", doc: "Delays each result by this much, and takes records that come up to this late."},
		{name: "sliding", later: true}, {name: "session", later: true}, {name: "count", later: true},
	}}
	sinkMap = production{name: "sink", open: "a sink type", keys: []key{
		{name: "from", doc: "The output that the sink writes, or a list of outputs with equal schemas."},
		parallelismKey, onErrorKey,
	}}
)

var (
	parallelismKey = key{name: "parallelism", doc: "How many lanes a source, or workers a keyed step has. Other steps and sinks run where their input is."}
	onErrorKey     = key{name: "on_error", doc: "fail (the default): a failing record ends the run. emit: it goes to NODE.errors, which something must read."}
)

// productions are all of them, in the order of the documentation.
var productions = []production{flowMap, defaultsMap, sourceMap, timeMap, stepMap, windowMap, sinkMap}

// verbs are the keys of a step of which there is exactly one; stateless are those that a do list may have.
var (
	stateless = []string{"filter", "set", "select", "rename", "cast", "drop"}
	verbs     = append([]string{"do", "aggregate", "use"}, stateless...)
)

// names are the keys of a production, with or without those of later versions.
func (p production) names(later bool) []string {
	var all []string
	for _, k := range p.keys {
		if later || !k.later {
			all = append(all, k.name)
		}
	}
	return all
}

func (p production) find(name string) (key, bool) {
	for _, k := range p.keys {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}
