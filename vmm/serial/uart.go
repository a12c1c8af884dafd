package serial

import (
	"io"
	"sync"
	"time"
)

// Line is the chip's interrupt output. It is called with the port's lock held
// and must not call back.
type Line interface {
	Set(high bool) error
}

// UART is one serial port. It is a bus handler: Read and Write may be called
// from several vCPUs at once.
type UART struct {
	line Line

	mu   sync.Mutex
	room sync.Cond // the receive FIFO may have room and RTS may be high

	ier, lcr, mcr, scr byte
	dll, dlm           byte
	msrDelta           byte // low half of MSR
	fifo               bool // FIFOs are enabled
	trigger            int
	rx                 []byte // receive FIFO, oldest first
	overrun            bool
	thrPending         bool // the THR interrupt was not seen yet
	level              bool // what the line was last set to

	out    *output
	closed bool
}

// New makes a port in its state after power-on. Either of in and out may be
// nil: nothing comes in, what goes out is dropped. Reading in begins when the
// guest first raises RTS; in is read by a goroutine that can be blocked in it
// even after Close, as a blocked Read cannot be called off.
func New(line Line, in io.Reader, out io.Writer) *UART {
	u := &UART{line: line, trigger: 1}
	u.room.L = &u.mu
	// A divisor of 12 is 9600 baud, what PC firmware leaves.
	u.dll = 12
	u.rx = make([]byte, 0, fifoSize)
	u.out = newOutput(out, u.drained)
	if in != nil {
		go u.receive(in)
	}
	return u
}

// Read is a bus access. An access wider than a byte touches one register after
// the other, as the PC's bus splits it.
func (u *UART) Read(off uint64, p []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range p {
		p[i] = u.read(off + uint64(i))
	}
}

// Write is a bus access.
func (u *UART) Write(off uint64, p []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i, v := range p {
		u.write(off+uint64(i), v)
	}
}

func (u *UART) read(reg uint64) byte {
	dlab := u.lcr&lcrDLAB != 0
	switch reg {
	case regRBR:
		if dlab {
			return u.dll
		}
		return u.take()
	case regIER:
		if dlab {
			return u.dlm
		}
		return u.ier
	case regIIR:
		return u.identify()
	case regLCR:
		return u.lcr
	case regMCR:
		return u.mcr
	case regLSR:
		return u.lineStatus()
	case regMSR:
		v := u.modemLines() | u.msrDelta
		u.msrDelta = 0
		u.interrupt()
		return v
	case regSCR:
		return u.scr
	}
	return 0xFF
}

func (u *UART) write(reg uint64, v byte) {
	dlab := u.lcr&lcrDLAB != 0
	switch reg {
	case regTHR:
		if dlab {
			u.dll = v
			return
		}
		u.transmit(v)
	case regIER:
		if dlab {
			u.dlm = v
			return
		}
		// Enabling the interrupt of an empty transmitter raises it, each
		// time: Linux tests a port for this.
		if v&^u.ier&ierTHRI != 0 && u.out.ready() {
			u.thrPending = true
		}
		u.ier = v & ierMask
		u.interrupt()
	case regFCR:
		u.controlFIFO(v)
	case regLCR:
		u.lcr = v
	case regMCR:
		u.setModem(v & mcrMask)
	case regSCR:
		u.scr = v
	}
	// LSR and MSR are read-only.
}

// take is a read of RBR.
func (u *UART) take() byte {
	if len(u.rx) == 0 {
		return 0
	}
	v := u.rx[0]
	u.rx = append(u.rx[:0], u.rx[1:]...)
	u.interrupt()
	u.room.Broadcast()
	return v
}

// transmit is a write to THR.
func (u *UART) transmit(v byte) {
	if u.mcr&mcrLoop != 0 {
		u.push(v)
		u.thrPending = true
		u.interrupt()
		return
	}
	// A byte that the guest writes though THRE is low overruns the transmitter
	// and is lost, as in the chip.
	u.out.put(v)
	u.thrPending = u.out.ready()
	u.interrupt()
}

// drained is called when the output buffer has room again.
func (u *UART) drained() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.thrPending = true
	u.interrupt()
}

func (u *UART) controlFIFO(v byte) {
	enable := v&fcrEnable != 0
	// Turning the FIFOs on or off empties them.
	if enable != u.fifo || v&fcrClearRX != 0 {
		u.rx = u.rx[:0]
		u.overrun = false
	}
	u.fifo = enable
	u.trigger = 1
	if enable {
		u.trigger = rxTrigger[v>>6]
	}
	u.interrupt()
	u.room.Broadcast()
}

func (u *UART) setModem(v byte) {
	before := u.modemLines()
	u.mcr = v
	u.delta(before, u.modemLines())
	u.interrupt()
	u.room.Broadcast()
}

// delta notes which modem lines changed.
func (u *UART) delta(before, after byte) {
	changed := before ^ after
	u.msrDelta |= changed & (msrCTS | msrDSR | msrDCD) >> 4
	if before&msrRI != 0 && after&msrRI == 0 {
		u.msrDelta |= msrTERI
	}
}

// modemLines is the high half of MSR: the lines of a peer that is always there
// and ready, or in loopback our own (RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to
// DCD).
func (u *UART) modemLines() byte {
	if u.mcr&mcrLoop == 0 {
		return msrCTS | msrDSR | msrDCD
	}
	var v byte
	for _, wire := range [...]struct{ from, to byte }{
		{mcrRTS, msrCTS}, {mcrDTR, msrDSR}, {mcrOUT1, msrRI}, {mcrOUT2, msrDCD},
	} {
		if u.mcr&wire.from != 0 {
			v |= wire.to
		}
	}
	return v
}

func (u *UART) lineStatus() byte {
	var v byte
	if len(u.rx) > 0 {
		v |= lsrDR
	}
	if u.overrun {
		v |= lsrOE
		u.overrun = false
		defer u.interrupt()
	}
	if u.mcr&mcrLoop != 0 || u.out.ready() {
		v |= lsrTHRE
	}
	if u.mcr&mcrLoop != 0 || u.out.empty() {
		v |= lsrTEMT
	}
	return v
}

// cause is the most urgent enabled interrupt.
func (u *UART) cause() byte {
	switch {
	case u.ier&ierRLSI != 0 && u.overrun:
		return iirRLSI
	case u.ier&ierRDI != 0 && len(u.rx) >= u.trigger:
		return iirRDI
	case u.ier&ierRDI != 0 && len(u.rx) > 0:
		// The chip waits four characters' time for more; here no more is on
		// the way, or it would be in the FIFO.
		return iirTimeout
	case u.ier&ierTHRI != 0 && u.thrPending:
		return iirTHRI
	case u.ier&ierMSI != 0 && u.msrDelta != 0:
		return iirMSI
	}
	return iirNone
}

// identify is a read of IIR, which settles a transmitter interrupt.
func (u *UART) identify() byte {
	v := u.cause()
	if v == iirTHRI {
		u.thrPending = false
		u.interrupt()
	}
	if u.fifo {
		v |= iirFIFO
	}
	return v
}

// interrupt drives the line by what is pending. A PC gates it with OUT2; Linux
// always sets that, and a driver that polls does not enable interrupts, so the
// gate is left out.
func (u *UART) interrupt() {
	level := u.cause() != iirNone
	if level == u.level || u.closed {
		return
	}
	u.level = level
	// Nobody could do anything about an error here: the machine is on its
	// way down.
	_ = u.line.Set(level)
}

// Close ends the port. It waits until the guest's output is written, but no
// longer than patience: the writer may be blocked. The result tells whether all
// of it was.
func (u *UART) Close(patience time.Duration) bool {
	u.mu.Lock()
	u.closed = true
	u.room.Broadcast()
	u.mu.Unlock()
	return u.out.shutdown(patience)
}

// Reset is a machine's reset: every register is as after power-on. Bytes on
// their way out still go out.
func (u *UART) Reset() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ier, u.lcr, u.mcr, u.scr = 0, 0, 0, 0
	u.dll, u.dlm, u.msrDelta = 12, 0, 0
	u.fifo, u.trigger, u.overrun, u.thrPending = false, 1, false, false
	u.rx = u.rx[:0]
	u.interrupt()
}
