// Package power is how a guest leaves: ACPI's sleep and reset registers.
//
// A hardware-reduced ACPI machine has three registers for it, which its FADT
// names (ACPI 6.5, 4.8.3.6 and 4.8.3.7). Here they are three ports in a row:
//
//	+0  sleep control   write SLP_TYP<<2 | SLP_EN: enter that sleep state
//	+1  sleep status    bit 7: the machine woke up; write 1 to clear
//	+2  reset           write ResetValue: reset
//
// The only sleep state is S5, "soft off". The guest finds the value of SLP_TYP
// in the DSDT's \_S5 object.
package power

import "tandem/vmm/layout"

// Ports is how many ports the registers take.
const Ports = 3

const (
	regControl = 0
	regReset   = layout.Reset - layout.SleepControl
)

// Registers are the three ports: a bus handler.
type Registers struct {
	off   func()
	reset func()
}

// New makes the registers. off is called when the guest powers the machine off,
// reset when it resets it, both on the vCPU's thread.
func New(off, reset func()) *Registers {
	return &Registers{off: off, reset: reset}
}

// Read gives 0 everywhere: SLP_EN is write-only, and a machine that has no
// sleep state to wake up from never sets WAK_STS.
func (r *Registers) Read(_ uint64, p []byte) {
	clear(p)
}

// Write is a bus access, byte for byte.
func (r *Registers) Write(off uint64, p []byte) {
	for i, v := range p {
		switch off + uint64(i) {
		case regControl:
			if v&layout.SleepEnable != 0 && v>>2&7 == layout.SleepTypeS5 {
				r.off()
			}
		case regReset:
			if v == layout.ResetValue {
				r.reset()
			}
		}
	}
}
