// Package kernel is the kernel's vhost: /dev/vhost-net and /dev/vhost-vsock.
package kernel
