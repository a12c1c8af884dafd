// Package child is the half of a container's start that happens inside the new process: a program of system calls, made
// as data by the parent, and run in the child right after clone(2).
//
// A container cannot be set up from outside. Its mounts belong to a mount namespace that only a process in it can
// change, its /proc shows the PID namespace of whoever mounts it, its user's rights are worth something only inside its
// user namespace. So a process has to be made first, and has to do the work itself, while it is still a copy of the
// runtime. A program in C forks, and goes on. A program in Go cannot: the copy has one thread, the one that forked, and
// none of those that the scheduler and the garbage collector are made of; the first allocation may wait for one of them
// for ever. The usual way out is to execute the runtime once more, with a part in C that runs before Go starts, and to
// send it over a pipe what it has to do.
//
// Here the child runs no Go code at all. What it has to do is worked out before: a list of system calls with their
// arguments, which the parent writes to a file in memory. The child executes another file in memory, the stub, an ELF
// executable of a kilobyte, which reads the list and does what it says.
//
//	parent                                    child
//	------                                    -----
//	p := child.New()
//	root := p.Openat2(cwd, "rootfs", ...)
//	p.Mkdirat(root, "proc", ...)
//	...
//	p.Exec(path, argv, env)
//	   |
//	p.Start ---- clone3(CLONE_NEW...) ------> in memory that is lent, as by vfork(2):
//	   |                                         descriptors that it keeps; signals; execveat the stub
//	   |                                      read the program, close_range all that it does not name
//	   |                                      2  openat2 fd=-100 path=rootfs -> r1
//	   |                                      3  mkdirat fd=r1 path=proc
//	   |  <------ sync "user namespace" ----  4  say where it stands, and wait
//	write uid_map
//	   |  ------- go on ------------------->  ...
//	   |  <------ step 7: EPERM               or the failed call's number and errno,
//	   |  <------ end of file -----------    n  or execve: the socket closes by itself
//
// So the child has a few pages of memory, none of them the runtime's: nothing is copied, nothing has to be kept from who
// might look into it, and a cgroup with a limit of some hundred kilobytes has room for it.
//
// The same list is what `tandem explain` prints, and what strace shows of the child, call for call. A call may tolerate
// an error (mkdirat what is there), or go on elsewhere for one ([Call.Else]): openat2 a folder, and only if it is missing
// make it. What a call left in memory can be compared ([Program.Expect]), which is how the child sees that what it opened
// as /proc is a procfs.
//
// A descriptor of the child's, such as a terminal that only exists in the container, goes to the parent by
// [Program.Send].
//
// # What to watch
//
//   - Descriptors. The child gets all that the parent has and that are not closed on exec, also those that another goroutine
//     is about to mark so. It closes every one that its program does not name, before anything else.
//   - Threads. The namespaces that only a parent can choose for its child (PID, time) are chosen by a thread that then
//     ends ([Options.Before]).
//   - Signals. They are blocked from before the clone up to right before the stub is executed, and the child is born without
//     handlers: none of Go's ever runs in it. A signal that is for both, as those of a terminal's keys, ends it.
//   - Memory. While it is lent the parent's thread stands still, in the kernel, and the child reads it and writes nothing but
//     the words that were made for it; it does not touch the stack (machine_amd64.s).
//   - Rights. Who is born into a new user namespace has all of them there, and loses them with the first execve, unless they
//     are ambient: see keepRights.
//   - /proc/self/exe. What is executed in a container must not find the runtime's own file behind it
//     (CVE-2019-5736), see [Program.Exec].
package child
