package operators

// Assign gives a name to the value of an expression.
type Assign struct{ Name, Expr string }
