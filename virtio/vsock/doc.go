// Package vsock is the virtio socket device (virtio 1.2, section 5.10): stream sockets between a guest and its host,
// without a network.
package vsock
