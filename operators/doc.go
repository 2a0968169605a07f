// Package operators holds what happens between source and sink: the stateless verbs, expressions, keyed processing with
// state and timers, windows and aggregates.
//
// The one idea: semantics exist once, as erased operators that every runtime feeds with batches. A stateless operator is a function
// on a batch. A keyed operator is two halves around a shuffle: the [Shuffle], which decides lateness by the promise
// of the record's own split, pre-combines and cuts by bucket; and the [KeyedTask], which works on one bucket's state at a time.
// Windows, aggregates and TTL stand on the same state and timers that a keyed process function gets.
//
// It imports record, fault, proto/adf/v1 and its own operators/expr and operators/state.
package operators
