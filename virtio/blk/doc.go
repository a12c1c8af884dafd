// Package blk is the virtio block device.
package blk
