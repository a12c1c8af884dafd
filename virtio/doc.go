// Package virtio is what all virtio devices and transports have in common.
package virtio
