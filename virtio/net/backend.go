package net

import (
	"os"
)

// HeaderSize is the length of struct virtio_net_hdr_v1, which stands before each frame. virtio 1.2, section 5.1.6.
const HeaderSize = 12

// maxFrame is the longest that a backend gives: a segment of 64 KiB behind two VLAN tags.
const maxFrame = 14 + 2*4 + 65535

// A Backend is where a card's cable ends: a [Tap].
//
// Its files take and give one frame in each system call, with a header of HeaderSize before it, and are non-blocking.
type Backend interface {
	// Pairs is how many queue pairs it has.
	Pairs() int
	// File is the one of a queue pair. It stays the backend's.
	File(pair int) *os.File
	// Features are the offloads that it can do, of GuestOffloads and HostOffloads.
	Features() uint64
	// SetOffloads says which of GuestOffloads the driver takes from now on.
	SetOffloads(features uint64) error
	// SetPairs says that frames come to the first n pairs only.
	SetPairs(n int) error
	// Close closes the files.
	Close() error
}
