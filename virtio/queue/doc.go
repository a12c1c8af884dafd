// Package queue is the device side of a split virtqueue.
package queue
