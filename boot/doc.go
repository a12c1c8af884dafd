// Package boot makes the memory image that a kernel starts in.
package boot
