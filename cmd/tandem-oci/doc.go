// Tandem-oci is the command that container managers call to make and end containers: an OCI runtime, in the place of
// runc or crun.
//
// The OCI runtime specification tells what a container is (a bundle: a folder with config.json and a root file system)
// and what may be done with one. It does not tell how a runtime is called. What all agree on is runc's command line,
// which podman and containerd were written for, and which crun follows:
//
//	podman ─ conmon ─┐                          ┌─ state on disk: /run/tandem-oci/ID
//	                 ├─ tandem-oci create ID ───┤
//	containerd ─ shim┘      (exits)             └─ the container's process, which waits for `start`
//	       │                                             ▲
//	       └──── tandem-oci start ID, kill, delete ──────┘
//
// The runtime is no daemon. Each call ends at once, and the next finds the container by its state on disk. The
// container's first process is left to whoever called `create`, as a child of a subreaper: conmon or the shim, which
// holds its terminal and its exit status. Only `run` and `exec` without --detach stay, and end with the status of the
// command that they ran (128 and the signal's number, if a signal ended it).
//
// Every flag of runc (to 1.3) and crun is taken, so that it drops in for either. What cannot be had (systemd's cgroup
// driver, checkpoints) is refused with the reason, and what makes no difference (--criu, --no-subreaper) is taken and
// does nothing.
//
// Callers read errors as well as make calls, so their form is part of the interface. A failure is one message, on
// stderr and in the file of --log; there, with --log-format json, as one object with level, msg and time. podman reads
// the whole file as a single object, so that warnings are left out of it unless --log-level asks for them. The exit
// status of a failure is 1, and 255 for exec, where 1 may be the command's own.
//
// Each verb is a file of its own, named after it.
package main
