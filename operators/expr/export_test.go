package expr

// FunctionNames are the names of all functions.
var FunctionNames = functionNames
