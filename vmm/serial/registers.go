package serial

// Register offsets. Two names at one offset: read and written, or DLAB.
const (
	regRBR = 0
	regTHR = 0
	regDLL = 0
	regIER = 1
	regDLM = 1
	regIIR = 2
	regFCR = 2
	regLCR = 3
	regMCR = 4
	regLSR = 5
	regMSR = 6
	regSCR = 7

	// Ports is how many ports the chip has.
	Ports = 8
)

// Bits of the interrupt enable register.
const (
	ierRDI  = 1 << 0 // received data
	ierTHRI = 1 << 1 // transmitter empty
	ierRLSI = 1 << 2 // line status: overrun
	ierMSI  = 1 << 3 // modem status
	ierMask = 0x0F
)

// Values of the interrupt identification register, the most urgent first.
const (
	iirNone    = 0x01
	iirRLSI    = 0x06
	iirRDI     = 0x04
	iirTimeout = 0x0C // data below the trigger level that nobody fetched
	iirTHRI    = 0x02
	iirMSI     = 0x00
	iirFIFO    = 0xC0 // FIFOs are enabled: it is a 16550A
)

// Bits of the FIFO control register.
const (
	fcrEnable  = 1 << 0
	fcrClearRX = 1 << 1
	fcrClearTX = 1 << 2
)

const lcrDLAB = 1 << 7

// Bits of the modem control register.
const (
	mcrDTR  = 1 << 0
	mcrRTS  = 1 << 1
	mcrOUT1 = 1 << 2
	mcrOUT2 = 1 << 3
	mcrLoop = 1 << 4
	mcrMask = 0x1F
)

// Bits of the line status register.
const (
	lsrDR   = 1 << 0
	lsrOE   = 1 << 1
	lsrTHRE = 1 << 5
	lsrTEMT = 1 << 6
)

// Bits of the modem status register. The low four tell which of the high four
// changed since the last read.
const (
	msrDCTS = 1 << 0
	msrDDSR = 1 << 1
	msrTERI = 1 << 2 // the ring indicator went from high to low
	msrDDCD = 1 << 3
	msrCTS  = 1 << 4
	msrDSR  = 1 << 5
	msrRI   = 1 << 6
	msrDCD  = 1 << 7
)

// fifoSize is the depth of a 16550A's FIFOs.
const fifoSize = 16

// rxTrigger is how many bytes make the receive interrupt, by FCR bits 6-7.
var rxTrigger = [4]int{1, 4, 8, 14}
