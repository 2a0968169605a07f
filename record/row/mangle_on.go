//go:build adfdebug

package row

const mangle = true
