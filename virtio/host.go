package virtio

import "tandem/internal/eventfd"

// Bus names one of the two address spaces that a processor can reach devices
// through.
type Bus uint8

// The buses of a machine.
const (
	MMIO Bus = iota // guest physical addresses that are not memory
	PIO             // x86 ports
)

func (b Bus) String() string {
	if b == PIO {
		return "pio"
	}
	return "mmio"
}

// Window is a range of addresses on a bus that belongs to a device.
type Window struct {
	Bus  Bus
	Addr uint64
	Size uint64
}

// Handler answers the accesses to a window. off counts from the window's start; an
// access never crosses its end. p has 1, 2, 4 or 8 bytes in a guest's order, but a
// Handler has to survive any other length: some instructions and some hosts split
// their accesses.
//
// Read fills all of p. Both may be called from several vCPU threads at the same
// time.
type Handler interface {
	Read(off uint64, p []byte)
	Write(off uint64, p []byte)
}

// Doorbell is a write that a guest makes to wake a device: an address, and what has
// to be written there.
type Doorbell struct {
	Bus  Bus
	Addr uint64
	// Size is the width of the write that matches: 1, 2, 4, 8, or 0 for a write of
	// any width (which cannot be matched by data).
	Size uint8
	// Match restricts the doorbell to writes of the value Data.
	Match bool
	Data  uint64
}

// Host is what a transport asks of the machine that it is plugged into. Package vmm
// implements it on KVM; a test implements it with eventfds alone.
//
// Transports call it from vCPU threads while they handle an access, so that Map and
// Unmap have to work while a Handler of another window (or of the same one) is
// being called, and may be called from within it.
type Host interface {
	// Map routes accesses in the window to h. It fails when the window overlaps
	// another or lies where the machine has no room for one. Unmap takes the same
	// window; when it returns, new accesses no longer reach h, though calls that
	// had begun may still be running.
	Map(w Window, h Handler) error
	Unmap(w Window) error

	// Bind makes writes to the doorbell signal e in place of reaching the window's
	// Handler (KVM_IOEVENTFD). A machine without such a thing returns an error that
	// wraps errors.ErrUnsupported: kicks come to the Handler then. Unbind takes the
	// same arguments. Binding a doorbell that is bound is an error.
	Bind(d Doorbell, e *eventfd.FD) error
	Unbind(d Doorbell, e *eventfd.FD) error

	// MSI makes a message-signalled interrupt, masked and with no message. The
	// error wraps errors.ErrUnsupported on a machine that has none.
	MSI() (MSI, error)
}

// MSI is one message-signalled interrupt: an eventfd, and the message (address and
// data, as the guest wrote them into a vector table) that the machine sends for it.
//
// Masking needs no memory of its own: while masked, nobody reads the eventfd, so
// that its counter is the pending bit; KVM_IRQFD on an eventfd whose counter is not
// zero delivers at once.
type MSI interface {
	// Event is the eventfd that raises the interrupt. It is the same for the life
	// of the MSI, so that it can be handed to vhost.
	Event() *eventfd.FD
	// Set gives the message. It may be called while unmasked.
	Set(addr uint64, data uint32) error
	// Mask stops delivery: signals pile up in Event.
	Mask() error
	// Unmask starts delivery, at once if Event was signalled while masked.
	Unmask() error
	// Send delivers the message now, in the caller's thread (KVM_SIGNAL_MSI), past
	// Event and whether masked or not.
	Send() error
	// Close gives the interrupt and its eventfd back.
	Close() error
}

// Line is one source of a level-triggered interrupt. Lines that lead to the same
// pin are separate sources: the pin is high while any of them is.
type Line interface {
	// Set drives the line. Setting the level that it has is allowed.
	Set(high bool) error
}
