// Package cp carries files into and out of a container's root file system, which belongs to somebody hostile.
//
// To copy a file out of a container looks like a small thing: join the container's root and the path, and read. Three
// engines have lost the host by it.
//
//   - The path is looked up twice. A container that runs can put a link in the place of a folder between the check and the
//     use, and the copy reads or writes the host's /etc (CVE-2018-15664).
//   - The copier goes into the root with chroot(2), and then loads a library by name: the container's libnss, with the
//     host's rights (CVE-2019-14271).
//   - A link in what was copied out is followed when the next file is written: the container has put "a -> /etc" and then
//     "a/passwd" into its folder.
//
// So no path of a container's is ever joined to one of the host's, and nobody goes into the root:
//
//	a container's side                                     the host's side
//
//	root: a descriptor, /proc/PID/root or a mount          the folder that the user named, opened once
//	  │ openat2(root, path, RESOLVE_IN_ROOT)                 │ openat2(folder, name, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)
//	  ▼ the kernel follows links as if root were "/"         ▼ the kernel follows none
//	file ── Pack ──► tar ── Unpack ──► mkdirat, openat(O_EXCL), symlinkat, linkat: below that descriptor
//
// Between the two sides is a tar archive, as that is also what `tandem cp` writes to standard output and reads from
// standard input. A tree that changes while it is packed gives an archive of something that may never have been there at
// one moment, and nothing worse: each entry is opened in its folder's descriptor without following a link, and its kind is
// asked of the descriptor, not of the name.
//
// /proc/PID/root leads into the container's own mount namespace, so its volumes and tmpfs are seen as it sees them. Magic
// links of a procfs in there are refused, as RESOLVE_IN_ROOT has it: /proc/1/root of a container that shares the host's PID
// namespace would lead out.
package cp
