package vsock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ErrNotReady is why a guest cannot be reached: its driver has not started the device, or has reset it.
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

// Conn is what the connections of DialContext and Listen are. Everything that *net.UnixConn can do with deadlines, and
// at the same time, it can too.
type Conn interface {
	net.Conn
	// CloseWrite ends what this side sends: the guest reads an end of file.
	CloseWrite() error
	// CloseRead ends what this side takes.
	CloseRead() error
}

// stream is one end of a pair of Unix sockets, whose other end the switchboard has: the monitor's own connections are
// served as those of programs are.
type stream struct {
	*net.UnixConn
	local, remote Addr
}

// LocalAddr implements net.Conn.
func (c stream) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c stream) RemoteAddr() net.Addr { return c.remote }

// newStream makes a connection of a descriptor, which it takes over.
func newStream(fd int, local, remote Addr) (Conn, error) {
	f := os.NewFile(uintptr(fd), "vsock "+remote.String())
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return stream{c.(*net.UnixConn), local, remote}, nil
}

func socketpair() (mine, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	return fds[0], fds[1], os.NewSyscallError("socketpair", err)
}

// DialContext connects to a port of the guest's. What it gives is a Conn. The error wraps ErrNotReady,
// unix.ECONNREFUSED if nobody listens in the guest or there are too many connections, the context's, or net.ErrClosed.
func (d *Device) DialContext(ctx context.Context, port uint32) (net.Conn, error) {
	to := Addr{CID: d.spec.CID, Port: port}
	fail := func(err error) (net.Conn, error) { return nil, fmt.Errorf("virtio/vsock: dial %v: %w", to, err) }
	if d.board == nil {
		return fail(errServed)
	}
	if err := ctx.Err(); err != nil {
		return fail(err)
	}
	x, fd, err := d.board.dial(port)
	if err != nil {
		return fail(err)
	}
	if err := d.board.await(ctx, x); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	s, err := newStream(fd, Addr{CID: HostCID, Port: x.host}, to)
	if err != nil {
		return fail(err)
	}
	return s, nil
}

// dialing is a connection that somebody waits for.
type dialing struct {
	*conn
	reply chan error
}

// dial asks the guest for a connection, and gives the caller's end.
func (s *switchboard) dial(port uint32) (x dialing, fd int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return x, -1, net.ErrClosed
	case !s.live():
		return x, -1, ErrNotReady
	case port == portAny:
		return x, -1, unix.EADDRNOTAVAIL
	}
	mine, theirs, err := socketpair()
	if err != nil {
		return x, -1, err
	}
	c, err := s.newConn(mine, stateRequest)
	if err != nil {
		unix.Close(theirs)
		return x, -1, err
	}
	c.reply = make(chan error, 1)
	x = dialing{c, c.reply}
	s.ask(c, port)
	_ = s.wake.Signal()
	return x, theirs, nil
}

// await waits for the guest's answer.
func (s *switchboard) await(ctx context.Context, x dialing) error {
	select {
	case err := <-x.reply:
		return err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.end(x.conn, true, ctx.Err()) // the answer may have come meanwhile: it is too late
	_ = s.wake.Signal()
	return ctx.Err()
}
