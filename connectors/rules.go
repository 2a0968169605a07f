package connectors

import "github.com/activedataflow/adf/fault"

// The rules of the binder. Each is the code of the violations that it finds, stable between releases.
const (
	ruleUnknown  = "option.unknown"  // a key that is no option
	ruleRequired = "option.required" // a required option that is not there or empty
	ruleShape    = "option.shape"    // a list or a map where a scalar belongs, or the other way around
	ruleBool     = "option.bool"     // neither true nor false
	ruleInt      = "option.int"      // no whole number, or one that does not fit
	ruleFloat    = "option.float"    // no finite number
	ruleDuration = "option.duration" // no duration, or a negative one
	ruleSize     = "option.size"     // no size
	ruleOneOf    = "option.one_of"   // not among the values that are allowed
	ruleZero     = "option.zero"     // a zero that stands for the default, written out
	ruleCheck    = "option.check"    // refused by the option's own check
	ruleTogether = "option.together" // refused by a check over several options
)

// refuse makes a violation at the place of a value.
func refuse(at *Tree, path, got, want, code string) fault.Violation {
	v := fault.Violation{Path: path, Got: got, Want: want, Code: code}
	if at != nil {
		v.File, v.Line, v.Col = at.File, at.Line, at.Col
	}
	return v
}
