// Package itest holds the tests that need more than a Go process: the command itself, killed and started again, a small disk, and DuckDB as an
// independent oracle. They are behind the build tag "integration", which `make test` sets; a tool that is missing is a failure there. The
// long ones are behind "soak" as well.
package itest
