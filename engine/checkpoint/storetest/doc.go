// Package storetest is the definition of a checkpoint store, as a suite that each of them runs.
//
// The one idea: a store has one hard promise, that an epoch is created once and whole, whoever else tries. The suite tries, from several
// stores on the same place, and then runs whole sessions over them.
//
// It imports engine/checkpoint, fault and proto/adf/v1.
package storetest
