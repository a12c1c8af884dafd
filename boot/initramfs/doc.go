// Package initramfs makes the root file system that a guest starts on.
package initramfs
