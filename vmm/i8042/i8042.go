// Package i8042 is the PC's keyboard controller, without a keyboard.
//
// The chip stays in every PC because of two wires that have nothing to do with
// keys: its output port drives the processor's reset line (bit 0) and A20 (bit
// 1). A guest that wants a reset pulses the first of them with command 0xFE,
// and a kernel that probes for a keyboard expects the rest to answer as an
// empty controller does.
//
//	port  read             written
//	0x60  output buffer    data of a command
//	0x64  status           command
//
// There is one deviation: what a command does, it does at once, so the input
// buffer is never full.
package i8042

import "sync"

// Bits of the status register.
const (
	statusOutputFull = 1 << 0
	statusSystem     = 1 << 2 // the self-test was passed
	statusCommand    = 1 << 3 // the last write was a command
	statusUnlocked   = 1 << 4 // the keyboard is not locked by its key
)

// Commands.
const (
	cmdReadConfig      = 0x20
	cmdWriteConfig     = 0x60
	cmdDisableAux      = 0xA7
	cmdEnableAux       = 0xA8
	cmdTestAux         = 0xA9
	cmdSelfTest        = 0xAA
	cmdTestKeyboard    = 0xAB
	cmdDisableKeyboard = 0xAD
	cmdEnableKeyboard  = 0xAE
	cmdReadOutput      = 0xD0
	cmdWriteOutput     = 0xD1
	cmdWriteLoopback   = 0xD2
	cmdWriteAuxLoop    = 0xD3
	cmdWriteAux        = 0xD4
	cmdPulse           = 0xF0 // 0xF0-0xFF: pulse the lines whose bits are 0
)

const (
	selfTestPassed = 0x55
	portTestFailed = 0x01 // clock line stuck low: nothing is plugged in

	configSystem       = 1 << 2
	configKeyboardOff  = 1 << 4
	configAuxOff       = 1 << 5
	outputReset        = 1 << 0 // low is reset
	outputA20          = 1 << 1
	outputAfterPowerOn = outputReset | outputA20
)

// Controller is the chip. It has two bus handlers, [Controller.Data] and
// [Controller.Command], that may be called at the same time.
type Controller struct {
	reset func()

	mu      sync.Mutex
	config  byte
	output  byte // what port 0x60 reads
	full    bool // output was not read yet
	command byte // waits for its data; 0 for none
	last    byte // statusCommand or 0
}

// New makes a controller that calls reset, on the vCPU's thread, when the guest
// pulls the reset line.
func New(reset func()) *Controller {
	c := &Controller{reset: reset}
	c.Reset()
	return c
}

// Reset is a machine's reset.
func (c *Controller) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.config = configSystem | configKeyboardOff | configAuxOff
	c.output, c.full, c.command, c.last = 0, false, 0, 0
}

// Data is port 0x60.
func (c *Controller) Data() DataHandler { return DataHandler{c} }

// Command is port 0x64.
func (c *Controller) Command() CommandHandler { return CommandHandler{c} }

// DataHandler answers port 0x60.
type DataHandler struct{ c *Controller }

// CommandHandler answers port 0x64.
type CommandHandler struct{ c *Controller }

// Read takes the byte from the output buffer.
func (h DataHandler) Read(_ uint64, p []byte) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	for i := range p {
		p[i] = h.c.output
	}
	h.c.full = false
}

// Write gives the data of the command before it. Without one it would go to the
// keyboard, and there is none.
func (h DataHandler) Write(_ uint64, p []byte) {
	for _, v := range p {
		if h.c.data(v) {
			h.c.reset()
		}
	}
}

// Read gives the status.
func (h CommandHandler) Read(_ uint64, p []byte) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	v := statusUnlocked | h.c.config&statusSystem | h.c.last
	if h.c.full {
		v |= statusOutputFull
	}
	for i := range p {
		p[i] = v
	}
}

// Write runs a command.
func (h CommandHandler) Write(_ uint64, p []byte) {
	for _, v := range p {
		if h.c.run(v) {
			h.c.reset()
		}
	}
}

// data handles a byte for port 0x60; true means reset.
func (c *Controller) data(v byte) (reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	command := c.command
	c.command, c.last = 0, 0
	switch command {
	case cmdWriteConfig:
		c.config = v
	case cmdWriteOutput:
		return v&outputReset == 0
	case cmdWriteLoopback, cmdWriteAuxLoop:
		c.answer(v)
	}
	return false
}

// run handles a command; true means reset.
func (c *Controller) run(v byte) (reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.command, c.last = 0, statusCommand
	switch v {
	case cmdReadConfig:
		c.answer(c.config)
	case cmdWriteConfig, cmdWriteOutput, cmdWriteLoopback, cmdWriteAuxLoop, cmdWriteAux:
		c.command = v
	case cmdDisableAux:
		c.config |= configAuxOff
	case cmdEnableAux:
		c.config &^= configAuxOff
	case cmdDisableKeyboard:
		c.config |= configKeyboardOff
	case cmdEnableKeyboard:
		c.config &^= configKeyboardOff
	case cmdSelfTest:
		c.config |= configSystem
		c.answer(selfTestPassed)
	case cmdTestKeyboard, cmdTestAux:
		c.answer(portTestFailed)
	case cmdReadOutput:
		c.answer(outputAfterPowerOn)
	default:
		return v >= cmdPulse && v&outputReset == 0
	}
	return false
}

func (c *Controller) answer(v byte) { c.output, c.full = v, true }
