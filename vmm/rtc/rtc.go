package rtc

import (
	"sync"
	"time"
)

// Ports is how many ports the chip has: index and data.
const Ports = 2

// Line is the chip's interrupt output. It is called with the clock's lock held
// and must not call back.
type Line interface {
	Set(high bool) error
}

// Clock is the chip: a bus handler.
type Clock struct {
	line Line
	now  func() time.Time

	mu     sync.Mutex
	index  byte
	memory [memorySize]byte
	offset time.Duration // the guest's clock less the host's
	timer  *time.Timer   // the next second, while an interrupt is enabled
	armed  uint64        // counts timers, so that a stopped one is known
	closed bool
}

// New makes a clock that shows what now tells, in UTC.
func New(line Line, now func() time.Time) *Clock {
	c := &Clock{line: line, now: now}
	c.memory[regA] = aPowerOn
	c.memory[regB] = b24Hour
	c.memory[regD] = dValid
	return c
}

// Read is a bus access.
func (c *Clock) Read(off uint64, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range p {
		if off+uint64(i) == 0 {
			p[i] = 0xFF // the index register is write-only
			continue
		}
		p[i] = c.read(c.index)
	}
}

// Write is a bus access.
func (c *Clock) Write(off uint64, p []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, v := range p {
		if off+uint64(i) == 0 {
			c.index = v % memorySize
			continue
		}
		c.write(c.index, v)
	}
}

func (c *Clock) read(reg byte) byte {
	switch {
	case reg == regA:
		v := c.memory[regA]
		if c.running() && c.updating() {
			v |= aUpdating
		}
		return v
	case reg == regC:
		v := c.memory[regC]
		c.memory[regC] = 0
		c.interrupt()
		return v
	case isTime(reg) && c.running():
		return c.encode(reg, c.time())
	}
	return c.memory[reg]
}

func (c *Clock) write(reg, v byte) {
	switch {
	case reg == regA:
		c.memory[regA] = v &^ aUpdating
	case reg == regB:
		c.setB(v &^ bPeriod)
	case reg == regC, reg == regD: // read-only
	case isTime(reg) && c.running():
		// A register written while the clock runs takes effect at once, and
		// the others go on from what they show.
		c.latch()
		c.memory[reg] = v
		c.adopt()
	default:
		c.memory[reg] = v
	}
}

// setB changes the modes. While SET is on, the time registers are memory.
func (c *Clock) setB(v byte) {
	old := c.memory[regB]
	switch {
	case v&bSet != 0:
		if old&bSet == 0 {
			c.latch()
		}
		v &^= bUpdate // as the chip does
		c.memory[regB] = v
	case old&bSet != 0:
		c.memory[regB] = v
		c.adopt()
	default:
		c.memory[regB] = v
	}
	c.interrupt()
	c.arm()
}

func (c *Clock) running() bool { return c.memory[regB]&bSet == 0 }

// time is what the guest's clock shows.
func (c *Clock) time() time.Time { return c.now().UTC().Add(c.offset) }

// updating is true in the 244 microseconds before a second ends: who sees it
// false has that long to read a consistent time.
func (c *Clock) updating() bool {
	return c.time().Nanosecond() >= int(time.Second-244*time.Microsecond)
}

// interrupt drives the line by what happened and what is enabled.
func (c *Clock) interrupt() {
	pending := c.memory[regC]&c.memory[regB]&(bUpdate|bAlarm) != 0
	was := c.memory[regC]&cIRQ != 0
	c.memory[regC] &^= cIRQ
	if pending {
		c.memory[regC] |= cIRQ
	}
	// A read of C has cleared the flag of an interrupt that was pending, so
	// that the line is set low each time rather than when the flag changes.
	if (pending && !was || !pending) && !c.closed {
		_ = c.line.Set(pending)
	}
}

// arm has tick called at the guest's next second, if anybody wants to know.
func (c *Clock) arm() {
	c.armed++
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	if c.closed || !c.running() || c.memory[regB]&(bUpdate|bAlarm) == 0 {
		return
	}
	rest := time.Second - time.Duration(c.time().Nanosecond())
	turn := c.armed
	c.timer = time.AfterFunc(rest, func() { c.tick(turn) })
}

// tick is a second that began.
func (c *Clock) tick(turn uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed != turn {
		return // stopped too late
	}
	c.memory[regC] |= cUpdate
	if c.alarmMatches(c.time()) {
		c.memory[regC] |= cAlarm
	}
	c.interrupt()
	c.arm()
}

// Close stops the clock's timer.
func (c *Clock) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.arm()
}
