package rtc

import (
	"sync"
	"testing"
	"time"
)

type wire struct {
	mu   sync.Mutex
	cond sync.Cond
	high bool
}

func newWire() *wire {
	w := &wire{}
	w.cond.L = &w.mu
	return w
}

func (w *wire) Set(high bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.high = high
	w.cond.Broadcast()
	return nil
}

func (w *wire) wait(high bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.high != high {
		w.cond.Wait()
	}
}

// hostClock is a host's clock that a test sets.
type hostClock struct {
	mu sync.Mutex
	t  time.Time
}

func (h *hostClock) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.t
}

func (h *hostClock) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.t = h.t.Add(d)
}

func get(c *Clock, reg byte) byte {
	c.Write(0, []byte{reg})
	p := []byte{0}
	c.Read(1, p)
	return p[0]
}

func set(c *Clock, reg, v byte) {
	c.Write(0, []byte{reg})
	c.Write(1, []byte{v})
}

var order = []byte{regCentury, regYear, regMonth, regDay, regWeekday, regHours, regMinutes, regSeconds}

func wantTime(t *testing.T, c *Clock, want ...byte) {
	t.Helper()
	for i, reg := range order {
		if got := get(c, reg); got != want[i] {
			t.Errorf("register %#x = %#x, want %#x", reg, got, want[i])
		}
	}
}

func newTestClock(t *testing.T, at time.Time) (*Clock, *hostClock, *wire) {
	host, line := &hostClock{t: at}, newWire()
	c := New(line, host.now)
	t.Cleanup(c.Close)
	return c, host, line
}

// A zone other than UTC must not show.
var moment = time.Date(2026, 11, 22, 15, 4, 59, 500e6, time.UTC).In(time.FixedZone("somewhere", 5*3600))

func TestTimeInEveryMode(t *testing.T) {
	c, host, _ := newTestClock(t, moment)
	wantTime(t, c, 0x20, 0x26, 0x11, 0x22, 1, 0x15, 0x04, 0x59) // BCD, 24 hours: as a PC's
	set(c, regB, bBinary|b24Hour)
	wantTime(t, c, 20, 26, 11, 22, 1, 15, 4, 59)
	set(c, regB, 0)
	wantTime(t, c, 0x20, 0x26, 0x11, 0x22, 1, 0x03|hourPM, 0x04, 0x59)
	host.add(-3 * time.Hour)
	wantTime(t, c, 0x20, 0x26, 0x11, 0x22, 1, 0x12|hourPM, 0x04, 0x59)
	host.add(-12 * time.Hour)
	wantTime(t, c, 0x20, 0x26, 0x11, 0x22, 1, 0x12, 0x04, 0x59)
}

func TestUpdateInProgress(t *testing.T) {
	c, host, _ := newTestClock(t, moment)
	if get(c, regA) != aPowerOn {
		t.Error("an update is in progress half a second early")
	}
	host.add(499*time.Millisecond + 900*time.Microsecond)
	if get(c, regA) != aPowerOn|aUpdating {
		t.Error("no update is in progress 100 microseconds before the second")
	}
	host.add(100 * time.Microsecond)
	if get(c, regA) != aPowerOn {
		t.Error("an update is in progress as the second begins")
	}
	wantTime(t, c, 0x20, 0x26, 0x11, 0x22, 1, 0x15, 0x05, 0x00)
}

func TestSetClock(t *testing.T) {
	c, host, _ := newTestClock(t, moment)
	set(c, regB, bSet|b24Hour)
	host.add(time.Minute)
	wantTime(t, c, 0x20, 0x26, 0x11, 0x22, 1, 0x15, 0x04, 0x59) // stopped
	for i, v := range []byte{0x19, 0x99, 0x12, 0x31, 6, 0x23, 0x59, 0x58} {
		set(c, order[i], v)
	}
	set(c, regB, b24Hour)
	host.add(3 * time.Second)
	wantTime(t, c, 0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x01)

	set(c, regYear, 0x42) // while it runs
	wantTime(t, c, 0x20, 0x42, 0x01, 0x01, 4, 0x00, 0x00, 0x01)
}

func TestAlarm(t *testing.T) {
	// The host's clock is the real one here: the alarm is a timer.
	line := newWire()
	c := New(line, time.Now)
	defer c.Close()
	for _, reg := range []byte{regSecondsAlarm, regMinutesAlarm, regHoursAlarm} {
		set(c, reg, 0xFF) // every second
	}
	set(c, regB, b24Hour|bAlarm)
	for range 2 {
		line.wait(true)
		set(c, regB, b24Hour|bAlarm|bSet) // it stands still: the next second cannot come in between
		if got := get(c, regC); got&(cIRQ|cAlarm) != cIRQ|cAlarm {
			t.Errorf("register C = %#x, want an alarm", got)
		}
		line.wait(false)
		if got := get(c, regC); got != 0 {
			t.Errorf("register C = %#x after a read", got)
		}
		set(c, regB, b24Hour|bAlarm)
	}
	set(c, regB, b24Hour|bUpdate)
	line.wait(true)
	if got := get(c, regC); got&(cIRQ|cUpdate) != cIRQ|cUpdate {
		t.Errorf("register C = %#x, want an update", got)
	}
}

func TestAlarmMatches(t *testing.T) {
	c, _, _ := newTestClock(t, moment)
	set(c, regHoursAlarm, 0x15)
	set(c, regMinutesAlarm, 0x04)
	set(c, regSecondsAlarm, 0x59)
	for _, test := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Second, false}, {time.Minute, false}, {24 * time.Hour, true}, {12 * time.Hour, false}} {
		if got := c.alarmMatches(moment.UTC().Add(test.after)); got != test.want {
			t.Errorf("alarm after %v = %v, want %v", test.after, got, test.want)
		}
	}
	set(c, regMinutesAlarm, alarmAny)
	if !c.alarmMatches(moment.UTC().Add(time.Minute)) {
		t.Error("a wildcard does not match")
	}
}

func TestMemory(t *testing.T) {
	c, _, _ := newTestClock(t, moment)
	set(c, 0x40, 0x5A)
	set(c, 0x80|0x41, 0xA5) // bit 7 gates NMI
	if get(c, 0x40) != 0x5A || get(c, 0x41) != 0xA5 {
		t.Error("memory does not keep what is written")
	}
	set(c, regC, 0xFF)
	set(c, regD, 0)
	if get(c, regC) != 0 || get(c, regD) != dValid {
		t.Error("registers C and D can be written")
	}
	set(c, regB, bPeriod|b24Hour)
	if get(c, regB) != b24Hour {
		t.Error("the periodic interrupt can be enabled")
	}
}

func FuzzClock(f *testing.F) {
	f.Add([]byte{regB, bSet, regYear, 0xFF, regCentury, 0xFF, regMonth, 0, regDay, 0xFF, regB, 0, regSeconds, 0x99})
	f.Add([]byte{regB, bAlarm | bUpdate, regHours, 0xFF, regC, 0, regA, 0xFF})
	f.Fuzz(func(t *testing.T, program []byte) {
		host, line := &hostClock{t: moment}, newWire()
		c := New(line, host.now)
		defer c.Close()
		for ; len(program) >= 2; program = program[2:] {
			if program[0]&0x80 != 0 {
				host.add(time.Duration(program[1]) * time.Hour)
			}
			set(c, program[0], program[1])
			get(c, program[1])
			c.Read(0, make([]byte, 2))
		}
		if a := get(c, regA); a&aUpdating != 0 && !c.updating() {
			t.Errorf("register A = %#x", a)
		}
	})
}
