// Package lab gives this machine's files a machine with hardware-style KVM,
// where the machine itself has none.
package lab
