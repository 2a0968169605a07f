//go:build !adfdebug

package row

// mangle is on in builds with the tag adfdebug: a recycled slab is filled with nonsense, which shows whoever kept a row.
const mangle = false
