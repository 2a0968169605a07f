package grammar

// The rules of the grammar. Each is the code of the violations that it finds, stable between releases.
const (
	ruleMap         = "flow.map"         // something else where a map belongs
	ruleList        = "flow.list"        // something else where a list belongs
	ruleScalar      = "flow.scalar"      // something else where a name or a text belongs
	ruleUnknown     = "flow.unknown"     // an unknown key
	ruleLater       = "flow.later"       // what is not in this version
	ruleRequired    = "flow.required"    // a required key that is missing
	ruleVersion     = "flow.version"     // a version of the grammar that is not this one
	ruleName        = "flow.name"        // a name that is not made like one
	ruleTwice       = "flow.duplicate"   // a name that is there twice
	ruleParam       = "flow.param"       // parameters: unknown, missing, or not a scalar
	ruleType        = "flow.type"        // no connector, or two, or an unknown one
	ruleVerb        = "flow.verb"        // no verb, or two
	ruleSchema      = "flow.schema"      // a schema that is no schema
	ruleParallelism = "flow.parallelism" // no number, or on a node that runs where its input is
	ruleOnError     = "flow.on_error"    // neither fail nor emit
	ruleDuration    = "flow.duration"    // no duration
	ruleWindow      = "flow.window"      // a window that is none, or on a verb that has none
	ruleBy          = "flow.by"          // a key that is missing, or on a verb that has none
	ruleTTL         = "flow.ttl"         // a time to live on a step without state
	ruleUse         = "flow.use"         // an unknown Go function
	ruleExpr        = "flow.expression"  // an expression that is none, or cut by a comment
	ruleColumn      = "flow.column"      // a column that is named twice in one verb
	ruleFrom        = "flow.from"        // a reference to an output that is not there
	ruleLate        = "flow.late"        // the late output of a step without a window
	ruleSame        = "flow.same"        // the same output twice in one from
	ruleCycle       = "flow.cycle"       // nodes that read from each other
	ruleTime        = "flow.time"        // a window over records without event time
	ruleUnread      = "flow.unread"      // an output that nobody reads
	ruleErrors      = "flow.errors"      // emit without a reader, or a reader without emit
)
