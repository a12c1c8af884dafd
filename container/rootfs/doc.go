// Package rootfs makes the root file system that a container sees: what "/" is, what is mounted below it, which devices
// there are, and what of the kernel's files can't be read or written.
//
// # From chroot to pivot_root
//
// A process finds a file by its name, and begins at its root folder. chroot(2), of 1979, changes that folder and
// nothing else: the rest of the tree is still there, and a process with the right to call chroot walks out of it
// again. Linux has mount namespaces: a table of mounts of the process's own, a copy of its parent's at first. In it
// pivot_root(2) puts another mount in the place of the topmost one, and the old one can be unmounted: the host's
// files are then not hidden but gone. This needs no folder to put the old root in. pivot_root(".", ".") stacks it
// upon the new one, from where umount2 takes it.
//
// For that the new root must be a mount, and none of the mounts around it may be shared. What is mounted in a shared
// mount appears in all its peers, in other namespaces too. So the first step makes all mounts slaves, which take what
// the host mounts and give nothing back; what the container is to share with its host was cloned before, as the host
// had it.
//
// # Mounts by descriptor
//
// mount(2) takes names. Between the moment in which a runtime looks where a name leads, and that in which mount(2)
// looks again, another container that shares a folder with this one can put a link there, and the mount ends up on
// the host (CVE-2021-30465). The newer calls take the act apart, and all parts go by descriptor:
//
//	                     fsopen --- fsconfig ... --- fsmount        a new file system
//	what:                                                  \
//	                     open_tree(OPEN_TREE_CLONE) -------- mount --- mount_setattr     flags, idmap, propagation
//	                     of the host's, or the container's   (nowhere yet)  |
//	                                                                        v
//	where:   root ------ openat2(RESOLVE_IN_ROOT) ------ place -------- move_mount
//	                       |         missing?               ^
//	                       +--- mkdirat, openat2(RESOLVE_BENEATH), name by name
//
// The kernel resolves the place's name once, as if root were "/", and what is mounted on is what was opened. No name in
// this package is looked up twice, and none is put together of a host's path and a container's.
//
// # Overlay
//
// An image's layers are folders. overlayfs shows them as one, the topmost first, all read-only; above them is an
// upper folder, which takes what is changed. A file is copied up when it is first written to; a device node 0:0, a
// whiteout, says that a file of a lower layer is gone.
//
// # What happens, in order
//
//  1. [Build.Prepare]: sources of bind mounts are cloned; all mounts become slaves; the root file system is mounted,
//     then the specification's mounts in their order; /dev gets its nodes and links.
//  2. [Build.Pty] and [Build.Console]: a terminal of the container's own devpts, bound on /dev/console.
//  3. [Build.Enter]: pivot_root. Until here the host's files could be reached.
//  4. [Build.Finish]: sysctls, then what is read-only, what is masked, and the root.
//
// All of it is done by the child, in the container's namespaces, as a program of system calls (package child). The
// parent opens what only it may: sources that the user namespace's root can't reach, and idmapped mounts. It does so
// when the child starts; making and printing the program asks the kernel nothing.
//
// # What to watch
//
//   - Links in an image. They are followed inside of its root, which is the same for the image's own programs. Where
//     what is mounted is trusted later, by the runtime too, none is taken: /proc, /sys, /dev.
//   - /proc. What is written to it must reach the kernel. A mount over a file in it would catch labels and sysctls, so
//     they go through a procfs that is mounted nowhere ([Procfs], CVE-2025-52881), and no mount goes into /proc but
//     over a list of harmless files.
//   - /dev/null. Masks are made of it, so its number is checked, not its name (CVE-2025-31133).
//   - Flags that a user namespace has locked. A bind mount there keeps nosuid and the like: only what an option names
//     is changed, and mount_setattr(2) says EPERM where an option would take a locked one away.
//   - tmpcopyup is an overlay on the tmpfs where the folder is not empty, see copyUp: the child has no way to copy
//     files.
package rootfs
