// Package errorfs is the file system as the parts that must survive its failures see it, and one that fails on request.
//
// The one idea: a failure is a value. [FS] has the few operations that saving something whole or not at all needs; [OS] is the
// machine's. [Wrap] counts the operations that change something, and a [Fault] says which of them fails, and how: the disk is full,
// half of a write arrives, a sync fails, the machine stops. So a test can walk through a protocol and break it at every step:
//
//	clean := errorfs.Wrap(errorfs.OS{})
//	save(clean)
//	for n := 1; n <= len(clean.Steps()); n++ {
//		broken := errorfs.Wrap(errorfs.OS{}, errorfs.Fault{Nth: n, Err: syscall.ENOSPC})
//		save(broken) // must say so, and leave all or nothing
//		broken.Heal()
//		save(broken) // must succeed
//	}
//
// This package imports the standard library only.
package errorfs
