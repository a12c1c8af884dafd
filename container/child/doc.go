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
// Here the child runs no Go code that could need the runtime. What it has to do is worked out before: a list of system
// calls with their arguments, all in memory that is there at the time of the fork, and so in the child's copy.
//
//	parent                                    child
//	------                                    -----
//	p := child.New()
//	root := p.Openat2(cwd, "rootfs", ...)     a loop of fifty lines that never
//	p.Mkdirat(root, "proc", ...)              allocates and never grows its stack:
//	...                                         registers hold what calls returned,
//	p.Exec(path, argv, env)                     a step's argument may be a register
//	   |
//	p.Start ---- clone3(CLONE_NEW...) ------> 0  close_range, all but the program's own
//	   |                                      1  openat2 fd=-100 path=rootfs -> r1
//	   |                                      2  mkdirat fd=r1 path=proc
//	   |  <------ sync "user namespace" ----  3  say where it stands, and wait
//	write uid_map
//	   |  ------- go on ------------------->  ...
//	   |  <------ step 7: EPERM               or the failed call's number and errno,
//	   |  <------ end of file -----------    n  or execve: the socket closes by itself
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
//   - Descriptors. The fork copies all that the parent has, also those that another goroutine is about to mark
//     close-on-exec. The child closes every one that its program does not name, before anything else.
//   - Threads. The namespaces that only a parent can choose for its child (PID, time) are chosen by a thread that then
//     ends ([Options.Before]).
//   - Signals. They are blocked during the fork, and handlers are gone in the child before they are unblocked: no signal
//     handler of Go's ever runs there. gVisor starts its stub processes in the same way, and the runtime keeps the three
//     functions that it takes for that (see fork_unsafe.go).
//   - /proc/self/exe. What is executed in a container must not find the runtime's own file behind it
//     (CVE-2019-5736), see [Program.Exec].
package child
