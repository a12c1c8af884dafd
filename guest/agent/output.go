package agent

import (
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// bufferSize is that of one direction of one stream, half of a pipe's default capacity.
const bufferSize = 32 << 10

// past is a deadline that has gone by: it ends what is under way.
var past = time.Unix(1, 0)

// output carries what a command writes to the client: from the read end of a pipe, or a terminal's master.
type output struct {
	kind   streamKind
	source *os.File
	shared bool // a terminal's master, which the terminal closes

	streams   chan net.Conn // gets the client's, at most one
	abandoned chan struct{}
	once      sync.Once // closes abandoned
	taken     sync.Once // takes the client's stream
}

func newOutput(kind streamKind, source *os.File) *output {
	return &output{kind: kind, source: source, streams: make(chan net.Conn, 1), abandoned: make(chan struct{})}
}

// attach hands over the client's stream and tells whether it was the first.
func (o *output) attach(stream net.Conn) (first bool) {
	o.taken.Do(func() {
		first = true
		o.streams <- stream
	})
	return first
}

// abandon makes run return soon: nobody reads the stream any more.
func (o *output) abandon() { o.once.Do(func() { close(o.abandoned) }) }

// cut ends the stream after what the command has written so far.
func (o *output) cut() { o.source.SetReadDeadline(past) }

// run returns when all has been sent and the stream closed, or the client does not want more.
func (o *output) run() {
	defer o.close()
	var stream net.Conn
	select {
	case stream = <-o.streams:
	case <-o.abandoned:
		return
	}
	defer stream.Close()

	go func() {
		// Nothing comes on this stream but its end, early if the client wants no more.
		var b [1]byte
		stream.Read(b[:])
		o.abandon()
	}()
	sent := make(chan struct{})
	defer close(sent)
	go func() {
		select {
		case <-o.abandoned:
			o.source.SetReadDeadline(past)
			stream.SetWriteDeadline(past)
		case <-sent:
		}
	}()
	o.copyTo(stream)
}

// copyTo sends until the last writer is gone, or up to the cut.
func (o *output) copyTo(stream net.Conn) {
	buffer := make([]byte, bufferSize)
	for {
		n, err := o.source.Read(buffer)
		if _, err := stream.Write(buffer[:n]); err != nil {
			return
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.drainTo(stream, buffer)
			return
		}
		if err != nil { // io.EOF of a pipe, EIO of a terminal
			return
		}
	}
}

// drainTo sends what lies in the pipe at this moment. Others may go on to write; the command itself has ended, so all
// of its bytes are among these.
func (o *output) drainTo(stream net.Conn, buffer []byte) {
	raw, err := o.source.SyscallConn()
	if err != nil {
		return
	}
	left := 0
	raw.Control(func(fd uintptr) { left, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	for left > 0 {
		n := 0
		// Control, as Read knows of the deadline. The file does not block.
		raw.Control(func(fd uintptr) { n, _ = unix.Read(int(fd), buffer[:min(left, len(buffer))]) })
		if n <= 0 {
			return
		}
		if _, err := stream.Write(buffer[:n]); err != nil {
			return
		}
		left -= n
	}
}

// close ends the command's writing, with SIGPIPE if it still tries to.
func (o *output) close() {
	if !o.shared {
		o.source.Close()
	}
}
