// Package initramfs makes the root file system that a guest starts on.
//
// Linux always starts on an initramfs: a tmpfs (or ramfs) that it fills from the archives in memory before it runs
// /init as pid 1. A distribution's initramfs then looks for the real root. tandem's guest stays on it, because its init
// is the tandem binary itself, which is static, and whatever else a run needs comes as a disk or a share.
//
//	    the base: same for many runs,                 the overlay: this run's,
//	    made once, kept in the cache                  made in memory
//	┌────────────────────────────────────────────┐  ┌─────────────────────────┐
//	│ /init                  tandem              │  │ /etc/tandem/init.json   │
//	│ /bin/tandem         -> /init               │  │ files the user adds     │
//	│ /bin/busybox, /bin/sh -> busybox, ...      │  │                         │
//	│ /dev/console, /dev/null, /proc /sys /tmp ..│  │                         │
//	│ /lib/modules/VERSION/...ko, modules.dep .. │  │                         │
//	│ TRAILER!!!   zeros up to the page's end    │  │ TRAILER!!!  zeros       │
//	└────────────────────────────────────────────┘  └─────────────────────────┘
//	^ ramdisk_image: mapped from the cached file     ^ on the page right behind it
//
// The kernel unpacks both into one tree (package cpio tells how), and a later entry replaces an earlier one of its
// name.
//
// A base holds more modules than a run loads. Drivers that init loads are named in its configuration, in the order that
// [Archive.Load] gives; the rest are there for whoever asks: the archive has the index files that modprobe reads, and
// the kernel itself runs /sbin/modprobe (busybox's) when a file system or a protocol is asked for that it has not got
// yet.
//
// The base is found again by a digest over the names, sizes, inodes and times of what went into it, not over their
// content: that is known after a few calls of stat(2), and a start is a matter of milliseconds.
package initramfs
