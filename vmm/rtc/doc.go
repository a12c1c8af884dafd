// Package rtc is the PC's real-time clock, an MC146818 with 128 bytes of
// battery-backed memory ("CMOS").
//
// The guest writes an index to port 0x70 and then reads or writes the byte at
// that index through port 0x71:
//
//	0x00-0x09  seconds, minutes, hours, weekday, day, month, year; alarm at 1, 3, 5
//	0x0A       register A: bit 7 says that the time is about to change
//	0x0B       register B: 24-hour, binary, which interrupts, SET
//	0x0C       register C: which interrupts happened; a read clears it
//	0x0D       register D: bit 7 says that the battery is good
//	0x32       century
//	the rest   memory
//
// The clock shows the host's time in UTC plus an offset that is 0 until the
// guest sets the clock. Between updates the registers are computed when they
// are read; nothing runs in the background unless the guest enables an
// interrupt, and then it is one timer.
//
// The periodic interrupt, up to 8 kHz, is not made: kernels that know a local
// APIC have had a better timer for two decades, and it is the one thing here
// that would let a guest keep the host busy. Its enable bit does not stick.
package rtc
