package vhost_test

import (
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"tandem/virtio/virtiotest"
)

// EtherTypes for local experiments (IEEE 802), which nobody but the test uses.
const (
	probeType = 0x88b5
	otherType = 0x88b6 // of frames that no probe waits for
)

// wire is a tap in a network namespace of its own, and a packet socket on the link that it makes: the far end of the
// cable that one card after the other is plugged into. The namespace goes with the last of the two.
type wire struct {
	tap    *os.File
	socket int
}

func newWire(t testing.TB) *wire {
	t.Helper()
	w := &wire{socket: -1}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread, and its namespace, end with the goroutine
		done <- w.open()
	}()
	err := <-done
	t.Cleanup(func() {
		if w.socket >= 0 {
			unix.Close(w.socket)
		}
		if w.tap != nil {
			w.tap.Close()
		}
	})
	if err != nil {
		t.Fatalf("make a tap: %v", err)
	}
	return w
}

// plug is the tap for one more card, with nothing in it that the card before it left there. The file is the card's.
func (w *wire) plug(t testing.TB) *os.File {
	t.Helper()
	raw, err := w.tap.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	end := -1
	controlErr := raw.Control(func(fd uintptr) {
		for b := make([]byte, 2048); err == nil; {
			_, err = unix.Read(int(fd), b)
		}
		if err == unix.EAGAIN {
			end, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		}
	})
	if err := errors.Join(controlErr, err); err != nil {
		t.Fatalf("plug a card into the tap: %v", err)
	}
	return os.NewFile(uintptr(end), "tap0")
}

func (w *wire) open() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	tap, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	w.tap = os.NewFile(uintptr(tap), "tap0")
	request, err := unix.NewIfreq("tap0")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(tap, unix.TUNSETIFF, request); err != nil {
		return err
	}
	if w.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(w.socket, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	if err := unix.IoctlIfreq(w.socket, unix.SIOCSIFFLAGS, request); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(w.socket, unix.SIOCGIFINDEX, request); err != nil {
		return err
	}
	patience := unix.NsecToTimeval(int64(virtiotest.Patience))
	if err := unix.SetsockoptTimeval(w.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		return err
	}
	// packet(7): the protocol is in network order. The socket gets the probes' frames alone.
	var proto [2]byte
	binary.BigEndian.PutUint16(proto[:], probeType)
	return unix.Bind(w.socket, &unix.SockaddrLinklayer{
		Protocol: binary.NativeEndian.Uint16(proto[:]), Ifindex: int(request.Uint32()),
	})
}

func (w *wire) send(t testing.TB, frame []byte) {
	t.Helper()
	if _, err := unix.Write(w.socket, frame); err != nil {
		t.Fatalf("send to the tap's link: %v", err)
	}
}

func (w *wire) receive(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, 2048)
	n, _, err := unix.Recvfrom(w.socket, b, 0)
	if err != nil {
		t.Fatalf("receive from the tap's link: %v", err)
	}
	return b[:n]
}
