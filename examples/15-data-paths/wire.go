package main

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

const (
	frameSize = 60
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
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	w.tap = os.NewFile(uintptr(fd), "tap0")
	if err != nil {
		return os.NewSyscallError("TUNSETIFF", err)
	}
	return w.listen(request)
}

// listen opens a packet socket, whose packets have the kernel's stamps, and takes the link up.
func (w *wire) listen(request *unix.Ifreq) (err error) {
	order := uint16(etherType>>8 | etherType&0xff<<8)
	if w.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(order)); err != nil {
		return os.NewSyscallError("socket", err)
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
		unix.SetsockoptInt(w.socket, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.Bind(w.socket, &unix.SockaddrLinklayer{Protocol: order, Ifindex: link.Index}),
	)
}

// receive is the next frame, and when the kernel saw it on the link.
func (w *wire) receive() (frame []byte, at int64, err error) {
	b, control := make([]byte, 2048), make([]byte, 128)
	n, controlLen, _, _, err := unix.Recvmsg(w.socket, b, control, 0)
	if err != nil {
		return nil, 0, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlLen])
	if err != nil {
		return nil, 0, err
	}
	for _, m := range messages {
		if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 { // struct timespec
			at = int64(binary.NativeEndian.Uint64(m.Data))*1e9 + int64(binary.NativeEndian.Uint64(m.Data[8:]))
		}
	}
	return b[:n], at, nil
}

func (w *wire) close() {
	if w.tap != nil {
		w.tap.Close()
	}
	if w.socket >= 0 {
		unix.Close(w.socket)
	}
}
