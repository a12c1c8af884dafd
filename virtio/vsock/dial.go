package vsock

import (
	"context"
	"errors"
	"net"
	"strconv"
)

// ErrNotReady is why a guest cannot be reached: its driver has not started the device.
var ErrNotReady = errors.New("the guest's driver is not ready")

// Addr is one end of a connection. It implements net.Addr.
type Addr struct {
	CID  uint64
	Port uint32
}

// Network implements net.Addr.
func (Addr) Network() string { return "vsock" }

func (a Addr) String() string {
	return strconv.FormatUint(a.CID, 10) + ":" + strconv.FormatUint(uint64(a.Port), 10)
}

// DialContext connects to a port of the guest's. The connection has CloseRead and CloseWrite too (Conn). The error wraps
// ErrNotReady, unix.ECONNREFUSED if nobody listens in the guest or there are too many connections, the context's, or
// net.ErrClosed.
func (d *Device) DialContext(ctx context.Context, port uint32) (net.Conn, error) {
	return nil, errors.ErrUnsupported
}

// Listen takes the guest's connections to a port of the host's, in place of the Unix socket Path_PORT. Its Accept gives
// connections as DialContext does. It ends with its Close or the device's.
func (d *Device) Listen(port uint32) (net.Listener, error) { return nil, errors.ErrUnsupported }

// Conn is what the connections of DialContext and Listen are.
type Conn interface {
	net.Conn
	// CloseWrite ends what this side sends: the guest reads an end of file.
	CloseWrite() error
	// CloseRead ends what this side takes.
	CloseRead() error
}
