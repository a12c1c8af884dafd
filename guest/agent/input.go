package agent

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"

	"github.com/hashicorp/yamux"
)

// input carries what a client sends to a command: to the write end of a pipe, or a terminal's master.
type input struct {
	sink *os.File
	tty  *terminal // nil for a pipe

	streams chan net.Conn // gets the client's, at most one
	stopped chan struct{}
	once    sync.Once // closes stopped
	taken   sync.Once // takes the client's stream
}

func newInput(sink *os.File, tty *terminal) *input {
	return &input{sink: sink, tty: tty, streams: make(chan net.Conn, 1), stopped: make(chan struct{})}
}

// attach hands over the client's stream and tells whether it was the first.
func (i *input) attach(stream net.Conn) (first bool) {
	i.taken.Do(func() {
		first = true
		i.streams <- stream
	})
	return first
}

// stop makes run return soon: the command has ended.
func (i *input) stop() { i.once.Do(func() { close(i.stopped) }) }

// run returns when the client has sent all, or the command does not read it any more. It tells the client either way,
// by closing the stream.
func (i *input) run() {
	defer i.close()
	var stream net.Conn
	select {
	case stream = <-i.streams:
	case <-i.stopped:
		return
	}
	defer stream.Close()

	sent := make(chan struct{})
	defer close(sent)
	go func() {
		select {
		case <-i.stopped:
			stream.SetReadDeadline(past)
			i.interrupt()
		case <-sent:
		}
	}()
	last, err := i.copyFrom(stream)
	switch {
	case err == nil && sessionAlive(stream):
		i.end(last)
	case errors.Is(err, errReader):
	default:
		// The client is gone, which is not the end of its input: the command must not act on half of it. It is about to
		// be killed.
		<-i.stopped
	}
}

// errReader is a command that does not read its input any more.
var errReader = errors.New("nobody reads")

// copyFrom returns the last byte that was sent, and nil at the end of the stream.
func (i *input) copyFrom(stream net.Conn) (last byte, err error) {
	buffer := make([]byte, bufferSize)
	for {
		n, err := stream.Read(buffer)
		if n > 0 {
			last = buffer[n-1]
			if _, err := i.sink.Write(buffer[:n]); err != nil {
				return last, errReader
			}
		}
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
	}
}

// sessionAlive tells the end of a stream from that of its session, which yamux makes look the same.
func sessionAlive(stream net.Conn) bool {
	s, ok := stream.(*yamux.Stream)
	return !ok || !s.Session().IsClosed()
}

// end tells the command that its input has ended. A pipe's is ended by closing it; to a terminal's the character for it
// is typed, and twice after an unfinished line, which the first only sends off (termios(3), VEOF).
func (i *input) end(last byte) {
	if i.tty == nil {
		return
	}
	end := i.tty.endOfFile()
	if last != 0 && last != '\n' {
		i.sink.Write([]byte{end})
	}
	i.sink.Write([]byte{end})
}

// interrupt ends a Write to the command.
func (i *input) interrupt() {
	i.sink.SetWriteDeadline(past)
}

func (i *input) close() {
	if i.tty == nil {
		i.sink.Close()
	}
}
