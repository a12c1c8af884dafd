// Package serial is a 16550A, the PC's serial port: the first device that a
// kernel can talk through, and the one that a person can talk back on.
//
// The chip has eight ports. The processor writes bytes to THR and reads them
// from RBR, both through a FIFO of 16; everything else says when:
//
//	off  read           write          DLAB=1
//	 0   RBR  receive   THR  transmit  DLL  divisor, low
//	 1   IER  which interrupts          DLM  divisor, high
//	 2   IIR  which one  FCR  FIFOs
//	 3   LCR  format; bit 7 is DLAB
//	 4   MCR  our modem lines: DTR, RTS, OUT1, OUT2, loopback
//	 5   LSR  data ready, overrun, transmitter empty
//	 6   MSR  the other end's lines: CTS, DSR, RI, DCD
//	 7   SCR  scratch
//
// There is no wire, so bytes take no time and the divisor is only remembered.
// What flow control remains is real:
//
//	            ┌──────────────────── UART ───────────────────┐
//	In ──read──►│ buffer ──(RTS high, FIFO has room)──► FIFO  │──► RBR, guest
//	Out ◄─write─│ ◄── output buffer; THRE while it has room ◄ │◄── THR, guest
//	            └─────────────────────────────────────────────┘
//
// Input waits outside while the guest holds RTS low (it has not opened the
// port, or its buffer is full) or the FIFO is full, so none is lost. Output goes
// through a buffer to a goroutine, so that a slow terminal never blocks a
// vCPU: when the buffer is full the transmitter says it is busy, as a slow
// wire would make it.
//
// The interrupt output is a level: it is high while any enabled cause is
// pending. Linux finds the chip by its side effects (which IER bits stick,
// the loopback of MCR to MSR, the FIFO bits of IIR), so those are exact.
package serial
