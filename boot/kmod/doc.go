// Package kmod reads a kernel's module tree, /lib/modules/VERSION, without the kmod tools and without loading anything.
//
// A distribution's kernel has nearly all its drivers as modules. Whoever makes an initramfs has to know which files a
// driver needs, and in which order the kernel can take them: init_module(2) refuses a module whose symbols are not
// there yet. The knowledge is in each module itself and, once depmod(8) has run, in index files beside them:
//
//	virtio_blk.ko                            /lib/modules/6.1.0-56-cloud-amd64/
//	┌───────────────────────────┐              kernel/drivers/block/virtio_blk.ko
//	│ ELF header                │              modules.order           build order
//	│ .text .data ...           │   depmod     modules.builtin         what is in the kernel itself
//	│ .modinfo                  │ ─────────►   modules.builtin.modinfo its .modinfo
//	│   name=virtio_blk         │              modules.dep             PATH: PATHs that it needs
//	│   depends=virtio,...      │              modules.alias           alias PATTERN NAME
//	│   alias=virtio:d00000002v*│              modules.softdep         softdep NAME pre: A post: B
//	│   softdep=pre: ...        │
//	└───────────────────────────┘
//
// Debian runs depmod when a package is installed, so a package that is only unpacked has none of the last three:
// [Depmod] makes them. modpost has written the full list of direct dependencies into depends= when the kernel was
// built, so no symbol table needs reading.
//
// [Open] reads the index, [Tree.Resolve] turns wanted names into files in load order, and [Tree.ReadModule] gives a
// file as init_module wants it: decompressed. "-" and "_" are the same in the names of modules and in aliases, but not
// inside the brackets of an alias's pattern.
package kmod
