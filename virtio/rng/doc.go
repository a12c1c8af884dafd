// Package rng is the virtio entropy device.
package rng
