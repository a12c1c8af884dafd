// Package rng is the virtio entropy device (virtio 1.2, section 5.4): random bytes
// of the host for a guest, which has few sources of its own while it boots.
//
//	driver                      device
//	empty buffers   ------->    getrandom(2), straight into guest memory
//	random bytes    <-------
//
// The bytes come from the host kernel's generator after it was seeded, so they are
// as good as the host's own and do not run out: there is no need for a limit on how
// many a guest may have.
package rng
