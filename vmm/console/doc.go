// Package console connects a terminal to a guest's serial port.
//
// The guest has a terminal driver of its own: it echoes, edits lines and makes
// signals of keys. So the one here has to keep out of it ("raw mode"): each key
// goes to the guest as it is, Ctrl-c too.
//
//	keyboard ─► terminal ─(raw)─► Reader ─► serial port ─► guest's terminal driver
//	                                │ Ctrl-a x, h, a
//	screen  ◄─ terminal ◄────────── Writer ◄─ serial port ◄─┘
//
// Only Ctrl-a is held back: with the key after it, it speaks to the monitor.
//
//	Ctrl-a x  leave: end the machine
//	Ctrl-a h  list these keys
//	Ctrl-a a  send Ctrl-a itself
//
// A terminal that is left in raw mode is of no use to the shell that comes back
// to it. Close restores it; for a process that cannot get there, since it panicked
// or was killed, a second process waits for the first one's end (see guardian).
//
// Where the input is no terminal there is nothing to do: it is read as it comes,
// to its end, and Ctrl-a is a byte like others.
package console
