// Package rootfs makes the root file system that a container sees.
package rootfs
