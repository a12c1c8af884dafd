package console

import (
	"context"
	"io"
	"os"
)

// Key is what a key after Ctrl-a asked for.
type Key byte

// The keys that are not sent to the guest.
const (
	KeyLeave  Key = 'x' // end the machine
	KeyHelp   Key = 'h' // list the keys; handled by the console itself
	KeyEscape Key = 'a' // send Ctrl-a itself; handled by the console itself
)

// Console is a guest's console on the process' terminal.
type Console struct{ _ int }

// Open puts in (a terminal: into raw mode; else it is read as it comes) and out
// to use as a guest's console. Close restores the terminal, and so do a panic
// and a signal that ends the process.
func Open(in, out *os.File) (*Console, error) { return &Console{}, nil }

// Reader gives what the guest should read. It ends when in does.
func (c *Console) Reader() io.Reader { return nil }

// Writer shows what the guest wrote.
func (c *Console) Writer() io.Writer { return nil }

// Leave is closed when the user asks to leave (Ctrl-a x).
func (c *Console) Leave() <-chan struct{} { return nil }

// Terminal tells whether in is a terminal.
func (c *Console) Terminal() bool { return false }

// Size is the window's size in character cells; 0, 0 if there is no terminal.
func (c *Console) Size() (columns, rows int) { return 0, 0 }

// Resized calls f with the size now and after each change until ctx ends.
func (c *Console) Resized(ctx context.Context, f func(columns, rows int)) {}

// Close restores the terminal. It may be called more than once.
func (c *Console) Close() error { return nil }
