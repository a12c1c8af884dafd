package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// The frames of ttrpc (its PROTOCOL.md): length, stream, type, flags.
const (
	frameHeader = 4 + 4 + 1 + 1
	maxMessage  = 4 << 20 // ttrpc's own limit

	frameRequest  = 1
	frameResponse = 2
)

// frameConn lets only frames of one type through to ttrpc, and ends the connection at the first other. ttrpc's server
// dereferences a nil pointer when a client sends data, the third type, for a request that has no stream: none of the
// agent's has. And its limit on a message's length skips the rest, gigabytes perhaps, where this one ends it.
//
// Only one goroutine reads it.
type frameConn struct {
	net.Conn
	want byte

	header [frameHeader]byte
	passed int    // bytes of header that have been read by ttrpc
	left   uint32 // bytes of the message that have not
}

func newFrameConn(conn net.Conn, want byte) *frameConn {
	return &frameConn{Conn: conn, want: want, passed: frameHeader}
}

func (f *frameConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if f.passed == frameHeader && f.left == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	if f.passed < frameHeader {
		n := copy(b, f.header[f.passed:])
		f.passed += n
		return n, nil
	}
	n, err := f.Conn.Read(b[:min(uint32(len(b)), f.left)])
	f.left -= uint32(n)
	return n, err
}

// next reads and checks the next frame's header.
func (f *frameConn) next() error {
	if _, err := io.ReadFull(f.Conn, f.header[:]); err != nil {
		return err
	}
	length, kind := binary.BigEndian.Uint32(f.header[:4]), f.header[8]
	if length > maxMessage || kind != f.want {
		// ttrpc takes this one for the end, and others for a reason to wait for handlers first.
		return fmt.Errorf("frame of type %d and %d bytes: %w", kind, length, io.ErrUnexpectedEOF)
	}
	f.passed, f.left = 0, length
	return nil
}
