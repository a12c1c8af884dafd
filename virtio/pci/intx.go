package pci

import (
	"fmt"
	"sync"

	"tandem/virtio"
)

// Bits of the ISR status. virtio 1.2, section 4.1.4.5.
const (
	isrQueue  = 1
	isrConfig = 2
)

// intx is the interrupt pin and the ISR status byte behind it, for drivers that do
// not use MSI-X. The pin is high while the byte is not 0; to read the byte clears
// it.
type intx struct {
	report func(error)

	mu   sync.Mutex
	line virtio.Line // nil for a function without a pin
	isr  uint8
	off  bool // by the command register, or since MSI-X is enabled
	high bool
}

func (x *intx) raise(bit uint8) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.isr |= bit
	x.drive()
}

// take reads the ISR status.
func (x *intx) take() uint8 {
	x.mu.Lock()
	defer x.mu.Unlock()
	isr := x.isr
	x.isr = 0
	x.drive()
	return isr
}

// pending is the interrupt bit of the PCI status register, which shows an interrupt
// even when the pin is off.
func (x *intx) pending() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.isr != 0
}

func (x *intx) disable(off bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.off = off
	x.drive()
}

func (x *intx) drive() {
	want := x.isr != 0 && !x.off
	if x.line == nil || want == x.high {
		return
	}
	if err := x.line.Set(want); err != nil {
		x.report(fmt.Errorf("interrupt pin: %w", err))
		return
	}
	x.high = want
}
