// Package connectortest checks how a connector declares its options, for every connector and with inputs made from the declarations themselves.
//
// The one idea: an option's declaration says what is wrong for it. So for each there is a list of wrong values, made by its type, and each has to be
// refused at the option's path, with the code of the rule that it breaks, and without showing a secret.
//
// It imports connectors and fault.
package connectortest
