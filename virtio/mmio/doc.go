// Package mmio is the virtio transport over MMIO registers.
package mmio
