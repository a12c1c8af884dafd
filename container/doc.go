// Package container is the engine: it makes containers of namespaces, cgroups and a root file system, as the OCI runtime
// specification describes them (github.com/opencontainers/runtime-spec, runtime-linux.md and config-linux.md).
//
// A container is not a thing that the kernel has. It is a process of which several of the kernel's parts have each been
// told something: namespaces, what it can see; cgroups, what it can use; a root file system, where its files are;
// capabilities and a seccomp filter, what it can ask for. To make one is to tell them all, in an order in which each
// still may be told: maps before identity, mounts before the root is changed, the filter after everything.
//
//	Spec ──── assemble ────► plan                     printed by `tandem explain`
//	(what is wanted)          │
//	                          │ Run
//	    the parent, in Go     ▼                         the child, system calls only (package child)
//	    mkdir state, FIFOs
//	    clone3 ───────────────────────────────────────► leaves the runtime behind: executes a program of system calls
//	    cgroup folders and limits                       makes its namespaces meanwhile, and joins the cgroup
//	    uid_map, network        ◄──────── born ───────  becomes root of its user namespace
//	                                                    mounts everything below the root (package rootfs)
//	    hooks                   ◄─────── mounted ─────
//	    fetch the terminal      ◄────── terminal ─────  pivot_root, masks, sysctl
//	                                                    capabilities, user, no_new_privs
//	    write state.json        ◄─────── created ─────  waits on a FIFO
//
//	    Container.Start: a byte into the FIFO ────────► seccomp, execve of the command
//
// The plan is one list. When one of its steps fails, by whichever side, those before it are undone in reverse, and the
// error names the step: "mount proc on /proc: fsmount: operation not permitted (step 41 of 163)", as `tandem explain`
// counts them.
//
// No field of a configuration is passed over in silence. Each is in the plan; or it is refused, by its name, where the kernel,
// or this machine, has no such thing.
//
// # Security modules
//
// A kernel may have one more part to tell something: AppArmor, by which rules the command runs (process.apparmorProfile, a
// profile that is loaded); or SELinux, what the process and its file systems are called in the policy that decides
// (process.selinuxLabel, linux.mountLabel). Which of the two it is was settled when the machine was booted.
//
//	self/attr/apparmor/exec  ◄── "exec PROFILE"     the child, while it still has the runtime's rights: it asks
//	execve of the command                           the kernel gives: from here on the rules hold
//
// So a profile need allow nothing of what makes a container, not even that its command is executed. What is started in a
// container later has the container's labels, unless it names others. A label that the kernel does not know is an error
// that names it, and so is a process's where its module is missing: nothing runs with fewer rules than were asked for.
//
// [Spec] is what is wanted, [Container] what there is. A container's state is a folder with a file that is whole from
// the first, so that any process may find it, at any moment; what a maker that was killed has left, [Container.Delete] with
// force removes. Processes are held by pidfd, and told from others that got their number by the time of their start.
package container
