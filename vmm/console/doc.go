// Package console connects a terminal to a guest's serial port.
package console
