// Package lab runs commands in a machine with KVM, where this one has none.
//
// Much of what tandem does needs a kernel that hardware helps: KVM that is fast enough for Linux, vhost, cgroup v2,
// kprobes. A laptop has that; a container in a data centre, or a virtual machine whose owner keeps virtualization for
// himself, has not. The lab is a virtual machine for such places. QEMU executes its instructions one by one (TCG), AMD's
// virtualization extension among them, so that the KVM of the lab's kernel finds a processor to work with. It is slow, and
// it is right: what runs in a VM in the lab runs on every laptop. (One trap: with several threads QEMU gets it wrong
// now and then, so the lab has one CPU.) Where the host's KVM can nest, QEMU uses that.
//
// A lab is of use only if it is no trouble. So it is made of this machine's own files, a command in it looks like any
// other command, and it comes when it is called and goes when nobody needs it:
//
//	         this machine                                             the lab (QEMU)
//	┌────────────────────────────────┐                ┌───────────────────────────────────────────┐
//	│ tandem lab exec -- go version  │                │  go version                               │
//	│        │ streams, signals, exit status          │     ▲        / = overlayfs                │
//	│        ▼                       │                │     │            upper: tmpfs             │
//	│    lab.sock                    │                │     │            lower: 9p, read-only ──┐ │
//	│        │                       │                │     │                                   │ │
//	│   supervisor ──── socketpair ──┼─ virtio-serial ┼─▶ agent, in pid 1 (tandem itself)       │ │
//	│        │ starts, kills         │                │              --share DIR: 9p, writable ─┤ │
//	│        ▼                       │                └─────────────────────────────────────────┼─┘
//	│      QEMU ◀────────────────────┼──────────── / of this machine ───────────────────────────┘
//	└────────────────────────────────┘
//
// # The parts
//
// The supervisor is a process of its own, `tandem lab supervise`, started by whoever needs a lab first. It owns QEMU and
// the one session with the agent in the lab (package guest/agent), and lends that session to everybody who connects to
// its socket. The socket, the kernel's console and a record of the processes lie in a folder that is the user's alone.
// Nothing else is on disk: QEMU gets its initial file system as an anonymous file, and the agent's line as a socket pair.
//
// Two locks keep order. The supervisor holds the one on its record from before its first instruction, as it inherits it,
// to its last; so whether a supervisor lives is never a guess. The one on the folder is held for a moment by who looks
// for a supervisor and starts one. Whoever finds a lab on its way down waits for its end and starts another.
//
// If the supervisor is killed, the kernel kills QEMU (PR_SET_PDEATHSIG), and the next one to come removes the files. If
// QEMU dies, or the lab's kernel does, the supervisor writes down why, with the end of the console, and only then lets go
// of its clients, who find it there.
//
// # Files
//
// Commands see this machine's files as they are when the command starts, in the same places. QEMU exports them over 9p,
// read-only; overlayfs on top takes what the lab writes, into memory. /proc, /sys, /dev and /run are the lab's own.
// A share is another, writable export, bound over the shared folder for one command alone.
//
// This machine changes its files while the lab is up, which a network file system of this kind does not notice. The lab
// therefore caches as little as it can (rootOptions has the details), and forgets the names that it knows before each
// command. One trap is left: a name that another command holds on to, as its program or an open file, stays what it was
// for as long as that command runs, even if it has been replaced here.
//
// # Time
//
// An emulated processor has no clock speed. The lab's kernel counts time with the real processor's counter, whose
// frequency the supervisor measures, and its clock is set by the agent when it is up. The two machines then stay within
// a millisecond of each other.
//
// # Security modules
//
// The kernel runs the modules that its distribution chose, AppArmor with Debian's. Another one can be had by a lab of
// one's own, as the choice is made at boot: `TANDEM_LAB_DIR=DIR tandem lab up --append security=selinux`. It has no policy
// until somebody loads one (/sys/fs/selinux/load).
//
// # What it is not
//
// The lab protects nobody: it has no network, but root in the lab can mount the writable export and change every file
// that its user can. Its mitigations for speculative execution are off.
package lab
