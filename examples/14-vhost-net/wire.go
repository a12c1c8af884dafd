package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	etherType = 0x88b5 // IEEE 802, for local experiments
	receiveMS = 10000
)

// wire is a tap in a network namespace of its own, and a socket that sees what comes out of it. The namespace goes with its
// last descriptor.
type wire struct {
	tap    *os.File
	socket int
}

func newWire() (*wire, error) {
	w := &wire{socket: -1}
	made := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		made <- w.make()
	}()
	if err := <-made; err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *wire) make() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("unshare", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	request, err := unix.NewIfreq("tap0")
	if err != nil {
		return err
	}
	// Frames of a tap with IFF_VNET_HDR have a header, of the size that a virtio 1 card's have.
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	w.tap = os.NewFile(uintptr(fd), "tap0")
	if err != nil {
		return os.NewSyscallError("TUNSETIFF", err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TUNSETVNETHDRSZ, headerSize); err != nil {
		return os.NewSyscallError("TUNSETVNETHDRSZ", err)
	}
	return w.listen(request)
}

// listen opens a packet socket and takes the link up.
func (w *wire) listen(request *unix.Ifreq) (err error) {
	order := uint16(etherType>>8 | etherType&0xff<<8)
	if w.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(order)); err != nil {
		return os.NewSyscallError("socket", err)
	}
	// A link says things of its own when it comes up, if it speaks IPv6. This is the namespace's setting, and only its.
	err = os.WriteFile("/proc/sys/net/ipv6/conf/tap0/disable_ipv6", []byte("1"), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_NOARP)
	if err := unix.IoctlIfreq(w.socket, unix.SIOCSIFFLAGS, request); err != nil {
		return os.NewSyscallError("SIOCSIFFLAGS", err)
	}
	link, err := net.InterfaceByName("tap0")
	if err != nil {
		return err
	}
	wait := unix.NsecToTimeval(receiveMS * 1e6)
	return errors.Join(
		unix.SetsockoptTimeval(w.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Bind(w.socket, &unix.SockaddrLinklayer{Protocol: order, Ifindex: link.Index}),
	)
}

// receive is the next frame that came out of the tap.
func (w *wire) receive() ([]byte, error) {
	b := make([]byte, 2048)
	n, _, err := unix.Recvfrom(w.socket, b, 0)
	return b[:max(n, 0)], os.NewSyscallError("recvfrom", err)
}

// send puts a frame onto the link: it goes into the tap.
func (w *wire) send(frame []byte) error {
	_, err := unix.Write(w.socket, frame)
	return os.NewSyscallError("write", err)
}

func (w *wire) close() {
	if w.tap != nil {
		w.tap.Close()
	}
	if w.socket >= 0 {
		unix.Close(w.socket)
	}
}
