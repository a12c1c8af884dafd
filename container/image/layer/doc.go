// Package layer turns the tar archive of an image's layer into a folder that overlayfs takes as a lower one.
//
// A layer is a set of changes to the layers below it: files that are there now, and names that are not any more. A tar
// archive has no entry for "gone", so a layer says it by a file with a name that nobody else uses (OCI image
// specification, layer.md, "Whiteouts"). The kernel's overlayfs says the same by other means
// (Documentation/filesystems/overlayfs.rst), and this package translates:
//
//	in the archive               in the folder                               seen through the overlay
//	etc/hosts                    etc/hosts                                   hosts of this layer
//	etc/.wh.motd                 etc/motd, a character device 0:0            no motd
//	etc/apt/.wh..wh..opq         etc/apt/ with trusted.overlay.opaque=y      nothing of etc/apt below this layer
//	                             etc/     with trusted.overlay.origin=       (so that ls looks for whiteouts in it)
//
// A mount by a user who is not root has user.overlay.* in the place of trusted.overlay.*, as the option userxattr asks
// for.
//
// # The archive is hostile
//
// Whoever built the image chose each byte. The file names are relative to the layer's root, and it is this package's
// main concern that they stay there, whatever they say and whatever the entries before them made. So no name is ever
// joined to a path and looked up by it:
//
//	entry "usr/lib/x.so"                  root (a descriptor)
//	   │ split: no "..", not absolute       │ openat2(root, "usr/lib", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS ...)
//	   └──── parent "usr/lib" ──────────────┤
//	   └──── name "x.so" ─────────────────► openat(parent, "x.so", O_CREAT | O_EXCL | O_NOFOLLOW)
//
// The kernel itself refuses to leave the root in that walk, through ".." as through a symbolic link. The last part of
// the name is made, never opened: O_EXCL, mkdirat, symlinkat, linkat and mknodat follow no link and replace nothing,
// which is also how an archive that has a name twice is found out.
//
// What the archive may cost is bounded by [Limits], and is counted before it is spent: the sizes that headers claim,
// the bytes of the stream, the number of entries.
//
// # Implied folders
//
// An archive may hold etc/ssl/cert.pem and neither etc nor etc/ssl. Overlayfs shows a folder with the mode and owner
// that it has in the topmost layer, so a folder made here because it had to be would change the one below. The entry of
// such a folder is marked Implied, and [Options].Parents says what it has to look like.
package layer
