package rtc

import "time"

// isTime tells whether a register shows the time, and so is computed while the
// clock runs.
func isTime(reg byte) bool {
	switch reg {
	case regSeconds, regMinutes, regHours, regWeekday, regDay, regMonth, regYear, regCentury:
		return true
	}
	return false
}

var timeRegisters = [...]byte{
	regSeconds, regMinutes, regHours, regWeekday, regDay, regMonth, regYear, regCentury,
}

// encode is a time register's value, in the mode that register B sets.
func (c *Clock) encode(reg byte, t time.Time) byte {
	switch reg {
	case regSeconds:
		return c.number(t.Second())
	case regMinutes:
		return c.number(t.Minute())
	case regHours:
		return c.hour(t.Hour())
	case regWeekday:
		return c.number(int(t.Weekday()) + 1) // Sunday is 1
	case regDay:
		return c.number(t.Day())
	case regMonth:
		return c.number(int(t.Month()))
	case regYear:
		return c.number(t.Year() % 100)
	}
	return c.number(t.Year() / 100 % 100)
}

// number is n, below 100, in binary or BCD.
func (c *Clock) number(n int) byte {
	if c.memory[regB]&bBinary != 0 {
		return byte(n)
	}
	return byte(n/10<<4 | n%10)
}

// value is number's inverse. A guest may write digits that are none: they count
// for what their place is worth.
func (c *Clock) value(v byte) int {
	if c.memory[regB]&bBinary != 0 {
		return int(v)
	}
	return int(v>>4)*10 + int(v&0xF)
}

// hour is the hour register for 0 to 23.
func (c *Clock) hour(h int) byte {
	if c.memory[regB]&b24Hour != 0 {
		return c.number(h)
	}
	v := c.number((h+11)%12 + 1) // 0 and 12 are "12"
	if h >= 12 {
		v |= hourPM
	}
	return v
}

func (c *Clock) hourValue(v byte) int {
	if c.memory[regB]&b24Hour != 0 {
		return c.value(v)
	}
	h := c.value(v&^hourPM) % 12
	if v&hourPM != 0 {
		h += 12
	}
	return h
}

// latch stops the time registers at what they show.
func (c *Clock) latch() {
	t := c.time()
	for _, reg := range timeRegisters {
		c.memory[reg] = c.encode(reg, t)
	}
}

// adopt sets the clock to what the time registers hold. Dates that do not exist
// come out as the calendar has them: time.Date takes any numbers.
func (c *Clock) adopt() {
	set := time.Date(
		c.value(c.memory[regCentury])*100+c.value(c.memory[regYear]),
		time.Month(c.value(c.memory[regMonth])),
		c.value(c.memory[regDay]),
		c.hourValue(c.memory[regHours]),
		c.value(c.memory[regMinutes]),
		c.value(c.memory[regSeconds]),
		0, time.UTC)
	c.offset = set.Sub(c.now())
}

// alarmMatches tells whether t is the alarm time.
func (c *Clock) alarmMatches(t time.Time) bool {
	for _, f := range [...]struct{ alarm, reg byte }{
		{regSecondsAlarm, regSeconds}, {regMinutesAlarm, regMinutes}, {regHoursAlarm, regHours},
	} {
		want := c.memory[f.alarm]
		if want < alarmAny && want != c.encode(f.reg, t) {
			return false
		}
	}
	return true
}
