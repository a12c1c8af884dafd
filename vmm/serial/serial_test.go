package serial

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire is an interrupt line that remembers its level and its rising edges, and can
// be waited for.
type wire struct {
	mu    sync.Mutex
	cond  sync.Cond
	high  bool
	edges int
}

func newWire() *wire {
	w := &wire{}
	w.cond.L = &w.mu
	return w
}

func (w *wire) Set(high bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if high && !w.high {
		w.edges++
	}
	w.high = high
	w.cond.Broadcast()
	return nil
}

func (w *wire) level() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.high
}

func (w *wire) wait(high bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.high != high {
		w.cond.Wait()
	}
}

// port is a UART as a driver uses it: a byte at a time.
type port struct {
	*UART
	line *wire
}

func newPort(t *testing.T, in io.Reader, out io.Writer) port {
	line := newWire()
	p := port{New(line, in, out), line}
	t.Cleanup(func() { p.Close(time.Minute) })
	return p
}

func (p port) in(reg uint64) byte {
	b := []byte{0}
	p.Read(reg, b)
	return b[0]
}

func (p port) set(reg uint64, v byte) { p.Write(reg, []byte{v}) }

func (p port) want(t *testing.T, what string, reg uint64, want byte) {
	t.Helper()
	if got := p.in(reg); got != want {
		t.Errorf("%s: register %d = %#x, want %#x", what, reg, got, want)
	}
}

// What Linux's 8250 driver does to find out what it has in front of it
// (autoconfig in drivers/tty/serial/8250/8250_port.c).
func TestLinuxProbe(t *testing.T) {
	p := newPort(t, nil, nil)
	p.set(regIER, 0)
	p.want(t, "IER off", regIER, 0)
	p.set(regIER, 0xFF)
	p.want(t, "IER: only the low bits stick", regIER, 0x0F)
	p.set(regIER, 0)

	p.set(regMCR, mcrLoop|0x0A) // loopback with OUT2 and RTS
	if got := p.in(regMSR) & 0xF0; got != 0x90 {
		t.Errorf("loopback: MSR = %#x, want DCD and CTS", got)
	}
	p.set(regMCR, 0)

	p.set(regLCR, 0xBF) // where a 16650 would have its EFR
	p.set(regFCR, 0)
	p.set(regLCR, 0)
	p.set(regFCR, fcrEnable)
	if got := p.in(regIIR) >> 6; got != 3 {
		t.Errorf("IIR says %d of its FIFO, want 3: a 16550A", got)
	}
	p.set(regFCR, fcrEnable|1<<5)
	if p.in(regIIR)&(1<<5) != 0 {
		t.Error("IIR says 64 bytes of FIFO: a 16750")
	}

	p.set(regLCR, lcrDLAB)
	p.set(regDLL, 0x34)
	p.set(regDLM, 0x12)
	p.want(t, "divisor", regDLL, 0x34)
	p.want(t, "divisor", regDLM, 0x12)
	p.set(regLCR, 0x13)
	p.want(t, "LCR", regLCR, 0x13)
	p.set(regSCR, 0x5A)
	p.want(t, "scratch", regSCR, 0x5A)

	// The THRE test: enabling the interrupt raises it, again and again.
	for range 3 {
		p.set(regIER, ierTHRI)
		if !p.line.level() || p.in(regIIR)&0x0F != iirTHRI {
			t.Error("enabling THRI on an empty transmitter raises nothing")
		}
		if p.line.level() {
			t.Error("reading IIR does not settle THRI")
		}
		p.set(regIER, 0)
	}
}

func TestOutput(t *testing.T) {
	var out bytes.Buffer
	p := newPort(t, nil, &out)
	for _, c := range []byte("hello") {
		if p.in(regLSR)&lsrTHRE == 0 {
			t.Fatal("the transmitter is busy")
		}
		p.set(regTHR, c)
	}
	if !p.Close(time.Minute) || out.String() != "hello" {
		t.Errorf("output = %q", out.String())
	}
	p.want(t, "all is out", regLSR, lsrTHRE|lsrTEMT)
}

// valve is a writer that is shut until it is opened.
type valve struct {
	open chan struct{}
	got  bytes.Buffer
}

func (v *valve) Write(p []byte) (int, error) {
	<-v.open
	return v.got.Write(p)
}

// A writer that blocks makes the transmitter busy, and never the vCPU wait; when it
// goes on, the driver is told by an interrupt.
func TestSlowWriter(t *testing.T) {
	v := &valve{open: make(chan struct{})}
	p := newPort(t, nil, v)
	p.set(regIER, ierTHRI)
	sent := 0
	for p.in(regLSR)&lsrTHRE != 0 {
		p.set(regTHR, byte(sent))
		p.in(regIIR)
		sent++
		if sent > 3*outputSize {
			t.Fatal("the transmitter is never busy")
		}
	}
	if sent < outputSize {
		t.Errorf("busy after %d bytes, want %d at least", sent, outputSize)
	}
	if p.line.level() {
		t.Error("a busy transmitter interrupts")
	}
	p.set(regTHR, 'x') // overrun: lost
	if p.Close(time.Millisecond) {
		t.Error("Close does not tell that output is left")
	}
	close(v.open)
	if !p.Close(time.Minute) {
		t.Fatal("output is left")
	}
	if v.got.Len() != sent {
		t.Errorf("%d bytes written, %d sent", v.got.Len(), sent)
	}
}

func TestSlowWriterInterrupts(t *testing.T) {
	v := &valve{open: make(chan struct{})}
	p := newPort(t, nil, v)
	for p.in(regLSR)&lsrTHRE != 0 {
		p.set(regTHR, 'x')
	}
	p.set(regIER, ierTHRI)
	if p.line.level() {
		t.Error("a busy transmitter interrupts")
	}
	close(v.open)
	p.line.wait(true)
	if got := p.in(regIIR) & 0x0F; got != iirTHRI {
		t.Errorf("IIR = %#x, want THRI", got)
	}
}

// Input waits for RTS, comes through the FIFO in order, and none is lost, whatever
// the guest does with RTS in between.
func TestInputFlowControl(t *testing.T) {
	sent := strings.Repeat("The quick brown fox. ", 500)
	source := &countingReader{r: strings.NewReader(sent)}
	p := newPort(t, source, nil)
	p.set(regFCR, fcrEnable)
	p.set(regIER, ierRDI)
	if source.count() != 0 || p.in(regLSR)&lsrDR != 0 {
		t.Fatal("input came before RTS was raised")
	}
	var got []byte
	for len(got) < len(sent) {
		p.set(regMCR, mcrDTR|mcrRTS)
		p.line.wait(true)
		if cause := p.in(regIIR) & 0x0F; cause != iirTimeout && cause != iirRDI {
			t.Fatalf("IIR = %#x, want data", cause)
		}
		p.set(regMCR, mcrDTR)
		for p.in(regLSR)&lsrDR != 0 {
			got = append(got, p.in(regRBR))
		}
		// With RTS low no more comes.
		if p.in(regLSR)&lsrDR != 0 || p.line.level() {
			t.Fatal("input came while RTS was low")
		}
	}
	if string(got) != sent {
		t.Errorf("%d bytes arrived, not as sent", len(got))
	}
	if p.in(regLSR)&lsrOE != 0 {
		t.Error("an overrun")
	}
}

type countingReader struct {
	mu sync.Mutex
	n  int
	r  io.Reader
}

func (c *countingReader) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

func (c *countingReader) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func TestTriggerLevel(t *testing.T) {
	p := newPort(t, strings.NewReader("0123456789abcdefXYZ"), nil)
	p.set(regFCR, fcrEnable|2<<6) // 8 bytes
	p.set(regIER, ierRDI)
	p.set(regMCR, mcrRTS)
	p.line.wait(true)
	for p.in(regIIR)&0x0F != iirRDI { // until 8 have come
		continue
	}
	// Reading below the trigger level turns RDI into a timeout, and the last byte
	// settles it.
	p.set(regMCR, 0)
	n := 0
	for p.in(regLSR)&lsrDR != 0 {
		p.in(regRBR)
		n++
	}
	if n < 8 || n > fifoSize || p.line.level() {
		t.Errorf("%d bytes in the FIFO, interrupt %v", n, p.line.level())
	}
}

func TestLoopback(t *testing.T) {
	var out bytes.Buffer
	p := newPort(t, strings.NewReader("from outside"), &out)
	p.set(regMCR, mcrLoop|mcrRTS)
	p.set(regFCR, fcrEnable)
	for c := range byte(fifoSize) {
		p.set(regTHR, c)
	}
	for c := range byte(fifoSize) {
		p.want(t, "loopback", regRBR, c)
	}
	for range fifoSize + 1 {
		p.set(regTHR, 'x')
	}
	p.set(regIER, ierRLSI)
	if !p.line.level() || p.in(regIIR)&0x0F != iirRLSI {
		t.Error("an overrun raises nothing")
	}
	if p.in(regLSR)&lsrOE == 0 || p.in(regLSR)&lsrOE != 0 || p.line.level() {
		t.Error("a read of LSR does not settle the overrun")
	}
	if !p.Close(time.Minute) {
		t.Fatal("output is left")
	}
	if out.Len() != 0 {
		t.Errorf("loopback leaked %q", out.String())
	}
}

func TestModemStatus(t *testing.T) {
	p := newPort(t, nil, nil)
	p.want(t, "a peer that is ready", regMSR, msrCTS|msrDSR|msrDCD)
	p.set(regIER, ierMSI)
	p.set(regMCR, mcrLoop|mcrOUT1)
	if !p.line.level() || p.in(regIIR)&0x0F != iirMSI {
		t.Error("changed lines raise nothing")
	}
	p.want(t, "loopback", regMSR, msrRI|msrDCTS|msrDDSR|msrDDCD)
	if p.line.level() {
		t.Error("a read of MSR does not settle it")
	}
	p.set(regMCR, mcrLoop)
	p.want(t, "the end of a ring", regMSR, msrTERI)
}

func TestReset(t *testing.T) {
	p := newPort(t, nil, nil)
	p.set(regIER, ierTHRI)
	p.set(regMCR, mcrLoop)
	p.set(regTHR, 'x')
	p.Reset()
	p.want(t, "IER", regIER, 0)
	p.want(t, "LSR", regLSR, lsrTHRE|lsrTEMT)
	p.want(t, "IIR", regIIR, iirNone)
	if p.line.level() {
		t.Error("the line is high")
	}
}

// A port that nobody uses leaves nothing behind.
func TestCloseUnused(t *testing.T) {
	r, w := io.Pipe()
	defer w.Close()
	p := newPort(t, r, io.Discard)
	if !p.Close(time.Minute) {
		t.Error("an unused port has output left")
	}
}

// Any accesses at all: nothing panics, and the FIFO's bound and the interrupt's
// level hold at each step.
func FuzzUART(f *testing.F) {
	f.Add([]byte{regFCR | 8, 0x01, regIER | 8, 0x0F, regMCR | 8, 0x1B, regTHR | 8, 'a', regRBR, 0, regIIR, 0})
	f.Add([]byte{regLCR | 8, 0x80, 0 | 8, 1, 1 | 8, 0, regLCR | 8, 3, regMSR, 0, regLSR, 0})
	f.Add(bytes.Repeat([]byte{regMCR | 8, 0x10, regTHR | 8, 'x'}, 20))
	f.Fuzz(func(t *testing.T, program []byte) {
		line := newWire()
		u := New(line, bytes.NewReader(program), io.Discard)
		defer u.Close(time.Minute)
		buf := make([]byte, 8)
		for ; len(program) >= 2; program = program[2:] {
			reg, size := uint64(program[0]&7), 1+uint64(program[0]>>4)%(8-uint64(program[0]&7))
			if program[0]&8 != 0 {
				for i := range buf {
					buf[i] = program[1] + byte(i)
				}
				u.Write(reg, buf[:size])
			} else {
				u.Read(reg, buf[:size])
			}
			u.mu.Lock()
			if len(u.rx) > fifoSize {
				t.Fatalf("%d bytes in the FIFO", len(u.rx))
			}
			if want := u.cause() != iirNone; u.level != want || line.level() != want {
				t.Fatalf("line is %v, want %v", line.level(), want)
			}
			u.mu.Unlock()
		}
	})
}
